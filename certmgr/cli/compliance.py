"""``certmgr compliance``: each domain against each dated rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cli.deadlines import shown_date
from certmgr.cli.output import cell, echo_json, instant, show, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.compliance.assessment import all_deadlines, judge, subjects
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
_WORDS = {
    "complies": "✓ complies",
    "does-not-comply": "✗ does not comply",
    "will-not-comply": "! will not comply",
    "not-determined": "? not determined",
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
    help="The past shows what was known then; the future applies today's knowledge.",
)
@click.option("--deadline", "name", metavar="NAME", help="Only this deadline or milestone.")
@click.option("--all", "everything", is_flag=True, help="Also what complies.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 in spite of faults.")
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
    form: str,
) -> int:
    """Show how each domain stands against each dated rule: complies, does not comply, will not
    comply from a date, not determined, waived.

    Exit code 1 where a domain does not comply for a fault of severity high or critical.
    """

    moment = app.now()
    at = app.moment(as_of)
    database = app.open()
    dues = all_deadlines(database, at if at is not None and at <= moment else None)
    if name is not None:
        dues = tuple(d for d in dues if d.name == name)
        if not dues:
            raise NotFound(
                f"There is no deadline '{cell(name, 60)}'", "", "See certmgr deadline list."
            )
        if not dues[0].rule:
            raise NotFound(
                f"Nothing can be checked for '{cell(name, 60)}'",
                "it is announced for information",
                "See certmgr deadline list.",
            )
    found, _ = subjects(database, moment, as_of=at, client=client, tag=tag)
    rows = judge(found, dues, at or moment)
    counts = Counter(str(r.state) for r in rows)
    shown = rows if everything or form == "json" else [r for r in rows if r.state != "complies"]
    if form == "json":
        summary = {
            "domains": len({r.subject.domain_id for r in rows}),
            **{s: counts.get(s, 0) for s in _WORDS},
        }
        echo_json(
            {
                "schema": "certmgr.compliance/1",
                "as_of": instant(at or moment),
                "rows": [row_values(r) for r in shown],
                "summary": summary,
            }
        )
    elif form == "csv":
        show("compliance", _COLUMNS, [row_values(r) for r in shown], form)
    else:
        _table(shown, ZoneInfo(app.settings.provider.time_zone))
        domains = len({r.subject.domain_id for r in rows})
        said = ", ".join(f"{counts[s]} {w[2:]}" for s, w in _WORDS.items() if counts[s])
        click.echo(
            f"{domains} domain(s), {len({r.deadline.name for r in rows})} dated rule(s):"
            f" {said or 'nothing to judge'}."
        )
    severe = any(
        r.state == "does-not-comply"
        and any(f.severity in ("critical", "high") for _, f in r.findings)
        for r in rows
    )
    return 1 if severe and not exit_zero else 0


def row_values(row: ComplianceRow) -> dict[str, Any]:
    """One row of ``certmgr.compliance/1``."""

    why = [sentence(f, t) for t, f in row.findings] or ([row.note] if row.note else [])
    coming = next((s for s in row.steps if not s.late), row.steps[-1] if row.steps else None)
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
        "next_step": coming.name if coming else None,
        "next_step_by": instant(coming.by) if coming else None,
        "late_steps": [s.name for s in row.steps if s.late],
        "waived_by": by,
        "waived_until": instant(until),
        "waived_reason": reason,
    }


def _table(rows: Sequence[ComplianceRow], zone: ZoneInfo) -> None:
    if not rows:
        return
    lines, styles = [], []
    for row in rows:
        day = (
            row.deadline.at.astimezone(zone).date() if row.deadline.own else row.deadline.at.date()
        )
        due = shown_date(day.isoformat(), row.deadline.precision)
        said = "; ".join(dict.fromkeys(short(f, t) for t, f in row.findings)) or row.note
        if row.waived is not None:
            by, until, reason = row.waived
            said = f"by {by}{f' until {until:%Y-%m-%d}' if until else ''}: {reason}"
        if late := [s.name for s in row.steps if s.late]:
            said += f" (late: {', '.join(late)})"
        elif row.steps:
            said += f" ({row.steps[0].name} by {row.steps[0].by:%Y-%m-%d}, {row.steps[0].actor})"
        words = _WORDS[row.state] + (f" from {row.since:%Y-%m-%d}" if row.since else "")
        name = row.deadline.name + ("" if row.deadline.confirmed else " (announced, not confirmed)")
        lines.append([words, display(row.subject.name), row.subject.client, name, due, said])
        styles.append(_STYLES.get(row.state))
    table(["STATUS", "DOMAIN", "CLIENT", "RULE", "SINCE", "WHY"], lines, styles)
