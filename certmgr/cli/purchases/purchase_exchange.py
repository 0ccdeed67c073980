"""``certmgr purchase import`` and ``export``."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.output import (
    cell,
)
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import (
    CommandContext,
    client_filter,
    pass_app,
)
from certmgr.files import write_whole
from inventory.importers import purchases_format
from inventory.store import clients, purchases


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from", "kind", type=click.Choice(["csv", "json"]), required=True, help="Format of SOURCE."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@pass_app
def import_(app: CommandContext, source: Path, kind: str, dry_run: bool) -> int:
    """Import purchases from SOURCE (certmgr help purchases).

    An invalid row is reported with its line, and the other rows are imported. A second import of
    the same file changes nothing.
    """

    read = purchases_format.read_csv if kind == "csv" else purchases_format.read_json
    zone = app.settings.provider.time_zone
    with ProgressLine().waiting(f"purchase import: {cell(source.name, 60)}"):
        result = purchases_format.apply(app.open(), read(source), zone, app.now(), dry_run=dry_run)
    # A file may have a problem in each row, so the output is limited.
    for problem in result.problems[:200]:
        click.echo(
            f"{cell(problem.where, 300)}: not imported: {cell(problem.reason, 400)}", err=True
        )
    # The plan of a large file would fill the screen, so it is limited like the problems.
    for line in result.lines[:200] if dry_run else ():
        click.echo(cell(line, 300))
    click.echo(
        f"{'Would change' if dry_run else 'Done'}: {result.rows} row(s); {result.added} purchase(s)"
        f" added, {result.changed} changed; {len(result.problems)} not imported."
    )
    # The other rows are imported, so a scheduled import must be able to notice those that were not.
    return 3 if result.problems else 0


@click.command("export")
@client_filter
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output file. Default: standard output.",
)
@pass_app
def export(
    app: CommandContext, client: str | None, output_format: str, output: Path | None
) -> None:
    """Write purchases in the format of purchase import."""

    with app.open().read() as conn:
        # An unknown client is an error, because an empty file would pass for a complete export.
        client_id = clients.find(conn, client).id if client else None
        text = purchases_format.write(purchases.listing(conn, client_id=client_id), output_format)
    if output is None:
        # The text ends with a newline already.
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())
        click.echo(f"Written to {output}.", err=True)
