"""``certmgr database``: upgrade, back up, restore and check the database."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from inventory.db import integrity, maintenance
from inventory.db.database import HEAD, display_url, make_engine
from inventory.db.opening import open_database
from inventory.db.restore import require_sqlite, restore_backup
from inventory.errors import DatabaseError


@click.group()
def database() -> None:
    """Migrate, back up, restore and check the database."""


@database.command()
@pass_app
def upgrade(app: CommandContext) -> None:
    """Migrate the database to the version of this program. An SQLite file is backed up first."""

    # PostgreSQL is migrated only by this command; an SQLite file whenever it is opened.
    with ProgressLine().waiting("database upgrade"):
        opened = open_database(app.url, migrate=True, clock=app.clock)
    click.echo(f"{display_url(opened.engine.url)} is at version {HEAD}.")
    # The queues of workers are tables in PostgreSQL, of a library that is an extra.
    if opened.path is None and find_spec("procrastinate") is not None:
        from certmgr.workers.engine import install_schema

        install_schema(opened)
        click.echo("The queues for workers are installed.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@pass_app
def backup(app: CommandContext, file: Path) -> None:
    """Write a complete copy to FILE, which must not exist. Other commands may run meanwhile.

    \b
    certmgr database backup certmgr-backup.db
    """

    with ProgressLine().waiting("database backup"):
        maintenance.backup(app.open().engine, file)
    click.echo(f"Backup written to {file}.")


@database.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def restore(app: CommandContext, file: Path, yes: bool) -> None:
    """Replace the database by the backup FILE. The previous database is kept."""

    # Opening the database first would migrate it, or fail if it is damaged.
    engine = make_engine(app.url)
    require_sqlite(engine)
    # A restore discards all changes since the backup.
    if not yes:
        click.confirm(f"Replace {display_url(engine.url)} by {file}?", abort=True)
    with ProgressLine().waiting("database restore"):
        kept = restore_backup(engine, file, clock=app.clock)
        app.open()  # migrates an older backup
    click.echo(f"Restored from {file}." + (f" The previous database is {kept}." if kept else ""))


@database.command()
@pass_app
def check(app: CommandContext) -> None:
    """Check the database: integrity, references, file permissions."""

    opened = app.open()
    with ProgressLine().waiting("database check"):
        problems = integrity.check(opened)
    for problem in problems:
        click.echo(f"fault: {problem}")
    if problems:
        raise DatabaseError(
            f"The database has {len(problems)} problem(s)",
            "the lines above name them",
            "Restore a backup: certmgr database restore FILE.",
        )
    click.echo("ok: the database has no problems.")
