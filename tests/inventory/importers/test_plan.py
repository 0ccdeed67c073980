"""Changes of an import, and exports that are imported unchanged."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st
from sqlalchemy import select

from inventory.db.database import Database
from inventory.models import AuditEntry
from inventory.store import clients, contacts, domains, endpoints, servers
from inventory.targets import Target
from tests.campaign import Campaign
from tests.databases import open_sqlite
from tests.inventory.importers.files import HEAD, export_text, import_text


def test_row_adds_client_contact_domain_and_endpoint_once(database: Database) -> None:
    text = HEAD + "1001,Example Ltd,Ada,ada@example.com,shop.example.com,site,,vip gold\n"
    planned = import_text(database, text)
    assert planned.problems == []
    with database.read() as conn:
        assert clients.find(conn, "1001").name == "Example Ltd"
        assert contacts.listing(conn)[0].ways == ("email:ada@example.com",)
        (row,) = domains.listing(conn)
        assert (row.name, row.tags) == ("shop.example.com", ("gold", "vip"))
        assert [(e.host, e.port) for e in endpoints.listing(conn)] == [("shop.example.com", 443)]
        before = len(conn.execute(select(AuditEntry)).all())
    second = import_text(database, text)
    assert (second.added(), second.changed()) == ([], [])
    with database.read() as conn:
        assert len(conn.execute(select(AuditEntry)).all()) == before, (
            "importing twice changes nothing"
        )


def test_invalid_rows_are_reported_with_their_line_and_the_rest_is_imported(
    database: Database,
) -> None:
    rows = [
        "1,One,,,good.example.com,,,",
        "1,,,,bad name.example.com,,,",
        ",,,,none.example.com,,,",
        "2,One,,,x.example.com,,,",
        "3,Three,,,good.example.com,,,",
        "3,Three,,nobody,y.example.com,,,",
        "3,Three,,,z.example.com,castle,,",
        "4,Four,,,w.example.com,,,,,,,x",
        "5,Five,,,last.example.com,,,",
    ]
    planned = import_text(database, HEAD + "\n".join(rows) + "\n")
    assert [p.where.rsplit(":", 1)[1] for p in planned.problems] == [
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
    ]
    with database.read() as conn:
        assert sorted(r.name for r in domains.listing(conn)) == [
            "good.example.com",
            "last.example.com",
        ]
        assert [r.number for r in clients.listing(conn)] == [
            "1",
            "5",
        ], "an invalid row changes nothing"


def test_import_does_not_move_a_domain_to_another_client(database: Database) -> None:
    import_text(database, HEAD + "1,One,,,shop.example.com,,,\n")
    planned = import_text(database, HEAD + "2,Two,,,shop.example.com,,,\n")
    assert "belongs to the client 1" in planned.problems[0].reason


def test_row_of_a_host_takes_over_the_endpoint_of_the_domain_above_it(database: Database) -> None:
    """A second endpoint would be visited and reported twice."""
    first = "client,domain,endpoint\n1001,a.example,api.a.example\n"
    import_text(database, first)
    with database.read() as conn:
        (before,) = [r.id for r in endpoints.listing(conn) if r.host == "api.a.example"]
    for _ in range(2):
        import_text(database, "client,domain,purpose\n1001,api.a.example,api\n")
        with database.read() as conn:
            rows = [(r.id, r.domain) for r in endpoints.listing(conn) if r.host == "api.a.example"]
        assert rows == [(before, "api.a.example")]


def test_row_of_a_host_of_another_client_is_a_problem(database: Database) -> None:
    import_text(database, "client,domain,endpoint\n1001,a.example,api.a.example\n")
    plan = import_text(database, "client,domain\n1002,api.a.example\n1002,b.example\n")
    (problem,) = plan.problems
    assert "belongs to the domain a.example of the client 1001" in problem.reason
    assert "certmgr endpoint retire api.a.example" in problem.reason
    with database.read() as conn:
        assert {r.client for r in endpoints.listing(conn) if r.host == "api.a.example"} == {"1001"}
        assert [r.host for r in endpoints.listing(conn) if r.client == "1002"] == ["b.example"]


words = (
    st.text(st.sampled_from(string.ascii_letters + "äß=+-@'\" ,;|0"), min_size=1, max_size=12)
    .map(str.strip)
    .filter(bool)
)
labels = st.text(st.sampled_from(string.ascii_lowercase + string.digits), min_size=1, max_size=8)
hosts = st.tuples(labels, labels).map(lambda p: f"{p[0]}.{p[1]}.test")
party = st.sampled_from([None, "us", "client", "panel", "cdn"])
tag_words = st.lists(labels, max_size=2, unique=True)


@st.composite
def inventories(draw: Any) -> list[dict[str, Any]]:
    """Draw clients with their domains and contacts."""
    numbers = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(hosts, max_size=5, unique=True))
    drawn = [
        {
            "number": n,
            "name": f"{draw(words)} {i}",
            "domains": [],
            "contacts": draw(st.lists(words, max_size=2, unique=True)),
        }
        for i, n in enumerate(numbers)
    ]
    for host in names:
        draw(st.sampled_from(drawn))["domains"].append(
            {
                "name": host,
                "renews": draw(party),
                "note": draw(st.none() | words),
                "tags": tuple(draw(tag_words)),
                "port": draw(st.sampled_from([None, 8443])),
                "retired": draw(st.booleans()),
            }
        )
    return drawn


def fill(database: Database, drawn: list[dict[str, Any]]) -> None:
    """Add drawn clients to the inventory."""
    with database.write() as tx:
        servers.add(tx, {"name": "web1", "addresses": ["192.0.2.1"]})
        for client in drawn:
            clients.add(tx, {"number": client["number"], "name": client["name"]})
            for person in client["contacts"]:
                contacts.add(
                    tx,
                    client["number"],
                    {"name": person, "language": "de"},
                    ("a@example.com", "phone:+49 30 1"),
                )
            for d in client["domains"]:
                domains.add(
                    tx,
                    d["name"],
                    {
                        "client": client["number"],
                        "renews": d["renews"],
                        "note": d["note"],
                        "server": "web1",
                    },
                    d["tags"],
                )
                if d["port"]:
                    endpoints.add(tx, Target(d["name"], d["port"]), addresses=("192.0.2.9",))
                if d["retired"]:
                    domains.retire(tx, d["name"])


@pytest.mark.campaign
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_export_imported_into_another_inventory_is_exported_unchanged(
    kind: str, campaign: Campaign
) -> None:
    @with_settings(max_examples=campaign.size("inventories", 15, 200))
    @given(inventories())
    def check(drawn: list[dict[str, Any]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            first, second = open_sqlite(Path(f"{folder}/a.db")), open_sqlite(Path(f"{folder}/b.db"))
            fill(first, drawn)
            text = export_text(first, kind)
            planned = import_text(second, text, kind)
            assert planned.problems == []
            assert export_text(second, kind) == text
            assert import_text(second, text, kind).changed() == []

    check()


def test_json_export_is_lossless_on_both_databases(database: Database, tmp_path: Path) -> None:
    fill(
        database,
        [
            {
                "number": "1",
                "name": "=One",
                "contacts": ["Ada"],
                "domains": [
                    {
                        "name": "a.b.test",
                        "renews": "us",
                        "note": None,
                        "tags": ("x",),
                        "port": 8443,
                        "retired": True,
                    }
                ],
            }
        ],
    )
    with database.write() as tx:
        clients.add(tx, {"number": "2", "name": "Two", "reseller": "1"}, ("gold",))
        domains.add(tx, "a.b.test", {"client": "2"})
        contacts.add(tx, "1", {"name": "Bob"})
        contacts.edit(tx, "Ada", {"fallback": "Bob"})
    text = export_text(database, "json")
    other = open_sqlite(tmp_path / "other.db")
    assert import_text(other, text, "json").problems == []
    assert json.loads(export_text(other, "json")) == json.loads(text)
