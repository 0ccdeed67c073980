"""Actions as cards, and sites as rows, without repeated sentences. Pure.

Programs get each action of each site (JSON, CSV). A reader gets one card for what differs only in
the name of the site.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from certmgr.report.model import ClientReport, ReportAction, ReportSite
from certmgr.report.names import ports_of_names, site_names
from inventory.errors import InvalidName
from inventory.names import normalise_host

# A site that was measured with the others needs no date in its row.
_SAME_SCAN = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class CardStatement:
    """A problem of one or more sites; its text names the first site."""

    text: str
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActionCard:
    """One action for one or more sites; its instruction names the first site.

    Attributes:
        statements: What is wrong: more than one if only a part differs, such as the date on which
            each certificate expired.
    """

    action: ReportAction
    sites: tuple[str, ...]
    statements: tuple[CardStatement, ...]


@dataclass(frozen=True, slots=True)
class RemarkLine:
    """One remark about one or more sites; its text names the first site."""

    text: str
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SiteRow:
    """Sites with the same state and the same facts.

    Attributes:
        facts: What was seen, without remarks and without what a card states already.
        measured: Whether the time of the measurement is shown: not if it was the last scan.
    """

    site: ReportSite
    names: tuple[str, ...]
    facts: tuple[str, ...]
    measured: bool


def report_ports(report: ClientReport) -> Mapping[str, int]:
    """Return how many ports each name has in a report."""
    return ports_of_names((s.name, s.target) for s in report.sites)


def action_cards(
    actions: Iterable[ReportAction], ports: Mapping[str, int]
) -> tuple[ActionCard, ...]:
    """Return one card for the actions with the same instruction for the same kind of fault.

    Instructions are the same if they differ only in the name of the site. Actions with different
    dates stay apart, so that no card hides an earlier date.

    Args:
        actions: The actions.
        ports: How many ports each name has in the report.
    """
    cards: dict[Hashable, list[ReportAction]] = {}
    for action in actions:
        instruction = _nameless(action.do, action.site)
        key = (action.outcome, action.code, instruction, action.by_text, action.person)
        cards.setdefault(key, []).append(action)
    return tuple(_card(same, ports) for same in cards.values())


def _card(actions: Sequence[ReportAction], ports: Mapping[str, int]) -> ActionCard:
    texts: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for action in actions:
        nameless = _nameless(action.what, action.site)
        texts.setdefault(nameless, (action.what, []))[1].append((action.site, action.target))
    return ActionCard(
        actions[0],
        site_names(((a.site, a.target) for a in actions), ports),
        tuple(CardStatement(text, site_names(sites, ports)) for text, sites in texts.values()),
    )


def shared_instruction(cards: Sequence[ActionCard]) -> str:
    """Return the instruction that several cards have in common; else an empty text."""
    texts = {card.action.do for card in cards}
    return texts.pop() if len(cards) > 1 and len(texts) == 1 else ""


def remark_lines(report: ClientReport) -> tuple[RemarkLine, ...]:
    """Return each remark once, with all sites that have it."""
    lines: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for site in report.sites:
        for text in site.remarks:
            key = _nameless(text, site.name)
            lines.setdefault(key, (text, []))[1].append((site.name, site.target))
    ports = report_ports(report)
    return tuple(RemarkLine(text, site_names(sites, ports)) for text, sites in lines.values())


def site_rows(report: ClientReport) -> tuple[SiteRow, ...]:
    """Return the rows of the table of sites, in the order of the sites."""
    stated: dict[tuple[str, str], set[str]] = {}
    for action in (*report.you_act, *report.we_act, *report.escalated):
        stated.setdefault((action.site, action.target), set()).add(action.what)
    ports = report_ports(report)
    newest = max((s.measured for s in report.sites if s.measured is not None), default=None)
    rows: dict[Hashable, tuple[SiteRow, list[tuple[str, str]]]] = {}
    for site in report.sites:
        # A remark in each row would make equal sites differ, and hide what matters.
        of_port, of_name = (stated.get((site.name, t), ()) for t in (site.target, ""))
        elsewhere = {*of_port, *of_name, *site.remarks}
        facts = tuple(f for f in site.facts if f not in elsewhere)
        measured = newest is None or site.measured is None or newest - site.measured > _SAME_SCAN
        key = (
            site.state,
            site.outcome,
            # Sentences that name a site stay in a row of that site.
            facts,
            site.untested,
            site.measured_text if measured else "",
        )
        row = SiteRow(site, (), facts, measured)
        rows.setdefault(key, (row, []))[1].append((site.name, site.target))
    return tuple(
        SiteRow(row.site, site_names(members, ports), row.facts, row.measured)
        for row, members in rows.values()
    )


def _nameless(text: str, site: str) -> str:
    """Return the text with a mark for the site, in the form of the DNS too, as URLs have it."""
    try:
        stored = normalise_host(site)
    except InvalidName:
        stored = site
    # NUL occurs in no text, so it cannot be confused with the name of another site.
    return text.replace(site, "\0").replace(stored, "\0")
