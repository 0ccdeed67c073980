"""Parts of a schema that certmgr did not create.

A backup may come from elsewhere. A trigger or view in it would act with the rights of the next
administrator: certmgr creates neither.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import ForeignKeyConstraint, UniqueConstraint

from inventory.db.database import HEAD
from inventory.models.schema import metadata

_VERSION_TABLE = "alembic_version"
_OWN_TABLES = frozenset({*metadata.tables, _VERSION_TABLE})
# SQLite keeps them itself, and refuses names like theirs only to those who do not edit the schema.
_TABLES_OF_SQLITE = frozenset({"sqlite_sequence", *(f"sqlite_stat{n}" for n in range(1, 5))})
# Characters of the schema, and instructions of SQLite that reading it may take. Ours has 80,000 and
# takes 4,500. The pages of a file can refer to each other so that a small table has more rows than
# can ever be read.
_MAX_SCHEMA = 1_000_000
_MAX_STEPS = 2_000_000
_STEPS_PER_CALL = 10_000


@contextmanager
def _bounded(connection: Any) -> Iterator[None]:
    """Let SQLite stop with an error if reading a hostile file takes too long."""
    calls = itertools.count()
    connection.set_progress_handler(
        lambda: next(calls) >= _MAX_STEPS // _STEPS_PER_CALL, _STEPS_PER_CALL
    )
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def foreign_parts_of_sqlite(connection: Any) -> list[str]:
    """Return the parts of an SQLite database that are not of certmgr.

    These are triggers, views, tables, computed columns, and indexes and constraints that refuse,
    delete or change rows, or compute values. In a database of this version, missing and additional
    columns, tables and constraints are reported too.

    Args:
        connection: A connection of the driver.

    Raises:
        sqlite3.Error: The schema cannot be read, or not with a bounded effort.
    """
    with _bounded(connection):
        return _foreign_parts(connection)


def _foreign_parts(connection: Any) -> list[str]:
    # Functions in the schema of an untrusted file are not called (SQLite, PRAGMA trusted_schema).
    connection.execute("PRAGMA trusted_schema=OFF")
    # Only names and texts are read: reading from a view would run what it contains.
    rows, size = [], 0
    for row in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        size += sum(len(str(v)) for v in row)
        if size > _MAX_SCHEMA:
            return [f"a schema of more than {_MAX_SCHEMA:,} characters"]
        rows.append(row)
    found = [f"{k} {name!r}" for k, name, sql in rows if not _is_own(k, str(name), str(sql or ""))]
    tables = [str(n) for kind, n, _ in rows if kind == "table" and str(n) in _OWN_TABLES]
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
    texts = {str(name): str(sql) for kind, name, sql in rows if kind == "index"}
    found += [part for t in tables for part in _foreign_indexes(connection, t, texts)]
    if found or _VERSION_TABLE not in columns:
        return found
    version = connection.execute("SELECT version_num FROM alembic_version LIMIT 3").fetchall()
    if [v[0] for v in version] != [HEAD]:
        # An earlier version has other columns; "database check" compares them after its migration.
        return [] if len(version) == 1 else ["other than one version"]
    own = {t: {str(c[1]) for c in infos} for t, infos in columns.items()}
    return [
        *_differences({t: names for t, names in own.items() if t in metadata.tables}),
        *(p for t in tables if t in metadata.tables for p in _foreign_constraints(connection, t)),
    ]


# What may stand between the words of a CREATE TABLE: texts, quoted names and comments. Each may
# end with the text (as a comment may for SQLite), so that no part is searched again and again.
_QUOTED = re.compile(
    r"""'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^]]*(?:]|\Z)|--[^\n]*"""
    r"""|/\*.*?(?:\*/|\Z)""",
    re.DOTALL,
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


def _foreign_constraints(connection: Any, table: str) -> list[str]:
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
        return name in _own_indexes() or "UNIQUE" not in sql.upper().split("(", 1)[0]
    return kind == "table" and (name in _OWN_TABLES or name in _TABLES_OF_SQLITE)


@cache
def _own_indexes() -> dict[str, tuple[bool, list[str], str]]:
    """Return the name of each index of this version -> unique, its columns, and its condition."""
    return {
        str(i.name): (
            bool(i.unique),
            [str(c) for c in i.columns.keys()],  # noqa: SIM118 (not a dictionary)
            "" if (where := i.dialect_options["sqlite"]["where"]) is None else str(where),
        )
        for t in metadata.tables.values()
        for i in t.indexes
    }


def _foreign_indexes(connection: Any, table: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Yield what the indexes of a table do in addition to sorting columns.

    SQLite evaluates an expression or a condition for each row that is written or checked, and a
    pattern of LIKE alone can take for ever.

    Args:
        texts: The name of each index -> its CREATE INDEX.
    """
    for _, name, unique, origin, partial in connection.execute(
        f'PRAGMA index_list("{table}")'
    ).fetchall():
        # Others belong to a constraint of the table, and have no text.
        if origin != "c":
            continue
        quoted = str(name).replace('"', '""')
        columns = [c[2] for c in connection.execute(f'PRAGMA index_info("{quoted}")').fetchall()]
        own = _own_indexes().get(str(name))
        if None in columns:
            yield f"an expression in the index {name!r}"
        if partial and (own is None or not _has_condition(texts.get(str(name), ""), own[2])):
            yield f"a condition of the index {name!r}"
        # An index of ours was never changed under its name.
        if own is not None and (bool(unique), columns) != own[:2]:
            yield f"an index {name!r} on other columns"


def _has_condition(sql: str, condition: str) -> bool:
    """Return whether the condition of a CREATE INDEX, which has one, is this one. Pure."""
    text = " ".join(sql.split())
    return bool(condition) and text.upper().count("WHERE") == 1 and text.endswith(condition)


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
