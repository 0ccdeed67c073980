"""The declarative base, and the column types of all tables.

Instants are whole seconds since 1970 in UTC. Constraint names are fixed for Alembic.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, Dialect, Integer, LargeBinary, MetaData, Text
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from inventory.errors import DatabaseError
from inventory.text import printable

E = TypeVar("E", bound=StrEnum)

# SQLite's rowid needs INTEGER; PostgreSQL needs 64 bits.
Id = BigInteger().with_variant(Integer(), "sqlite")


class NotInEnum(DontWrapMixin, ValueError):
    """A statement has a value that is not a member of its column's enum: an internal error."""


class EnumText(TypeDecorator[E], Generic[E]):
    """A member of an enum, stored as its text.

    Raises:
        NotInEnum: A statement has another value.
        DatabaseError: The database contains another text.
    """

    # Text and not an enum type of PostgreSQL, from which a migration cannot remove a word.
    impl = Text
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum
        # A call of the enum costs ten times as much, and a status reads a hundred thousand words.
        self._members: dict[str | None, E | None] = {None: None, **{m.value: m for m in enum}}

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        # The text of a member is equal to the member, so statements may have either.
        if value not in self._members:
            raise NotInEnum(f"{value!r} is not a member of {self.enum.__name__}")
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        try:
            return self._members[value]
        except KeyError:
            # AccountState -> account state
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.enum.__name__).lower()
            raise DatabaseError(
                f"The database contains an unknown {kind}, '{printable(str(value), 60)}'",
                "certmgr did not write it; valid are " + ", ".join(self.enum),
                "Undo the change that was made by hand, or restore a backup: certmgr database"
                " restore FILE.",
            ) from None


class Words(TypeDecorator[tuple[str, ...]]):
    """Words without spaces, such as addresses: stored as text with a space between them.

    A text that has this form already is stored as it is: runs keep changes in it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return value if value is None or isinstance(value, str) else " ".join(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(value.split())


class Json(TypeDecorator[Any]):
    """A JSON value, stored as text. A text is stored as it is, since runs keep changes in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None or isinstance(value, str):
            return value
        # Sorted keys, so that equal values have equal texts, by which a change is detected.
        return json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class JsonTexts(TypeDecorator[tuple[str, ...]]):
    """Texts that may contain spaces: stored as a JSON list. An empty text is an empty list."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return value if value is None or isinstance(value, str) else json.dumps(list(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:
        return None if value is None else tuple(json.loads(value)) if value else ()


class Base(DeclarativeBase):
    """All tables. An attribute of a class is the column of its table.

    The store executes statements on connections and never in a session of the ORM, which needs
    instrumented attributes. Statements of columns cost a fifth less than those of such attributes.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for column in cls.__table__.columns:
            # Not by the metaclass, which would add a column.
            type.__setattr__(cls, column.key, column)

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text, int: BigInteger, bytes: LargeBinary}  # noqa: RUF012
