"""``certmgr revocation``: the lists of the CAs, and CAA and TLSA in the DNS."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from certmgr.acme.caa_identity import identities_for
from certmgr.cli.output import csv_text, echo_json, instant, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.revocation.job import plan, run
from inventory.store import clients, findings
from inventory.targets import Target
from inventory.vocabulary import Finding
from notifiers.wording.sentences import sentence

if TYPE_CHECKING:
    from certmgr.revocation.job import RevocationSummary
    from inventory.db.database import Database

CODES = ("revoked", "revocation-unknown", "caa-mismatch", "dane-mismatch")
COLUMNS = ("target", "client", "code", "severity", "actor", "addresses", "detail")
FAILED = 3


@click.command()
@client_filter
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Ask also what is not due: every list, and the DNS of every endpoint.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be asked.")
@format_option
@pass_app
def revocation(
    app: CommandContext, client: str | None, every: bool, dry_run: bool, form: str
) -> int:
    """Asks the CAs' lists of revoked certificates, and the DNS whether it announces what is served
    (DANE) and allows our CA (CAA).

    A list is asked when it is due, the DNS once a day. The run for cron does the same after its
    scan. What was found is listed. Exits 3 where most of it failed.
    """
    database = app.open()
    if dry_run:
        return _planned(app, database, client, every, form)

    ours = identities_for(database, app.settings)
    with _progress() as progress:
        summary = run(
            database,
            app.settings,
            app.now(),
            identities_for=ours,
            client=client,
            every=every,
            progress=progress,
        )
    rows = _rows(database, client)
    if form == "json":
        echo_json(_document(summary, rows))
    elif form == "csv":
        click.echo(csv_text(COLUMNS, rows), nl=False)
    else:
        _said(summary, rows)
    return FAILED if summary.suspect else 0


def _planned(
    app: CommandContext, database: Database, client: str | None, every: bool, form: str
) -> int:
    made = plan(database, app.settings, app.now(), client=client, every=every)
    rows = [{"url": u, "certificates": n} for u, n in sorted(made.lists.items())]
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.revocation/1",
                "dry_run": True,
                "lists": rows,
                "endpoints": made.endpoints,
            }
        )
    elif form == "csv":
        click.echo(csv_text(("url", "certificates"), rows), nl=False)
    else:
        if rows:
            table(("LIST", "CERTIFICATES"), [(r["url"], r["certificates"]) for r in rows])
        click.echo(
            f"{len(rows)} list(s) would be fetched, and the DNS asked about {made.endpoints}"
            " endpoint(s). Nothing was asked."
        )
    return 0


def _rows(database: Database, client: str | None) -> list[dict[str, Any]]:
    """The open findings that this job is about: of one client alone, where one is named."""

    with database.read() as conn:
        client_id = int(clients.find(conn, client)["id"]) if client else None
        listed = findings.listing(conn, client_id=client_id)
    rows = []
    for row in listed:
        if row["code"] not in CODES:
            continue
        target = Target(row["host"], row["port"], row["protocol"])
        one = Finding(
            code=row["code"],
            severity=row["severity"],
            addresses=tuple(row["addresses"]),
            evidence=row["evidence"],
            actor=row["actor"],
            outcome=row["outcome"],
        )
        rows.append(
            {
                "target": target.key,
                "client": row["client"],
                "code": one.code,
                "severity": one.severity,
                "actor": one.actor,
                "outcome": one.outcome,
                "addresses": list(one.addresses),
                "detail": sentence(one, target),
                "evidence": one.evidence,
            }
        )
    return rows


def _document(summary: RevocationSummary, rows: list[dict[str, Any]]) -> dict[str, Any]:
    dns = None
    if summary.policy is not None:
        dns = {
            "endpoints": summary.policy.endpoints,
            "asked": summary.policy.asked,
            "failed": summary.policy.failed,
        }
    return {
        "schema": "certmgr.revocation/1",
        "dry_run": False,
        "lists": {
            "certificates": summary.lists.leaves,
            "fetched": summary.lists.fetched,
            "failed": [
                {"url": u, "reason": why} for u, why in sorted(summary.lists.problems.items())
            ],
        },
        "dns": dns,
        "dns_asked_at": instant(summary.dns_asked_at),
        "opened": summary.opened,
        "closed": summary.closed,
        "suspect": summary.suspect,
        "findings": rows,
    }


def _said(summary: RevocationSummary, rows: list[dict[str, Any]]) -> None:
    if rows:
        table([c.upper() for c in COLUMNS], [[r[c] for c in COLUMNS] for r in rows])
    done = summary.lists
    click.echo(
        f"{done.leaves} certificate(s) asked about, {done.fetched} list(s) fetched,"
        f" {len(done.problems)} of them in vain."
    )
    if done.problems:
        table(("LIST", "WHY IT FAILED"), sorted(done.problems.items())[:20])
    if summary.policy is not None:
        click.echo(
            f"The DNS was asked about {summary.policy.endpoints} endpoint(s);"
            f" {summary.policy.failed} of {summary.policy.asked} questions failed."
        )
    elif summary.dns_asked_at is not None:
        click.echo(f"The DNS was asked at {instant(summary.dns_asked_at)}; --all asks again.")
    click.echo(f"{summary.opened} finding(s) opened, {summary.closed} closed.")
    for words in summary.suspect:
        click.echo(f"Suspect: {words}. Nothing was opened as unknown.")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    """A line on stderr, where it is a terminal."""

    if not sys.stderr.isatty():
        yield None
        return

    def show(what: str, done: int, planned: int) -> None:
        click.echo(f"\r{done} of {planned} {what} ", nl=False, err=True)

    yield show
    click.echo("\r" + " " * 40 + "\r", nl=False, err=True)
