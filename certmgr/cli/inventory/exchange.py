"""``certmgr export``."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.files import write_whole
from inventory.importers import csv_export, json_format, plan_store


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

    with ProgressLine().waiting("export"):
        with app.open().read() as conn:
            # All in one transaction: records of two moments may contradict each other.
            snapshot = plan_store.snapshot(conn)
        write = json_format.write if output_format == "json" else csv_export.write
        text = write(snapshot)
    if output is None:
        click.echo(text, nl=False)
        return
    # The file has the contacts of all clients, so only its owner may read it. The message goes to
    # stderr, because FILE may be /dev/stdout.
    write_whole(output, text.encode())
    click.echo(f"Written to {output}.", err=True)
