"""``certmgr import`` and ``certmgr export``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click
from sqlalchemy.exc import IntegrityError

from certmgr.cli.output import cell
from certmgr.cli.shared import CommandContext, pass_app
from inventory.errors import CertmgrError, UsageError
from inventory.importers import apache, certbot, csv_format, json_format, nginx, plan, zone
from inventory.store import clients

SHOWN = 200


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "kind",
    type=click.Choice(["csv", "json", "nginx", "apache", "certbot", "zone"]),
    required=True,
    help="What SOURCE is.",
)
@click.option(
    "--client", metavar="NUMBER", help="Whose names they are (nginx, apache, certbot, zone)."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@pass_app
def import_(app: CommandContext, source: Path, kind: str, client: str | None, dry_run: bool) -> int:
    """Take records from SOURCE.

    A bad row is reported with its line, the rest goes in; importing twice changes nothing.
    """

    database = app.open()
    with database.read() as conn:
        planned = plan.snapshot(conn)
        if kind not in ("csv", "json"):
            if not client:
                raise UsageError(
                    f"--from {kind} needs --client",
                    "its names belong to somebody",
                    "Give --client NUMBER.",
                )
            client = str(clients.find(conn, client)["number"])
    if kind == "json":
        json_format.read(source, planned)
    elif kind == "csv":
        plan.add_entries(planned, csv_format.read(source))
    else:
        reader = {
            "nginx": nginx.read,
            "apache": apache.read,
            "certbot": certbot.read,
            "zone": zone.read,
        }[kind]
        plan.add_entries(planned, reader(source, client or ""))
    for problem in planned.problems[:SHOWN]:
        click.echo(f"{cell(problem.where, 300)}: left out: {cell(problem.reason, 400)}", err=True)
    if len(planned.problems) > SHOWN:
        click.echo(f"... and {len(planned.problems) - SHOWN:,} more rows were left out.", err=True)
    if dry_run:
        for number, line in enumerate(planned.lines()):
            if number == SHOWN:
                click.echo("...")
                break
            click.echo(cell(line, 300))
    else:
        try:
            with database.write(app.now()) as tx:
                plan.apply(tx, planned)
        except IntegrityError as error:
            reason = " ".join(str(error.orig).split())[:200]
            raise CertmgrError(
                "Nothing was imported",
                f"two records would share what only one may have ({reason})",
                "Correct them.",
            ) from None
    counts = planned.counts() if dry_run else planned.applied
    said = [f"{n['added']:,} {kind}(s) added" for kind, n in counts.items() if n["added"]]
    said += [f"{n['changed']:,} {kind}(s) changed" for kind, n in counts.items() if n["changed"]]
    verb = "Would change" if dry_run else "Done"
    click.echo(
        f"{verb}: {planned.rows:,} row(s); {', '.join(said) or 'nothing to change'};"
        f" {len(planned.problems):,} left out."
    )
    return 3 if planned.problems else 0


@click.command()
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    default="json",
    show_default=True,
    help="json is lossless.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Else standard output."
)
@pass_app
def export(app: CommandContext, form: str, output: Path | None) -> None:
    """Write the records: everything (json), or what is active in the documented columns (csv)."""

    with app.open().read() as conn:
        everything = plan.snapshot(conn)
    text = json_format.write(everything) if form == "json" else csv_format.write(everything)
    if output is None:
        click.echo(text, nl=False)
        return
    write_whole(output, text)
    click.echo(f"Written to {output}.", err=True)


def write_whole(path: Path, text: str) -> None:
    """The whole file or none: a temporary file beside it, fsync, one rename.

    Readable by its owner only.

    A link is followed; a device or a pipe is written to and never replaced.
    """
    name = ""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        path = path.resolve()
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise CertmgrError(
            f"{path} cannot be written", error.strerror or str(error), "Name another file."
        ) from None
