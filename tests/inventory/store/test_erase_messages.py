"""Messages of an erased client: they keep time and state, and lose their words."""

from __future__ import annotations

from sqlalchemy import Connection

from inventory.db.database import Database
from inventory.models import InboundMessage, Notice, SentItem, StoredDecision
from inventory.store import clients, contacts, decisions, domains, erase, inbox
from tests.inventory.store.builders import (
    AT,
    NOW,
    ONE,
    TWO,
    add_client,
    add_notice,
    add_ticket,
    rows,
)


def states(conn: Connection) -> dict[int, tuple[str, str]]:
    return {r["id"]: (r["state"], r["text"]) for r in rows(conn, Notice)}


def test_notice_keeps_its_time_and_state_and_is_not_sent_any_more(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        ada, bob = (contacts.find(tx.conn, f"Owner {n}").id for n in (ONE, TWO))
        topic = add_ticket(tx, one, "fault:1:1")
        waiting = [add_notice(tx, one, ada, topic, state=s) for s in ("queued", "leased", "failed")]
        given = {"state": "sent", "sent_at": AT, "sent_to": "ada@shop1001.example"}
        sent = add_notice(tx, one, ada, topic, **given)
        others = [add_notice(tx, one, ada, topic, state=s) for s in ("sending", "unknown", "dead")]
        foreign = add_notice(tx, two, bob, add_ticket(tx, two, "fault:2:2"))
        erase.erase(tx, ONE)
    with pair.read() as conn:
        assert states(conn) == {
            **dict.fromkeys(waiting, ("dead", "")),
            sent: ("sent", ""),
            others[0]: ("sending", ""),
            others[1]: ("unknown", ""),
            others[2]: ("dead", ""),
            foreign: ("queued", "It ends."),
        }
        items = {r["notice_id"] for r in rows(conn, SentItem)}
        row = next(r for r in rows(conn, Notice) if r["id"] == sent)
        assert {r["contact_id"] for r in rows(conn, Notice)} == {None, bob}
    assert items == {sent, *others, foreign}, "what was not said may be decided anew"
    assert (row["sent_at"], row["sent_to"], row["client_id"]) == (AT, None, one)
    assert [row[c] for c in ("subject", "html", "calendar", "error")] == ["", "", (), None]


def test_message_to_a_reseller_loses_its_text_if_it_names_the_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        domains.add(tx, "bücher.example", {"client": ONE})
        clients.edit(tx, ONE, {"reseller": TWO})
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        bob = contacts.find(tx.conn, "Owner 1002").id
        topic = add_ticket(tx, one, "fault:1:1")
        sent = {"state": "sent"}
        by_item = add_notice(tx, two, bob, topic, add_ticket(tx, two, "fault:2:2"), text="a")
        by_text = add_notice(tx, two, bob, text="About bücher.example.", **sent)
        by_subject = add_notice(tx, two, bob, subject="shop1001.example", **sent)
        by_label = add_notice(tx, two, bob, text="xn--bcher-kva.example", **sent)
        silent = add_notice(tx, two, bob, text="About shop1002.example.")
        # 1003 is the reseller of another client, and not of this one.
        three = add_client(tx, "1003")
        add_client(tx, "1004", reseller="1003")
        eve = contacts.add(tx, "1003", {"name": "Eve"})
        elsewhere = add_notice(tx, three, eve, text="Like shop1001.example.")
        erase.erase(tx, ONE)
    with pair.read() as conn:
        assert states(conn) == {
            by_item: ("dead", ""),
            by_text: ("sent", ""),
            by_subject: ("sent", ""),
            by_label: ("sent", ""),
            silent: ("queued", "About shop1002.example."),
            elsewhere: ("queued", "Like shop1001.example."),
        }


def test_message_to_staff_loses_its_text_if_it_names_the_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        eve = contacts.add(tx, None, {"name": "Eve"}, ("eve@provider.example",))
        digest = {"kind": "digest", "state": "sent"}
        by_host = add_notice(tx, None, eve, text="mail.shop1001.example: ends", **digest)
        by_name = add_notice(tx, None, eve, text="The client Client 1001 waits", **digest)
        by_number = add_notice(tx, None, eve, text="CM-1, client 1001: requested", **digest)
        waiting = add_notice(tx, None, eve, kind="alarm", subject="shop1001.example")
        others = ("shop1002.example: Client 1002", "Client 10010", "client 1001a", "1001 sites")
        silent = [add_notice(tx, None, eve, text=text, **digest) for text in others]
        erase.erase(tx, ONE)
    with pair.read() as conn:
        assert states(conn) == {
            by_host: ("sent", ""),
            by_name: ("sent", ""),
            by_number: ("sent", ""),
            waiting: ("dead", ""),
            **{i: ("sent", text) for i, text in zip(silent, others, strict=True)},
        }


def test_answer_to_a_notice_loses_its_words(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        ada, bob = (contacts.find(tx.conn, f"Owner {n}").id for n in (ONE, TWO))
        mine, theirs = add_notice(tx, one, ada), add_notice(tx, two, bob)
        for i, (about, who) in enumerate(((mine, ada), (theirs, bob))):
            mail = {"message_id": f"<{i}>", "kind": "reply", "text": "Hello."}
            inbox.add(tx, mail | {"notice_id": about, "contact_id": who})
        decided = {"threshold": "", "round": "", "action": "send", "reason": "due"}
        for number, row_id in (("1", one), ("2", two)):
            about_it = {"subject": number, "client_id": row_id, "contact_id": 0}
            decisions.record(tx, [decided | about_it])
        erase.erase(tx, ONE)
    with pair.read() as conn:
        left = [(r["text"], r["contact_id"]) for r in rows(conn, InboundMessage)]
        assert left == [("", None), ("Hello.", bob)]
        assert [r["client_id"] for r in rows(conn, StoredDecision)] == [two]
