"""Domains: one active client per name, parties by inheritance, and the names of each client."""

from __future__ import annotations

from typing import Any

import pytest

from inventory.db.database import Database
from inventory.errors import Conflict, InvalidName, NotFound, UsageError
from inventory.models import Domain
from inventory.records import ListedDomain
from inventory.store import clients, domains, endpoints, servers
from inventory.targets import Target
from inventory.vocabulary import Parties
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
    domain_id,
    entry_count,
    many_clients,
    many_domains,
    rows,
)


@pytest.fixture
def hosted(pair: Database) -> Database:
    """The two clients and the servers web1 and web2."""
    with pair.write(NOW) as tx:
        servers.add(tx, {"name": "web1", "renews": "panel", "dns": "us"})
        servers.add(tx, {"name": "web2"})
    return pair


def named(database: Database, name: str) -> ListedDomain:
    with database.read() as conn:
        (row,) = [r for r in domains.listing(conn, retired=True) if r.name == name]
    return row


@pytest.mark.parametrize(
    ("own", "of_server", "of_client", "expected"),
    [
        ("cdn", "panel", "client", "cdn"),
        (None, "panel", "client", "panel"),
        (None, None, "client", "client"),
        ("", "", "client", "client"),
        (None, None, None, None),
    ],
)
def test_party_is_that_of_the_domain_else_of_the_server_else_of_the_client(
    own: str | None, of_server: str | None, of_client: str | None, expected: str | None
) -> None:
    found = domains.resolve_parties({"buys": own}, {"buys": of_server}, {"buys": of_client})
    assert found == Parties("us", None, expected, None, on_our_server=True)


def test_domain_without_server_is_hosted_by_no_known_party() -> None:
    assert domains.resolve_parties({}, None, {}) == Parties()
    assert domains.resolve_parties({}, None, {"hosts": "client"}).hosts == "client"
    assert domains.resolve_parties({"hosts": "cdn"}, {}, {}).hosts == "cdn"


def test_paths_are_stored_once_each() -> None:
    assert domains.paths([]) == ()
    assert domains.paths(["/login /pay", "/login", " "]) == ("/login", "/pay")
    assert len(domains.paths([f"/{i}" for i in range(10)])) == 10
    longest = "/" + "x" * 299
    assert domains.paths([longest]) == (longest,)
    for bad in ("login", "//other.example", "/a#b", "/" + "x" * 300, "/a\x1bb"):
        with pytest.raises(UsageError, match="is not a path"):
            domains.paths([bad])
    with pytest.raises(UsageError, match="11 paths"):
        domains.paths([f"/{i}" for i in range(11)])


def test_domain_is_stored_in_a_labels_with_its_endpoint(hosted: Database) -> None:
    before = entry_count(hosted)
    given = {
        "client": ONE,
        "server": "web1",
        "purpose": "mail",
        "paths": ["/login"],
        "policy": "required",
        "note": " by phone ",
        "renews": "cdn",
    }
    with hosted.write(NOW) as tx:
        row_id = domains.add(tx, "Bücher.Example.", given, ("vip", "blue"))
    with hosted.read() as conn:
        row = domains.find(conn, "bücher.example")
        assert domains.active(conn, "XN--BCHER-KVA.example") == row
        endpoint = endpoints.find(conn, Target("xn--bcher-kva.example"))
    assert (row.id, row.name, row.client) == (row_id, "xn--bcher-kva.example", ONE)
    assert (row.client_name, row.state, row.created_at) == ("Client 1001", "active", AT)
    assert (row.purpose, row.policy, row.note) == ("mail", "required", "by phone")
    assert (row.paths, endpoint.domain_id) == (("/login",), row_id)
    listed = named(hosted, "xn--bcher-kva.example")
    assert (listed.server, listed.tags) == ("web1", ("blue", "vip"))
    assert listed.parties == Parties("us", "us", None, "cdn", on_our_server=True)
    assert [(e[0], e[1]) for e in audited(hosted, before)] == [
        ("add", "domain"),
        ("tag", "domain"),
        ("add", "endpoint"),
    ]


def test_defaults_of_a_domain(pair: Database) -> None:
    row = named(pair, "shop1001.example")
    assert (row.purpose, row.paths, row.policy, row.note) == ("site", (), None, None)
    assert (row.server, row.server_id, row.tags) == (None, None, ())
    assert row.parties == Parties()


