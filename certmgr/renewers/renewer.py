"""The decision who renews the certificate of a name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from certmgr.x509.names import name_covers
from inventory.names import as_ip
from inventory.vocabulary import LineageState, Parties, Party

# Set by an administrator on a domain, client or server whose names renew without a person.
AUTOMATION_TAG = "auto-renewed"


class RenewalMethod(StrEnum):
    """How the certificate of a name is renewed, the strongest evidence first."""

    LINEAGE = "lineage"  # by an ACME lineage of certmgr
    PANEL = "panel"
    CDN = "cdn"
    STATED = "stated"  # by the client's automation, as an administrator recorded
    LEARNED = "learned"  # by an automation, as at least two replacements showed
    PURCHASE = "purchase"  # by hand, from a purchase that covers the name now
    NONE = "none"  # nothing is known to renew it


_AUTOMATIC = frozenset(
    {
        RenewalMethod.LINEAGE,
        RenewalMethod.PANEL,
        RenewalMethod.CDN,
        RenewalMethod.STATED,
        RenewalMethod.LEARNED,
    }
)


@dataclass(frozen=True, slots=True)
class Renewer:
    """Who renews the certificate of a name.

    Attributes:
        method: How it is renewed.
        reference: The name of the lineage, or the label of the purchase; empty for the others.
        not_after: The end of the lineage's certificate, or of the purchase; None for the others.
        lead: How long before its end the learned automation replaces a certificate; None for
            the others.
        trouble: Why an automation may not renew in time; empty if nothing is known.
    """

    method: RenewalMethod
    reference: str = ""
    not_after: datetime | None = None
    lead: timedelta | None = None
    trouble: str = ""

    @property
    def automatic(self) -> bool:
        """Whether it is renewed without a purchase and without a person."""
        return self.method in _AUTOMATIC

    @property
    def ours(self) -> bool:
        """Whether certmgr renews it."""
        return self.method is RenewalMethod.LINEAGE

    @property
    def description(self) -> str:
        """Who renews it, as one line for staff."""
        until = f"{self.not_after:%Y-%m-%d}" if self.not_after else ""
        match self.method:
            case RenewalMethod.LINEAGE:
                end = f", whose certificate ends on {until}" if until else ""
                trouble = f"; {self.trouble}" if self.trouble else ""
                return f"renewed by certmgr: lineage {self.reference}{end}{trouble}"
            case RenewalMethod.PANEL:
                return "renewed by the hosting panel"
            case RenewalMethod.CDN:
                return "renewed by the CDN"
            case RenewalMethod.STATED:
                return f"renewed by the client's automation (tag {AUTOMATION_TAG})"
            case RenewalMethod.LEARNED:
                days = round(self.lead / timedelta(days=1)) if self.lead else 0
                return (
                    f"renewed by an automation that scans observed, about {days} day(s) before the"
                    " end"
                )
            case RenewalMethod.PURCHASE:
                return (
                    f"renewed by hand, under the purchase {self.reference}, which ends on {until}"
                )
            case RenewalMethod.NONE:
                return "renewed by hand: no purchase covers it, and no automation is known"
            case _:
                assert_never(self.method)

    @property
    def replaces_on_revocation(self) -> bool:
        """Whether it replaces a certificate that has to be revoked before its end.

        An automation that was only observed follows the end of its certificates. Nothing shows
        that it learns of a revocation, so that the client has to be asked.
        """
        return self.automatic and self.method is not RenewalMethod.LEARNED


@dataclass(frozen=True, slots=True)
class LineageCover:
    """A lineage that has issued a certificate.

    Attributes:
        names: Its names that are not in quarantine.
        not_after: The end of its current certificate.
        error: Its last failure; empty if the last attempt was good.
        blocked: Why it cannot issue until a person acts; empty if it can.
    """

    name: str
    state: LineageState
    names: tuple[str, ...]
    not_after: datetime | None
    error: str = ""
    blocked: str = ""

    @property
    def trouble(self) -> str:
        """Why it may not renew in time; empty if nothing is known."""
        # What blocks it is the cause of its failures, and names what to do.
        return self.blocked or (f"its last attempt failed: {self.error}" if self.error else "")


@dataclass(frozen=True, slots=True)
class PurchaseCover:
    """A purchase that is active. ``names``: as bought, wildcards included."""

    label: str
    names: tuple[str, ...]
    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that is open for a name. ``due``: when its current step is due."""

    reference: str
    due: datetime | None


