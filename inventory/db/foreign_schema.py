"""Parts of a schema that certmgr did not create.

A backup may come from elsewhere. A trigger or view in it would act with the rights of the next
administrator: certmgr creates neither.
"""

from __future__ import annotations

from typing import Any

from inventory.models import metadata

# Tables of earlier versions, which migrations rename or drop.
FORMER_TABLES = frozenset({"alembic_version", "matter", "order", "order_name", "standing"})


def foreign_parts_of_sqlite(connection: Any) -> list[str]:
    """Return the triggers, views and tables of an SQLite database that are not of certmgr.

    Args:
        connection: A connection of the driver.
    """
    # Functions in the schema of an untrusted file are not called (SQLite, PRAGMA trusted_schema).
    connection.execute("PRAGMA trusted_schema=OFF")
    # Only names are read: reading from a view would run what it contains.
    rows = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
    return [f"{kind} {name!r}" for kind, name in rows if not _is_own(kind, str(name))]


def _is_own(kind: str, name: str) -> bool:
    if kind == "index":
        # An administrator may add an index. It does nothing by itself.
        return True
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
