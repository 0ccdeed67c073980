"""Parts of a schema that certmgr did not create.

A backup may come from elsewhere. A trigger or view in it would act with the rights of the next
administrator: certmgr creates neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint

from inventory.db.database import HEAD
from inventory.models import metadata

# Tables of earlier versions, which migrations rename or drop.
FORMER_TABLES = frozenset({"alembic_version", "matter", "order", "order_name", "standing"})


def foreign_parts_of_sqlite(connection: Any) -> list[str]:
    """Return the parts of an SQLite database that are not of certmgr.

    These are triggers, views, tables, computed columns, and indexes and constraints that refuse,
    delete or change rows. In a database of this version, missing and additional columns, tables and
    constraints are reported too.

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
    found += [
        f"{clause} in the table {name!r}"
        for kind, name, sql in rows
        if kind == "table" and str(name) in columns
        for clause in _foreign_clauses(str(sql))
    ]
    if found or ("table", "alembic_version") not in {(k, n) for k, n, _ in rows}:
        return found
    version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if [v[0] for v in version] != [HEAD]:
        # An earlier version has other columns; "database check" compares them after its migration.
        return [] if len(version) == 1 else [f"{len(version)} versions"]
    return [
        *_differences({t: {str(c[1]) for c in infos} for t, infos in columns.items()}),
        *(part for t in tables for part in _foreign_constraints_of_sqlite(connection, t)),
    ]


# What may stand between the words of a CREATE TABLE: texts, quoted names and comments.
_QUOTED = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^]]*]|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
# No version of certmgr has these clauses. Each of them decides on rows: CHECK refuses them, ON
# CONFLICT and ON DELETE can delete others, COLLATE changes which are equal, and a default in
# parentheses is an expression.
_FOREIGN_CLAUSES = re.compile(
    r"\b(?:CHECK\b|ON\s+(?:CONFLICT|DELETE|UPDATE)\b|COLLATE\b|DEFAULT\s*\()", re.IGNORECASE
)


def _foreign_clauses(sql: str) -> list[str]:
    """Return the clauses of a CREATE TABLE that certmgr does not write. Pure."""
    found = _FOREIGN_CLAUSES.findall(_QUOTED.sub(" ", sql))
    return list(dict.fromkeys(" ".join(c.rstrip(" (").upper().split()) for c in found))


def _foreign_constraints_of_sqlite(connection: Any, table: str) -> list[str]:
    """Return what a table of this version refuses that certmgr does not: NOT NULL, UNIQUE, keys."""
    own = metadata.tables[table]
    infos = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    nullable = {c.name for c in own.columns if c.nullable and not c.primary_key}
    found = [
        f"NOT NULL of {c[1]!r} in the table {table!r}" for c in infos if c[3] and c[1] in nullable
    ]
    indexes = connection.execute(f'PRAGMA index_list("{table}")').fetchall()
    # "u" is an index that a UNIQUE constraint of the table created.
    unique = [
        tuple(str(c[2]) for c in connection.execute(f'PRAGMA index_info("{i[1]}")').fetchall())
        for i in indexes
        if i[3] == "u"
    ]
    found += _added(f"UNIQUE in the table {table!r}", unique, own.constraints, UniqueConstraint)
    keys: dict[int, list[str]] = {}
    for key in connection.execute(f'PRAGMA foreign_key_list("{table}")').fetchall():
        keys.setdefault(key[0], []).append(str(key[3]))
    found += _added(
        f"FOREIGN KEY in the table {table!r}",
        [tuple(k) for k in keys.values()],
        own.constraints,
        ForeignKeyConstraint,
    )
    return found


def _added(
    what: str,
    present: Iterable[tuple[str, ...]],
    own: Iterable[Any],
    kind: type[UniqueConstraint] | type[ForeignKeyConstraint],
) -> list[str]:
    """Return the constraints of a kind whose columns are not those of a constraint of ours."""
    known = {frozenset(c.columns.keys()) for c in own if isinstance(c, kind)}
    return [f"{what} on {', '.join(c)}" for c in present if frozenset(c) not in known]


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
# certmgr has no CHECK and no exclusion constraint. NOT NULL has a separate type ("n").
CONSTRAINTS_OF_POSTGRESQL = """
SELECT o.conname, c.relname FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.contype IN ('c', 'x') AND n.nspname = current_schema() ORDER BY 1, 2
"""
RULES_OF_POSTGRESQL = """
SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema()
AND rulename <> '_RETURN' ORDER BY 1, 2
"""


def foreign_parts_of_postgresql(conn: Any) -> list[str]:
    """Return the triggers, rules, CHECK and exclusion constraints on the tables of certmgr.

    Other tables and views may share its schema, and do nothing to ours.

    Args:
        conn: A connection of SQLAlchemy.
    """
    rows = [
        (kind, name, table)
        for kind, query in (
            ("trigger", TRIGGERS_OF_POSTGRESQL),
            ("rule", RULES_OF_POSTGRESQL),
            ("constraint", CONSTRAINTS_OF_POSTGRESQL),
        )
        for name, table in conn.exec_driver_sql(query)
    ]
    return [f"{kind} {name!r} of {table}" for kind, name, table in rows if table in metadata.tables]
