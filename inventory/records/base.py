"""What all records have in common."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Record:
    """A row as the store returns it: named fields, which never change.

    Instants are epoch seconds in UTC.
    """

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, for output that chooses them by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
