"""Incidents: which certificates have to be replaced, and what became of each."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import insert, select

from inventory.db.database import Database
from inventory.errors import NotFound
from inventory.models import Incident, IncidentItem, StoredCertificate
from inventory.records import ServedName
from inventory.store import certificates, clients, domains, endpoints, incidents, servers
from inventory.store.incidents import NewIncidentItem
from inventory.targets import Target
from inventory.vocabulary import IncidentCategory, IncidentKind
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    add_site,
    audited,
    count,
    entry_count,
    open_case,
    site,
)
from tests.inventory.store.chunked import across_chunks
from tests.inventory.store.scan_rows import add_leaf, certificate_row, observe


def item(
    serial: str, sort: IncidentCategory = IncidentCategory.CLIENT, **columns: Any
) -> NewIncidentItem:
    return NewIncidentItem(serial=serial, sort=sort, **columns)


def test_opened_incident_is_found_by_its_reference_and_listed_by_its_date(
    database: Database,
) -> None:
    with database.write(NOW) as tx:
        late = incidents.add(tx, IncidentKind.ISSUER, "x" * 501, AT + 9 * DAY, "distrusted")
        soon = incidents.add(tx, IncidentKind.SERIALS, "list.csv", AT + DAY, "keys were lost")
        assert re.fullmatch(r"IN-[2-9A-HJ-NP-Z]{6}", late.reference)
        assert incidents.find(tx.conn, f" {soon.reference.lower()}\n") == soon
        assert [r.id for r in incidents.listing(tx.conn)] == [soon.id, late.id]
        with pytest.raises(NotFound, match=r"no incident 'IN-0'\. See certmgr incident list"):
            incidents.find(tx.conn, "IN-0")
    assert late.as_dict() == {
        "id": late.id,
        "reference": late.reference,
        "kind": "issuer",
        "what": "x" * 500,
        "until": AT + 9 * DAY,
        "reason": "distrusted",
        "by": "tester",
        "opened_at": AT,
        "closed_at": None,
    }
    with database.write(LATER) as tx:
        incidents.close(tx, soon.id)
        assert [r.id for r in incidents.listing(tx.conn)] == [late.id]
        both = incidents.listing(tx.conn, ended=True)
        assert [(r.id, r.closed_at) for r in both] == [
            (soon.id, AT + DAY),
            (late.id, None),
        ]
    assert audited(database) == [
        ("open", "incident", late.id, {"kind": "issuer", "until": AT + 9 * DAY}),
        ("open", "incident", soon.id, {"kind": "serials", "until": AT + DAY}),
        ("close", "incident", soon.id, {}),
    ]


def test_exception_leaves_no_incident(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write(NOW) as tx:
        row = incidents.add(tx, IncidentKind.ISSUER, "CN=CA", AT, "distrusted")
        incidents.add_items(tx, row.id, [item("01")])
        raise ZeroDivisionError
    with database.read() as conn:
        assert (count(conn, Incident), count(conn, IncidentItem)) == (0, 0)
    assert audited(database) == []


def test_items_count_only_the_addresses_of_their_own_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        shared = add_leaf(tx, "shared")
        www = add_site(tx, "1001", "www.example")
        gone = add_site(tx, "1001", "gone.example")
        left = add_site(tx, "1001", "left.example")
        for place in (one, two, www, gone, left):
            observe(tx, place.endpoint_id, shared, "192.0.2.1", "192.0.2.2")
        observe(tx, www.endpoint_id, add_leaf(tx, "new"), "192.0.2.2")
        endpoints.retire(tx, Target("gone.example"))
        domains.retire(tx, "left.example")
        opened = open_case(tx, one.client_id, "shop1001.example", due_at=AT + 5)
        row, other = (incidents.add(tx, IncidentKind.SERIALS, "a", AT, "why") for _ in range(2))
        incidents.add_items(tx, row.id, [])
        mine: dict[str, Any] = {"sha256": shared, "client_id": one.client_id, "case_id": opened.id}
        given = [
            item("03", client_id=two.client_id, sha256=shared),
            item("02", **mine, names=("shop1001.example",)),
            item("01", client_id=None),
            item("04", IncidentCategory.UNKNOWN),
            item("05", IncidentCategory.AUTOMATIC, client_id=one.client_id),
        ]
        incidents.add_items(tx, row.id, given)
        incidents.add_items(tx, other.id, [item("09")])
        found = incidents.items(tx.conn, row.id)
        assert incidents.items(tx.conn, other.id)[0].serial == "09"
        assert incidents.items(tx.conn, -1) == []
    columns = ("sort", "serial", "client", "reference", "state", "due_at", "served")
    assert [tuple(getattr(r, c) for c in columns) for r in found] == [
        ("automatic", "05", "1001", None, None, None, 0),
        # 2 addresses of shop1001.example, and the one of www.example that serves it still
        ("client", "02", "1001", opened.reference, "requested", AT + 5, 3),
        ("client", "03", "1002", None, None, None, 2),
        ("client", "01", None, None, None, None, 0),
        ("unknown", "04", None, None, None, None, 0),
    ]


def test_certificates_are_found_by_their_serial_number_and_cas_are_not(database: Database) -> None:
    with database.write(NOW) as tx:
        one = add_leaf(tx, "one", "a.example", serial="aa")
        same = add_leaf(tx, "same", serial="aa", issuer="CN=Other CA")
        last = add_leaf(tx, "last", serial="cc")
        add_leaf(tx, "ca", serial="bb", is_ca=1)
        found = certificates.by_serials(
            tx.conn,
            across_chunks(["aa", "bb", "cc"], lambda i: f"{i:x}00"),
        )
        assert certificates.by_serials(tx.conn, []) == {}
        made = [certificate_row(f"leaf {i}", serial=f"1{i:05}", first_seen=AT) for i in range(1001)]
        tx.conn.execute(insert(StoredCertificate), made)
        assert len(certificates.by_serials(tx.conn, [r["serial"] for r in made])) == 1001
    assert {s: {r.sha256 for r in rows} for s, rows in found.items()} == {
        "aa": {one, same},
        "cc": {last},
    }
    row = next(r for r in found["aa"] if r.sha256 == one)
    assert row.as_dict() == {
        "sha256": one,
        "serial": "aa",
        "names": ("a.example",),
        "issuer": "CN=Test Issuer",
    }


def test_served_leaves_are_those_seen_last_at_active_endpoints(pair: Database) -> None:
    known = entry_count(pair)

    def places(rows: list[ServedName]) -> list[tuple[str, str]]:
        return [(r.client, r.host) for r in rows]

    with pair.write(NOW) as tx:
        servers.add(tx, {"name": "web1"})
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        on_server = add_site(tx, "1002", "a.example", server="web1")
        left = add_site(tx, "1001", "left.example", server="web1")
        gone = add_site(tx, "1001", "gone.example", server="web1")
        old, leaf = add_leaf(tx, "old"), add_leaf(tx, "leaf", "shop1001.example")
        for place in (one, two, on_server, left, gone):
            observe(tx, place.endpoint_id, leaf, "192.0.2.1", "192.0.2.2")
        observe(tx, two.endpoint_id, None, "192.0.2.1", "192.0.2.2")
        observe(tx, on_server.endpoint_id, leaf, "192.0.2.1")  # the other address is silent since
        observe(tx, one.endpoint_id, old, "192.0.2.1")
        domains.retire(tx, "left.example")
        endpoints.retire(tx, Target("gone.example"))
        found = incidents.served(tx.conn)
        assert places(found) == [
            ("1001", "shop1001.example"),
            ("1001", "shop1001.example"),
            ("1002", "a.example"),
        ]
        assert {r.sha256 for r in found[:2]} == {old, leaf}
        assert found[2].as_dict() == {
            "sha256": leaf,
            "serial": certificate_row("leaf")["serial"],
            "issuer": "CN=Test Issuer",
            "names": ("shop1001.example",),
            "host": "a.example",
            "domain_id": on_server.domain_id,
            "client_id": on_server.client_id,
            "client": "1002",
        }
        assert places(incidents.served(tx.conn, server_name="web1")) == [("1002", "a.example")]
        assert incidents.served(tx.conn, server_name="web2") == []
        clients.retire(tx, "1002")
        assert places(incidents.served(tx.conn)) == [("1001", "shop1001.example")] * 2
        assert list(tx.conn.scalars(select(Incident.id))) == []
    assert {kind for _, kind, _, _ in audited(pair, known)} & {"incident"} == set()
