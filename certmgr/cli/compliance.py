"""``certmgr compliance``: compliance of each domain with each dated rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cli.deadlines import shown_date
from certmgr.cli.output import cell, echo_json, instant, show, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.compliance.assessment import all_deadlines, judge, load_domain_facts
from inventory.errors import NotFound
from inventory.names import display
from notifiers.wording.sentences import sentence, short

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from certmgr.compliance.assessment import ComplianceRow

_COLUMNS = (
    "domain",
    "client",
    "status",
    "from",
    "deadline",
    "date",
    "rule",
    "confirmed",
    "codes",
    "why",
    "next_step",
    "next_step_by",
    "late_steps",
    "waived_by",
    "waived_until",
    "waived_reason",
)
# The order of the summary line; the first two characters are a symbol for terminals without colour.
_STATUS_LABELS = {
    "complies": "✓ complies",
    "does-not-comply": "✗ does not comply",
    "will-not-comply": "! will not comply",
    "not-determined": "? undetermined",
    "waived": "- waived",
}
_STYLES = {
    "does-not-comply": "red",
    "will-not-comply": "yellow",
    "not-determined": "magenta",
    "complies": "green",
}


@click.command()
@client_filter
@tag_filter
@click.option(
    "--as-of",
    metavar="DATE",
    help="Assess at DATE: a past date uses what was known then, a future date what is known now.",
)
@click.option("--deadline", "name", metavar="NAME", help="Only this deadline or milestone.")
@click.option("--all", "everything", is_flag=True, help="Include rows that comply.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even if there are faults.")
@format_option
@pass_app
def compliance(
    app: CommandContext,
    client: str | None,
    tag: str | None,
    as_of: str | None,
    name: str | None,
    everything: bool,
    exit_zero: bool,
    output_format: str,
) -> int:
    """Assess each domain against each dated rule.

    A domain complies, does not comply, will not comply from a date, is undetermined, or is waived.
    Exit code 1 if a domain does not comply because of a fault of severity high or critical.
    """

    now = app.now()
    at = app.moment(as_of)
    database = app.open()
    # A past assessment must not use deadlines that were added later.
    deadlines = all_deadlines(database, at if at is not None and at <= now else None)
    if name is not None:
        deadlines = tuple(d for d in deadlines if d.name == name)
        if not deadlines:
            raise NotFound(
                f"There is no deadline '{cell(name, 60)}'",
                "neither a deadline nor a milestone has this name",
                "See certmgr deadline list.",
            )
        # Some milestones are announcements without a rule that a scan could check.
        if not deadlines[0].rule:
            raise NotFound(
                f"Compliance with '{cell(name, 60)}' cannot be checked",
                "it is for information only and has no rule",
                "See certmgr deadline list.",
            )
    domain_facts, _ = load_domain_facts(database, now, as_of=at, client=client, tag=tag)
    rows = judge(domain_facts, deadlines, at or now)
    counts = Counter(str(r.state) for r in rows)
    shown = (
        rows
        if everything or output_format == "json"
        else [r for r in rows if r.state != "complies"]
    )
    if output_format == "json":
        summary = {
            "domains": len({r.subject.domain_id for r in rows}),
            **{s: counts.get(s, 0) for s in _STATUS_LABELS},
        }
        echo_json(
            {
                "schema": "certmgr.compliance/1",
                "as_of": instant(at or now),
                "rows": [row_values(r) for r in shown],
                "summary": summary,
            }
        )
    elif output_format == "csv":
        show("compliance", _COLUMNS, [row_values(r) for r in shown], output_format)
    else:
        _table(shown, ZoneInfo(app.settings.provider.time_zone))
        domains = len({r.subject.domain_id for r in rows})
        totals = ", ".join(f"{counts[s]} {w[2:]}" for s, w in _STATUS_LABELS.items() if counts[s])
        click.echo(
            f"{domains} domain(s), {len({r.deadline.name for r in rows})} dated rule(s):"
            f" {totals or 'nothing to assess'}."
        )
    # Lower severities do not fail a scheduled job.
    severe = any(
        r.state == "does-not-comply"
        and any(f.severity in ("critical", "high") for _, f in r.findings)
        for r in rows
    )
    return 1 if severe and not exit_zero else 0


def row_values(row: ComplianceRow) -> dict[str, Any]:
    """Return one row of ``certmgr.compliance/1``."""

    why = [sentence(f, t) for t, f in row.findings] or ([row.note] if row.note else [])
    # The next step is the first one that is not late; if all are late, the last one.
    next_step = next((s for s in row.steps if not s.late), row.steps[-1] if row.steps else None)
    by, until, reason = row.waived or (None, None, None)
    return {
        "domain": row.subject.name,
        "client": row.subject.client,
        "status": str(row.state),
        "from": instant(row.since),
        "deadline": row.deadline.name,
        "date": (
            instant(row.deadline.at)
            if row.deadline.own
            else shown_date(row.deadline.at.date().isoformat(), row.deadline.precision)
        ),
        "rule": row.deadline.rule,
        "title": row.deadline.title,
        "confirmed": row.deadline.confirmed,
        "own": row.deadline.own,
        "codes": list(dict.fromkeys(f.code for _, f in row.findings)),
        "why": why,
        "steps": [
            {"step": s.name, "by": instant(s.by), "actor": s.actor, "late": s.late}
            for s in row.steps
        ],
        "next_step": next_step.name if next_step else None,
        "next_step_by": instant(next_step.by) if next_step else None,
        "late_steps": [s.name for s in row.steps if s.late],
        "waived_by": by,
        "waived_until": instant(until),
        "waived_reason": reason,
    }


def _table(rows: Sequence[ComplianceRow], zone: ZoneInfo) -> None:
    """Print the rows for a terminal, with dates of the provider's own rules in its time zone."""
    if not rows:
        return
    lines, styles = [], []
    for row in rows:
        day = (
            row.deadline.at.astimezone(zone).date() if row.deadline.own else row.deadline.at.date()
        )
        due = shown_date(day.isoformat(), row.deadline.precision)
        reason = "; ".join(dict.fromkeys(short(f, t) for t, f in row.findings)) or row.note
        if row.waived is not None:
            by, until, waiver = row.waived
            reason = f"by {by}{f' until {until:%Y-%m-%d}' if until else ''}: {waiver}"
        if late := [s.name for s in row.steps if s.late]:
            reason += f" (late: {', '.join(late)})"
        elif row.steps:
            reason += f" ({row.steps[0].name} by {row.steps[0].by:%Y-%m-%d}, {row.steps[0].actor})"
        status = _STATUS_LABELS[row.state] + (f" from {row.since:%Y-%m-%d}" if row.since else "")
        name = row.deadline.name + ("" if row.deadline.confirmed else " (announced, not confirmed)")
        lines.append([status, display(row.subject.name), row.subject.client, name, due, reason])
        styles.append(_STYLES.get(row.state))
    table(["STATUS", "DOMAIN", "CLIENT", "RULE", "SINCE", "WHY"], lines, styles)
