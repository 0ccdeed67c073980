"""The tables of ``certmgr compliance``: per rule, per domain, and the rules of one domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from certmgr.cli.compliance.deadlines import shown_date
from certmgr.cli.output import local_day, paragraph, table, zone
from certmgr.cli.tables import MINOR, Column
from certmgr.compliance.rules import VALID_CERTIFICATE_RULES
from inventory.names import display
from notifiers.wording.sentences import short

if TYPE_CHECKING:
    from certmgr.compliance.assessment import ComplianceRow
    from certmgr.compliance.milestones import Deadline

# From the worst to the best, for one row per domain. The first two characters of a label are a
# symbol for terminals without colour.
STATUS_LABELS = {
    "does-not-comply": "✗ does not comply",
    "will-not-comply": "! will not comply",
    "not-determined": "? undetermined",
    "waived": "- waived",
    "complies": "✓ complies",
}
_WORST_FIRST = list(STATUS_LABELS)
_STYLES = {
    "does-not-comply": "red",
    "will-not-comply": "yellow",
    "not-determined": "magenta",
    "complies": "green",
}


def show_summary(rows: Sequence[ComplianceRow], deadlines: Sequence[Deadline]) -> None:
    """Print one line per rule: how many domains comply, do not, and are undetermined."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        counts.setdefault(row.deadline.name, Counter())[str(row.state)] += 1
    lines = []
    for deadline in deadlines:
        # A deadline without a rule, or for other clients only, has nothing to count.
        if (c := counts.get(deadline.name)) is None:
            continue
        title = deadline.title + ("" if deadline.confirmed else " (announced, not confirmed)")
        lines.append(
            [
                shown_date(deadline.at.date().isoformat(), deadline.precision),
                c["complies"],
                c["does-not-comply"] + c["will-not-comply"],
                # Undetermined domains count neither as good nor as bad.
                c["not-determined"],
                c["waived"] or None,
                deadline.name,
                title,
            ]
        )
    # All rules stand on one screen, so a title has one line. Short headings leave it room.
    columns: list[str | Column] = [
        "DATE",
        "COMPLY",
        "DO NOT",
        "UNKNOWN",
        "WAIVED",
        "NAME",
        Column("TITLE", 50, least=20),
    ]
    table(columns, lines)
    if lines:
        paragraph("The domains of a rule: certmgr compliance --deadline NAME")


# The verb for one domain and for several, from the worst to the best.
_TOTALS = {
    "does-not-comply": ("does not comply", "do not comply"),
    "will-not-comply": ("will not comply", "will not comply"),
    "not-determined": ("is undetermined", "are undetermined"),
    "waived": ("is waived", "are waived"),
    "complies": ("complies", "comply"),
}


def show_total(rows: Sequence[ComplianceRow]) -> None:
    """Print the number of domains by their worst state."""
    # Per domain: with one count per rule and domain, the numbers would exceed those of domains.
    worst: dict[int, str] = {}
    for row in rows:
        found, state = worst.get(row.subject.domain_id, "complies"), str(row.state)
        worst[row.subject.domain_id] = min(found, state, key=_WORST_FIRST.index)
    counts = Counter(worst.values())
    totals = ", ".join(
        f"{counts[s]:,} {words[counts[s] != 1]}" for s, words in _TOTALS.items() if counts[s]
    )
    paragraph(
        f"{len(worst):,} domain(s), {len({r.deadline.name for r in rows})} dated rule(s):"
        f" {totals or 'nothing to assess'}."
    )


def show_domains(rows: Sequence[ComplianceRow]) -> None:
    """Print one row per domain: its worst state, the rules that it does not meet, and why."""
    by_domain: dict[int, list[ComplianceRow]] = {}
    for row in rows:
        by_domain.setdefault(row.subject.domain_id, []).append(row)
    groups = []
    for found in by_domain.values():
        # Only the rows of the worst state are shown: they are what has to be fixed first.
        worst = min((str(r.state) for r in found), key=_WORST_FIRST.index)
        groups.append((worst, [r for r in found if r.state == worst]))
    groups.sort(key=lambda g: (_WORST_FIRST.index(g[0]), g[1][0].subject.name))
    lines = []
    for worst, found in groups:
        names = list(dict.fromkeys(r.deadline.name for r in found))
        reasons = dict.fromkeys(_reason(r) for r in found)
        # Each rule has its own steps. The reasons without them are shown once.
        steps = next((s for r in found if (s := _steps_text(r))), "")
        since = min((r.since for r in found if r.since is not None), default=None)
        lines.append(
            [
                STATUS_LABELS[worst],
                display(found[0].subject.name),
                found[0].subject.client,
                local_day(since),
                "; ".join(filter(None, reasons)) + steps,
                None if worst == "complies" else ", ".join(names),
            ]
        )
    columns: list[str | Column] = [
        "STATUS",
        "DOMAIN",
        "CLIENT",
        "FROM",
        "WHY",
        Column("RULE", MINOR),
    ]
    table(columns, lines, [_STYLES.get(w) for w, _ in groups])


def show_rules(rows: Sequence[ComplianceRow], zone: ZoneInfo) -> None:
    """Print one row per rule, with dates of the provider's own rules in its time zone."""
    if not rows:
        return
    lines = []
    for row in rows:
        own = row.deadline.own
        # A rule of browsers and CAs is published with a date in UTC.
        day = row.deadline.at.astimezone(zone).date() if own else row.deadline.at.date()
        name = row.deadline.name + ("" if row.deadline.confirmed else " (announced, not confirmed)")
        lines.append(
            [
                STATUS_LABELS[row.state] + (f" from {local_day(row.since)}" if row.since else ""),
                name,
                shown_date(day.isoformat(), row.deadline.precision),
                _reason(row) + _steps_text(row),
            ]
        )
    table(["STATUS", "RULE", "SINCE", "WHY"], lines, [_STYLES.get(r.state) for r in rows])


def _reason(row: ComplianceRow) -> str:
    """Return in words why a domain does not comply, or why it is waived."""
    if row.waived is not None:
        by, until, waiver = row.waived
        return f"by {by}{f' until {local_day(until)}' if until else ''}: {waiver}"
    reasons = dict.fromkeys(short(f, t) for t, f in row.findings)
    return "; ".join((*reasons, *planned_texts(row))) or row.note


def planned_texts(row: ComplianceRow) -> list[str]:
    """Return the renewals that are due and in time, if the rule is about valid certificates."""
    if row.deadline.rule not in VALID_CERTIFICATE_RULES:
        return []
    plans = [k.planned for k in row.subject.known if k.planned is not None]
    return list(dict.fromkeys(p.description(zone()) for p in plans))


def _steps_text(row: ComplianceRow) -> str:
    """Return the next step of a domain, or the steps whose date has passed."""
    # A date in the past is not an instruction, so late steps are named without it.
    if late := [s.name for s in row.steps if s.late]:
        return f" (late: {', '.join(late)})"
    if row.steps:
        first = row.steps[0]
        return f" ({first.name} by {local_day(first.by)}, {first.actor})"
    return ""
