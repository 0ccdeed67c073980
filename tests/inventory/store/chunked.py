"""Lists of values that a query takes in three chunks (``CHUNK`` of inventory/db/sql.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

# The ends of the first two chunks of 500, and one place in the third.
PLACES = (0, 499, 500, 999, 1000)


def across_chunks(wanted: Sequence[T], filler: Callable[[int], T]) -> list[T]:
    """Return 1,001 values, in three chunks of 500.

    Up to five wanted ones stand at :data:`PLACES`; ``filler`` makes the rest.
    """
    at = dict(zip(PLACES, wanted, strict=False))
    assert len(at) == len(wanted)
    return [at[i] if i in at else filler(i) for i in range(1001)]


def unknown_id(place: int) -> int:
    """An id that no row has."""
    return 1_000_000 + place


def unknown_hash(place: int) -> str:
    """A fingerprint that no certificate has."""
    return f"{place:064x}"
