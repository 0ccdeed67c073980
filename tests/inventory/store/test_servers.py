"""Servers: their addresses, what stands behind a balancer, and when one may be retired."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from inventory.db.database import Database
from inventory.errors import Conflict, InvalidName, NotFound, UsageError
from inventory.models import Server
from inventory.store import domains, editing, servers
from tests.inventory.store.builders import AT, DAY, LATER, NOW, add_site, audited, entry_count


def test_addresses_are_stored_in_their_shortest_form_and_once() -> None:
    typed = ["192.0.2.1, 2001:DB8:0:0::1", "[2001:db8::1] 192.0.2.1", ""]
    assert servers.addresses(typed) == ("192.0.2.1", "2001:db8::1")
    assert servers.addresses(()) == ()


@pytest.mark.parametrize("text", ["web1", "192.0.2.300", "192.0.2.1/24", "fe80::1%eth0"])
def test_text_that_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not an IP address"):
        servers.addresses(["192.0.2.1", text])


def test_added_server_has_checked_values_and_is_audited(database: Database) -> None:
    given = {
        "name": " web1 ",
        "kind": "balancer",
        "keeper": " Ada ",
        "note": "",
        "addresses": ["192.0.2.1"],
        "backends": ["10.0.0.7:8443", "app.example", "10.0.0.7:8443"],
        "renews": "us",
    }
    with database.write(NOW) as tx:
        row_id = servers.add(tx, given, ("rack",))
        servers.add(tx, {"name": "web2"})
    with database.read() as conn:
        row = servers.find(conn, "web1")
        plain = servers.find(conn, "web2")
        assert editing.tags_of(conn, "server") == {row_id: ("rack",)}
    expected = ("balancer", "Ada", None, ("192.0.2.1",), ("10.0.0.7:8443", "app.example:443"), "us")
    columns = ("kind", "keeper", "note", "addresses", "backends", "renews")
    assert tuple(getattr(row, c) for c in columns) == expected
    assert (plain.kind, plain.addresses, plain.backends, plain.renews) == (
        "web",
        (),
        (),
        None,
    )
    added, tagged, _ = audited(database)
    assert added[:3] == ("add", "server", row_id)
    assert added[3]["kind"] == [None, "balancer"]
    assert added[3]["keeper"] == [None, "-"], "a person's name is not kept in the audit log"
    assert tagged == ("tag", "server", row_id, {"added": ["rack"], "removed": []})


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": "  "}, UsageError, "server name is empty"),
    ({"name": "x", "kind": "disk"}, UsageError, "'disk' is not a kind of server"),
    ({"name": "x", "hosts": "nobody"}, UsageError, "party for 'hosts'"),
    ({"name": "x", "addresses": ["web1"]}, UsageError, "not an IP address"),
    ({"name": "x", "backends": ["a b"]}, InvalidName, "not a domain name"),
    ({"name": "x", "note": "a" * 4001}, UsageError, "the limit is 4000"),
    ({"name": "x", "keeper": "a\x00"}, UsageError, "control characters"),
    ({"name": "web1"}, Conflict, "A server 'web1' exists already"),
]


def test_server_with_a_wrong_value_is_refused_and_leaves_nothing(database: Database) -> None:
    with database.write(NOW) as tx:
        servers.add(tx, {"name": "web1"})
    for given, error, message in WRONG:
        with pytest.raises(error, match=message), database.write(NOW) as tx:
            servers.add(tx, {"name": "web9"})
            servers.add(tx, given)
    with database.read() as conn:
        assert list(conn.scalars(select(Server.name))) == ["web1"]
    assert len(audited(database)) == 1


def test_edited_server_is_audited_and_keeps_what_was_not_given(database: Database) -> None:
    with database.write(NOW) as tx:
        servers.add(tx, {"name": "web1", "keeper": "Ada", "addresses": ["192.0.2.1"]})
        servers.add(tx, {"name": "web2"})
    known = entry_count(database)
    with database.write(LATER) as tx:
        changes = servers.edit(
            tx,
            "web1",
            {"addresses": [], "kind": "", "keeper": "", "dns": "cdn"},
        )
        assert changes == {
            "addresses": [("192.0.2.1",), ()],
            "keeper": ["Ada", None],
            "dns": [None, "cdn"],
        }
        assert servers.edit(tx, "web1", {"name": "web1", "backends": []}) == {}
        with pytest.raises(Conflict, match="Another server has that name"):
            servers.edit(tx, "web1", {"name": "web2"})
        with pytest.raises(NotFound, match="There is no server 'web3'"):
            servers.edit(tx, "web3", {"name": "x"})
        assert servers.edit(tx, "web1", {"name": "front"}) == {"name": ["web1", "front"]}
    assert [(action, kind) for action, kind, _, _ in audited(database, known)] == [
        ("edit", "server"),
    ] * 2
    with database.read() as conn:
        assert servers.find(conn, "front").kind == "web"
        with pytest.raises(NotFound):
            servers.find(conn, "web1")


def test_retired_server_is_not_listed_and_its_addresses_are_not_ours(pair: Database) -> None:
    with pair.write(NOW) as tx:
        assert servers.all_addresses(tx.conn) == frozenset()
        servers.add(tx, {"name": "web2", "addresses": ["192.0.2.1", "2001:db8::1"]})
        servers.add(tx, {"name": "web1", "addresses": ["192.0.2.1", "192.0.2.9"]})
        add_site(tx, "1001", "one.example", server="web1")
        add_site(tx, "1002", "two.example", server="web1")
        domains.edit(tx, "shop1001.example", {"server": "web2"})
        domains.retire(tx, "shop1001.example")
    with pair.read() as conn:
        assert [(r.name, r.domains) for r in servers.listing(conn)] == [
            ("web1", 2),
            ("web2", 0),
        ]
        assert servers.all_addresses(conn) == {"192.0.2.1", "192.0.2.9", "2001:db8::1"}
    known = entry_count(pair)
    with pair.write(LATER) as tx:
        with pytest.raises(UsageError, match="2 domains are on the server 'web1'"):
            servers.retire(tx, "web1")
        with pytest.raises(NotFound):
            servers.retire(tx, "web3")
        servers.retire(tx, "web2")
        with pytest.raises(UsageError, match="retired already"):
            servers.retire(tx, "web2")
    assert [(action, kind) for action, kind, _, _ in audited(pair, known)] == [("retire", "server")]
    with pair.read() as conn:
        assert [r.name for r in servers.listing(conn)] == ["web1"]
        both = servers.listing(conn, retired=True)
        assert [(r.name, r.state, r.retired_at) for r in both] == [
            ("web1", "active", None),
            ("web2", "retired", AT + DAY),
        ]
        assert servers.all_addresses(conn) == {"192.0.2.1", "192.0.2.9"}
        assert servers.find(conn, "web2").state == "retired"
