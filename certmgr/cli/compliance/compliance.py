"""``certmgr compliance``: compliance of each domain with each dated rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cli.compliance.compliance_tables import (
    STATUS_LABELS,
    planned_texts,
    show_domains,
    show_rules,
    show_summary,
    show_total,
)
from certmgr.cli.compliance.deadlines import shown_date
from certmgr.cli.known_words import require_known
from certmgr.cli.output import cell, echo_json, instant, show
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.compliance.assessment import judge
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.inspection.client_scope import ClientScope
from inventory.errors import NotFound
from inventory.names import display
from inventory.store import clients, domains
from inventory.store.suggestions import missing_word
from notifiers.wording.sentences import sentence

if TYPE_CHECKING:
    from certmgr.compliance.assessment import ComplianceRow
    from certmgr.compliance.milestones import Deadline
    from inventory.db.database import Database

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


@click.command()
@client_filter
@tag_filter
@click.option("--domain", "domain_name", metavar="NAME", help="Only this domain, rule by rule.")
@click.option(
    "--as-of",
    metavar="DATE",
    help="Assess at DATE: a past date uses what was known then, a future date what is known now.",
)
@click.option("--deadline", "name", metavar="NAME", help="Only this deadline or milestone.")
@click.option(
    "--all", "everything", is_flag=True, help="Table: list domains, also those that comply."
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 even if there are faults.")
@format_option
@pass_app
def compliance(
    app: CommandContext,
    /,
    client: str | None,
    tag: str | None,
    domain_name: str | None,
    as_of: str | None,
    name: str | None,
    everything: bool,
    exit_zero: bool,
    output_format: str,
) -> int:
    """Assess each domain against each dated rule.

    It shows how many domains comply with each rule. With --deadline, --client or --all, it lists
    the domains, and with --domain the rules of one domain. A domain complies, does not comply,
    will not comply from a date, is undetermined, or is waived. Exit code 1 if a domain does not
    comply because of a fault of severity high or critical.

    \b
    certmgr compliance --deadline chrome-68
    certmgr compliance --domain shop.example.com
    """
    now = app.now()
    at = app.moment(as_of)
    database = app.open()
    with database.read() as conn:
        require_known(conn, tag=tag)
    # A past assessment must not use deadlines that were added later.
    deadlines = _selected(
        all_deadlines(database, at if at is not None and at <= now else None), name
    )
    if domain_name is not None:
        # The owner limits the output even without --client: a domain must not be shown with the
        # names of other clients.
        client, domain_id = _owner(database, domain_name, client)
    with ProgressLine().waiting("compliance"):
        facts, _ = load_domain_facts(database, now, as_of=at, client=client, tag=tag)
        if domain_name is not None:
            facts = [f for f in facts if f.domain_id == domain_id]
        rows = judge(facts, deadlines, at or now)
    if client is not None:
        rows = _scoped(database, client, rows)
    shown = [r for r in rows if everything or r.state != "complies"]
    # JSON and CSV have the rows that comply too: a program counts them, and a spreadsheet that left
    # them out would not prove compliance.
    if output_format == "json":
        echo_json(_document(rows, at or now))
    elif output_format == "csv":
        show("compliance", _COLUMNS, [row_values(r) for r in rows], output_format)
    else:
        zone = ZoneInfo(app.settings.provider.time_zone)
        if domain_name is not None:
            show_rules(shown, zone)
        elif name is not None or client is not None or everything:
            show_domains(shown)
        else:
            show_summary(rows, deadlines)
        show_total(rows)
    return 1 if _severe(rows) and not exit_zero else 0


def _scoped(database: Database, client: str, rows: list[ComplianceRow]) -> list[ComplianceRow]:
    """Return the rows of one client without names of others."""
    with database.read() as conn:
        found = [f for row in rows for _, f in row.findings]
        scope = ClientScope.read(conn, clients.find(conn, client).id, found)
    return [
        replace(r, findings=tuple((t, scope.finding(f, r.codes_at(t))) for t, f in r.findings))
        for r in rows
    ]


def _selected(deadlines: tuple[Deadline, ...], name: str | None) -> tuple[Deadline, ...]:
    """Return all deadlines, or the one with a name."""
    if name is None:
        return deadlines
    found = tuple(d for d in deadlines if d.name == name)
    if not found:
        # A misspelt name would select no rows, and the command would exit with 0.
        known = [d.name for d in deadlines]
        raise missing_word("deadline", name, known, "certmgr deadline list")
    # Some milestones are announcements without a rule that a scan could check.
    if not found[0].rule:
        raise NotFound(
            f"Compliance with '{cell(name, 60)}' cannot be checked",
            "it is for information only and has no rule",
            "See certmgr deadline list.",
        )
    return found


def _owner(database: Database, name: str, client: str | None) -> tuple[str, int]:
    """Return the client of a domain, and the id of the domain."""
    with database.read() as conn:
        domain = domains.find(conn, name)
        listed = domains.listing(conn, client_id=domain.client_id, retired=True)
    number = next(d.client for d in listed if d.id == domain.id)
    if client is not None and client != number:
        raise NotFound(
            # The owner is not named: the answer may be passed on to the client of --client.
            f"{display(name)} is not a domain of the client {cell(client, 60)}",
            "",
            "Leave out --client, or see certmgr domain list.",
        )
    return number, domain.id


def _severe(rows: Sequence[ComplianceRow]) -> bool:
    # Lower severities do not fail a scheduled job.
    return any(
        r.state == "does-not-comply"
        and any(f.severity in ("critical", "high") for _, f in r.findings)
        for r in rows
    )


def _document(rows: Sequence[ComplianceRow], at: datetime) -> dict[str, Any]:
    """Return ``certmgr.compliance/1``."""
    counts = Counter(str(r.state) for r in rows)
    return {
        "schema": "certmgr.compliance/1",
        "as_of": instant(at),
        "rows": [row_values(r) for r in rows],
        "summary": {
            "domains": len({r.subject.domain_id for r in rows}),
            **{s: counts.get(s, 0) for s in STATUS_LABELS},
        },
    }


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
            # A deadline of the provider is exact to the second. Of a milestone, only the month or
            # year may be known.
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
        "planned": planned_texts(row),
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
