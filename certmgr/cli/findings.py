"""``certmgr finding``: list, accept, withdraw."""

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
    """Faults and remarks that scans found, and their acceptance."""


@finding.command("list")
@client_filter
@click.option("--domain", metavar="NAME", help="Only this domain.")
@click.option("--code", metavar="CODE", help="Only this finding code.")
@click.option("--closed", is_flag=True, help="Also what was closed.")
@click.option("--accepted", is_flag=True, help="Show the acceptances instead.")
@click.option("--taken", is_flag=True, help="Show who mends what by when instead.")
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    domain: str | None,
    code: str | None,
    closed: bool,
    accepted: bool,
    taken: bool,
    form: str,
) -> None:
    """Show findings, or the acceptances in force."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        domain_id = domains.find(conn, domain)["id"] if domain else None
        if accepted or taken:
            kind = "take" if taken else "accept"
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
                form,
                "Nothing is taken." if taken else "Nothing is accepted.",
            )
            return
        found = findings.listing(
            conn, client_id=client_id, domain_id=domain_id, code=code, closed=closed
        )

    rows = []
    for row in found:
        target = Target(row["host"], row["port"], row["protocol"])
        one = Finding(row["code"], row["severity"], tuple(row["addresses"]), row["evidence"])
        rows.append(
            {
                "client": row["client"],
                "target": target.key,
                "code": row["code"],
                "severity": row["severity"],
                "actor": row["actor"],
                "opened_at": epoch_text(row["opened_at"]),
                "closed_at": epoch_text(row["closed_at"]),
                "addresses": row["addresses"],
                "detail": sentence(one, target),
            }
        )
    columns = ("client", "target", "severity", "code", "actor", "opened_at", "detail")
    show(
        "findings",
        (*columns[:6], "closed_at", "detail") if closed else columns,
        rows,
        form,
        "There are no open findings.",
    )


@finding.command()
@click.argument("code")
@click.option("--until", metavar="DATE", help="When it counts again.")
@click.option("--reason", metavar="TEXT", help="Why it is accepted.")
@click.option("--client", metavar="NUMBER", help="For this client.")
@click.option("--domain", metavar="NAME", help="For this domain.")
@click.option("--endpoint", metavar="TARGET", help="For this endpoint.")
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
    """Take a known fault out of verdicts and exit codes until a date."""
    needs(until, "--until")
    number, moment = _record(
        app, "accept", code, until, needs(reason, "--reason"), client, domain, endpoint, None
    )
    click.echo(f"Acceptance {number}: {code} does not count until {moment:%Y-%m-%d %H:%M} UTC.")


@finding.command()
@click.argument("code")
@click.option("--by", metavar="NAME", help="Who mends it.")
@click.option("--until", metavar="DATE", help="By when it will be mended.")
@click.option("--reason", metavar="TEXT", default="taken", help="What will be done.")
@click.option("--client", metavar="NUMBER", help="For this client.")
@click.option("--domain", metavar="NAME", help="For this domain.")
@click.option("--endpoint", metavar="TARGET", help="For this endpoint.")
@pass_app
def take(
    app: CommandContext,
    code: str,
    by: str | None,
    until: str | None,
    reason: str,
    client: str | None,
    domain: str | None,
    endpoint: str | None,
) -> None:
    """Say who of us mends a fault and by when: the client then reads "We are fixing it" with that
    date.
    """
    number, moment = _record(
        app, "take", code, until, reason, client, domain, endpoint, needs(by, "--by")
    )
    click.echo(
        f"{number}: {by} mends {code} by {moment:%Y-%m-%d %H:%M} UTC. End it with certmgr finding"
        f" withdraw {number}."
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
    moment = app.moment(needs(until, "--until"))
    assert moment is not None
    with app.open().write(app.now()) as tx:
        scope = {
            "client_id": clients.find(tx.conn, client)["id"] if client else None,
            "domain_id": domains.find(tx.conn, domain)["id"] if domain else None,
            "endpoint_id": endpoints.find(tx.conn, parse(endpoint))["id"] if endpoint else None,
        }
        return (
            findings.accept(tx, code, frozenset(CODES), moment, reason, **scope, kind=kind, by=by),
            moment,
        )


@finding.command()
@click.argument("number", type=click.IntRange(1, (1 << 63) - 1))
@pass_app
def withdraw(app: CommandContext, number: int) -> None:
    """End an acceptance, or a promise to mend, now."""

    with app.open().write(app.now()) as tx:
        findings.withdraw(tx, number)
    click.echo(f"Acceptance {number} was withdrawn.")
