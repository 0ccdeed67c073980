"""Who can be written to: contacts in the order of their ways, and clients with their resellers."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from inventory.db.database import Database
from inventory.models import Client, Contact, ContactMethod
from inventory.store import clients, contacts, recipients
from tests.inventory.store.builders import NOW, audited, entry_count, many_clients
from tests.inventory.store.chunked import across_chunks, unknown_id


def contact_id(database: Database, name: str) -> int:
    with database.read() as conn:
        return int(contacts.find(conn, name).id)


def test_contacts_of_one_client_are_its_own_and_the_staff(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in ("1001", "1002"))
        ways = ("phone:+49 30 1", "email:eve@shop1001.example", "channel:chat")
        contacts.add(tx, "1001", {"name": "Eve", "role": "technical"}, ways)
        contacts.add(tx, "1001", {"name": "Gone"}, ("gone@shop1001.example",))
        contacts.retire(tx, "Gone")
        contacts.add(tx, None, {"name": "Ada", "role": "administrator"})
        # The order of the ways is that of their positions, not that of their rows.
        tx.conn.execute(update(ContactMethod).values(position=9 - ContactMethod.position))
    with pair.read() as conn:
        everyone = recipients.contacts(conn)
        assert [r.name for r in everyone] == ["Owner 1001", "Owner 1002", "Eve", "Ada"]
        mine = {r.name: r.methods for r in recipients.contacts(conn, [one])}
        assert list(mine) == ["Owner 1001", "Eve", "Ada"]
        assert [(w.kind, w.value, w.state) for w in mine["Eve"]] == [
            ("channel", "chat", "good"),
            ("email", "eve@shop1001.example", "good"),
            ("phone", "+49 30 1", "good"),
        ]
        eve = recipients.contact_of(conn, next(r.id for r in everyone if r.name == "Eve"))
        assert eve is not None
        assert eve.methods == mine["Eve"]
        assert mine["Ada"] == ()
        assert [r.name for r in recipients.contacts(conn, [two, two])] == ["Owner 1002", "Ada"]
        assert [r.name for r in recipients.contacts(conn, [])] == ["Ada"]
        assert [r.name for r in recipients.contacts(conn, [unknown_id(0)])] == ["Ada"]


def test_one_contact_has_its_ways_and_a_retired_one_is_not_found(pair: Database) -> None:
    row_id = contact_id(pair, "Owner 1001")
    with pair.read() as conn:
        found = recipients.contact_of(conn, row_id)
        assert found is not None
        assert found == next(r for r in recipients.contacts(conn) if r.id == row_id)
        assert [(w.kind, w.value, w.state) for w in found.methods] == [
            ("email", "owner@shop1001.example", "good")
        ]
        assert recipients.contact_of(conn, unknown_id(0)) is None
    with pair.write(NOW) as tx:
        contacts.retire(tx, "Owner 1001")
        assert recipients.contact_of(tx.conn, row_id) is None


def test_clients_come_with_the_whole_chain_of_their_resellers(pair: Database) -> None:
    with pair.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "Top", "account_manager": "Ada"})
        clients.add(tx, {"number": "2", "name": "Middle", "reseller": "1"})
        clients.edit(tx, "1001", {"reseller": "2"})
        ids = {n: clients.find(tx.conn, n).id for n in ("1", "2", "1001", "1002")}
    with pair.read() as conn:
        assert set(recipients.clients(conn)) == set(ids.values())
        found = recipients.clients(conn, [ids["1001"]])
        assert {r.number for r in found.values()} == {"1001", "2", "1"}
        assert found[ids["1"]].as_dict() == {
            "id": ids["1"],
            "number": "1",
            "name": "Top",
            "account_manager": "Ada",
            "reseller_id": None,
        }
        assert [r.number for r in recipients.clients(conn, [ids["1002"]]).values()] == ["1002"]
        assert recipients.clients(conn, []) == {}
        assert recipients.clients(conn, [unknown_id(0)]) == {}


def test_client_whose_reseller_is_retired_stands_alone(pair: Database) -> None:
    """The search for resellers ends although the one that is named is never found."""
    with pair.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "Top"})
        clients.edit(tx, "1001", {"reseller": "1"})
        clients.retire(tx, "1")
        one = clients.find(tx.conn, "1001").id
    with pair.read() as conn:
        assert list(recipients.clients(conn, [one])) == [one]
        assert "1" not in {r.number for r in recipients.clients(conn).values()}
    with pair.write(NOW) as tx:
        clients.retire(tx, "1001")
        assert recipients.clients(tx.conn, [one]) == {}


def test_resellers_in_a_circle_are_each_found_once(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in ("1001", "1002"))
        for mine, other in ((one, two), (two, one)):
            tx.conn.execute(update(Client).where(Client.id == mine).values(reseller_id=other))
        assert set(recipients.clients(tx.conn, [one])) == {one, two}


def test_several_hundred_clients_are_found_with_their_contacts(pair: Database) -> None:
    with pair.write(NOW) as tx:
        ids = many_clients(tx, 1001, with_domains=False)
        common = {"role": "owner", "created_at": tx.at}
        tx.conn.execute(insert(Contact), [common | {"client_id": i, "name": f"C{i}"} for i in ids])
        made = list(tx.conn.execute(select(Contact.id).where(Contact.client_id.in_(ids))))
        way = {"position": 0, "kind": "phone"}
        ways = [way | {"contact_id": i, "value": f"+{i}"} for (i,) in made]
        tx.conn.execute(insert(ContactMethod), ways)
    with pair.read() as conn:
        assert set(recipients.clients(conn, ids)) == set(ids)
        found = recipients.contacts(conn, ids)
        assert found == sorted(found, key=lambda r: int(r.id))
        assert {r.client_id for r in found} == set(ids)
        assert {len(r.methods) for r in found} == {1}
        few = across_chunks(ids[:5], unknown_id)
        assert list(recipients.clients(conn, few)) == ids[:5]
        assert [r.client_id for r in recipients.contacts(conn, few)] == ids[:5]


def test_way_is_marked_once_and_only_of_its_contact(pair: Database) -> None:
    with pair.write(NOW) as tx:
        contacts.add(tx, "1002", {"name": "Bob"}, ("owner@shop1001.example",))
        ways = ("owner@shop1001.example", "phone:+49 30 1")
        contacts.edit(tx, "Owner 1001", {}, ways)
    owner, bob = contact_id(pair, "Owner 1001"), contact_id(pair, "Bob")
    known = entry_count(pair)
    address = "owner@shop1001.example"
    with pair.write(NOW) as tx:
        assert recipients.mark_method(tx, owner, address, "bad")
        assert not recipients.mark_method(tx, owner, address, "bad")
        assert not recipients.mark_method(tx, owner, "other@shop1001.example", "bad")
        assert not recipients.mark_method(tx, unknown_id(0), address, "bad")
    with pair.read() as conn:
        states = {r.id: [w.state for w in r.methods] for r in recipients.contacts(conn)}
        assert (states[owner], states[bob]) == (["bad", "good"], ["good"])
    with pytest.raises(ZeroDivisionError), pair.write(NOW) as tx:
        assert recipients.mark_method(tx, owner, address, "good")
        raise ZeroDivisionError
    with pair.write(NOW) as tx:
        assert recipients.mark_method(tx, owner, address, "good")
    assert audited(pair, known) == [
        ("way", "contact", owner, {"state": "bad"}),
        ("way", "contact", owner, {"state": "good"}),
    ]
