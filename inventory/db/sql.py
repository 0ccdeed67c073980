"""What all queries have in common: chunks of an IN list, the id of a new row, rows as records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    SQLColumnExpression,
    Table,
    TableValuedAlias,
    delete,
    exc,
    func,
    insert,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import sqlite

from inventory.models.base import Base
from inventory.records import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)

# SQLite allows 32,766 parameters in a statement, PostgreSQL 65,535; short lists also keep the
# statement cache small.
CHUNK = 500


def chunks(items: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Split a list for IN conditions and for inserts of many rows."""
    return (items[start : start + size] for start in range(0, len(items), size))


def database_now(conn: Connection) -> ColumnElement[int]:
    """Return the time of the database in epoch seconds, as an expression."""
    if conn.dialect.name == "sqlite":
        return sql_cast(func.strftime("%s", "now"), BigInteger)
    # now() is the start of the transaction, which a long transaction would take for the present.
    return sql_cast(func.extract("epoch", func.clock_timestamp()), BigInteger)


def insert_id(conn: Connection, model: type[Base], values: Mapping[str, Any]) -> int:
    """Insert one row and return its id."""
    # Both databases return the key with the insert, so no second query can read that of another
    # row.
    key = conn.execute(insert(model).values(dict(values))).inserted_primary_key
    assert key is not None
    return int(key[0])


def copy_rows(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows into a table of PostgreSQL by COPY.

    It takes a tenth of the time of INSERT, whose parameters are parsed one by one. All rows have
    the same columns. Values are converted by the types of their columns, as INSERT does.

    Raises:
        sqlalchemy.exc.DBAPIError: As INSERT does, for example for a violated constraint.
    """
    if not rows:
        return
    dialect = conn.dialect
    columns = [table.c[name] for name in rows[0]]
    convert = [c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns]
    quote = dialect.identifier_preparer
    names = ", ".join(quote.format_column(c) for c in columns)
    statement = f"COPY {quote.format_table(table)} ({names}) FROM STDIN"
    dbapi: Any = dialect.loaded_dbapi
    try:
        cursor: Any = conn.connection.cursor()
        with cursor, cursor.copy(statement) as copy:
            for row in rows:
                values = [row[c.name] for c in columns]
                copy.write_row(
                    [v if f is None else f(v) for v, f in zip(values, convert, strict=True)]
                )
    except dbapi.Error as error:
        raise exc.DBAPIError.instance(
            statement, None, error, dbapi.Error, dialect=dialect
        ) from error


def new_ids(conn: Connection, table: Table, count: int) -> list[int]:
    """Return ids for new rows of a table of PostgreSQL, in ascending order."""
    sequence = func.pg_get_serial_sequence(table.name, "id")
    return list(conn.scalars(select(func.nextval(sequence)).select_from(_series(count))))


def _series(count: int) -> TableValuedAlias:
    return func.generate_series(1, count).table_valued("n")


def delete_in(
    conn: Connection,
    model: type[Base],
    column: SQLColumnExpression[Any],
    values: Sequence[Any],
    *conditions: ColumnElement[bool],
) -> None:
    """Delete the rows of a table whose column has one of many values, if all conditions hold."""
    for part in chunks(values):
        conn.execute(delete(model).where(column.in_(part), *conditions))


def fetch(conn: Connection, record: type[R], query: Executable) -> list[R]:
    """Return all rows of a query as records, whose fields are the query's columns."""
    result = conn.execute(query)
    keys = tuple(result.keys())
    return [record(**dict(zip(keys, row, strict=True))) for row in result]


def fetch_one(conn: Connection, record: type[R], query: Executable) -> R | None:
    """Return the first row of a query as a record; None if there is none."""
    row = conn.execute(query).mappings().first()
    return None if row is None else record(**row)


def fetch_existing(conn: Connection, record: type[R], query: Executable) -> R:
    """Return the only row of a query as a record.

    Raises :class:`sqlalchemy.exc.NoResultFound`: the caller has an id that is not there, which is
    a fault of the program.
    """
    return record(**conn.execute(query).mappings().one())


def fetch_all(conn: Connection, query: Executable) -> list[dict[str, Any]]:
    """Return all rows of a query, each as a dictionary by column name."""
    result = conn.execute(query)
    keys = tuple(result.keys())
    # Faster than the mappings of SQLAlchemy, which look up each column by its name.
    return [dict(zip(keys, row, strict=True)) for row in result]


def upsert(conn: Connection, table: Any) -> Any:
    """INSERT with ON CONFLICT, in the dialect of the connection."""
    return upsert_in(conn.dialect.name, table)


def upsert_in(dialect: str, table: Any) -> Any:
    """INSERT with ON CONFLICT, in a dialect: for statements that are built once."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    # Its modules are many, and a short command with SQLite would import them for nothing.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
