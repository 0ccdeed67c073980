"""Values in an SQLite database that certmgr cannot have written.

SQLite stores any value in any column, also text that is not UTF-8. Each later command that reads
one would fail.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from inventory.db.database import HEAD
from inventory.models.base import EnumText, Json, JsonTexts
from inventory.models.schema import metadata

# The last second of the year 9999, after which Python has no dates. certmgr stores no larger
# number: the others are counts and ids.
_MAX_NUMBER = 253_402_300_799
_Check = Callable[[Any], str]


class _Text(bytes):
    """The bytes of a text, as opposed to a binary value."""


def wrong_values(connection: Any, limit: int = 5) -> list[str]:
    """Return the first values that certmgr cannot have written; an empty list if there are none.

    Words of enums and JSON are checked in a database of this version: a migration changes them.

    Args:
        connection: A connection of the driver, whose schema is ours.

    Raises:
        sqlite3.Error: The database cannot be read.
    """
    usual = connection.text_factory
    connection.text_factory = _Text
    try:
        return list(itertools.islice(_wrong_values(connection), limit))
    finally:
        connection.text_factory = usual


def _wrong_values(connection: Any) -> Iterator[str]:
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    is_current = row is not None and row[0] == HEAD.encode()
    for table in metadata.sorted_tables:
        infos = connection.execute(f'PRAGMA table_info("{table.name}")').fetchall()
        # (number, name, declared type, ...)
        declared = {i[1].decode(): i[2].decode("ascii", "replace") for i in infos}
        checks = {
            name: _check_of(kind, table.columns.get(name) if is_current else None)
            for name, kind in declared.items()
        }
        if not checks:
            continue
        # The schema was compared with ours, so its names are harmless.
        names = ", ".join(f'"{name}"' for name in checks)
        rows = connection.execute(f'SELECT rowid, {names} FROM "{table.name}"')  # noqa: S608
        for values in rows:
            for (name, check), value in zip(checks.items(), values[1:], strict=True):
                if value is not None and (why := check(value)):
                    yield f"{table.name} {values[0]}: {name} {why}"


def _check_of(declared: str, column: Column[Any] | None) -> _Check:
    """Return the check of a column, which gives a reason or an empty text.

    Args:
        declared: Its type in the file.
        column: The column of our tables; None if the file has an earlier version.
    """
    kind: TypeEngine[Any] | None = column.type if column is not None else None
    if isinstance(kind, EnumText):
        return partial(_wrong_word, frozenset(str(m) for m in kind.enum))
    if isinstance(kind, Json | JsonTexts):
        return _wrong_json
    if "INT" in declared.upper():
        return _wrong_number
    return _wrong_binary if "BLOB" in declared.upper() else _wrong_text


def _wrong_word(words: frozenset[str], value: Any) -> str:
    if why := _wrong_text(value):
        return why
    return "" if value.decode() in words else "is an unknown word"


def _wrong_binary(value: Any) -> str:
    return "" if type(value) is bytes else "is not binary"


def _wrong_number(value: Any) -> str:
    if not isinstance(value, int):
        return "is not a whole number"
    return "" if abs(value) <= _MAX_NUMBER else f"is {value}, which is too large"


def _wrong_text(value: Any) -> str:
    if not isinstance(value, _Text):
        return "is not a text"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "is not UTF-8"
    return ""


def _wrong_json(value: Any) -> str:
    if why := _wrong_text(value):
        return why
    # An empty text is an empty list (JsonTexts).
    try:
        if value:
            json.loads(value)
    except (ValueError, RecursionError):
        return "is not JSON"
    return ""
