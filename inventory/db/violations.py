"""Which kind of constraint a write violated, so that a message names the real reason."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy.exc import IntegrityError


class Violation(StrEnum):
    """The kinds of violated constraints.

    Attributes:
        DUPLICATE: Another row has the same unique value.
        REFERENCE: The row refers to a row that does not exist, or is referred to.
        VALUE: A value is missing or not allowed, which is a fault of the program.
    """

    DUPLICATE = "duplicate"
    REFERENCE = "reference"
    VALUE = "value"


# SQLSTATE of PostgreSQL, class 23. A row that an exclusion constraint refuses (23P01) is a
# duplicate too, but the schema has no such constraint.
_SQLSTATES = {"23505": Violation.DUPLICATE, "23503": Violation.REFERENCE}
# SQLite's extended result code would be exact, but pysqlite3 does not pass it on. The beginnings of
# these texts are constants in SQLite and are not translated.
_SQLITE_TEXTS = {
    "UNIQUE constraint": Violation.DUPLICATE,
    "FOREIGN KEY constraint": Violation.REFERENCE,
}


def violation(error: IntegrityError) -> Violation:
    """Return which kind of constraint was violated, on either database."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return _SQLSTATES.get(state, Violation.VALUE)
    text = str(error.orig)
    found = (v for begin, v in _SQLITE_TEXTS.items() if text.startswith(begin))
    return next(found, Violation.VALUE)
