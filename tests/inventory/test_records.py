"""Records: one active client a domain, retirement, parties by inheritance, and clients that stay apart."""

from __future__ import annotations

import pytest

from inventory.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.store import clients, contacts, domains, endpoints, servers
from inventory.store.domains import resolve_parties
from inventory.targets import parse


@pytest.fixture
def two(database: Database) -> Database:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One", "renews": "client"}, ("gold",))
        clients.add(tx, {"number": "2", "name": "Two"})
        servers.add(tx, {"name": "web1", "addresses": ["192.0.2.1, 2001:db8::1"], "renews": "us"})
        domains.add(tx, "shop.example.com", {"client": "1", "server": "web1"}, ("vip",))
        domains.add(tx, "other.example.net", {"client": "2"})
        contacts.add(tx, "1", {"name": "Ada"}, ("ada@example.com", "phone:+49 30 1"))
        contacts.add(tx, "2", {"name": "Bob"}, ("bob@example.net",))
    return database


def test_adding_a_domain_makes_its_endpoint(two: Database) -> None:
    with two.read() as conn:
        rows = endpoints.listing(conn)
    assert [(r["host"], r["port"], r["protocol"], r["client"]) for r in rows] == [
        ("shop.example.com", 443, "https", "1"), ("other.example.net", 443, "https", "2"),
    ]  # fmt: skip


def test_a_domain_has_one_active_client_and_moves_by_edit(two: Database) -> None:
    with two.write() as tx, pytest.raises(Conflict, match="belongs to the client 1"):
        domains.add(tx, "SHOP.example.com.", {"client": "2"})
    with two.write() as tx:
        assert "client_id" in domains.edit(tx, "shop.example.com", {"client": "2"})
    with two.read() as conn:
        found = domains.active(conn, "shop.example.com")
        assert found is not None
        assert found["client"] == "2"


def test_what_is_retired_stays_and_is_silent(two: Database) -> None:
    with two.write() as tx:
        assert clients.retire(tx, "1") == 1
    with two.read() as conn:
        assert endpoints.count_visited(conn, None, None) == 1
        assert [r["number"] for r in clients.listing(conn)] == ["2"]
        assert [r["number"] for r in clients.listing(conn, retired=True)] == ["1", "2"]
        with pytest.raises(NotFound):
            domains.find(conn, "shop.example.com")
    with two.write() as tx:
        domains.add(tx, "shop.example.com", {"client": "2"})


@pytest.mark.parametrize(
    ("own", "server", "client", "expected"),
    [("cdn", "us", "client", "cdn"), (None, "us", "client", "us"), (None, None, "client", "client"), (None, None, None, None)],
)
def test_parties_are_inherited(own: str | None, server: str | None, client: str | None, expected: str | None) -> None:
    assert resolve_parties({"renews": own}, {"renews": server}, {"renews": client}).renews == expected


def test_a_domain_on_our_server_is_hosted_by_us(two: Database) -> None:
    with two.read() as conn:
        (row,) = domains.listing(conn, client_id=clients.find(conn, "1")["id"])
    assert (row["parties"].hosts, row["parties"].renews, row["parties"].on_our_server) == ("us", "us", True)


def test_one_client_never_sees_another(two: Database) -> None:
    with two.read() as conn:
        one, other = clients.find(conn, "1")["id"], clients.find(conn, "2")["id"]
        assert [r["name"] for r in contacts.listing(conn, client_id=one)] == ["Ada"]
        assert [w for r in contacts.listing(conn, client_id=other) for w in r["ways"]] == ["email:bob@example.net"]
        assert [r["name"] for r in domains.listing(conn, client_id=other)] == ["other.example.net"]
        assert [r["host"] for r in endpoints.listing(conn, client_id=one)] == ["shop.example.com"]
        assert domains.names_of_client(conn, other) == {"other.example.net"}


def test_tags_choose_by_endpoint_domain_and_client(two: Database) -> None:
    with two.read() as conn:
        assert endpoints.count_visited(conn, None, "gold") == 1
        assert endpoints.count_visited(conn, None, "vip") == 1
        assert endpoints.count_visited(conn, None, "none") == 0


@pytest.mark.parametrize("way", ["not an address", "a@b c.example", "a\r\nBcc: x@example.com", "phone:abc", "@example.com", "a@"])
def test_ways_that_reach_nobody(two: Database, way: str) -> None:
    with two.write() as tx, pytest.raises(UsageError):
        contacts.add(tx, "1", {"name": "X"}, (way,))


def test_a_fallback_stays_with_the_client(two: Database) -> None:
    with two.write() as tx, pytest.raises(UsageError):
        contacts.edit(tx, "Ada", {"fallback": "Bob"})


def test_an_address_in_an_internationalised_domain(two: Database) -> None:
    assert contacts.parse_way("ada@bücher.example") == ("email", "ada@xn--bcher-kva.example")


def test_resellers_make_no_circle(two: Database) -> None:
    with two.write() as tx:
        clients.edit(tx, "2", {"reseller": "1"})
        with pytest.raises(UsageError, match="circle"):
            clients.edit(tx, "1", {"reseller": "2"})


def test_endpoints_belong_to_the_domain_they_stand_under(two: Database) -> None:
    with two.write() as tx:
        endpoints.add(tx, parse("mail.shop.example.com:993"))
        with pytest.raises(UsageError, match="No domain"):
            endpoints.add(tx, parse("foreign.example.org"))
        with pytest.raises(Conflict):
            endpoints.add(tx, parse("mail.shop.example.com:993"))
        endpoints.retire(tx, parse("mail.shop.example.com:993"))
        endpoints.add(tx, parse("mail.shop.example.com:993"), addresses=("192.0.2.7",))
    with two.read() as conn:
        assert endpoints.find(conn, parse("mail.shop.example.com:993"))["addresses"] == "192.0.2.7"


def test_a_server_with_domains_is_not_retired(two: Database) -> None:
    with two.write() as tx, pytest.raises(UsageError, match="1 domains"):
        servers.retire(tx, "web1")
