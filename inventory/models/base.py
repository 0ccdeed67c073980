"""The declarative base, and the column types of all tables.

Instants are whole seconds since 1970 in UTC. Constraint names are fixed for Alembic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Any, ClassVar, Generic, TypeVar, get_args

from sqlalchemy import BigInteger, Column, Dialect, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.types import NullType, TypeDecorator

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

# The type of a column for which none is given, by its annotation.
_TYPES = {str: Text, int: BigInteger, bytes: LargeBinary}

# SQLite's rowid needs INTEGER; PostgreSQL needs 64 bits.
Id = BigInteger().with_variant(Integer(), "sqlite")


class EnumText(TypeDecorator[E], Generic[E]):
    """A word of an enum, stored as text and read as its member."""

    # Text and not an enum type of PostgreSQL, from which a migration cannot remove a word.
    impl = Text
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:
        # A word that this version does not know raises ValueError: a newer program wrote it.
        return None if value is None else self.enum(value)


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


class TableColumn(Generic[T]):
    """A column as an attribute of the class of its table, which gives it name and type.

    Args:
        parts: A type and constraints, as :class:`sqlalchemy.Column` takes them.
        options: As :class:`sqlalchemy.Column` takes them.
    """

    def __init__(self, *parts: Any, **options: Any) -> None:
        self.column: Column[T] = Column(None, *parts, **options)

    def __get__(self, instance: None, owner: type[Base]) -> Column[T]:
        return self.column

    def complete(self, name: str, annotated: Any) -> Column[T]:
        """Add the name, and from the annotation the type and whether NULL is allowed."""
        made = self.column
        made.name = made.key = name
        kinds = get_args(annotated) if isinstance(annotated, UnionType) else (annotated,)
        made.nullable = NoneType in kinds
        # Without a type, a column that refers to another table would have none before both exist.
        if isinstance(made.type, NullType):
            made.type = _TYPES[kinds[0]]()
        return made


class Base:
    """All tables: a class per table, with an attribute per column.

    ``key: TableColumn[str]`` is a column of the type of its annotation, and one of
    ``TableColumn[str | None]`` may be NULL. No row is an instance: queries return records.
    SQLAlchemy's mapper would make instances, and every command would wait for it.
    """

    metadata: ClassVar = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[Sequence[Any]] = ()
    __table__: ClassVar[Table]

    def __init_subclass__(cls) -> None:
        columns = []
        for name, annotation in get_annotations(cls, eval_str=True).items():
            if name not in cls.__dict__:
                setattr(cls, name, TableColumn())
            columns.append(cls.__dict__[name].complete(name, get_args(annotation)[0]))
        cls.__table__ = Table(cls.__tablename__, cls.metadata, *columns, *cls.__table_args__)

    @classmethod
    def __clause_element__(cls) -> Table:
        """Return the table: SQLAlchemy calls this where a statement names the class."""
        return cls.__table__
