"""Records for tests of pure functions, without a database."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from inventory.records import Record

R = TypeVar("R", bound=Record)
_EMPTY = {"int": 0, "str": "", "tuple": (), "list": []}


def record(kind: type[R], /, **given: Any) -> R:
    """A record with these fields; the others are empty: None where they may be."""
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        words = str(field.type)
        values[field.name] = None if "None" in words else _EMPTY.get(words.partition("[")[0])
    return kind(**values | given)
