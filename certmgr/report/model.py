"""The report as values, with all texts in the reader's language.

Each format is rendered from these values alone. The names of the fields are the keys of
``certmgr.report/1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ReportAction:
    """One action.

    Attributes:
        outcome: you-act, we-act or escalated.
        site: Name of the site.
        target: Its port and protocol too; empty if the action is about the name.
        code: Code of the finding.
        severity: Severity of the finding.
        what: The problem, as a sentence.
        do: The instruction.
        by: Last day of the action. None means as soon as possible.
        by_text: That day in the reader's language.
        late: Whether that day has passed.
        person: Person that the action is assigned to.
    """

    outcome: str
    site: str
    target: str
    code: str
    severity: str
    what: str
    do: str
    # None if the day has passed as well, so that no format prints a date in the past.
    by: datetime | None
    by_text: str
    late: bool
    person: str = ""


@dataclass(frozen=True, slots=True)
class ReportSite:
    """One site.

    Attributes:
        state: ok, attention, fault or unknown.
        state_text: The state in the reader's language, with its symbol.
        outcome: Outcome of the worst action; empty if there is no action.
        facts: Evidence, as sentences.
        remarks: Those of the facts that need no action: a site with them is ok.
        untested: Undetermined results, as sentences.
        expires: End of the certificate.
        measured: Time of the last probe.
        trusted_until: Until when each browser trusts the certificate, with the reason; None if
            its root is not public.
    """

    name: str
    # A mail server and a site may share a name, and differ only in their port.
    target: str
    state: str
    state_text: str
    outcome: str
    facts: tuple[str, ...]
    # Separate from the facts: an undetermined result must not be read as a good one.
    untested: tuple[str, ...]
    expires: datetime | None
    # Values are for programs, and texts for people in their language and zone. A format needs no
    # catalogue therefore.
    expires_text: str
    days_left: int | None
    measured: datetime | None
    measured_text: str
    trusted_until: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """A date ahead.

    Attributes:
        kind: rule (of browsers and CAs), own (a deadline of the provider), certificate, order or
            window (an installation).
        confirmed: Whether the date is final. Some dates are only announced.
        affected: Sites that will not comply then, or that the date concerns.
        steps: Steps that lead to compliance.
    """

    at: datetime
    at_text: str
    kind: str
    title: str
    note: str
    # An announced date may still change, so the report must not present it as certain.
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
    """The whole report of one client.

    Attributes:
        summary: One sentence about the whole report.
        state: ok, attention, fault or unknown.
        counts: Number of sites, in total and per state.
        why: Why HTTPS matters, in sentences chosen by the findings.
        method: How and when the sites were probed.
        untested: Undetermined results of all sites.
    """

    client: str
    client_name: str
    provider: str
    contact: str
    language: str
    as_of: datetime
    as_of_text: str
    title: str
    summary: str
    # Separate from the summary, so that no program has to interpret a sentence.
    state: str
    counts: dict[str, int]
    # Grouped by outcome: a reader first needs to know what is left to them.
    you_act: tuple[ReportAction, ...]
    we_act: tuple[ReportAction, ...]
    escalated: tuple[ReportAction, ...]
    events: tuple[ReportEvent, ...]
    sites: tuple[ReportSite, ...]
    # Only the certificates that end first. `sites` has all of them.
    bars: tuple[Bar, ...]
    why: tuple[str, ...]
    method: tuple[str, ...]
    untested: tuple[str, ...]
