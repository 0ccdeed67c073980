"""Records of two clients: one active client per domain, inherited parties, separate data."""

from __future__ import annotations

import pytest

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.store import clients, contacts, domains, endpoints, servers
from inventory.store.domains import resolve_parties
from inventory.targets import parse


@pytest.fixture
def two_clients(database: Database) -> Database:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One", "renews": "client"}, ("gold",))
        clients.add(tx, {"number": "2", "name": "Two"})
        servers.add(tx, {"name": "web1", "addresses": ["192.0.2.1, 2001:db8::1"], "renews": "us"})
        domains.add(tx, "shop.example.com", {"client": "1", "server": "web1"}, ("vip",))
        domains.add(tx, "other.example.net", {"client": "2"})
        contacts.add(tx, "1", {"name": "Ada"}, ("ada@example.com", "phone:+49 30 1"))
        contacts.add(tx, "2", {"name": "Bob"}, ("bob@example.net",))
    return database


def test_added_domain_gets_an_endpoint(two_clients: Database) -> None:
    with two_clients.read() as conn:
        rows = endpoints.listing(conn)
    assert [(r.host, r.port, r.protocol, r.client) for r in rows] == [
        ("shop.example.com", 443, "https", "1"),
        ("other.example.net", 443, "https", "2"),
    ]


def test_domain_has_one_active_client_and_moves_by_edit(two_clients: Database) -> None:
    with two_clients.write() as tx, pytest.raises(Conflict, match="belongs to the client 1"):
        domains.add(tx, "SHOP.example.com.", {"client": "2"})
    with two_clients.write() as tx:
        assert "client_id" in domains.edit(tx, "shop.example.com", {"client": "2"})
    with two_clients.read() as conn:
        domain = domains.active(conn, "shop.example.com")
        assert domain is not None
        assert domain.client == "2"


def test_retired_client_is_kept_and_neither_listed_nor_scanned(two_clients: Database) -> None:
    with two_clients.write() as tx:
        assert clients.retire(tx, "1") == 1
    with two_clients.read() as conn:
        assert endpoints.count_visited(conn, None, None) == 1
        assert [r.number for r in clients.listing(conn)] == ["2"]
        assert [r.number for r in clients.listing(conn, retired=True)] == ["1", "2"]
        with pytest.raises(NotFound):
            domains.find(conn, "shop.example.com")
    with two_clients.write() as tx:
        domains.add(tx, "shop.example.com", {"client": "2"})


@pytest.mark.parametrize(
    ("own", "server", "client", "expected"),
    [
        ("cdn", "us", "client", "cdn"),
        (None, "us", "client", "us"),
        (None, None, "client", "client"),
        (None, None, None, None),
    ],
)
def test_parties_are_inherited_from_server_and_client(
    own: str | None, server: str | None, client: str | None, expected: str | None
) -> None:
    assert (
        resolve_parties({"renews": own}, {"renews": server}, {"renews": client}).renews == expected
    )


def test_domain_on_our_server_is_hosted_by_us(two_clients: Database) -> None:
    with two_clients.read() as conn:
        (row,) = domains.listing(conn, client_id=clients.find(conn, "1").id)
    assert (row.parties.hosts, row.parties.renews, row.parties.on_our_server) == (
        "us",
        "us",
        True,
    )


def test_query_for_one_client_returns_no_other_client(two_clients: Database) -> None:
    with two_clients.read() as conn:
        one, other = clients.find(conn, "1").id, clients.find(conn, "2").id
        assert [r.name for r in contacts.listing(conn, client_id=one)] == ["Ada"]
        assert [w for r in contacts.listing(conn, client_id=other) for w in r.ways] == [
            "email:bob@example.net"
        ]
        assert [r.name for r in domains.listing(conn, client_id=other)] == ["other.example.net"]
        assert [r.host for r in endpoints.listing(conn, client_id=one)] == ["shop.example.com"]
        assert domains.names_of_client(conn, other) == {"other.example.net"}


def test_tag_of_endpoint_domain_or_client_selects_endpoints(two_clients: Database) -> None:
    with two_clients.read() as conn:
        assert endpoints.count_visited(conn, None, "gold") == 1
        assert endpoints.count_visited(conn, None, "vip") == 1
        assert endpoints.count_visited(conn, None, "none") == 0


@pytest.mark.parametrize(
    "method",
    [
        "not an address",
        "a@b c.example",
        "a\r\nBcc: x@example.com",
        "phone:abc",
        "@example.com",
        "a@",
    ],
)
def test_invalid_contact_method_is_refused(two_clients: Database, method: str) -> None:
    with two_clients.write() as tx, pytest.raises(UsageError):
        contacts.add(tx, "1", {"name": "X"}, (method,))


def test_fallback_of_another_client_is_refused(two_clients: Database) -> None:
    with two_clients.write() as tx, pytest.raises(UsageError):
        contacts.edit(tx, "Ada", {"fallback": "Bob"})


def test_internationalised_mail_address_is_stored_with_a_labels(two_clients: Database) -> None:
    assert contacts.parse_method("ada@bücher.example") == ("email", "ada@xn--bcher-kva.example")


def test_resellers_of_each_other_are_refused(two_clients: Database) -> None:
    with two_clients.write() as tx:
        clients.edit(tx, "2", {"reseller": "1"})
        with pytest.raises(UsageError, match="circle"):
            clients.edit(tx, "1", {"reseller": "2"})


def test_endpoint_belongs_to_the_domain_above_it(two_clients: Database) -> None:
    with two_clients.write() as tx:
        endpoints.add(tx, parse("mail.shop.example.com:993"))
        with pytest.raises(UsageError, match="No domain"):
            endpoints.add(tx, parse("foreign.example.org"))
        with pytest.raises(Conflict):
            endpoints.add(tx, parse("mail.shop.example.com:993"))
        endpoints.retire(tx, parse("mail.shop.example.com:993"))
        endpoints.add(tx, parse("mail.shop.example.com:993"), addresses=("192.0.2.7",))
    with two_clients.read() as conn:
        assert endpoints.find(conn, parse("mail.shop.example.com:993")).addresses == ("192.0.2.7",)


def test_server_with_domains_cannot_be_retired(two_clients: Database) -> None:
    with two_clients.write() as tx, pytest.raises(UsageError, match="1 domains"):
        servers.retire(tx, "web1")
