"""The base of all tables, and the types of their columns.

Instants are whole seconds since 1970 in UTC. Constraint names are fixed for Alembic.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeDecorator, TypeEngine

from inventory.errors import DatabaseError
from inventory.text import printable

E = TypeVar("E", bound=StrEnum)
T_co = TypeVar("T_co", covariant=True)

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


class ColumnOf(Generic[T_co]):
    """The annotation of a column of a table class: on the class, it is that column."""

    if TYPE_CHECKING:

        def __get__(self, instance: None, owner: type[Any]) -> Column[T_co]: ...


class _Description(NamedTuple):
    """What a table class states of a column beyond its annotation."""

    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}


def column(*arguments: Any, **options: Any) -> Any:
    """Describe a column beyond its annotation, with the arguments of SQLAlchemy's Column."""
    return _Description(arguments, options)


class Base:
    """All tables. A subclass is one table, and its annotated attributes are its columns.

    A statement takes such a class as its table. Nothing needs the sessions of SQLAlchemy's ORM, and
    its classes cost more: to make them, and in each statement.
    """

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[SchemaItem, ...]] = ()
    __table__: ClassVar[Table]

    def __init_subclass__(cls) -> None:
        columns = [
            _column(name, annotation, getattr(cls, name, _Description()))
            for name, annotation in cls.__annotations__.items()
        ]
        cls.__table__ = Table(cls.__tablename__, cls.metadata, *columns, *cls.__table_args__)
        for made in columns:
            setattr(cls, made.name, made)

    @classmethod
    def __clause_element__(cls) -> Table:
        """Return the table, for statements (a protocol of SQLAlchemy)."""
        return cls.__table__


# Python types that decide the type of a column without another one.
_TYPES: Mapping[str, type[TypeEngine[Any]]] = {
    "str": Text,
    "int": BigInteger,
    "Timestamp": BigInteger,
    "bytes": LargeBinary,
}


def _column(name: str, annotation: str, description: _Description) -> Column[Any]:
    """Return the column of an attribute, NOT NULL unless its annotation contains None."""
    # The text of an annotation suffices: to evaluate several hundred would take longer.
    python_type = annotation.removeprefix("ColumnOf[").removesuffix("]")
    required = python_type.removesuffix(" | None")
    arguments, options = description
    if not arguments or isinstance(arguments[0], ForeignKey):
        arguments = (_TYPES[required], *arguments)
    return Column(name, *arguments, nullable=required != python_type, **options)
