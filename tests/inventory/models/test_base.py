"""Column types: what statements may write, and what becomes of a foreign text in the database."""

from __future__ import annotations

from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from sqlalchemy import Column, insert, select, text, update

from inventory.db.database import Database
from inventory.errors import DatabaseError
from inventory.models import Client
from inventory.models.base import Base, EnumText, NotInEnum
from inventory.store import clients
from inventory.vocabulary import RecordState


def test_text_outside_of_an_enum_is_refused_in_each_kind_of_statement(database: Database) -> None:
    statements = [
        insert(Client).values(number="1", name="One", state="gone", created_at=0),
        update(Client).values(state="gone"),
        select(Client.id).where(Client.state == "gone"),
        select(Client.id).where(Client.state.in_([RecordState.ACTIVE, "gone"])),
    ]
    for statement in statements:
        with (
            pytest.raises(NotInEnum, match="'gone' is not a member of RecordState"),
            database.write() as tx,
        ):
            tx.conn.execute(statement)


def test_member_and_its_text_are_stored_alike(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        for value in (RecordState.RETIRED, "retired"):
            tx.conn.execute(update(Client).values(state=value))
            assert tx.conn.scalar(text("SELECT state FROM client")) == "retired"
            assert tx.conn.scalar(select(Client.state)) is RecordState.RETIRED


def test_foreign_text_in_the_database_ends_in_an_error_with_what_to_do(database: Database) -> None:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        tx.conn.execute(text("UPDATE client SET state = 'gone\x1b[31m'"))
    with (
        pytest.raises(DatabaseError) as caught,
        database.read() as conn,
    ):
        conn.scalar(select(Client.state))
    assert str(caught.value) == (
        "The database contains an unknown record state, 'gone?[31m': certmgr did not write it;"
        " valid are active, leaving, retired. Undo the change that was made by hand, or restore a"
        " backup: certmgr database restore FILE."
    )


def declared_columns() -> list[tuple[Column[Any], tuple[Any, ...]]]:
    """Return each column with the Python types of its evaluated annotation."""
    return [
        (getattr(table, name), get_args(python_type) or (python_type,))
        for table in Base.__subclasses__()
        for name, hint in get_type_hints(table).items()
        if not name.startswith("_") and name != "metadata"
        for python_type in get_args(hint)
    ]


def test_column_is_required_unless_its_annotation_contains_none() -> None:
    for column, python_types in declared_columns():
        assert column.nullable == (NoneType in python_types), column


def test_column_stores_the_type_of_its_annotation() -> None:
    plain = (str, int, bytes)
    for column, python_types in declared_columns():
        if python_types[0] in plain and not hasattr(column.type, "process_result_value"):
            assert column.type.python_type is python_types[0], column
        elif isinstance(column.type, EnumText):
            assert column.type.enum is python_types[0], column


def test_statement_takes_the_class_of_a_table() -> None:
    assert [c.name for c in select(Client).selected_columns] == list(Client.__table__.c.keys())
    assert insert(Client).table is update(Client).table is Client.__table__
