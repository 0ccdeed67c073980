"""Zones and their assignments in exports and imports."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inventory.clock import Clock
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.store import clients, servers, zones
from inventory.store.zones import ScopeValue
from inventory.vocabulary import ZoneScopeKind
from tests.databases import open_sqlite
from tests.inventory.importers.files import export_text, import_text

SCHEMA, PART = "certmgr.inventory/1", "zone_assignments"
on_postgres = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
def other(new_postgres: Callable[[], str], clock: Clock) -> Iterator[Database]:
    """Another inventory in PostgreSQL."""
    database = open_database(new_postgres(), actor="tester", clock=clock, migrate=True)
    yield database
    database.close()


def fill(database: Database) -> None:
    with database.write() as tx:
        for number in ("1", "2"):
            clients.add(tx, {"number": number, "name": f"Client {number}"})
        servers.add(tx, {"name": "web1"})
        zones.add(tx, "syd1", "Sydney: Größe")
        zones.add(tx, "office")
        zones.add(tx, "old")
        zones.retire(tx, "old")
        for zone, kind, text in (
            ("syd1", ZoneScopeKind.TAG, "abroad"),
            ("default", ZoneScopeKind.TAG, "abroad"),
            ("office", ZoneScopeKind.INTERNAL, "intern.example.net"),
            ("office", ZoneScopeKind.CLIENT, "2"),
            ("syd1", ZoneScopeKind.SERVER, "web1"),
        ):
            zones.assign(tx, zone, ScopeValue(kind, text))


def assigned(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as conn:
        return [(s.zone, str(s.kind), s.label) for s in zones.scopes(conn)]


@on_postgres
def test_zones_and_their_assignments_are_exported_and_imported_in_their_order(
    database: Database, other: Database
) -> None:
    first, second = database, other
    fill(first)
    # The ids of clients differ between the two.
    with second.write() as tx:
        clients.add(tx, {"number": "9", "name": "Nine"})
    text = export_text(first, "json")
    planned = import_text(second, text, "json")
    assert planned.problems == []
    assert [line for line in planned.lines() if "zone" in line] == []
    assert (planned.applied["zone"]["added"], planned.applied["zone assignment"]["added"]) == (3, 5)
    assert assigned(second) == assigned(first)
    exported = json.loads(export_text(second, "json"))
    moved = [{"client": a["client"] + 1} if "client" in a else {} for a in json.loads(text)[PART]]
    assert exported[PART] == [a | m for a, m in zip(json.loads(text)[PART], moved, strict=True)]
    assert exported["zones"] == json.loads(text)["zones"]
    assert [c["number"] for c in exported["clients"]] == ["9", "1", "2"]
    again = import_text(second, text, "json")
    assert again.applied["zone"] == {"added": 0, "changed": 0}
    assert again.applied["zone assignment"] == {"added": 0, "changed": 0}


def test_inventory_without_zones_has_none_in_its_export(database: Database) -> None:
    exported = json.loads(export_text(database, "json"))
    assert {"zones", "zone_assignments"}.isdisjoint(exported)


@on_postgres
def test_sqlite_reports_each_zone_and_imports_the_rest(tmp_path: Path, database: Database) -> None:
    """No worker would ever visit an endpoint from a zone there."""
    fill(database)
    with closing(open_sqlite(tmp_path / "a.db")) as other:
        planned = import_text(other, export_text(database, "json"), "json")
        assert len(planned.problems) == 8
        assert {p.reason.partition(":")[0] for p in planned.problems} == {
            "zones need an inventory in PostgreSQL"
        }
        assert planned.applied["client"]["added"] == 2
        assert assigned(other) == []


INVALID: tuple[tuple[Any, str], ...] = (
    ({"name": "default"}, "cannot be the name of a zone"),
    ({"name": "a b"}, "cannot be the name of a zone"),
    ({"name": ["syd1"]}, "cannot be the name of a zone"),
    ({}, "not a valid record"),
    ("syd1", "not a valid record"),
    ({"name": "x", "state": "leaving"}, "state"),
    ({"name": "x", "note": 5}, "'note' is not a text"),
    ({"name": "x", "created_at": -1}, "not in seconds"),
    ({"name": "syd1", "state": "retired"}, "is retired in the file and in use here"),
)


@on_postgres
def test_invalid_zones_are_problems_and_change_nothing(database: Database) -> None:
    fill(database)
    before = export_text(database, "json")
    document = {"schema": SCHEMA, "zones": [zone for zone, _ in INVALID]}
    problems = import_text(database, json.dumps(document), "json").problems
    assert [p.where.rpartition(": ")[2] for p in problems] == [
        f"zones[{number}]" for number in range(len(INVALID))
    ]
    for problem, (_, reason) in zip(problems, INVALID, strict=True):
        assert reason in problem.reason
    assert export_text(database, "json") == before


@on_postgres
def test_invalid_assignments_are_problems_and_change_nothing(
    database: Database,
) -> None:
    fill(database)
    before = export_text(database, "json")
    rows: list[Any] = [
        {"zone": "nowhere", "kind": "tag", "value": "x"},
        {"zone": "old", "kind": "tag", "value": "x"},
        {"zone": "syd1", "kind": "planet", "value": "x"},
        {"zone": "syd1", "kind": "client", "client": 0},
        {"zone": "syd1", "kind": "client", "client": True},
        {"zone": "syd1", "kind": "tag"},
        {"zone": "syd1", "kind": "tag", "value": ["x"]},
        {"zone": "default", "kind": "internal", "value": "a.example"},
        ["syd1"],
    ]
    document = {"schema": SCHEMA, "zone_assignments": rows}
    problems = import_text(database, json.dumps(document), "json").problems
    assert len(problems) == len(rows)
    assert export_text(database, "json") == before


@on_postgres
def test_zone_in_the_file_gets_its_note_and_comes_back_into_use(
    database: Database,
) -> None:
    fill(database)
    document = {"schema": SCHEMA, "zones": [{"name": "old", "note": "Oslo", "state": "active"}]}
    planned = import_text(database, json.dumps(document), "json")
    assert planned.problems == []
    with database.read() as conn:
        assert zones.find(conn, "old").note == "Oslo"
