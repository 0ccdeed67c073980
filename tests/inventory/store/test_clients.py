"""Clients: unique numbers and names, no circle of resellers, retired with all they have."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import Client, Contact, Domain, Endpoint
from inventory.store import clients, contacts, domains, endpoints
from inventory.targets import Target
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_client,
    audited,
    count,
    entry_count,
    many_domains,
    rows,
)


def test_client_keeps_what_is_given_and_is_found_by_number_or_name(database: Database) -> None:
    given = {
        "number": " 1001 ",
        "name": "Rose GmbH",
        "account_manager": "Eve",
        "note": "  ",
        "hosts": "us",
        "dns": "cdn",
        "buys": "client",
        "renews": "",
    }
    with database.write(NOW) as tx:
        row_id = clients.add(tx, given, ("gold", "vip", "gold"))
        child = clients.add(tx, {"number": "1002", "name": "Leaf", "reseller": "Rose GmbH"})
    with database.read() as conn:
        row = clients.find(conn, "1001")
        assert clients.find(conn, "Rose GmbH") == row
        assert clients.find(conn, "1002").reseller_id == row_id
        for key in ("", "rose gmbh", "100", "1003"):
            with pytest.raises(NotFound, match="no client"):
                clients.find(conn, key)
    assert (row.id, row.number, row.state, row.created_at) == (
        row_id,
        "1001",
        "active",
        AT,
    )
    assert (row.account_manager, row.note) == ("Eve", None)
    assert [getattr(row, f) for f in ("hosts", "dns", "buys", "renews")] == [
        "us",
        "cdn",
        "client",
        None,
    ]
    # Names and notes of people are hidden in the audit log, parties are words of the program.
    detail = {"number": "-", "name": "-", "account_manager": "-"}
    parties = {"hosts": [None, "us"], "dns": [None, "cdn"], "buys": [None, "client"]}
    hidden = {k: [None, v] for k, v in detail.items()}
    assert audited(database) == [
        ("add", "client", row_id, hidden | parties),
        ("tag", "client", row_id, {"added": ["gold", "vip"], "removed": []}),
        (
            "add",
            "client",
            child,
            {"number": [None, "-"], "name": [None, "-"], "reseller_id": [None, 1]},
        ),
    ]


def test_number_is_preferred_to_a_name_that_looks_like_it(database: Database) -> None:
    with database.write(NOW) as tx:
        first = clients.add(tx, {"number": "1", "name": "2"})
        second = clients.add(tx, {"number": "2", "name": "1"})
        assert clients.find(tx.conn, "1").id == first
        assert clients.find(tx.conn, "2").id == second


@pytest.mark.parametrize("column", ["number", "name"])
def test_number_and_name_stay_taken_after_a_client_is_retired(pair: Database, column: str) -> None:
    taken = {"number": "1001", "name": "Client 1001"}[column]
    with pair.write(NOW) as tx:
        for _ in range(2):
            with pytest.raises(Conflict, match=f"the {column} '{taken}' exists already"):
                clients.add(tx, {"number": "1003", "name": "New", column: taken})
            with pytest.raises(Conflict, match="Another client has that number or name"):
                clients.edit(tx, TWO, {column: taken})
            if clients.find(tx.conn, ONE).state == "active":
                clients.retire(tx, ONE)
        clients.edit(tx, TWO, {"note": "the transaction is still usable"})
    with pair.read() as conn:
        assert count(conn, Client) == 2
        assert clients.find(conn, TWO).name == "Client 1002"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"number": " "}, "customer number is empty"),
    ({"name": ""}, "client name is empty"),
    ({"number": "1" * 61}, "the limit is 60"),
    ({"name": "x" * 201}, "the limit is 200"),
    ({"name": "a\nb"}, "control characters"),
    ({"account_manager": "x" * 201}, "the limit is 200"),
    ({"note": "x" * 4001}, "the limit is 4000"),
    ({"hosts": "nobody"}, "'nobody' is not a party for 'hosts'"),
    ({"reseller": "1099"}, "no client '1099'"),
]


def test_values_that_are_refused_change_nothing(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        for given, message in REFUSED:
            with pytest.raises(UsageError, match=message):
                clients.add(tx, {"number": "1003", "name": "New"} | given)
            with pytest.raises(UsageError, match=message):
                clients.edit(tx, ONE, given)
    with pair.read() as conn:
        assert [r.number for r in clients.listing(conn)] == [ONE, TWO]
    assert audited(pair, before) == []


def test_edit_reports_and_audits_only_what_differs(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        given = {"number": ONE, "note": "calls on Mondays", "reseller": TWO}
        changes = clients.edit(tx, ONE, given)
        assert changes == {"note": [None, "calls on Mondays"], "reseller_id": [None, two]}
        assert clients.edit(tx, ONE, {"note": "calls on Mondays", "reseller": TWO}) == {}
        assert clients.edit(tx, ONE, {}) == {}
        assert clients.edit(tx, ONE, {"note": None, "reseller": ""}) == {
            "note": ["calls on Mondays", None],
            "reseller_id": [two, None],
        }
        with pytest.raises(NotFound):
            clients.edit(tx, "1003", {"note": "x"})
    assert audited(pair, before) == [
        ("edit", "client", one, {"note": [None, "-"], "reseller_id": [None, two]}),
        ("edit", "client", one, {"note": ["-", None], "reseller_id": [two, None]}),
    ]


def test_resellers_never_form_a_circle(database: Database) -> None:
    with database.write(NOW) as tx:
        for number in ("1", "2", "3"):
            add_client(tx, number)
        clients.edit(tx, "2", {"reseller": "1"})
        clients.edit(tx, "3", {"reseller": "2"})
        for number, reseller in (("1", "1"), ("1", "2"), ("1", "3"), ("2", "3")):
            with pytest.raises(UsageError, match="circle"):
                clients.edit(tx, number, {"reseller": reseller})
        clients.edit(tx, "3", {"reseller": "1"})
    with database.write(NOW) as tx:
        assert [(r.number, r.reseller) for r in clients.listing(tx.conn)] == [
            ("1", None),
            ("2", "1"),
            ("3", "1"),
        ]
        # A circle that an older version or another program wrote ends the search too.
        two = clients.find(tx.conn, "2").id
        tx.conn.execute(update(Client).values(reseller_id=two))
        with pytest.raises(UsageError, match="circle"):
            clients.edit(tx, "1", {"reseller": "2"})


def test_retired_client_takes_its_records_along_and_leaves_those_of_others(pair: Database) -> None:
    with pair.write(NOW) as tx:
        endpoints.add(tx, Target("mail.shop1001.example", 993, "tls"))
        domains.add(tx, "gone1001.example", {"client": ONE})
        domains.retire(tx, "gone1001.example")
        contacts.add(tx, ONE, {"name": "Gone"})
        contacts.retire(tx, "Gone")
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        row_id = clients.find(tx.conn, ONE).id
        assert clients.retire(tx, ONE) == 1, "the domain that was active"
    with pair.read() as conn:
        tables = (Client, Domain, Endpoint, Contact)
        retired = {
            table.__tablename__: [r["retired_at"] for r in rows(conn, table)] for table in tables
        }
        assert [r.number for r in clients.listing(conn)] == [TWO]
        assert [r.name for r in domains.listing(conn)] == ["shop1002.example"]
        assert [r.host for r in endpoints.listing(conn)] == ["shop1002.example"]
        assert [r.name for r in contacts.listing(conn)] == ["Owner 1002"]
        assert clients.find(conn, ONE).state == "retired", "the record stays"
    late = AT + DAY
    assert retired == {
        "client": [late, None],
        "domain": [late, None, AT],
        "endpoint": [late, None, late, AT],
        "contact": [late, None, AT],
    }
    entries = audited(pair, before)
    assert [(action, kind) for action, kind, _, _ in entries] == [
        ("retire", "endpoint"),
        ("retire", "endpoint"),
        ("retire", "domain"),
        ("retire", "contact"),
        ("retire", "client"),
    ]
    assert entries[-1][2] == row_id


def test_client_is_retired_once(pair: Database) -> None:
    with pair.write(NOW) as tx:
        clients.retire(tx, ONE)
    before = entry_count(pair)
    with pytest.raises(UsageError, match="retired already"), pair.write(LATER) as tx:
        clients.retire(tx, ONE)
    with pytest.raises(NotFound), pair.write(LATER) as tx:
        clients.retire(tx, "1003")
    with pair.read() as conn:
        assert clients.find(conn, ONE).retired_at == AT
    assert audited(pair, before) == []


def test_retiring_is_rolled_back_whole(pair: Database) -> None:
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        clients.retire(tx, ONE)
        raise RuntimeError
    with pair.read() as conn:
        assert [r.number for r in clients.listing(conn)] == [ONE, TWO]
        assert len(domains.listing(conn)) == len(endpoints.listing(conn)) == 2


def test_client_with_more_domains_than_one_statement_takes_is_retired_whole(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        row_id = add_client(tx, ONE)
        many_domains(tx, ((row_id, f"d{i}.example") for i in range(1001)))
        add_client(tx, TWO, "shop1002.example")
        assert clients.retire(tx, ONE) == 1001
        assert [r.name for r in domains.listing(tx.conn)] == ["shop1002.example"]
        assert [r.host for r in endpoints.listing(tx.conn)] == ["shop1002.example"]


def test_listing_counts_domains_and_filters_by_tag(database: Database) -> None:
    with database.write(NOW) as tx:
        assert clients.listing(tx.conn) == []
        assert clients.with_domains(tx.conn) == []
        add_client(tx, "3", "c.example", tags=("gold", "blue"))
        add_client(tx, "1", "a.example", "b.example", "x.example", tags=("gold",))
        add_client(tx, "2")
        add_client(tx, "4", "d.example", tags=("gold",))
        domains.retire(tx, "x.example")
        clients.retire(tx, "4")
    with database.read() as conn:
        listed = [(r.number, r.domains, r.tags) for r in clients.listing(conn)]
        assert listed == [("1", 2, ("gold",)), ("2", 0, ()), ("3", 1, ("blue", "gold"))]
        assert [r.number for r in clients.listing(conn, retired=True)] == ["1", "2", "3", "4"]
        assert [r.number for r in clients.listing(conn, tag="gold")] == ["1", "3"]
        assert [r.number for r in clients.listing(conn, tag="gold", retired=True)] == [
            "1",
            "3",
            "4",
        ]
        assert clients.listing(conn, tag="silver") == []
        assert clients.with_domains(conn) == ["1", "3"]


def test_client_whose_only_domain_is_retired_has_none(pair: Database) -> None:
    with pair.write(NOW) as tx:
        domains.retire(tx, "shop1001.example")
        assert clients.with_domains(tx.conn) == [TWO]
        clients.retire(tx, TWO)
        assert clients.with_domains(tx.conn) == []
