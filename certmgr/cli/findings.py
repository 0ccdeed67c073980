"""``certmgr finding``: list, accept and assign findings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from certmgr.checks.codes import CODES
from certmgr.cli.output import epoch_text, instant, show
from certmgr.cli.shared import CommandContext, client_filter, format_option, needs, pass_app
from inventory.store import clients, domains, endpoints, findings
from inventory.targets import Target, parse
from inventory.vocabulary import Finding
from notifiers.wording.sentences import sentence


@click.group()
def finding() -> None:
    """Manage the faults and remarks that scans found."""


@finding.command("list")
@client_filter
@click.option("--domain", metavar="NAME", help="Only this domain.")
@click.option("--code", metavar="CODE", help="Only this finding code.")
@click.option("--closed", is_flag=True, help="Include closed findings.")
@click.option("--accepted", is_flag=True, help="List the acceptances instead.")
@click.option(
    "--assigned", is_flag=True, help="List the assigned findings instead: who fixes them by when."
)
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    domain: str | None,
    code: str | None,
    closed: bool,
    accepted: bool,
    assigned: bool,
    output_format: str,
) -> None:
    """List findings, or the acceptances or assignments in force."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        domain_id = domains.find(conn, domain).id if domain else None
        if accepted or assigned:
            # The audit log and the database call an assignment "take".
            kind = "take" if assigned else "accept"
            # The filters select acceptances by their exact scope.
            known = [
                a
                for a in findings.acceptances(conn, kind=kind)
                if client_id in (None, a.client_id) and domain_id in (None, a.domain_id)
            ]
            rows: list[dict[str, Any]] = [
                {
                    "id": a.id,
                    "code": a.code,
                    "until": instant(a.until),
                    "by": a.by,
                    "reason": a.reason,
                    "client_id": a.client_id,
                    "domain_id": a.domain_id,
                    "endpoint_id": a.endpoint_id,
                }
                for a in known
            ]
            show(
                "acceptances",
                ("id", "code", "until", "by", "reason"),
                rows,
                output_format,
                "No finding is assigned." if assigned else "No finding is accepted.",
            )
            return
        finding_rows = findings.listing(
            conn, client_id=client_id, domain_id=domain_id, code=code, closed=closed
        )

    rows = []
    for row in finding_rows:
        target = Target(row.host, row.port, row.protocol)
        stored = Finding(row.code, row.severity, tuple(row.addresses), row.evidence)
        rows.append(
            {
                "client": row.client,
                "target": target.key,
                "code": row.code,
                "severity": row.severity,
                "actor": row.actor,
                "opened_at": epoch_text(row.opened_at),
                "closed_at": epoch_text(row.closed_at),
                "addresses": row.addresses,
                "detail": sentence(stored, target),
            }
        )
    columns = ("client", "target", "severity", "code", "actor", "opened_at", "detail")
    show(
        "findings",
        (*columns[:6], "closed_at", "detail") if closed else columns,
        rows,
        output_format,
        "There are no open findings.",
    )


@finding.command()
@click.argument("code")
@click.option("--until", metavar="DATE", help="Date until which it does not count.")
@click.option("--reason", metavar="TEXT", help="Why it is accepted.")
@click.option("--client", metavar="NUMBER", help="Only at this client.")
@click.option("--domain", metavar="NAME", help="Only at this domain.")
@click.option("--endpoint", metavar="TARGET", help="Only at this endpoint.")
@pass_app
def accept(
    app: CommandContext,
    code: str,
    until: str | None,
    reason: str | None,
    client: str | None,
    domain: str | None,
    endpoint: str | None,
) -> None:
    """Accept a finding: until a date it does not count in verdicts and exit codes."""
    # Checked before --reason, so that each missing option is reported by name.
    needs(until, "--until")
    number, end = _record(
        app, "accept", code, until, needs(reason, "--reason"), client, domain, endpoint, None
    )
    click.echo(f"Acceptance {number}: {code} does not count until {end:%Y-%m-%d %H:%M} UTC.")


@finding.command()
@click.argument("code")
@click.option("--by", metavar="NAME", help="Administrator who fixes it.")
@click.option("--until", metavar="DATE", help="Date by which it will be fixed.")
@click.option("--reason", metavar="TEXT", default="taken", help="What will be done.")
@click.option("--client", metavar="NUMBER", help="Only at this client.")
@click.option("--domain", metavar="NAME", help="Only at this domain.")
@click.option("--endpoint", metavar="TARGET", help="Only at this endpoint.")
@pass_app
def assign(
    app: CommandContext,
    code: str,
    by: str | None,
    until: str | None,
    reason: str,
    client: str | None,
    domain: str | None,
    endpoint: str | None,
) -> None:
    """Assign a finding to an administrator, with the date by which it will be fixed.

    The client then reads "We are fixing it", with that date.
    """
    number, end = _record(
        app, "take", code, until, reason, client, domain, endpoint, needs(by, "--by")
    )
    click.echo(
        f"{number}: {code} is assigned to {by} until {end:%Y-%m-%d %H:%M} UTC. To end the"
        f" assignment: certmgr finding withdraw {number}"
    )


def _record(
    app: CommandContext,
    kind: str,
    code: str,
    until: str | None,
    reason: str,
    client: str | None,
    domain: str | None,
    endpoint: str | None,
    by: str | None,
) -> tuple[int, datetime]:
    """Record an acceptance or an assignment; return its number and its end."""
    # An acceptance always ends, so that a fault is not forgotten.
    end = app.moment(needs(until, "--until"))
    assert end is not None
    with app.open().write(app.now()) as tx:
        scope = {
            "client_id": clients.find(tx.conn, client).id if client else None,
            "domain_id": domains.find(tx.conn, domain).id if domain else None,
            "endpoint_id": endpoints.find(tx.conn, parse(endpoint)).id if endpoint else None,
        }
        return (
            findings.accept(tx, code, frozenset(CODES), end, reason, **scope, kind=kind, by=by),
            end,
        )


@finding.command()
# Larger numbers do not fit an integer column.
@click.argument("number", type=click.IntRange(1, (1 << 63) - 1))
@pass_app
def withdraw(app: CommandContext, number: int) -> None:
    """End an acceptance or an assignment now."""

    with app.open().write(app.now()) as tx:
        findings.withdraw(tx, number)
    click.echo(f"{number} was withdrawn.")
