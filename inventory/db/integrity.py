"""Check of what a database contains: damage, wrong values, and parts of another program."""

from __future__ import annotations

from sqlalchemy import Connection, text

from inventory.db.database import Database, sqlite_module
from inventory.db.foreign_schema import foreign_parts_of_postgresql, foreign_parts_of_sqlite
from inventory.db.stored_values import wrong_values
from inventory.text import printable


def _faults_of_sqlite(conn: Connection) -> tuple[list[str], list[str]]:
    """Return the foreign parts of an SQLite file, and what is damaged in it."""
    try:
        # First, since the checks evaluate what foreign constraints and indexes contain.
        foreign = foreign_parts_of_sqlite(conn.connection.dbapi_connection)
    except sqlite_module().Error as error:
        return [], [f"schema: {error}"]
    if foreign:
        return foreign, []
    result = conn.exec_driver_sql("PRAGMA integrity_check").scalar()
    try:
        # Only an intact file has rows that end.
        wrong = wrong_values(conn.connection.dbapi_connection) if result == "ok" else []
    except sqlite_module().Error as error:
        wrong = [str(error)]
    return [], [
        *(f"certmgr did not write this value: {printable(w)}" for w in wrong),
        *([] if result == "ok" else [f"integrity: {result}"]),
        *(
            f"{row[0]}: row {row[1]} refers to a missing row"
            for row in conn.exec_driver_sql("PRAGMA foreign_key_check")
        ),
    ]


def check(database: Database) -> list[str]:
    """Return the problems of the stored data; an empty list if there are none."""
    problems = []
    with database.read() as conn:
        if conn.dialect.name == "sqlite":
            foreign, damage = _faults_of_sqlite(conn)
            problems += damage
            # The database contains personal data, so only its owner may read it.
            path = database.path
            if path and path.stat().st_mode & 0o077:
                problems.append(f"{path} can be read by other users: chmod 600 {path}")
        else:
            foreign = foreign_parts_of_postgresql(conn)
        problems += [
            f"{part} was not created by certmgr, and may change what it stores" for part in foreign
        ]
        running = (
            conn.execute(text("SELECT count(*) FROM run WHERE state = 'running'")).scalar() or 0
        )
        # One running scan is normal, and the lock prevents a second one.
        if running > 1:
            problems.append(
                f"{running} scan runs are marked as running; the next scan marks those that died as"
                " incomplete"
            )
    return problems
