"""``certmgr revocation``: revocation lists of CAs, and CAA and TLSA records in the DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from certmgr.acme.preflight.caa_identity import identities_for
from certmgr.cli.output import csv_text, echo_json, instant, local_time, paragraph, table
from certmgr.cli.progress import progress_line
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.config.context import Context
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
# The exit code of a run whose result is not reliable.
FAILED = 3

# What the job counts -> its title on a terminal, and what it waits for.
_WAITS = {
    "lists": ("lists", "waits for the servers of the CAs"),
    "names": ("DNS of names", "waits for name servers"),
}


@click.command()
@client_filter
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Check all lists and the DNS of all endpoints, even if they are not due.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be checked.")
@format_option
@pass_app
def revocation(
    app: CommandContext, client: str | None, every: bool, dry_run: bool, output_format: str
) -> int:
    """Check revocation lists, and the CAA and TLSA (DANE) records in the DNS.

    A list is fetched when it is due, and the DNS is checked once a day. certmgr run does the same
    after its scan. Prints the open findings. Exits 3 if most checks failed.

    \b
    certmgr revocation --dry-run
    """
    context = app.context()
    # A dry run returns before any connection to a CA or a name server.
    if dry_run:
        return _planned(context, client, every, output_format)

    ca_identities = identities_for(context)
    with progress_line() as line:

        def counted(what: str, done: int, planned: int) -> None:
            title, waits_for = _WAITS[what]
            line.counted(f"revocation: {title}", done, planned, waits_for)

        summary = run(
            context,
            identities_for=ca_identities,
            client=client,
            every=every,
            progress=counted,
        )
    # The findings are read after the run, so that they include what it opened and closed.
    rows = _rows(context.database, client)
    if output_format == "json":
        echo_json(_document(summary, rows))
    elif output_format == "csv":
        click.echo(csv_text(COLUMNS, rows), nl=False)
    else:
        _show_summary(summary, rows)
    return FAILED if summary.suspect else 0


def _planned(context: Context, client: str | None, every: bool, output_format: str) -> int:
    planned = plan(context, client=client, every=every)
    rows = [{"url": u, "certificates": n} for u, n in sorted(planned.lists.items())]
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.revocation/1",
                "dry_run": True,
                "lists": rows,
                "endpoints": planned.endpoints,
            }
        )
    elif output_format == "csv":
        click.echo(csv_text(("url", "certificates"), rows), nl=False)
    else:
        if rows:
            table(("LIST", "CERTIFICATES"), [(r["url"], r["certificates"]) for r in rows])
        paragraph(
            f"{len(rows)} list(s) would be fetched, and the DNS of {planned.endpoints} endpoint(s)"
            " would be checked. Nothing was checked."
        )
    return 0


def _rows(database: Database, client: str | None) -> list[dict[str, Any]]:
    """Return the open findings of this job, of one client or of all."""

    with database.read() as conn:
        # An unknown client is an error: an empty list would mean that nothing is revoked.
        client_id = int(clients.find(conn, client).id) if client else None
        listed = findings.listing(conn, client_id=client_id)
    rows = []
    for row in listed:
        # Findings with other codes belong to the scan.
        if row.code not in CODES:
            continue
        target = Target(row.host, row.port, row.protocol)
        finding = Finding(
            code=row.code,
            severity=row.severity,
            addresses=tuple(row.addresses),
            evidence=row.evidence,
            actor=row.actor,
            outcome=row.outcome,
        )
        rows.append(
            {
                "target": target.key,
                "client": row.client,
                "code": finding.code,
                "severity": finding.severity,
                "actor": finding.actor,
                "outcome": finding.outcome,
                "addresses": list(finding.addresses),
                "detail": sentence(finding, target),
                "evidence": finding.evidence,
            }
        )
    return rows


def _document(summary: RevocationSummary, rows: list[dict[str, Any]]) -> dict[str, Any]:
    # null means that the DNS was not due. Zeros would mean that it was checked without result.
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


def _show_summary(summary: RevocationSummary, rows: list[dict[str, Any]]) -> None:
    if rows:
        # The findings come before the statistics, because they need an action.
        table([c.upper() for c in COLUMNS], [[r[c] for c in COLUMNS] for r in rows])
    lists = summary.lists
    paragraph(
        f"{lists.leaves} certificate(s) checked, {lists.fetched} list(s) fetched,"
        f" {len(lists.problems)} of them without success."
    )
    if lists.problems:
        # If many lists fail, the first ones show what kind of problem it is.
        table(("LIST", "WHY IT FAILED"), sorted(lists.problems.items())[:20])
    if summary.policy is not None:
        paragraph(
            f"The DNS of {summary.policy.endpoints} endpoint(s) was checked;"
            f" {summary.policy.failed} of {summary.policy.asked} queries failed."
        )
    # The DNS is checked once a day, so the output states how old its result is.
    elif summary.dns_asked_at is not None:
        paragraph(
            f"The DNS was last checked at {local_time(summary.dns_asked_at)}; use --all to recheck."
        )
    paragraph(f"{summary.opened} finding(s) opened, {summary.closed} closed.")
    # If most checks failed, that is not evidence against a site.
    for reason in summary.suspect:
        paragraph(f"Suspect: {reason}. No finding was opened as unknown.")
