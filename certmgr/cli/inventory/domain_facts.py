"""What ``domain show`` prints about a domain, as values under the names of ``certmgr.domain/1``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAddress:
    """What an address of an endpoint served last. Times are RFC 3339 texts in UTC.

    Attributes:
        days_left: The whole days until the certificate ends; negative after it.
        trusted: Whether a path leads to a public root. None if that is undetermined.
        trusted_until: Until when browsers trust the certificate, by browser. None if no path to a
            public root is known.
        seen_last_time: Whether the address answered in the last scan.
    """

    address: str
    serial: str | None
    issuer: str | None
    key: str | None
    not_after: str | None
    days_left: int | None
    tls_version: str | None
    trusted: bool | None
    trusted_until: Mapping[str, Any] | None
    first_seen: str | None
    last_seen: str | None
    seen_last_time: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFacts:
    """A finding that does not count until a date, or is fixed by then, and who decided so."""

    code: str
    until: str | None
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingFacts:
    """An open finding, with what it means and what to do.

    Attributes:
        assigned: Who fixes it, and until when.
    """

    code: str
    severity: str
    actor: str
    detail: str
    do: str
    assigned: AcceptedFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownEndpoint:
    """An endpoint of the domain.

    Attributes:
        fixed_addresses: The addresses that are probed instead of those of the DNS.
        last_attempt: The last probe. None if there was none.
        last_good: The last probe that completed.
        error: Why the last probe failed.
    """

    target: str
    verdict: str
    fixed_addresses: list[str]
    last_attempt: str | None
    last_good: str | None
    error: str | None
    observations: list[ShownAddress]
    findings: list[FindingFacts]
    accepted: list[AcceptedFacts]
    planned: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRenewal:
    """Who renews the certificate of the domain."""

    method: str
    reference: str | None
    automatic: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFacts:
    """A contact of the client, with the ways to reach it."""

    name: str
    role: str
    # Older than the term "contact methods"; programs read this key.
    ways: Sequence[str]
    language: str | None
    time_zone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPurchase:
    """A purchase that covers the domain. ``order``: its id as JSON has always shown it."""

    order: str
    id: int
    vendor: str
    number: str | None
    ends: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCase:
    """A case that is about the domain."""

    reference: str
    state: str
    waits_for: str
    due: str | None
    opened: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeFacts:
    """A notice about the domain. ``text``: what became of it, in words."""

    notice: int
    reference: str
    subject: str
    state: str
    error: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldFacts:
    """A message that waits, and why."""

    topic: str
    action: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownChange:
    """An entry of the audit log about the domain. ``detail``: column -> value before and after."""

    at: str | None
    actor: str
    action: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainPage:
    """Everything that ``domain show`` prints, under the names of ``certmgr.domain/1``."""

    name: str
    client: str
    client_name: str
    server: str | None
    purpose: str
    paths: list[str]
    policy: str | None
    state: str
    note: str | None
    hosts: str | None
    dns: str | None
    buys: str | None
    renews: str | None
    renewal: ShownRenewal
    tags: list[str]
    contacts: list[ContactFacts]
    endpoints: list[ShownEndpoint]
    # Older than the word "purchase"; programs read this key.
    orders: list[ShownPurchase]
    cases: list[ShownCase]
    notices: list[NoticeFacts]
    held: list[HeldFacts]
    history: list[ShownChange]

    def as_document(self) -> dict[str, Any]:
        """Return the page as ``certmgr.domain/1``."""
        return {"schema": "certmgr.domain/1", **asdict(self)}
