"""Cases: versions that keep two writers apart, references, issuances, and what clients serve."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import exc, insert, select, text, update

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound
from inventory.models import Case, CaseEvent, CaseName, Client, Issuance, Ticket
from inventory.store import (
    case_changes,
    cases,
    contacts,
    domains,
    issuances,
    tickets,
)
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_ticket,
    audited,
    count,
    domain_id,
    endpoint_id,
    entry_count,
    open_case,
)
from tests.inventory.store.casework import add_order, ids_of_clients, move

Told = tuple[Database, int]  # and the id of a ticket


def test_opened_case_has_names_an_event_and_a_ticket(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        contact = contacts.find(tx.conn, "Owner 1001").id
        staff = contacts.add(tx, None, {"name": "Bob"})
        names = ("www.shop1001.example", "shop1001.example", "shop1001.example")
        row = open_case(tx, one, *names, contact_id=contact, staff_id=staff, price="49.90")
        home = domain_id(tx.conn, "shop1001.example")
    assert (row.version, row.step, row.since, row.opened_at) == (1, 1, AT, AT)
    assert (row.kind, row.state, row.price) == ("new", "requested", "49.90")
    assert row.names == ("shop1001.example", "www.shop1001.example")
    assert (row.client, row.client_name, row.client_state) == (
        ONE,
        "Client 1001",
        "active",
    )
    assert (row.contact, row.staff) == ("Owner 1001", "Bob")
    assert (row.domain_id, row.domain_client, row.domain_state) == (home, one, "active")
    with pair.read() as conn:
        assert cases.find(conn, f" {row.reference.lower()} ") == row
        (event,) = cases.events(conn, row.id)
        topic = tickets.find(conn, row.reference)
        for unknown in ("", "CM-000000"):
            with pytest.raises(NotFound, match="There is no case"):
                cases.find(conn, unknown)
    assert (event.version, event.action, event.by) == (1, "open", "tester")
    assert (event.before, event.after, event.at) == (None, "requested", AT)
    assert event.text == "opened by hand"
    assert (topic.key, topic.kind) == (cases.ticket_key(row.id, one), "case")
    assert (topic.client_id, topic.opened_at) == (one, AT)
    detail = {"reference": row.reference, "kind": "new", "state": "requested"}
    assert audited(pair, before)[-1] == ("open", "case", row.id, detail)


def test_domain_of_a_case_is_one_of_its_own_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        domains.add(tx, "gone.example", {"client": ONE})
        domains.retire(tx, "gone.example")
        wild = open_case(tx, one, "*.shop1001.example")
        foreign = open_case(tx, two, "shop1001.example")
        retired = open_case(tx, one, "gone.example")
        assert wild.domain_id == domain_id(tx.conn, "shop1001.example")
    assert foreign.domain_id is None
    assert retired.domain_id is None


@pytest.fixture
def told(pair: Database) -> Told:
    """An open ticket about the cover of shop1001.example that the client was notified of."""
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        about = endpoint_id(tx.conn, "shop1001.example")
        given = {
            "kind": "cover",
            "endpoint_id": about,
            "told_at": AT,
            "acked_at": AT,
            "hold": "mass",
        }
        return pair, add_ticket(tx, one, f"cover:{about}:{one}", **given)


def test_case_goes_on_under_the_reference_the_client_knows(told: Told) -> None:
    database, ticket_id = told
    with database.write(LATER) as tx:
        one, two = ids_of_clients(tx)
        foreign = open_case(tx, two, "shop1001.example")
        elsewhere = open_case(tx, one, "other.example")
        row = open_case(tx, one, "shop1001.example", "www.shop1001.example")
    with database.read() as conn:
        topic = tickets.find(conn, row.reference)
        assert count(conn, Ticket) == 3
    assert (topic.id, topic.kind) == (ticket_id, "case")
    assert topic.key == cases.ticket_key(row.id, one)
    assert topic.opened_at == AT, "the conversation began before the case"
    cleared = ("endpoint_id", "told_at", "acked_at", "hold", "closed_at")
    assert [getattr(topic, c) for c in cleared] == [None] * 5
    assert len({row.reference, foreign.reference, elsewhere.reference}) == 3


@pytest.mark.parametrize("change", [{"told_at": None}, {"closed_at": AT}, {"kind": "fault"}])
def test_ticket_that_does_not_fit_keeps_its_reference(told: Told, change: dict[str, Any]) -> None:
    database, ticket_id = told
    with database.write(LATER) as tx:
        one, _ = ids_of_clients(tx)
        tickets.change(tx, ticket_id, **change)
        row = open_case(tx, one, "shop1001.example")
        assert tickets.find(tx.conn, row.reference).id != ticket_id


def test_reference_of_an_older_case_is_not_given_again(told: Told) -> None:
    database, ticket_id = told
    with database.write(LATER) as tx:
        one, _ = ids_of_clients(tx)
        first = open_case(tx, one, "shop1001.example")
        # The ticket is about cover again, and still has the reference of the first case.
        about = endpoint_id(tx.conn, "shop1001.example")
        given = {"kind": "cover", "endpoint_id": about, "told_at": AT, "key": "cover:again"}
        tx.conn.execute(update(Ticket).where(Ticket.id == ticket_id).values(given))
        second = open_case(tx, one, "shop1001.example")
        assert second.reference != first.reference
        assert cases.find(tx.conn, first.reference).id == first.id
        topic = tickets.find(tx.conn, second.reference)
        assert topic.key == cases.ticket_key(second.id, one)


def test_exception_in_the_transaction_leaves_no_case(pair: Database) -> None:
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        issuances.add(tx, issuances.NewIssuance(case_id=open_case(tx, one, "shop1001.example").id))
        raise RuntimeError
    with pair.read() as conn:
        for table in (Case, CaseName, CaseEvent, Issuance, Ticket):
            assert count(conn, table) == 0, table.__tablename__
    assert audited(pair, before) == []


def test_second_writer_of_a_locked_client_waits(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        case_changes.lock_client(tx, one)
        with pair.engine.connect() as other:
            if pair.path is None:
                query = select(Client.id).with_for_update(nowait=True)
                with pytest.raises(exc.OperationalError, match="could not obtain lock"):
                    other.execute(query.where(Client.id == one))
                other.rollback()
                assert other.execute(query.where(Client.id == two)).scalar() == two
            else:
                other.execute(text("PRAGMA busy_timeout=0"))
                other.rollback()
                with pytest.raises(exc.OperationalError, match="locked"):
                    other.execution_options(certmgr_write=True).execute(select(1))


def test_change_counts_version_and_step_and_writes_an_event(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        row = open_case(tx, one, "shop1001.example")
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        moved = case_changes.change(
            tx, row, "csr", {"state": "csr-ready", "since": tx.at}, "x" * 5000
        )
        noted = case_changes.change(tx, moved, "note", {"fee": "25"})
        same = case_changes.change(tx, noted, "csr", {"state": "csr-ready"})
        again = case_changes.change(tx, same, "csr", {"step": 99})
        events = cases.events(tx.conn, row.id)
    steps = [(r.version, r.step, r.state) for r in (moved, noted, same, again)]
    assert steps == [
        (2, 2, "csr-ready"),
        (3, 2, "csr-ready"),
        (4, 2, "csr-ready"),
        (5, 3, "csr-ready"),  # a step that is named counts also without another state
    ]
    assert (moved.since, noted.fee, noted.names) == (AT + DAY, "25", ("shop1001.example",))
    assert [(e.version, e.action, e.before, e.after) for e in events] == [
        (1, "open", None, "requested"),
        (2, "csr", "requested", "csr-ready"),
        (3, "note", "csr-ready", "csr-ready"),
        (4, "csr", "csr-ready", "csr-ready"),
        (5, "csr", "csr-ready", "csr-ready"),
    ]
    assert events[1].text == "x" * 4000
    kept = ["csr-ready", "csr-ready"]
    assert audited(pair, before) == [
        ("csr", "case", row.id, {"state": ["requested", "csr-ready"]}),
        ("note", "case", row.id, {"state": kept}),
        ("csr", "case", row.id, {"state": kept}),
        ("csr", "case", row.id, {"state": kept}),
    ]


def test_change_of_an_outdated_case_is_refused_and_tells_what_happened(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        row = open_case(tx, one, "shop1001.example")
    with pair.write(LATER) as tx:
        case_changes.change(tx, row, "csr", {"state": "csr-ready"})
        latest = case_changes.change(tx, cases.find(tx.conn, row.reference), "note", {"fee": "25"})
    before = entry_count(pair)
    with pytest.raises(Conflict) as caught, pair.write(LATER) as tx:
        case_changes.change(tx, row, "decline", {"state": "declined"})
    assert caught.value.what == f"The case {row.reference} was changed meanwhile"
    who = "tester at 2026-03-03 09:00 UTC"
    assert caught.value.why == f"{who}: csr, now csr-ready; {who}: note"
    with pair.read() as conn:
        assert cases.find(conn, row.reference) == latest
        assert len(cases.events(conn, row.id)) == 3
    assert audited(pair, before) == []


def test_exception_in_the_transaction_leaves_the_case_as_it_was(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        row = open_case(tx, one, "shop1001.example")
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(LATER) as tx:
        move(tx, row, "csr-ready")
        raise RuntimeError
    with pair.write(LATER) as tx:
        assert cases.find(tx.conn, row.reference) == row
        assert move(tx, row, "csr-ready").version == 2, "the version was not used up"
    assert len(audited(pair, before)) == 1


def test_listing_is_next_due_first_and_filtered(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert cases.listing(tx.conn) == []
        one, two = ids_of_clients(tx)
        undated = open_case(tx, one, "a.shop1001.example")
        late = open_case(tx, one, "b.shop1001.example", due_at=AT + 9)
        closed = open_case(tx, two, "shop1002.example", due_at=AT + 5)
        move(tx, closed, "closed", closed_at=AT + DAY)
        early = open_case(tx, two, "*.shop1002.example", due_at=AT + 1)

    with pair.read() as conn:

        def found(**given: Any) -> list[str]:
            return [r.reference for r in cases.listing(conn, **given)]

        first, second, third, last = (r.reference for r in (early, closed, late, undated))
        assert found() == [first, second, third, last]
        assert found(client_id=one) == [third, last]
        assert found(client_id=two, states=["requested"]) == [first]
        assert found(client_id=two + 99) == []
        assert found(states=("closed", "declined")) == [second]
        assert found(states=[]) == []
        assert found(since=AT + DAY) == [first, second, third, last]
        assert found(since=AT + DAY + 1) == [first, third, last]
        assert found(incident_id=1) == []
        (row,) = cases.listing(conn, states=["closed"])
    assert (row.names, row.client) == (("shop1002.example",), TWO)


def test_listing_of_an_incident_has_its_cases_alone(pair: Database) -> None:
    incident = text(
        "INSERT INTO incident (id, reference, kind, what, until, reason, by, opened_at)"
        " VALUES (7, 'IN-1', 'serials', '', 0, '', '', 0)"
    )
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        tx.conn.execute(incident)
        open_case(tx, one, "a.shop1001.example")
        row = open_case(tx, one, "shop1001.example", incident_id=7)
        found = cases.listing(tx.conn, incident_id=7)
    assert [r.reference for r in found] == [row.reference]


def test_names_of_more_cases_than_one_statement_takes_stay_apart(pair: Database) -> None:
    """The ids are asked for 500 at a time, for names and for issuances."""
    with pair.write(NOW) as tx:
        one, _ = ids_of_clients(tx)
        common = {"client_id": one, "kind": "new", "state": "requested", "bought_by": "us"}
        dates = {"since": AT, "opened_at": AT}
        made = [{"reference": f"R-{i:04}", **common, **dates} for i in range(1001)]
        tx.conn.execute(insert(Case), made)
        ids = list(tx.conn.scalars(select(Case.id).order_by(Case.reference)))
        named = [{"case_id": row_id, "name": f"n{i}.example"} for i, row_id in enumerate(ids)]
        tx.conn.execute(insert(CaseName), named)
        asked = [{"case_id": i, "key_type": "ec-p256", "created_at": AT} for i in ids]
        tx.conn.execute(insert(Issuance), asked)
        found = cases.listing(tx.conn)
        by_case = issuances.of_cases(tx.conn, ids)
    assert [r.names for r in found] == [(f"n{i}.example",) for i in range(1001)]
    assert {i: [r.case_id for r in part] for i, part in by_case.items()} == {i: [i] for i in ids}


def test_events_are_grouped_by_case_and_restricted_to_a_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        first, second = open_case(tx, one, "a.example"), open_case(tx, two, "b.example")
        move(tx, first, "csr-ready")
        everything = cases.events_of(tx.conn)
        assert everything == {r.id: cases.events(tx.conn, r.id) for r in (first, second)}
        assert [len(v) for v in everything.values()] == [2, 1]
        assert cases.events_of(tx.conn, two) == {second.id: everything[second.id]}
        assert cases.events_of(tx.conn, two + 99) == {}
        assert cases.events(tx.conn, second.id + 99) == []


def test_open_cases_are_counted_and_found_by_name_administrator_and_order(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert cases.count_open(tx.conn) == 0
        one, two = ids_of_clients(tx)
        bob, eve = (contacts.add(tx, None, {"name": n}) for n in ("Bob", "Eve"))
        order = add_order(tx, ONE, "shop1001.example")
        spare = add_order(tx, ONE, "shop1001.example")
        names = ("shop1001.example", "www.shop1001.example")
        first = open_case(tx, one, *names, staff_id=bob, order_id=order)
        second = open_case(tx, two, "shop1002.example", staff_id=bob)
        third = open_case(tx, one, "mail.shop1001.example", staff_id=eve)
        done = open_case(tx, one, "old.shop1001.example", staff_id=eve, order_id=spare)
        move(tx, done, "closed")
    with pair.read() as conn:
        assert cases.count_open(conn) == 3
        assert cases.open_cases_by_assignee(conn) == {bob: 2, eve: 1}
        assert cases.purchases_with_open_case(conn) == {order}
        mine = dict.fromkeys(names, first.reference)
        assert cases.open_names(conn) == {
            one: mine | {"mail.shop1001.example": third.reference},
            two: {"shop1002.example": second.reference},
        }
        assert [r.id for r in cases.open_for(conn, one, names)] == [first.id], "once"
        assert cases.open_for(conn, two, names) == [], "the names are in a case of another client"
        assert cases.open_for(conn, one, ["old.shop1001.example"]) == []
        assert cases.open_for(conn, one, []) == []
        assert cases.open_for(conn, one, [f"n{i}.example" for i in range(900)] + [*names]) != []


def test_case_before_is_the_last_one_of_the_client_that_was_closed(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        closed = [open_case(tx, one, "a.example", "b.example") for _ in range(2)]
        for row in closed:
            move(tx, row, "closed")
        move(tx, open_case(tx, one, "a.example"), "declined")
        open_case(tx, one, "a.example")
        found = cases.last_closed(tx.conn, one, ["b.example", "a.example"])
        assert found is not None
        assert found.id == closed[1].id
        assert cases.last_closed(tx.conn, two, ["a.example"]) is None
        assert cases.last_closed(tx.conn, one, ["c.example"]) is None
        assert cases.last_closed(tx.conn, one, []) is None


def test_closed_case_is_billed_once_when_it_was_first_closed(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        reopened = move(tx, open_case(tx, two, "a.example"), "closed")
        reopened = move(tx, reopened, "reopened")
        open_case(tx, one, "b.example")
        move(tx, open_case(tx, one, "c.example"), "declined")
    with pair.write(LATER) as tx:
        reopened = move(tx, reopened, "closed")
        case_changes.change(tx, reopened, "note", {"fee": "25"})
        later = move(tx, open_case(tx, one, "d.example"), "closed")
    with pair.read() as conn:
        found = cases.closed_between(conn, AT, AT + DAY + 1)
        assert [(r.id, r.billed_at, r.names) for r in found] == [
            (later.id, AT + DAY, ("d.example",)),
            (reopened.id, AT, ("a.example",)),
        ]
        first_day = cases.closed_between(conn, AT, AT + DAY)
        assert [r.id for r in first_day] == [reopened.id], "the end is not part of the time"
        assert cases.closed_between(conn, AT, AT + DAY, one) == []
        second_day = cases.closed_between(conn, AT + DAY, AT + 2 * DAY)
        assert [r.id for r in second_day] == [later.id]
        assert cases.closed_between(conn, AT + 1, AT + DAY + 1, two) == []
