"""Snoozes: when each is in force, and what it is about."""

from __future__ import annotations

from inventory.db.database import Database
from inventory.models import Snooze, Ticket
from inventory.store import servers, snoozes
from inventory.vocabulary import SnoozeScope
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_ticket,
    audited,
    entry_count,
    rows,
    site,
)
from tests.inventory.store.chunked import unknown_id
from tests.inventory.store.test_tickets import clients_of


def test_snooze_is_in_force_from_its_start_until_before_its_end(pair: Database) -> None:
    one, _ = clients_of(pair)
    known = entry_count(pair)
    with pair.write(NOW) as tx:
        first = snoozes.add(tx, SnoozeScope.CLIENT, one, AT, AT + DAY, "on holiday", "Ada")
        second = snoozes.add(tx, SnoozeScope.ALL, 0, AT + DAY, AT + 2 * DAY, "maintenance", "Ada")
        conn = tx.conn
        assert [r.id for r in snoozes.listing(conn)] == [first, second]
        in_force = {AT - 1: [], AT: [first], AT + DAY: [second], AT + 2 * DAY: []}
        for at, expected in in_force.items():
            assert [r.id for r in snoozes.listing(conn, at)] == expected
    with pair.write(LATER) as tx:
        assert snoozes.end(tx, first)
        assert not snoozes.end(tx, first)
        assert not snoozes.end(tx, unknown_id(0))
        assert [r.id for r in snoozes.listing(tx.conn)] == [second]
        assert snoozes.listing(tx.conn, AT) == []
        row = rows(tx.conn, Snooze)[0]
    assert (row["withdrawn_at"], row["created_at"], row["by"]) == (AT + DAY, AT, "Ada")
    entries = audited(pair, known)
    assert entries[0] == ("snooze", "client", one, {"starts_at": AT, "until": AT + DAY})
    assert entries[1][:3] == ("snooze", "all", 0)
    # An end without effect is no change, and has no entry.
    assert entries[2:] == [("wake", "snooze", first, {})]


def test_what_is_snoozed_has_a_name_for_a_person(pair: Database) -> None:
    one, two = clients_of(pair)
    with pair.write(NOW) as tx:
        server_id = servers.add(tx, {"name": "web1"})
        domain_id = site(tx, "shop1001.example").domain_id
        ticket_id = add_ticket(tx, one, "a")
        named = snoozes.scope_names(tx.conn)
        reference = rows(tx.conn, Ticket)[0]["reference"]
    assert named[SnoozeScope.CLIENT, one] == "1001"
    assert named[SnoozeScope.CLIENT, two] == "1002"
    assert named[SnoozeScope.SERVER, server_id] == "web1"
    assert named[SnoozeScope.DOMAIN, domain_id] == "shop1001.example"
    assert named[SnoozeScope.TICKET, ticket_id] == reference
    assert len(named) == 6
