"""Mail that came in: each message once, found by its notice or as unmatched."""

from __future__ import annotations

from typing import Any

import pytest

from inventory.db.database import Database
from inventory.models import InboundMessage
from inventory.store import inbox
from tests.inventory.store.builders import AT, DAY, LATER, NOW, add_notice, count, rows


def mail(message_id: str, **given: Any) -> dict[str, Any]:
    defaults = {"kind": "reply", "notice_id": None, "contact_id": None, "text": "Thanks."}
    return {"message_id": message_id, **defaults, **given}


def test_mail_is_stored_once_per_message_id(database: Database) -> None:
    with database.write(NOW) as tx:
        assert inbox.add(tx, mail("<1@client.example>")) is True
        assert inbox.add(tx, mail("<1@client.example>", text="Other words.")) is False
    with database.write(LATER) as tx:
        assert inbox.add(tx, mail("<1@client.example>", kind="bounce")) is False
        assert inbox.add(tx, mail("<2@client.example>", at=1)) is True
    with database.read() as conn:
        stored = rows(conn, InboundMessage)
    assert [(r["message_id"], r["kind"], r["text"], r["at"]) for r in stored] == [
        ("<1@client.example>", "reply", "Thanks.", AT),
        ("<2@client.example>", "reply", "Thanks.", AT + DAY),  # the time is that of the transaction
    ]


def test_exception_in_the_transaction_leaves_the_mail_to_be_read_again(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write(NOW) as tx:
        assert inbox.add(tx, mail("<1@client.example>")) is True
        raise RuntimeError
    with database.write(LATER) as tx:
        assert count(tx.conn, InboundMessage) == 0
        assert inbox.add(tx, mail("<1@client.example>")) is True


def test_unmatched_mail_is_listed_from_an_instant_on(database: Database) -> None:
    with database.read() as conn:
        assert inbox.unmatched(conn, 0) == []
    with database.write(NOW) as tx:
        inbox.add(tx, mail("<1@x.example>", kind="stranger"))
        inbox.add(tx, mail("<2@x.example>", kind="automatic"))
    with database.write(LATER) as tx:
        inbox.add(tx, mail("<3@x.example>", kind="stranger"))
    with database.read() as conn:
        assert [r.message_id for r in inbox.unmatched(conn, AT)] == [
            "<1@x.example>",
            "<3@x.example>",
        ]
        assert [r.message_id for r in inbox.unmatched(conn, AT + 1)] == ["<3@x.example>"]
        assert inbox.unmatched(conn, AT + DAY + 1) == []


def test_answers_of_one_notice_do_not_appear_at_another(pair: Database) -> None:
    with pair.write(NOW) as tx:
        first, second, silent = (add_notice(tx, None, None) for _ in range(3))
        inbox.add(tx, mail("<1@x.example>", notice_id=first))
        inbox.add(tx, mail("<2@x.example>", notice_id=second))
        inbox.add(tx, mail("<3@x.example>", notice_id=first, kind="bounce"))
    with pair.read() as conn:
        answers = [(r.message_id, r.kind) for r in inbox.of_notice(conn, first)]
        assert answers == [("<1@x.example>", "reply"), ("<3@x.example>", "bounce")]
        assert [r.message_id for r in inbox.of_notice(conn, second)] == ["<2@x.example>"]
        assert inbox.of_notice(conn, silent) == []