def test_unknown_name_is_not_found(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert domains.active(tx.conn, "other.example") is None
        with pytest.raises(NotFound, match=r"no domain 'bücher\.example'"):
            domains.find(tx.conn, "xn--bcher-kva.example")
        with pytest.raises(NotFound):
            domains.edit(tx, "www.shop1001.example", {"note": "x"})
        with pytest.raises(NotFound):
            domains.retire(tx, "other.example")
        for bad in ("", "a b.example", "-.example"):
            with pytest.raises(InvalidName):
                domains.active(tx.conn, bad)


def test_name_below_a_domain_is_not_found_with_the_command_that_adds_it(pair: Database) -> None:
    with pair.read() as conn:
        for name in ("api.shop1001.example", "v2.api.shop1001.example"):
            with pytest.raises(NotFound) as caught:
                domains.find(conn, name)
            assert caught.value.why == "it is a name below the domain shop1001.example"
            assert f"certmgr domain add {name} --client 1001" in caught.value.todo
        with pytest.raises(NotFound) as caught:
            domains.find(conn, "xshop1001.example")
        assert "Did you mean 'shop1001.example'?" in caught.value.todo


def test_new_domain_takes_over_the_endpoints_that_its_client_has_at_the_name(
    pair: Database,
) -> None:
    name = "api.shop1001.example"
    with pair.write(NOW) as tx:
        endpoints.add(tx, Target(name))
        endpoints.add(tx, Target(name, 993, "tls"))
        endpoints.add(tx, Target("deep." + name))
        endpoints.add(tx, Target("old." + name))
        endpoints.retire(tx, Target("old." + name))
        before = {r.host + str(r.port): r.id for r in endpoints.listing(tx.conn)}
        row_id = domains.add(tx, name, {"client": ONE, "purpose": "api"})
        parent = domain_id(tx.conn, "shop1001.example")
    with pair.read() as conn:
        found = {r.host + str(r.port): (r.id, r.domain) for r in endpoints.listing(conn)}
    assert found[name + "443"] == (before[name + "443"], name)
    assert found[name + "993"] == (before[name + "993"], name)
    assert found["deep." + name + "443"] == (before["deep." + name + "443"], "shop1001.example")
    assert len(found) == len(before)
    moved = ("edit", "endpoint", before[name + "443"], {"domain_id": [parent, row_id]})
    assert moved in audited(pair, 0)


def test_new_domain_of_another_client_waits_until_the_site_is_retired(pair: Database) -> None:
    site = Target("sub.shop1001.example")
    with pair.write(NOW) as tx:
        kept = endpoints.add(tx, site)
    with pytest.raises(Conflict, match="of the client 1001 already"), pair.write(NOW) as tx:
        domains.add(tx, site.host, {"client": TWO})
    with pair.write(NOW) as tx:
        assert domains.active(tx.conn, site.host) is None
        endpoints.retire(tx, site)
        domains.add(tx, site.host, {"client": TWO})
        (row,) = [r for r in endpoints.listing(tx.conn) if r.host == site.host]
    assert row.client == TWO and row.id != kept


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"client": "1099"}, "no client '1099'"),
    ({"client": "retired"}, "The client retired is retired"),
    ({"server": "web9"}, "no server 'web9'"),
    ({"server": "old"}, "The server old is retired"),
    ({"purpose": "shop"}, "'shop' is not a purpose"),
    ({"paths": ["login"]}, "is not a path"),
    ({"policy": "maybe"}, "'maybe' is not a HTTPS policy"),
    ({"state": "retired"}, "'retired' is not a state"),
    ({"note": "x" * 4001}, "the limit is 4000"),
    ({"hosts": "nobody"}, "not a party"),
]


def test_values_that_are_refused_change_nothing(hosted: Database) -> None:
    with hosted.write(NOW) as tx:
        add_client(tx, "retired")
        clients.retire(tx, "retired")
        servers.add(tx, {"name": "old"})
        servers.retire(tx, "old")
    before = entry_count(hosted)
    with hosted.write(NOW) as tx:
        for given, message in REFUSED:
            with pytest.raises(UsageError, match=message):
                domains.add(tx, "new.example", {"client": ONE} | given)
            with pytest.raises(UsageError, match=message):
                domains.edit(tx, "shop1001.example", given)
        for given in ({}, {"client": ""}):
            with pytest.raises(UsageError, match="needs a client"):
                domains.add(tx, "new.example", given)
        with pytest.raises(InvalidName):
            domains.add(tx, "new example", {"client": ONE})
    with hosted.read() as conn:
        assert count(conn, Domain) == 2
    assert audited(hosted, before) == []


