"""The report as values, every text already in the reader's language.

All formats are made from it and from nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReportAction:
    """One thing to be done.

    ``outcome``: you-act, we-act or escalated. ``by``: its last day, None: as soon as possible.
    """

    outcome: str
    site: str
    code: str
    severity: str
    what: str
    do: str
    by: datetime | None
    by_text: str
    late: bool
    person: str = ""


@dataclass(frozen=True, slots=True)
class ReportSite:
    """One site.

    ``state``: ok, attention, fault or unknown; ``state_text`` with its symbol. ``facts``: evidence
    in words; ``untested``: what could not be told. ``outcome``: of its worst action, empty without
    one.
    """

    name: str
    target: str
    state: str
    state_text: str
    outcome: str
    facts: tuple[str, ...]
    untested: tuple[str, ...]
    expires: datetime | None
    expires_text: str
    days_left: int | None
    measured: datetime | None
    measured_text: str


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """A date ahead.

    ``kind``: rule (of browsers and CAs), own (the provider's), certificate, order, window (of an
    installation). ``affected``: sites that do not comply then.
    """

    at: datetime
    at_text: str
    kind: str
    title: str
    note: str
    confirmed: bool
    affected: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the expiry chart."""

    name: str
    days: int
    text: str


@dataclass(frozen=True, slots=True)
class ClientReport:
    client: str
    client_name: str
    provider: str
    contact: str
    language: str
    as_of: datetime
    as_of_text: str
    title: str
    summary: str
    state: str
    counts: dict[str, int]
    you_act: tuple[ReportAction, ...]
    we_act: tuple[ReportAction, ...]
    escalated: tuple[ReportAction, ...]
    events: tuple[ReportEvent, ...]
    sites: tuple[ReportSite, ...]
    bars: tuple[Bar, ...]
    why: tuple[str, ...]
    method: tuple[str, ...]
    untested: tuple[str, ...]
