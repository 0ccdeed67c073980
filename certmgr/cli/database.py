"""``certmgr database``: upgrade, backup, restore, check."""

from __future__ import annotations

from pathlib import Path

import click

from certmgr.cli.shared import App, pass_app


@click.group()
def database() -> None:
    """Migrate, back up, restore and check the database."""


@database.command()
@pass_app
def upgrade(app: App) -> None:
    """Bring the database to this program's version (an SQLite file is backed up first)."""
    from inventory.database import HEAD, open_database, shown

    opened = open_database(app.url, migrate=True, clock=app.clock)
    click.echo(f"{shown(opened.engine.url)} is at version {HEAD}.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_app
def backup(app: App, file: Path) -> None:
    """Write a whole copy to FILE, which must not exist. Others may go on working."""
    from inventory import upkeep

    upkeep.backup(app.open().engine, file)
    click.echo(f"Backup written to {file}.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def restore(app: App, file: Path, yes: bool) -> None:
    """Put the backup FILE in the place of the database. What was there is kept beside it."""
    from inventory import upkeep
    from inventory.database import make_engine, shown

    engine = make_engine(app.url)
    if not yes:
        click.confirm(f"Replace {shown(engine.url)} by {file}?", abort=True)
    kept = upkeep.restore(engine, file, clock=app.clock)
    app.open()  # migrates an older backup
    click.echo(f"Restored from {file}." + (f" The previous database is {kept}." if kept else ""))


@database.command()
@pass_app
def check(app: App) -> None:
    """Look for damage: integrity, references, permissions."""
    from inventory import upkeep
    from inventory.errors import DatabaseError

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