def test_name_has_one_active_client_and_is_free_after_retirement(pair: Database) -> None:
    with pair.write(NOW) as tx:
        first = domain_id(tx.conn, "shop1001.example")
        for number in (ONE, TWO):
            with pytest.raises(Conflict, match="belongs to the client 1001 already"):
                domains.add(tx, "SHOP1001.example", {"client": number})
        domains.retire(tx, "shop1001.example")
        second = domains.add(tx, "shop1001.example", {"client": TWO})
        domains.retire(tx, "shop1001.example")
        third = domains.add(tx, "shop1001.example", {"client": TWO})
        assert len({first, second, third}) == 3
    with pair.read() as conn:
        found = domains.active(conn, "shop1001.example")
        assert found is not None
        assert (found.id, found.client) == (third, TWO)
        one = clients.find(conn, ONE).id
        assert domains.names_of_client(conn, one) == frozenset()
        same = [r for r in rows(conn, Domain) if r["name"] == "shop1001.example"]
    assert [(r["id"], r["state"]) for r in same] == [
        (first, "retired"),
        (second, "retired"),
        (third, "active"),
    ]


def test_edit_moves_the_domain_with_its_endpoints(hosted: Database) -> None:
    with hosted.write(NOW) as tx:
        endpoints.add(tx, Target("mail.shop1001.example", 993, "tls"))
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
    before = entry_count(hosted)
    with hosted.write(NOW) as tx:
        row_id = domain_id(tx.conn, "shop1001.example")
        given = {"client": TWO, "server": "web1", "state": "leaving", "hosts": None}
        changes = domains.edit(tx, "shop1001.example", given)
        machine = servers.find(tx.conn, "web1").id
        assert changes == {
            "client_id": [one, two],
            "server_id": [None, machine],
            "state": ["active", "leaving"],
        }
        assert domains.edit(tx, "shop1001.example", given) == {}
        off = domains.edit(tx, "shop1001.example", {"server": ""})
        assert off == {"server_id": [machine, None]}
    with hosted.read() as conn:
        assert domains.names_of_client(conn, one) == frozenset()
        assert [r.host for r in endpoints.listing(conn, client_id=two)] == [
            "mail.shop1001.example",
            "shop1001.example",
            "shop1002.example",
        ]
    assert audited(hosted, before) == [
        ("edit", "domain", row_id, changes),
        ("edit", "domain", row_id, off),
    ]


def test_retired_domain_takes_its_endpoints_along(pair: Database) -> None:
    with pair.write(NOW) as tx:
        endpoints.add(tx, Target("mail.shop1001.example", 993, "tls"))
        endpoints.add(tx, Target("old.shop1001.example"))
        endpoints.retire(tx, Target("old.shop1001.example"))
    before = entry_count(pair)
    with pair.write(LATER) as tx:
        domains.retire(tx, "shop1001.example")
        with pytest.raises(NotFound):
            domains.retire(tx, "shop1001.example")
    with pair.read() as conn:
        assert [r.name for r in domains.listing(conn)] == ["shop1002.example"]
        assert [r.host for r in endpoints.listing(conn)] == ["shop1002.example"]
        ended = {r.host: r.retired_at for r in endpoints.listing(conn, retired=True)}
    assert named(pair, "shop1001.example").retired_at == AT + DAY
    assert ended == {
        "shop1001.example": AT + DAY,
        "mail.shop1001.example": AT + DAY,
        "old.shop1001.example": AT,
        "shop1002.example": None,
    }
    assert [(e[0], e[1]) for e in audited(pair, before)] == [
        ("retire", "endpoint"),
        ("retire", "endpoint"),
        ("retire", "domain"),
    ]


