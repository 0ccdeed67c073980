"""``certmgr incident``: certificates that must be replaced by a deadline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from certmgr.cases import incident as incident_work
from certmgr.cases import incident_progress
from certmgr.cases.incident_categories import AffectedCertificate
from certmgr.cases.incident_progress import Progress
from certmgr.cli.cases.case_shared import case_service
from certmgr.cli.cases.incident_choice import IncidentCriteria, choose, require_one
from certmgr.cli.output import cell, echo_json, epoch_text, local_time, paragraph, show, table
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import UsageError
from inventory.records import IncidentItemRecord, IncidentRecord
from inventory.store import incidents
from inventory.vocabulary import IncidentCategory

# The order in which an incident is worked off; "replaced" and "automatic" need no case.
_CATEGORY_LABELS = {
    IncidentCategory.REPLACED: "already replaced",
    IncidentCategory.AUTOMATIC: "renewed by automation",
    IncidentCategory.REINSTALL: "to be installed again",
    IncidentCategory.OURS: "bought by us",
    IncidentCategory.CLIENT: "bought by the client",
    IncidentCategory.UNKNOWN: "not in the inventory",
}
_TABLE_ROWS = 200  # of the table; JSON and CSV have no limit


@click.group()
def incident() -> None:
    """Replace many certificates by a deadline.

    An incident is a CA that must revoke, a stolen key, or a broken server. certmgr groups the
    certificates by who replaces them, opens all cases at once, and tracks what is left.
    """


@incident.command("open")
@click.option(
    "--serials",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of hexadecimal serial numbers, one per line.",
)
@click.option(
    "--spki",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of public keys, such as those stolen from a CA: SHA-256 of the SPKI, one per line"
    " (hexadecimal or sha256/BASE64), or PEM. Selects every certificate that depends on one.",
)
@click.option(
    "--issuer", metavar="NAME", help="All live certificates whose issuer name contains NAME."
)
@click.option("--server", metavar="NAME", help="All live certificates on this server.")
@click.option(
    "--cause",
    type=click.Choice(["key-compromised", "ca-revokes", "server-lost"]),
    help="What happened. With server-lost the certificates are good: nothing is bought, and each"
    " host counts as done when it serves a valid certificate again. Default: server-lost with"
    " --server, key-compromised with --spki, else ca-revokes.",
)
@click.option(
    "--until",
    required=True,
    metavar="TIME",
    help="Time by which they must be replaced, such as 2026-11-26T12:00, or 12:00.",
)
@click.option(
    "--reason", required=True, metavar="TEXT", help="What happened. Each case contains it."
)
@click.option("--dry-run", is_flag=True, help="Only group the certificates; open no case.")
@format_option
@pass_app
def open_(
    app: CommandContext,
    serials: Path | None,
    spki: Path | None,
    issuer: str | None,
    server: str | None,
    cause: str | None,
    until: str,
    reason: str,
    dry_run: bool,
    output_format: str,
) -> int:
    """Open an incident, and a case for each certificate that needs one.

    The certificates are grouped into already replaced, automatic, to be installed again, ours, and
    the client's. With --dry-run, each is listed with the reason for its group.

    \b
    certmgr incident open --issuer 'Example CA' --until 2026-12-01T12:00 \\
            --reason 'the CA revokes' --dry-run
    """

    criteria = IncidentCriteria(serials, spki, issuer, server, cause)
    require_one(criteria)
    at = app.ahead(until)
    # A past deadline, or one in a mistyped year, would give cases without any time or urgency.
    if at <= app.now() or at > app.now() + timedelta(days=400):
        raise UsageError(
            "--until is out of range",
            "it must be in the future, within 400 days",
            "Correct --until.",
        )
    service = case_service(app)
    with ProgressLine().waiting("incident open: finding its certificates"):
        selected = choose(app, service, criteria)
    # A dry run ends before the first write, since each opened case assigns work.
    if dry_run:
        _show_sorting(selected.items, output_format)
        return 0
    with ProgressLine().waiting(f"incident open: {len(selected.items):,} certificate(s)"):
        row, counts = incident_work.open_incident(
            service, selected.items, selected.kind, selected.what, at, reason
        )
    _show_opened(row, counts, output_format)
    # A skipped line may be a certificate that is not replaced in time.
    return 3 if selected.skipped else 0


def _show_opened(row: IncidentRecord, counts: Counter[str], output_format: str) -> None:
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.incident-opened/1",
                "reference": row.reference,
                "until": epoch_text(row.until),
                "counts": dict(counts),
            }
        )
    else:
        _counts(counts)
        click.echo(
            f"{row.reference}: {counts['opened']} case(s) opened, {counts['joined']} existing"
            f" case(s) joined. To see what is left: certmgr incident show {row.reference}"
        )


def _show_sorting(items: Sequence[AffectedCertificate], output_format: str) -> None:
    """Print who replaces each certificate and why, without opening a case."""
    rows = [
        {
            "sort": i.category.value,
            "client": i.client,
            "serial": i.serial,
            "names": list(i.hosts),
            "reason": i.reason,
        }
        for i in items
    ]
    if output_format != "table":
        show("items", ("sort", "client", "serial", "names", "reason"), rows, output_format)
        return
    table(
        ["CATEGORY", "CLIENT", "NAMES", "REASON"],
        [[i.category.value, i.client, _names_text(i.hosts), i.reason] for i in items[:_TABLE_ROWS]],
    )
    # A table of thousands of rows cannot be read on a terminal. Programs get all rows.
    if len(items) > _TABLE_ROWS:
        click.echo(f"and {len(items) - _TABLE_ROWS:,} more: --format csv lists all")
    _counts(Counter(i.category for i in items))
    click.echo("No case was opened.")


def _names_text(names: Sequence[str]) -> str:
    # A certificate may have hundreds of names; two identify it, and the table stays narrow.
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


def _counts(counts: Counter[str]) -> None:
    """Print the number of certificates per category."""
    for category, label in _CATEGORY_LABELS.items():
        if counts[category]:
            click.echo(f"{counts[category]:6,}  {label}")


@incident.command("show")
@click.argument("reference")
@click.option("--all", "everything", is_flag=True, help="Include replaced certificates.")
@format_option
@pass_app
def show_(app: CommandContext, reference: str, everything: bool, output_format: str) -> int:
    """Show what is left of an incident. Exit code 1 until everything is verified live."""

    now = app.now()
    with app.open().read() as conn:
        row = incidents.find(conn, reference)
        progress = incident_progress.progress(conn, row, int(now.timestamp()))
    shown = [i for i in progress.items if everything or i.id not in progress.done]
    if output_format == "table":
        _show_progress(progress, shown, now)
    else:
        rows = [_item_document(progress, i) for i in shown]
        if output_format == "csv":
            show("items", tuple(_ITEM_COLUMNS), rows, output_format)
        else:
            echo_json(_document(progress, rows, now))
    # A monitoring script can wait for the exit code 0. An unknown certificate does not count,
    # because it has no owner who could replace it.
    return 1 if progress.left else 0


_ITEM_COLUMNS = ("sort", "client", "serial", "names", "case", "stands", "served_at")


def _item_document(progress: Progress, item: IncidentItemRecord) -> dict[str, Any]:
    """Return an item as in JSON and CSV."""
    values = (
        item.sort,
        item.client,
        item.serial,
        list(item.names),
        item.reference,
        progress.state(item),
        item.served,
    )
    return dict(zip(_ITEM_COLUMNS, values, strict=True))


def _document(progress: Progress, rows: Sequence[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """Return what is left of an incident, as in JSON."""
    row = progress.incident
    return {
        "schema": "certmgr.incident/1",
        "reference": row.reference,
        "kind": row.kind,
        "what": row.what,
        "reason": row.reason,
        "until": epoch_text(row.until),
        "hours_left": round(_hours_left(row, now), 1),
        "closed": epoch_text(row.closed_at),
        "left": len(progress.left),
        "counts": {
            c.value: {"all": total, "done": done} for c, (done, total) in progress.counts().items()
        },
        "items": rows,
    }


def _hours_left(row: IncidentRecord, now: datetime) -> float:
    return (row.until - now.timestamp()) / 3600


def _show_progress(progress: Progress, items: Sequence[IncidentItemRecord], now: datetime) -> None:
    """Print what is left of an incident."""
    row = progress.incident
    hours = _hours_left(row, now)
    paragraph(f"{row.reference} {cell(row.what)}: {cell(row.reason)}")
    paragraph(
        # A passed deadline does not end the incident, so the time overdue is shown.
        f"Until {local_time(row.until)},"
        f" {f'{hours:.1f} hours left' if hours >= 0 else f'{-hours:.1f} hours overdue'}; opened"
        f" {local_time(row.opened_at)} by {cell(row.by)}"
    )
    counts = progress.counts()
    for category, label in _CATEGORY_LABELS.items():
        done, total = counts[category]
        if total:
            click.echo(f"  {done:6,} of {total:6,}  {label}")
    if items:
        table(
            ["CATEGORY", "CLIENT", "CASE", "STATUS", "SERVED AT", "NAMES"],
            [
                [i.sort, i.client, i.reference, progress.state(i), i.served, " ".join(i.names[:3])]
                for i in items[:_TABLE_ROWS]
            ],
        )
    click.echo(
        "Closed: every certificate was replaced or is no longer served."
        if row.closed_at
        else f"{len(progress.left)} left."
    )


@incident.command("list")
@click.option("--all", "everything", is_flag=True, help="Include closed incidents.")
@format_option
@pass_app
def list_(app: CommandContext, everything: bool, output_format: str) -> None:
    """List incidents, the next deadline first."""

    # All incidents are counted with one read, so that their numbers fit together.
    with app.open().read() as conn:
        found = incident_progress.progress_of(
            conn, incidents.listing(conn, ended=everything), int(app.now().timestamp())
        )
    rows = [
        {
            "reference": p.incident.reference,
            "kind": p.incident.kind,
            "what": p.incident.what,
            "until": epoch_text(p.incident.until),
            "reason": p.incident.reason,
            "certificates": len(p.items),
            "left": len(p.left),
            "closed": epoch_text(p.incident.closed_at),
        }
        for p in found
    ]
    show(
        "incidents",
        ("reference", "kind", "what", "until", "certificates", "left", "closed", "reason"),
        rows,
        output_format,
        "There are no incidents.",
    )
