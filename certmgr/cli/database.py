"""``certmgr database``: upgrade, backup, restore, check."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.shared import CommandContext, pass_app
from inventory.db import maintenance as upkeep
from inventory.db.database import HEAD, make_engine, shown
from inventory.db.opening import open_database
from inventory.errors import DatabaseError


@click.group()
def database() -> None:
    """Migrate, back up, restore and check the database."""


@database.command()
@pass_app
def upgrade(app: CommandContext) -> None:
    """Bring the database to this program's version (an SQLite file is backed up first)."""

    opened = open_database(app.url, migrate=True, clock=app.clock)
    click.echo(f"{shown(opened.engine.url)} is at version {HEAD}.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_app
def backup(app: CommandContext, file: Path) -> None:
    """Write a whole copy to FILE, which must not exist. Others may go on working."""

    upkeep.backup(app.open().engine, file)
    click.echo(f"Backup written to {file}.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def restore(app: CommandContext, file: Path, yes: bool) -> None:
    """Put the backup FILE in the place of the database. What was there is kept beside it."""

    engine = make_engine(app.url)
    if not yes:
        click.confirm(f"Replace {shown(engine.url)} by {file}?", abort=True)
    kept = upkeep.restore(engine, file, clock=app.clock)
    app.open()  # migrates an older backup
    click.echo(f"Restored from {file}." + (f" The previous database is {kept}." if kept else ""))


@database.command()
@pass_app
def check(app: CommandContext) -> None:
    """Look for damage: integrity, references, permissions."""

    opened = app.open()
    problems = upkeep.check(opened)
    for problem in problems:
        click.echo(f"fault: {problem}")
    if problems:
        raise DatabaseError(
            f"The database has {len(problems)} problem(s)",
            "",
            "Restore a backup: certmgr database restore FILE.",
        )
    click.echo("ok: the database is sound.")