def test_listing_filters_by_client_server_and_tag(hosted: Database) -> None:
    with hosted.write(NOW) as tx:
        domains.add(tx, "a.example", {"client": TWO, "server": "web1"}, ("vip",))
        domains.add(tx, "b.example", {"client": ONE, "server": "web1"}, ("vip", "blue"))
        domains.add(tx, "c.example", {"client": ONE, "server": "web2"})
        domains.retire(tx, "c.example")
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))

    with hosted.read() as conn:

        def names(**given: Any) -> list[str]:
            return [r.name for r in domains.listing(conn, **given)]

        assert names() == ["b.example", "shop1001.example", "a.example", "shop1002.example"]
        assert names(client_id=one) == ["b.example", "shop1001.example"]
        assert names(client_id=two) == ["a.example", "shop1002.example"]
        assert names(client_id=one, retired=True) == ["b.example", "c.example", "shop1001.example"]
        assert names(server_name="web1") == ["b.example", "a.example"]
        assert names(server_name="web1", client_id=two) == ["a.example"]
        assert names(server_name="web2") == []
        assert names(server_name="web9") == names(tag="gold") == names(client_id=two + 99) == []
        assert names(tag="vip") == ["b.example", "a.example"]
        assert names(tag="vip", client_id=one) == ["b.example"]
        by_domain = domains.parties_by_domain(conn, one)
        assert {domain_id(conn, n) for n in ("b.example", "shop1001.example")} == set(by_domain)
        assert by_domain[domain_id(conn, "b.example")].renews == "panel"
        assert len(domains.parties_by_domain(conn)) == 4
        some = sorted(by_domain)[:1]
        assert domains.parties_by_domain(conn, None, some) == {i: by_domain[i] for i in some}
        assert domains.parties_by_domain(conn, None, []) == {}
        assert domains.parties_by_domain(conn, None, range(10_000)).keys() >= by_domain.keys()
        assert domains.parties_by_domain(conn, two + 99) == {}


def test_several_hundred_domains_are_listed_with_the_tags_of_each(database: Database) -> None:
    """From 500 on the tags are read without naming the domains."""
    with database.write(NOW) as tx:
        assert domains.listing(tx.conn) == []
        owner = add_client(tx, ONE)
        many_domains(tx, ((owner, f"d{i:03}.example") for i in range(498)))
        domains.add(tx, "x.example", {"client": ONE}, ("vip",))
        few = domains.listing(tx.conn)
        domains.add(tx, "y.example", {"client": ONE}, ("vip", "blue"))
        many = domains.listing(tx.conn)
        vip = domains.listing(tx.conn, tag="vip")
    assert (len(few), len(many)) == (499, 500)
    assert {r.name: r.tags for r in few if r.tags} == {"x.example": ("vip",)}
    tagged = {"x.example": ("vip",), "y.example": ("blue", "vip")}
    assert {r.name: r.tags for r in many if r.tags} == tagged
    assert {r.name: r.tags for r in vip} == tagged


def test_names_of_a_client_are_its_domains_and_hosts_that_are_not_retired(pair: Database) -> None:
    with pair.write(NOW) as tx:
        endpoints.add(tx, Target("mail.shop1001.example", 993, "tls"))
        endpoints.add(tx, Target("old.shop1001.example"))
        endpoints.retire(tx, Target("old.shop1001.example"))
        domains.add(tx, "gone.example", {"client": ONE})
        domains.retire(tx, "gone.example")
        domains.edit(tx, "shop1002.example", {"state": "leaving"})
        one, two = (clients.find(tx.conn, n).id for n in (ONE, TWO))
        unknown = two + 99
        found = domains.names_of_clients(tx.conn, [one, two, unknown])
        assert domains.names_of_clients(tx.conn, []) == {}
        assert domains.names_of_client(tx.conn, one) == found[one]
    assert found == {
        one: {"shop1001.example", "mail.shop1001.example"},
        two: {"shop1002.example"},
        unknown: frozenset(),
    }


def test_names_of_more_clients_than_one_statement_takes_stay_apart(database: Database) -> None:
    """The ids are asked for 500 at a time."""
    with database.write(NOW) as tx:
        ids = many_clients(tx, 1001)
        found = domains.names_of_clients(tx.conn, ids)
    assert found == {row_id: {f"d{50_000 + i}.example"} for i, row_id in enumerate(ids)}


def test_exception_in_the_transaction_leaves_the_domains_as_they_were(pair: Database) -> None:
    before = entry_count(pair)
    with pytest.raises(RuntimeError), pair.write(NOW) as tx:
        domains.add(tx, "new.example", {"client": ONE}, ("vip",))
        domains.edit(tx, "shop1001.example", {"client": TWO})
        domains.retire(tx, "shop1002.example")
        raise RuntimeError
    with pair.read() as conn:
        listed = [(r.name, r.client) for r in domains.listing(conn, retired=True)]
        assert len(endpoints.listing(conn)) == 2
    assert listed == [("shop1001.example", ONE), ("shop1002.example", TWO)]
    assert audited(pair, before) == []
