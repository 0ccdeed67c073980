"""Column types: what statements may write, and what becomes of a foreign text in the database."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, text, update

from inventory.db.database import Database
from inventory.errors import DatabaseError
from inventory.models import Client
from inventory.models.base import NotInEnum
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