@dataclass(frozen=True, slots=True)
class DomainParties:
    """What the inventory states about a domain. ``tags``: with those of its client and server."""

    active: bool
    parties: Parties
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RenewalFacts:
    """What the answers are decided from. Each mapping is keyed by the id of the client.

    Attributes:
        now: The time of the answer.
        lineages: Client -> its lineages.
        purchases: Client -> its active purchases.
        domains: Client -> name of a domain -> what is recorded.
        learned: Client -> host -> how long before its end a certificate was replaced.
        cases: Client -> name -> its open case.
    """

    now: datetime
    lineages: Mapping[int, Sequence[LineageCover]] = field(default_factory=dict)
    purchases: Mapping[int, Sequence[PurchaseCover]] = field(default_factory=dict)
    domains: Mapping[int, Mapping[str, DomainParties]] = field(default_factory=dict)
    learned: Mapping[int, Mapping[str, timedelta]] = field(default_factory=dict)
    cases: Mapping[int, Mapping[str, OpenCase]] = field(default_factory=dict)
    _by_name: Mapping[tuple[int, str], Sequence[LineageCover]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Index the lineages by name: an agency with thousands of them asks for each of its."""
        by_name: dict[tuple[int, str], list[LineageCover]] = {}
        for client_id, lineages in self.lineages.items():
            for lineage in lineages:
                for name in lineage.names:
                    by_name.setdefault((client_id, name), []).append(lineage)
        # The class is frozen for its users; this is a part of its creation.
        object.__setattr__(self, "_by_name", by_name)

    def renewer(self, client_id: int, name: str) -> Renewer:
        """Return who renews the certificate of a client's name.

        Args:
            client_id: The client, whose lineages, domains and purchases alone are considered.
            name: A host, a wildcard name or an address.
        """
        # A lineage is a fact, and what is recorded about the domain is often older than it. A
        # lineage that fails keeps the name: staff repair it, and a second renewal by hand would
        # have both install over each other.
        if (lineage := self._lineage(client_id, name)) is not None:
            return lineage
        recorded = self.domain(client_id, name)
        parties = recorded.parties if recorded else Parties()
        # Who buys a certificate also renews it, unless another party is recorded.
        party = parties.renews or parties.buys
        if party in ("panel", "cdn"):
            return Renewer(RenewalMethod(party))
        if recorded is not None and AUTOMATION_TAG in recorded.tags:
            return Renewer(RenewalMethod.STATED)
        # A host that was observed is no evidence of the other names below a wildcard.
        lead = self.learned.get(client_id, {}).get(name)
        if lead is not None:
            return Renewer(RenewalMethod.LEARNED, lead=lead)
        return self._purchase(client_id, name)

    def domain(self, client_id: int, name: str) -> DomainParties | None:
        """Return what is recorded of the nearest domain of the client that contains the name."""
        recorded = self.domains.get(client_id, {})
        return next((recorded[n] for n in parent_names(name) if n in recorded), None)

    def parties(self, client_id: int, name: str, recorded: Parties) -> Parties:
        """Return the parties of a name: what a lineage renews is ours, whatever is recorded.

        Without it, a client would be asked to renew a certificate whose automation is ours.
        """
        if self._lineage(client_id, name) is None:
            return recorded
        return replace(recorded, buys=Party.US, renews=Party.US)

    def case(self, client_id: int, name: str) -> OpenCase | None:
        """Return the open case of a name, also one for a wildcard that covers it."""
        of_client = self.cases.get(client_id, {})
        return of_client.get(name) or of_client.get(f"*.{name.partition('.')[2]}")

    def needs_person(self, client_id: int, names: Iterable[str]) -> bool:
        """Return whether a person must renew a certificate with these names.

        It is true if one of the names is in an active domain of the client and nothing renews it
        automatically. It is false if all of them left the inventory.
        """
        return any(
            (recorded := self.domain(client_id, n)) is not None
            and recorded.active
            and not self.renewer(client_id, n).automatic
            for n in names
        )

    def all_automatic(self, client_id: int, names: Sequence[str]) -> bool:
        """Return whether there is a name, and each is renewed automatically."""
        return bool(names) and all(self.renewer(client_id, n).automatic for n in names)

    def active_lineages(self, client_id: int, name: str) -> list[LineageCover]:
        """Return the client's lineages that renew a name."""
        wildcard = f"*.{name.partition('.')[2]}"
        return [
            lineage
            for key in dict.fromkeys((name, wildcard))
            for lineage in self._by_name.get((client_id, key), ())
            # A paused lineage issues nothing, and a name in quarantine is left out of the next
            # certificate, so that neither renews the name.
            if lineage.state is LineageState.ACTIVE and covers(lineage.names, name)
        ]

    def _lineage(self, client_id: int, name: str) -> Renewer | None:
        """Return the answer of the lineages: the one without trouble that lasts longest."""
        found = [
            Renewer(
                RenewalMethod.LINEAGE,
                reference=lineage.name,
                not_after=lineage.not_after,
                trouble=lineage.trouble,
            )
            for lineage in self.active_lineages(client_id, name)
        ]
        return min(
            found,
            # A lineage without trouble first, then the one that lasts longest.
            key=lambda r: (bool(r.trouble), -r.not_after.timestamp() if r.not_after else 0.0),
            default=None,
        )

    def _purchase(self, client_id: int, name: str) -> Renewer:
        """Return the purchase that covers the name and ends last, or that nothing is known."""
        found = [
            p
            for p in self.purchases.get(client_id, ())
            if p.starts <= self.now < p.ends and covers(p.names, name)
        ]
        last = max(found, key=lambda p: p.ends, default=None)
        if last is None:
            return Renewer(RenewalMethod.NONE)
        return Renewer(RenewalMethod.PURCHASE, reference=last.label, not_after=last.ends)


def parent_names(name: str) -> list[str]:
    """Return the name, and each name above it up to the top-level domain.

    A wildcard has the names of its domain. An address has no names above it.
    """
    bare = name.removeprefix("*.")
    if as_ip(bare) is not None:
        return [bare]
    labels = bare.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def covers(names: Iterable[str], name: str) -> bool:
    """Return whether one of the names covers a host, or is the wildcard that is asked for."""
    return any(n == name or name_covers(n, name) for n in names)
