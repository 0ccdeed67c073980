"""How endpoints stand now and stood then, and which certificate ends first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, update

from inventory.db.database import Database
from inventory.models import Endpoint
from inventory.store import (
    certificates,
    clients,
    domains,
    editing,
    endpoint_status,
    endpoints,
    runs,
    scan_results,
    servers,
)
from inventory.targets import Target, parse
from tests.inventory.store.builders import (
    AT,
    DAY,
    NOW,
    Site,
    add_finding,
    add_site,
    audited,
    entry_count,
    site,
)
from tests.inventory.store.chunked import unknown_id
from tests.inventory.store.scan_rows import add_leaf, add_status, failure_row, observe


@pytest.fixture
def street(pair: Database) -> Database:
    """Three sites of client 1001 and one of client 1002; d.example was never checked."""
    with pair.write(NOW) as tx:
        servers.add(tx, {"name": "web1"})
        domains.edit(tx, "shop1001.example", {"server": "web1"})
        add_site(tx, "1001", "c.example")
        add_site(tx, "1001", "d.example")
        run_id = runs.start(tx, "", 4)
        ends = (("shop1001.example", 30), ("shop1002.example", 10), ("c.example", 30))
        for host, days in ends:
            place = site(tx, host)
            leaf = add_leaf(tx, host, not_after=AT + days * DAY)
            observe(tx, place.endpoint_id, leaf)
            values = {
                "leaf": leaf,
                "not_after": AT + days * DAY,
                "issuer": "CN=CA",
                "last_run_id": run_id,
            }
            add_status(tx, place.endpoint_id, **values)
        runs.finish(tx, run_id, "complete", None, 3, 0)
    return pair


def sites(database: Database) -> dict[str, Site]:
    with database.write(NOW) as tx:
        hosts = ("shop1001.example", "shop1002.example", "c.example", "d.example")
        return {h: site(tx, h) for h in hosts}


def hosts(found: Sequence[Any]) -> list[str]:
    return [r.host for r in found]


def test_standings_come_with_the_first_end_first_and_unchecked_endpoints_last(
    street: Database,
) -> None:
    with street.read() as conn:
        found = endpoint_status.current_status(conn)
        assert hosts(found) == ["shop1002.example", "shop1001.example", "c.example", "d.example"]
        assert endpoint_status.count(conn) == 4
    row = found[1]
    assert (row.port, row.protocol, row.client, row.server) == (443, "https", "1001", "web1")
    assert (row.last_attempt, row.last_good, row.not_after) == (AT, AT, AT + 30 * DAY)
    assert (row.issuer, row.error_layer, row.judged_at) == ("CN=CA", None, AT)
    never = found[3]
    assert (never.last_attempt, never.leaf, never.judged_at, never.server) == (
        None,
        None,
        None,
        None,
    )


def test_standings_and_their_count_are_of_one_client_one_tag_and_one_run(street: Database) -> None:
    known = sites(street)
    with street.write(NOW) as tx:
        editing.change_tags(tx, "endpoint", known["c.example"].endpoint_id, add=["gold"])
        editing.change_tags(tx, "domain", known["shop1002.example"].domain_id, add=["gold"])
        editing.change_tags(tx, "client", known["c.example"].client_id, add=["vip"])
        last = runs.start(tx, "", 1)
        scan_results.seen_again(tx, last, [(known["c.example"].endpoint_id, tx.at, True, False)])
    one, two = known["c.example"].client_id, known["shop1002.example"].client_id
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"client_id": two}, ["shop1002.example"]),
        ({"client_id": one}, ["shop1001.example", "c.example", "d.example"]),
        ({"client_id": unknown_id(0)}, []),
        ({"tag_name": "gold"}, ["shop1002.example", "c.example"]),
        ({"tag_name": "vip"}, ["shop1001.example", "c.example", "d.example"]),
        ({"tag_name": "none"}, []),
        ({"tag_name": "gold", "client_id": one}, ["c.example"]),
        ({"run_id": last}, ["c.example"]),
        ({"run_id": last - 1}, ["shop1002.example", "shop1001.example"]),
        ({"run_id": last, "client_id": two}, []),
    ]
    with street.read() as conn:
        for given, expected in cases:
            assert hosts(endpoint_status.current_status(conn, **given)) == expected, given
            assert endpoint_status.count(conn, **given) == len(expected), given


def test_troubled_endpoints_have_an_open_finding_or_were_never_judged(street: Database) -> None:
    known = sites(street)
    with street.write(NOW) as tx:
        add_finding(tx, known["shop1002.example"].endpoint_id, "expired")
        add_finding(tx, known["c.example"].endpoint_id, "expired", closed_at=AT)
        one, two = known["c.example"].client_id, known["shop1002.example"].client_id
        conn = tx.conn
        assert hosts(endpoint_status.current_status(conn, skip_healthy=True)) == [
            "shop1002.example",
            "d.example",
        ]
        assert hosts(endpoint_status.current_status(conn, skip_healthy=True, client_id=one)) == [
            "d.example"
        ]
        assert hosts(endpoint_status.current_status(conn, skip_healthy=True, client_id=two)) == [
            "shop1002.example"
        ]


def test_retired_rows_are_not_in_any_overview(street: Database) -> None:
    before = entry_count(street)
    with street.write(NOW) as tx:
        conn = tx.conn
        endpoints.retire(tx, Target("c.example"))
        domains.retire(tx, "d.example")
        assert hosts(endpoint_status.current_status(conn)) == [
            "shop1002.example",
            "shop1001.example",
        ]
        clients.retire(tx, "1002")
        assert hosts(endpoint_status.current_status(conn)) == ["shop1001.example"]
        assert endpoint_status.count(conn) == 1
        assert [e[:3] for e in endpoint_status.ends(conn)] == [
            ("shop1001.example:443", "1001", AT + 30 * DAY)
        ]
        assert endpoint_status.soonest(conn) == ("shop1001.example:443", AT + 30 * DAY)
    assert {action for action, _, _, _ in audited(street, before)} == {"retire"}


def test_first_end_is_of_the_chosen_endpoints(street: Database) -> None:
    known = sites(street)
    with street.write(NOW) as tx:
        editing.change_tags(tx, "domain", known["c.example"].domain_id, add=["gold"])
        conn = tx.conn
        assert endpoint_status.soonest(conn) == ("shop1002.example:443", AT + 10 * DAY)
        one, two = known["c.example"].client_id, known["shop1002.example"].client_id
        assert endpoint_status.soonest(conn, client_id=one) == (
            "shop1001.example:443",
            AT + 30 * DAY,
        )
        assert endpoint_status.soonest(conn, tag_name="gold") == ("c.example:443", AT + 30 * DAY)
        assert endpoint_status.soonest(conn, tag_name="gold", client_id=two) is None
        mail = endpoints.add(tx, parse("mail.c.example:993"))
        add_status(tx, mail, not_after=AT + DAY)
        add_status(tx, endpoints.add(tx, parse("ftp.c.example/ftp")))  # without a certificate
        assert endpoint_status.soonest(conn) == ("mail.c.example:993", AT + DAY)
        assert [e[:3] for e in endpoint_status.ends(conn)] == [
            ("shop1001.example:443", "1001", AT + 30 * DAY),
            ("shop1002.example:443", "1002", AT + 10 * DAY),
            ("c.example:443", "1001", AT + 30 * DAY),
            ("mail.c.example:993", "1001", AT + DAY),
        ]


def test_standing_of_a_past_instant_is_what_was_last_seen_then(pair: Database) -> None:
    def then(conn: Connection, days: float, **given: Any) -> list[tuple[Any, ...]]:
        found = endpoint_status.status_at(conn, NOW + timedelta(days=days), **given)
        return [(r.host, r.leaf, r.not_after, r.last_good) for r in found]

    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        old = add_leaf(tx, "old", not_after=AT + 20 * DAY)
        new = add_leaf(tx, "new", not_after=AT + 90 * DAY, issuer="CN=New CA")
        early = add_leaf(tx, "early", not_after=AT + 9 * DAY)
        observe(tx, one.endpoint_id, old, at=AT + DAY)
        observe(tx, one.endpoint_id, old, at=AT + 3 * DAY)
        observe(tx, one.endpoint_id, new, at=AT + 5 * DAY)
        both = {
            "192.0.2.1": {"at": AT + DAY, "leaf": old, "chain": (old,)},
            "192.0.2.2": {"at": AT + DAY, "leaf": early, "chain": (early,)},
        }
        common = dict.fromkeys(
            ("tls_version", "cipher", "group_name", "alpn", "ocsp", "trusted", "public"),
        )
        scan_results.write_observations(
            tx, {two.endpoint_id: {a: common | f for a, f in both.items()}}
        )
        gone = update(Endpoint).where(Endpoint.id == two.endpoint_id)
        tx.conn.execute(gone.values(retired_at=AT + 7 * DAY))
        conn = tx.conn
        none = (None, None, None)
        assert then(conn, -1) == []
        assert then(conn, 0) == [("shop1001.example", *none), ("shop1002.example", *none)]
        # Of addresses that were first seen together, the certificate that ends first counts.
        seen_two = ("shop1002.example", min(old, early), AT + 9 * DAY)
        assert then(conn, 2) == [
            (*seen_two, AT + DAY),
            ("shop1001.example", old, AT + 20 * DAY, AT + 2 * DAY),
        ]
        assert then(conn, 4)[1] == ("shop1001.example", old, AT + 20 * DAY, AT + 3 * DAY)
        assert then(conn, 5)[1] == ("shop1001.example", new, AT + 90 * DAY, AT + 5 * DAY)
        assert then(conn, 8) == [("shop1001.example", new, AT + 90 * DAY, AT + 5 * DAY)]
        assert [r[0] for r in then(conn, 2, client_id=one.client_id)] == ["shop1001.example"]
        assert then(conn, 8, client_id=two.client_id) == []
        editing.change_tags(tx, "domain", two.domain_id, add=["gold"])
        assert [r[0] for r in then(conn, 2, tag_name="gold")] == ["shop1002.example"]
        row = endpoint_status.status_at(conn, NOW + timedelta(days=5))[1]
        assert (row.last_attempt, row.issuer, row.error_layer, row.error_reason, row.judged_at) == (
            AT + 5 * DAY,
            "CN=New CA",
            None,
            "",
            1,
        )


def test_begin_of_each_served_leaf_is_known(street: Database) -> None:
    with street.write(NOW) as tx:
        undated = add_leaf(tx, "undated", not_before=None)
        add_leaf(tx, "not served", not_before=AT)
        place = site(tx, "c.example")
        add_status(tx, place.endpoint_id, leaf=undated)
        found = certificates.not_before_of(tx.conn)
    assert len(found) == 2
    assert set(found.values()) == {AT - 30 * DAY}


def test_leaves_are_of_now_or_of_an_instant_and_of_one_client(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        old = add_leaf(tx, "old", not_after=AT + 20 * DAY)
        new = add_leaf(tx, "new", not_after=AT + 90 * DAY)
        undated = add_leaf(tx, "undated", not_after=None)
        no_start = add_leaf(tx, "no start", not_before=None)
        observe(tx, one.endpoint_id, old, "192.0.2.1", at=AT)
        observe(tx, one.endpoint_id, old, "192.0.2.1", at=AT + DAY)
        observe(tx, one.endpoint_id, new, "192.0.2.1", "192.0.2.2", at=AT + 3 * DAY, public=0)
        observe(tx, two.endpoint_id, undated, "192.0.2.3", at=AT)
        observe(tx, two.endpoint_id, no_start, "192.0.2.4", at=AT)
        observe(tx, two.endpoint_id, old, "192.0.2.1", at=AT, public=None)
        start = AT - 30 * DAY
        was, now_ = (start, AT + 20 * DAY, 1), (start, AT + 90 * DAY, 0)
        theirs = (start, AT + 20 * DAY, None)
        conn = tx.conn
        assert endpoint_status.leaves(conn) == {
            one.endpoint_id: [now_, now_],
            two.endpoint_id: [theirs],
        }
        assert endpoint_status.leaves(conn, AT) == {
            one.endpoint_id: [was],
            two.endpoint_id: [theirs],
        }
        assert endpoint_status.leaves(conn, AT + DAY, one.client_id) == {one.endpoint_id: [was]}
        assert endpoint_status.leaves(conn, AT + 2 * DAY, one.client_id) == {}
        assert endpoint_status.leaves(conn, AT + 3 * DAY, one.client_id) == {
            one.endpoint_id: [now_, now_]
        }
        assert endpoint_status.leaves(conn, AT - 1) == {}
        assert endpoint_status.leaves(conn, client_id=two.client_id) == {two.endpoint_id: [theirs]}


def test_tags_of_clients_are_found_by_client_and_by_name(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = site(tx, "shop1001.example"), site(tx, "shop1002.example")
        editing.change_tags(tx, "client", one.client_id, add=["gold", "vip"])
        editing.change_tags(tx, "client", two.client_id, add=["vip"])
        editing.change_tags(tx, "domain", two.domain_id, add=["gold"])
        editing.change_tags(tx, "endpoint", two.endpoint_id, add=["port"])
        conn = tx.conn
        assert clients.tags(conn) == {
            one.client_id: {"gold", "vip"},
            two.client_id: {"vip"},
        }
        assert clients.tags(conn, two.client_id) == {two.client_id: {"vip"}}
        assert clients.tags(conn, unknown_id(0)) == {}
        assert clients.ids_with_tag(conn, "gold") == {one.client_id, two.client_id}
        assert clients.ids_with_tag(conn, "vip") == {one.client_id, two.client_id}
        assert clients.ids_with_tag(conn, "port") == set()
        domains.retire(tx, "shop1002.example")
        assert clients.ids_with_tag(conn, "gold") == {one.client_id}


def test_failed_attempt_keeps_its_endpoint_at_its_place(street: Database) -> None:
    place = sites(street)["shop1002.example"]
    with street.write(NOW + timedelta(days=1)) as tx:
        scan_results.write_endpoint_status(tx, [failure_row(place.endpoint_id, tx.at)])
        row = endpoint_status.current_status(tx.conn)[0]
    assert (row.host, row.not_after) == ("shop1002.example", AT + 10 * DAY)
    assert (row.last_attempt, row.last_good) == (AT + DAY, AT)
    assert (row.error_layer, row.error_reason) == ("tcp", "timeout")
