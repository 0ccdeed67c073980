"""``certmgr import`` and ``certmgr export``."""

from __future__ import annotations

from pathlib import Path

import click
from sqlalchemy.exc import IntegrityError

from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.files import write_whole
from inventory.errors import CertmgrError, UsageError
from inventory.files import refuse_special
from inventory.importers import (
    apache,
    certbot,
    csv_format,
    json_format,
    nginx,
    plan_rows,
    plan_store,
    zone,
)
from inventory.store import clients

MAX_SHOWN = 200  # a file may have any number of bad rows


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "kind",
    type=click.Choice(["csv", "json", "nginx", "apache", "certbot", "zone"]),
    required=True,
    help="Format of SOURCE.",
)
@click.option(
    "--client", metavar="NUMBER", help="Client who owns the names (nginx, apache, certbot, zone)."
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@pass_app
def import_(app: CommandContext, source: Path, kind: str, client: str | None, dry_run: bool) -> int:
    """Import records from SOURCE.

    A bad row is reported with its line, and the other rows are imported. A second import of the
    same file changes nothing.
    """

    refuse_special(source)
    database = app.open()
    with database.read() as conn:
        planned = plan_store.snapshot(conn)
        # CSV and JSON name the client per row; a server configuration does not.
        if kind not in ("csv", "json"):
            if not client:
                raise UsageError(
                    f"--from {kind} needs --client",
                    "the names in this format have no client",
                    "Give --client NUMBER.",
                )
            client = str(clients.find(conn, client).number)
    if kind == "json":
        json_format.read(source, planned)
    elif kind == "csv":
        plan_rows.add_rows(planned, csv_format.read(source))
    else:
        reader = {
            "nginx": nginx.read,
            "apache": apache.read,
            "certbot": certbot.read,
            "zone": zone.read,
        }[kind]
        plan_rows.add_rows(planned, reader(source, client or ""))
    for problem in planned.problems[:MAX_SHOWN]:
        click.echo(f"{cell(problem.where, 300)}: skipped: {cell(problem.reason, 400)}", err=True)
    if len(planned.problems) > MAX_SHOWN:
        click.echo(
            f"... and {len(planned.problems) - MAX_SHOWN:,} more rows were skipped.", err=True
        )
    if dry_run:
        for number, line in enumerate(planned.lines()):
            if number == MAX_SHOWN:
                click.echo("...")
                break
            click.echo(cell(line, 300))
    else:
        try:
            with database.write(app.now()) as tx:
                plan_store.apply(tx, planned)
        except IntegrityError as error:
            # The database enforces what the plan could not foresee, such as a concurrent change.
            reason = " ".join(str(error.orig).split())[:200]
            raise CertmgrError(
                "Nothing was imported",
                f"two records have the same unique value ({reason})",
                "Correct one of them and import again.",
            ) from None
    # A dry run counts what is planned; an import counts what was stored.
    counts = planned.counts() if dry_run else planned.applied
    totals = [f"{n['added']:,} {kind}(s) added" for kind, n in counts.items() if n["added"]]
    totals += [f"{n['changed']:,} {kind}(s) changed" for kind, n in counts.items() if n["changed"]]
    verb = "Would change" if dry_run else "Done"
    click.echo(
        f"{verb}: {planned.rows:,} row(s); {', '.join(totals) or 'nothing to change'};"
        f" {len(planned.problems):,} skipped."
    )
    # A scheduled import must fail visibly if a row was skipped.
    return 3 if planned.problems else 0


@click.command()
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["csv", "json"]),
    default="json",
    show_default=True,
    help="Output format; json is lossless.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write. Default: standard output.",
)
@pass_app
def export(app: CommandContext, output_format: str, output: Path | None) -> None:
    """Export all records (json), or the active ones in the documented columns (csv)."""

    with app.open().read() as conn:
        snapshot = plan_store.snapshot(conn)
    text = json_format.write(snapshot) if output_format == "json" else csv_format.write(snapshot)
    if output is None:
        click.echo(text, nl=False)
        return
    write_whole(output, text.encode())
    click.echo(f"Written to {output}.", err=True)
