"""JSON files that are not an inventory, and records in them that are invalid."""

from __future__ import annotations

import json

import pytest

from inventory.db.database import Database
from inventory.errors import UsageError
from inventory.store import domains, endpoints
from tests.inventory.importers.files import import_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": "other/1"}',
        '{"schema": "certmgr.inventory/1", "clients": 5}',
        "[" * 100_000,
    ],
)
def test_json_that_is_not_an_inventory_is_refused(database: Database, text: str) -> None:
    with pytest.raises(UsageError):
        import_text(database, text, "json")


def test_invalid_json_records_are_problems_and_the_rest_is_imported(database: Database) -> None:
    document = {
        "schema": "certmgr.inventory/1",
        "clients": [
            {"number": "1", "name": "One"},
            {"number": 5},
            "text",
            {"number": "3", "name": "One"},
        ],
        "domains": [
            {"name": "ok.example.com", "client": 0},
            {"name": "bad name", "client": 0},
            {"name": "lost.example.com", "client": 1},
            {"name": "far.example.com", "client": 99},
        ],
        "endpoints": [
            {"host": "ok.example.com", "port": 443, "protocol": "https", "domain": 0},
            {"host": "x", "port": "no", "protocol": "https", "domain": 0},
        ],
    }
    planned = import_text(database, json.dumps(document), "json")
    assert len(planned.problems) == 7
    with database.read() as conn:
        assert [r.name for r in domains.listing(conn)] == ["ok.example.com"]


def test_protocol_of_an_endpoint_may_have_any_of_its_names(database: Database) -> None:
    document = {
        "schema": "certmgr.inventory/1",
        "clients": [{"number": "1", "name": "One"}],
        "domains": [{"name": "example.com", "client": 0}],
        "endpoints": [
            {"host": "example.com", "port": 993, "protocol": "imaps", "domain": 0},
            {"host": "example.com", "port": 3306, "protocol": "mariadb", "domain": 0},
            {"host": "example.com", "port": 70, "protocol": "gopher", "domain": 0},
        ],
    }
    planned = import_text(database, json.dumps(document), "json")
    assert len(planned.problems) == 1
    with database.read() as conn:
        found = {(r.port, r.protocol) for r in endpoints.listing(conn)}
    assert found == {(993, "tls"), (3306, "mysql")}
