"""The dashboard as values, with all texts in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tile:
    """The number of sites with one verdict.

    Attributes:
        state: ok, attention, fault or unknown.
    """

    state: str
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class CauseCard:
    """One cause: the findings that one action fixes.

    Attributes:
        what: The problem at the first site, as a sentence.
        do: The instruction.
        place: What must be changed, such as a server.
        actor: The party that acts.
        sites: The first sites.
        more: How many sites are not listed.
        clients: The first clients, each as number and name.
        more_clients: How many clients are not listed.
        assigned: Who fixes it, and until when, as sentences.
    """

    code: str
    what: str
    do: str
    place: str
    actor: str
    # Texts with numbers are made before the page is rendered, because plural forms differ between
    # languages.
    sites_text: str
    sites: tuple[str, ...]
    more: int
    clients: tuple[tuple[str, str], ...]
    more_clients: int
    assigned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeverityGroup:
    """The causes of one severity. ``more``: how many are not listed."""

    severity: str
    # The page takes its colour from the state, since several severities share one.
    state: str
    title: str
    summary: str
    causes: tuple[CauseCard, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Week:
    """The certificates that end in one week.

    Attributes:
        text: The first day of the week.
        automatic: Certificates that are renewed automatically.
        by_hand: All others.
    """

    text: str
    automatic: int
    by_hand: int

    @property
    def total(self) -> int:
        """All certificates that end in the week."""
        # Calculated, so that it never contradicts its parts.
        return self.automatic + self.by_hand


@dataclass(frozen=True, slots=True)
class LosingCover:
    """A certificate that ends soon, and that nothing is known to replace in time.

    Attributes:
        state: fault if it has ended, else attention.
        end_text: The end, or until when browsers trust it.
        days_text: The days until then.
        reason: Who renews it, or why browsers stop trusting it.
    """

    names: tuple[str, ...]
    # A certificate may cover hundreds of names, so only the first ones are listed.
    more: int
    clients: tuple[tuple[str, str], ...]
    state: str
    end_text: str
    days_text: str
    reason: str


@dataclass(frozen=True, slots=True)
class RuleCompliance:
    """How many domains comply with a dated rule ahead.

    Attributes:
        counts: Compliance state -> number of domains. Empty if the rule cannot be checked.
    """

    name: str
    at_text: str
    title: str
    kind: str
    # An announced rule is marked, because its date may still change.
    confirmed: bool
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class CasesInState:
    """The open cases of one state, by the party that they wait for."""

    state: str
    # Counted per party, because staff act only on the cases that wait for them.
    client: int
    provider: int
    overdue: int


@dataclass(frozen=True, slots=True)
class RenewalRow:
    """How many names are renewed in one way."""

    text: str
    number: int
    automatic: bool


@dataclass(frozen=True, slots=True)
class TrendRow:
    """The faults after one complete run."""

    text: str
    critical: int
    high: int
    # Without this number, fewer faults could also mean that fewer endpoints were checked.
    checked: int
    undetermined: int


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client. ``state``: the worst verdict of its sites. ``next_text``: what ends first."""

    number: str
    name: str
    state: str
    state_text: str
    sites: int
    # Sites that are in order have no column, because they need no action.
    fault: int
    attention: int
    unknown: int
    next_text: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The whole page.

    Attributes:
        summary: One sentence about the inventory.
        state: ok, attention, fault or unknown.
        scan_text: When the last scan ended, and how.
        scan_state: ok if it was complete, else attention.
        weeks: Those of the next 90 days; ``later`` those of 400 days.
        ended: Certificates that are served after their end.
        losing: The certificates that end soon and are not replaced automatically.
        more_losing: How many of them are not listed.
        cases: None if they are not known.
        renewals: None if they are not known.
        more_clients: How many clients are not listed.
    """

    language: str
    provider: str
    as_of_text: str
    summary: str
    state: str
    # The age of the facts is part of the page: an old one must not pass for that of today.
    scan_text: str
    scan_state: str
    tiles: tuple[Tile, ...]
    groups: tuple[SeverityGroup, ...]
    weeks: tuple[Week, ...]
    later: tuple[Week, ...]
    ended: int
    losing: tuple[LosingCover, ...]
    more_losing: int
    deadlines: tuple[RuleCompliance, ...]
    # None is shown as unknown. An empty tuple would mean that there are none.
    cases: tuple[CasesInState, ...] | None
    renewals: tuple[RenewalRow, ...] | None
    renewal_text: str
    trend: tuple[TrendRow, ...]
    clients: tuple[ClientRow, ...]
    more_clients: int
