"""Endpoints: their one domain, what a scan visits, selection by client, tag and target."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import (
    Client,
    Domain,
    Endpoint,
)
from inventory.store import (
    certificates,
    clients,
    domains,
    editing,
    endpoints,
    servers,
)
from inventory.targets import Target, parse
from tests.inventory.store.builders import (
    AT,
    DAY,
    LATER,
    NOW,
    ONE,
    TWO,
    add_certificate,
    audited,
    count,
    domain_id,
    endpoint_id,
    entry_count,
    many_clients,
    rows,
    serve,
)
from tests.inventory.store.casework import ids_of_clients

MAIL = Target("mail.shop1001.example", 993, "tls")


def hosts(database: Database, **given: Any) -> list[str]:
    with database.read() as conn:
        return [r.host for r in endpoints.listing(conn, **given)]


def test_endpoint_is_added_under_the_domain_above_it(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(NOW) as tx:
        fixed = ("2001:DB8::1, 192.0.2.1", "192.0.2.1")
        row_id = endpoints.add(tx, MAIL, addresses=fixed, tags=("mx",))
        row = endpoints.find(tx.conn, MAIL)
        assert row.id == row_id
        assert row.domain_id == domain_id(tx.conn, "shop1001.example")
        for unknown in ("mail.shop1001.example", "mail.shop1001.example:993/imap", "other.example"):
            with pytest.raises(NotFound, match="no endpoint"):
                endpoints.find(tx.conn, parse(unknown))
    assert (row.host, row.port, row.protocol) == ("mail.shop1001.example", 993, "tls")
    assert (row.addresses, row.created_at) == (("2001:db8::1", "192.0.2.1"), AT)
    assert [(e[0], e[1], e[2]) for e in audited(pair, before)] == [
        ("add", "endpoint", row_id),
        ("tag", "endpoint", row_id),
    ]


def test_nearest_domain_above_a_host_gets_its_endpoint(pair: Database) -> None:
    with pair.write(NOW) as tx:
        domains.add(tx, "eu.shop1001.example", {"client": TWO})
        endpoints.add(tx, Target("www.eu.shop1001.example"))
        endpoints.add(tx, Target("www.shop1001.example"))
        domains.add(tx, "192.0.2.9", {"client": TWO})
        endpoints.add(tx, Target("192.0.2.9", 8443))
        with pytest.raises(UsageError, match=r"No domain .* covers www\.other\.example"):
            endpoints.add(tx, Target("www.other.example"))
        with pytest.raises(UsageError):
            endpoints.add(tx, Target("myshop1001.example"))
    with pair.read() as conn:
        owner = {r.host: (r.domain, r.client) for r in endpoints.listing(conn)}
    assert owner["www.eu.shop1001.example"] == ("eu.shop1001.example", TWO)
    assert owner["www.shop1001.example"] == ("shop1001.example", ONE)
    assert owner["192.0.2.9"] == ("192.0.2.9", TWO)


def test_endpoint_can_be_added_to_a_named_domain(pair: Database) -> None:
    with pair.write(NOW) as tx:
        row_id = endpoints.add(tx, Target("cdn.other.example"), "SHOP1001.example")
        with pytest.raises(NotFound, match="no domain"):
            endpoints.add(tx, Target("cdn2.other.example"), "other.example")
        row = endpoints.find(tx.conn, Target("cdn.other.example"))
        assert row.id == row_id
        assert row.domain_id == domain_id(tx.conn, "shop1001.example")


def test_endpoint_has_one_owner(pair: Database) -> None:
    with pair.write(NOW) as tx:
        with pytest.raises(Conflict, match=r"shop1001\.example:443 exists already"):
            endpoints.add(tx, Target("shop1001.example"))
        with pytest.raises(Conflict, match=r"the domain shop1001\.example of the client 1001"):
            endpoints.add(tx, Target("shop1001.example"), "shop1002.example")
        endpoints.retire(tx, Target("shop1001.example"))
        row_id = endpoints.add(tx, Target("shop1001.example"), "shop1002.example")
        assert endpoints.find(tx.conn, Target("shop1001.example")).id == row_id
        with pytest.raises(Conflict, match="client 1002"):
            endpoints.add(tx, Target("shop1001.example"))


def test_retired_endpoint_comes_back_with_its_id_and_new_addresses(pair: Database) -> None:
    with pair.write(NOW) as tx:
        row_id = endpoints.add(tx, MAIL, addresses=("192.0.2.1",), tags=("mx",))
        endpoints.retire(tx, MAIL)
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        assert endpoints.add(tx, MAIL, tags=("new",)) == row_id
        row = endpoints.find(tx.conn, MAIL)
        assert editing.tags_of(tx.conn, "endpoint", [row_id]) == {row_id: ("mx", "new")}
    assert (row.state, row.retired_at, row.addresses) == ("active", None, None)
    assert audited(pair, before) == [
        (
            "edit",
            "endpoint",
            row_id,
            {"addresses": [["-"], None], "retired_at": [AT, None], "state": ["retired", "active"]},
        ),
        ("tag", "endpoint", row_id, {"added": ["new"], "removed": []}),
    ]


def test_edit_changes_port_protocol_and_addresses(pair: Database) -> None:
    before = entry_count(pair)
    shop = Target("shop1001.example")
    with pair.write(NOW) as tx:
        row_id = endpoint_id(tx.conn, "shop1001.example")
        assert endpoints.edit(tx, shop, {}) == {}
        assert endpoints.edit(tx, shop, {"port": 443, "protocol": None, "addresses": []}) == {}
        changes = endpoints.edit(tx, shop, {"addresses": ["192.0.2.1", "192.0.2.2"]})
        assert changes == {"addresses": [None, ("192.0.2.1", "192.0.2.2")]}
        moved = endpoints.edit(tx, shop, {"port": 993, "protocol": "tls", "addresses": []})
        assert moved == {
            "port": [443, 993],
            "protocol": ["https", "tls"],
            "addresses": [("192.0.2.1", "192.0.2.2"), None],
        }
        with pytest.raises(NotFound):
            endpoints.edit(tx, shop, {"port": 8443})
        with pytest.raises(UsageError, match="not an IP address"):
            endpoints.edit(tx, Target("shop1001.example", 993, "tls"), {"addresses": ["web1"]})
        assert endpoints.find(tx.conn, Target("shop1001.example", 993, "tls")).id == row_id
    assert [(e[0], e[2], sorted(e[3])) for e in audited(pair, before)] == [
        ("edit", row_id, ["addresses"]),
        ("edit", row_id, ["addresses", "port", "protocol"]),
    ]


def test_edit_never_makes_a_second_endpoint_of_the_same_target(pair: Database) -> None:
    with pair.write(NOW) as tx:
        endpoints.add(tx, Target("shop1001.example", 8443))
        with pytest.raises(Conflict, match="That endpoint exists already"):
            endpoints.edit(tx, Target("shop1001.example", 8443), {"port": 443})
        endpoints.add(tx, Target("shop1001.example", 9443), "shop1002.example")
        with pytest.raises(Conflict, match=r"the domain shop1001\.example of the client 1001"):
            endpoints.edit(tx, Target("shop1001.example", 9443), {"port": 443})
        endpoints.edit(tx, Target("shop1001.example", 9443), {"port": 10443})
    with pair.read() as conn:
        listed = endpoints.listing(conn)
    ports = [(r.client, r.port) for r in listed if r.host == "shop1001.example"]
    assert ports == [(ONE, 443), (ONE, 8443), (TWO, 10443)]


def test_endpoint_is_retired_once(pair: Database) -> None:
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        row_id = endpoint_id(tx.conn, "shop1001.example")
        endpoints.retire(tx, Target("shop1001.example"))
        for _ in range(2):
            with pytest.raises(NotFound):
                endpoints.retire(tx, Target("shop1001.example"))
    assert hosts(pair) == ["shop1002.example"]
    assert hosts(pair, retired=True) == ["shop1001.example", "shop1002.example"]
    with pair.read() as conn:
        assert rows(conn, Endpoint)[0]["retired_at"] == AT + DAY
    assert audited(pair, before) == [("retire", "endpoint", row_id, {})]


def test_exception_in_the_transaction_leaves_the_endpoints_as_they_were(pair: Database) -> None:
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        endpoints.add(tx, MAIL, tags=("mx",))
        endpoints.edit(tx, Target("shop1001.example"), {"port": 8443})
        endpoints.retire(tx, Target("shop1002.example"))
        raise RuntimeError
    with pair.read() as conn:
        assert count(conn, Endpoint) == 2
        assert {r.port for r in endpoints.listing(conn)} == {443}
    assert audited(pair, before) == []


@pytest.fixture
def tagged(pair: Database) -> Database:
    """Tags at an endpoint, a domain and a client; ``all`` at one of each kind."""
    with pair.write(NOW) as tx:
        endpoints.add(tx, MAIL, tags=("mx", "all"))
        domains.add(tx, "a.example", {"client": ONE}, ("vip", "all"))
        editing.change_tags(tx, "client", clients.find(tx.conn, TWO).id, add=("gold", "all"))
        # The number of a row of another kind must not be taken for that of an endpoint.
        servers.add(tx, {"name": "web1"}, ("mx", "machine"))
    return pair


def test_listing_is_restricted_to_a_client_and_a_tag(tagged: Database) -> None:
    with tagged.read() as conn:
        one, two = (clients.find(conn, n).id for n in (ONE, TWO))
        tags = {r.host: r.tags for r in endpoints.listing(conn)}
    assert tags == {
        "a.example": (),
        "mail.shop1001.example": ("all", "mx"),
        "shop1001.example": (),
        "shop1002.example": (),
    }
    assert hosts(tagged, client_id=one) == [
        "a.example",
        "mail.shop1001.example",
        "shop1001.example",
    ]
    assert hosts(tagged, client_id=two) == ["shop1002.example"]
    assert hosts(tagged, client_id=two + 99) == []
    assert hosts(tagged, tag_name="mx") == ["mail.shop1001.example"]
    assert hosts(tagged, tag_name="vip") == ["a.example"]
    assert hosts(tagged, tag_name="gold") == ["shop1002.example"]
    everywhere = ["a.example", "mail.shop1001.example", "shop1002.example"]
    assert hosts(tagged, tag_name="all") == everywhere
    assert hosts(tagged, tag_name="all", client_id=one) == everywhere[:2]
    assert hosts(tagged, tag_name="machine") == hosts(tagged, tag_name="gold", client_id=one) == []


def test_selection_restricts_a_query_to_one_target(tagged: Database) -> None:
    query = select(Endpoint.host).join(Domain).join(Client, Client.id == Domain.client_id)
    with tagged.read() as conn:
        one, two = (clients.find(conn, n).id for n in (ONE, TWO))
        for owner, target, expected in (
            (None, MAIL, ["mail.shop1001.example"]),
            (one, MAIL, ["mail.shop1001.example"]),
            (two, MAIL, []),
            (None, Target("mail.shop1001.example"), []),
            (None, Target("mail.shop1001.example", 993, "imap"), []),
        ):
            found = list(conn.scalars(endpoints.selection(query, owner, None, target)))
            assert found == expected, (owner, target)
        assert len(list(conn.scalars(endpoints.selection(query, None, None)))) == 4


def test_scan_visits_what_is_not_retired_with_domain_and_client(tagged: Database) -> None:
    with tagged.write(NOW) as tx:
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        domains.edit(tx, "a.example", {"state": "leaving"})
        domains.add(tx, "gone.example", {"client": ONE})
        domains.retire(tx, "gone.example")
        domains.add(tx, "b.example", {"client": TWO})
        endpoints.retire(tx, Target("b.example"))
        active = [endpoint_id(tx.conn, h) for h in ("a.example", "shop1001.example")]
        mail = endpoint_id(tx.conn, "mail.shop1001.example", 993)
    with tagged.read() as conn:
        assert endpoints.count_visited(conn, None, None) == 4
        assert endpoints.count_visited(conn, one, None) == 3
        assert endpoints.count_visited(conn, one, "all") == 2
        assert endpoints.count_visited(conn, two, "vip") == 0
        assert set(endpoints.visited_ids(conn, one, None)) == {*active, mail}
        assert list(endpoints.visited_ids(conn, None, "mx")) == [mail]
        assert list(endpoints.visited_ids(conn, two + 99, None)) == []
    with tagged.write(NOW) as tx:
        clients.retire(tx, ONE)
        assert endpoints.count_visited(tx.conn, None, None) == 1


def test_visited_rows_carry_parties_and_standing(pair: Database) -> None:
    with pair.write(NOW) as tx:
        servers.add(tx, {"name": "web1", "renews": "panel"})
        clients.edit(tx, ONE, {"buys": "client"})
        domains.edit(tx, "shop1001.example", {"server": "web1", "dns": "cdn", "paths": ["/login"]})
        ids = [endpoint_id(tx.conn, f"shop{n}.example") for n in (ONE, TWO)]
        serve(tx, ids[0], add_certificate(tx, "leaf"))
    with pair.read() as conn:
        first, second = sorted(endpoints.visited(conn, ids), key=lambda r: r.host)
        assert [r.id for r in endpoints.visited(conn, ids[1:])] == ids[1:]
        assert endpoints.visited(conn, []) == []
    assert (first.client, first.domain, first.paths) == (ONE, "shop1001.example", ("/login",))
    parties = first.parties
    assert (parties.dns, parties.renews, parties.buys) == ("cdn", "panel", "client")
    assert (first.last_good, first.last_attempt, first.failing_runs) == (AT, AT, 0)
    assert (second.client, second.server_id, second.last_attempt) == (TWO, None, None)


def test_endpoint_that_was_retired_in_between_is_not_visited(database: Database) -> None:
    with database.write(NOW) as tx:
        many_clients(tx, 700)
        ids = endpoints.visited_ids(tx.conn, None, None)
        assert (len(ids), ids.typecode) == (700, "q")
        endpoints.retire(tx, Target("d50003.example"))
        clients.retire(tx, "50005")
        found = {r.host for r in endpoints.visited(tx.conn, ids)}
    assert len(found) == 698
    assert not {"d50003.example", "d50005.example"} & found


def test_scan_without_endpoints_names_what_was_asked_for() -> None:
    endpoints.require_some(1, ONE, "gold")
    for client_key, tag, scope in (
        (None, None, ""),
        (ONE, None, " for client 1001"),
        (None, "gold", " with tag gold"),
        (ONE, "gold", " for client 1001 with tag gold"),
    ):
        with pytest.raises(NotFound, match=f"no active endpoint{scope} to scan"):
            endpoints.require_some(0, client_key, tag)


def test_places_are_the_endpoints_that_are_visited(pair: Database) -> None:
    with pair.write(NOW) as tx:
        one, two = ids_of_clients(tx)
        servers.add(tx, {"name": "lb", "kind": "balancer", "backends": ["10.0.0.1:8443"]})
        domains.edit(tx, "shop1001.example", {"server": "lb"})
        endpoints.add(tx, Target("mail.shop1001.example", 993, "tls"), addresses=("192.0.2.7",))
        endpoints.add(tx, Target("old.shop1001.example"))
        endpoints.retire(tx, Target("old.shop1001.example"))
        domains.add(tx, "gone.example", {"client": TWO})
        domains.retire(tx, "gone.example")
        found = endpoints.of_clients(tx.conn, [two, one, two])
        assert endpoints.of_clients(tx.conn, [two]) == {two: found[two]}
        assert endpoints.of_clients(tx.conn, []) == endpoints.of_clients(tx.conn, [two + 99]) == {}
    assert [(r.host, r.port, r.protocol, r.addresses) for r in found[one]] == [
        ("shop1001.example", 443, "https", None),
        ("mail.shop1001.example", 993, "tls", ("192.0.2.7",)),
    ]
    behind = [(r.domain, r.server, r.backends) for r in (*found[one], *found[two])]
    assert behind == [
        ("shop1001.example", "lb", ("10.0.0.1:8443",)),
        ("shop1001.example", "lb", ("10.0.0.1:8443",)),
        ("shop1002.example", None, None),
    ]


def test_places_of_more_clients_than_one_statement_takes_stay_apart(database: Database) -> None:
    """The ids are asked for 500 at a time."""
    with database.write(NOW) as tx:
        ids = many_clients(tx, 1001)
        sha256 = add_certificate(tx, "leaf", not_after=AT + 9)
        for number in (50_000, 50_500, 51_000):
            serve(tx, endpoint_id(tx.conn, f"d{number}.example"), sha256)
        found = endpoints.of_clients(tx.conn, ids)
        ends = certificates.served_until(tx.conn, ids)
    assert {i: [r.host for r in part] for i, part in found.items()} == {
        row_id: [f"d{50_000 + i}.example"] for i, row_id in enumerate(ids)
    }
    assert ends == {ids[i]: {f"d{50_000 + i}.example": AT + 9} for i in (0, 500, 1000)}
