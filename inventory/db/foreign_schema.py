"""Parts of a schema that certmgr did not create.

A backup may come from elsewhere. A trigger or view in it would act with the rights of the next
administrator: certmgr creates neither.
"""

from __future__ import annotations

from typing import Any

from inventory.db.database import HEAD
from inventory.models import metadata

# Tables of earlier versions, which migrations rename or drop.
FORMER_TABLES = frozenset({"alembic_version", "matter", "order", "order_name", "standing"})


def foreign_parts_of_sqlite(connection: Any) -> list[str]:
    """Return the parts of an SQLite database that are not of certmgr.

    These are triggers, views, tables, computed columns, and indexes that refuse rows. In a database
    of this version, missing and additional columns and tables are reported too.

    Args:
        connection: A connection of the driver.
    """
    # Functions in the schema of an untrusted file are not called (SQLite, PRAGMA trusted_schema).
    connection.execute("PRAGMA trusted_schema=OFF")
    # Only names and texts are read: reading from a view would run what it contains.
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    found = [f"{k} {name!r}" for k, name, sql in rows if not _is_own(k, str(name), str(sql or ""))]
    tables = [str(name) for kind, name, _ in rows if kind == "table" and name in metadata.tables]
    columns = {t: connection.execute(f'PRAGMA table_xinfo("{t}")').fetchall() for t in tables}
    # The last value is 0 for an ordinary column. A computed one calls functions when it is read.
    found += [
        f"computed column {c[1]!r} of {t}" for t, infos in columns.items() for c in infos if c[6]
    ]
    if found or ("table", "alembic_version") not in {(k, n) for k, n, _ in rows}:
        return found
    version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if [v[0] for v in version] != [HEAD]:
        # An earlier version has other columns; "database check" compares them after its migration.
        return [] if len(version) == 1 else [f"{len(version)} versions"]
    return _differences({t: {str(c[1]) for c in infos} for t, infos in columns.items()})


def _differences(columns: dict[str, set[str]]) -> list[str]:
    """Compare the columns of all tables with those of this version."""
    found = [f"a schema without the table {t!r}" for t in metadata.tables if t not in columns]
    for table, names in columns.items():
        own = {c.name for c in metadata.tables[table].columns}
        found += [f"a table {table!r} without the column {n!r}" for n in sorted(own - names)]
        found += [f"column {n!r} of {table}" for n in sorted(names - own)]
    return found


def _is_own(kind: str, name: str, sql: str) -> bool:
    if kind == "index":
        # An administrator may add an index, which does nothing by itself, unless it refuses rows.
        own = {str(i.name) for t in metadata.tables.values() for i in t.indexes}
        return name in own or "UNIQUE" not in sql.upper().split("(", 1)[0]
    # sqlite_sequence and the like belong to SQLite, which refuses such names to others.
    return kind == "table" and (
        name in metadata.tables or name in FORMER_TABLES or name.startswith("sqlite_")
    )


TRIGGERS_OF_POSTGRESQL = """
SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT t.tgisinternal AND n.nspname = current_schema() ORDER BY 1, 2
"""
RULES_OF_POSTGRESQL = """
SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema()
AND rulename <> '_RETURN' ORDER BY 1, 2
"""


def foreign_parts_of_postgresql(conn: Any) -> list[str]:
    """Return the triggers and rules on the tables of certmgr.

    Other tables and views may share its schema, and do nothing to ours.

    Args:
        conn: A connection of SQLAlchemy.
    """
    rows = [
        (kind, name, table)
        for kind, query in (("trigger", TRIGGERS_OF_POSTGRESQL), ("rule", RULES_OF_POSTGRESQL))
        for name, table in conn.exec_driver_sql(query)
    ]
    return [f"{kind} {name!r} of {table}" for kind, name, table in rows if table in metadata.tables]
