"""``certmgr import`` of invalid records: they are skipped, and the others are imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clock import clock
from tests.program import Ran

Runner = Callable[..., Ran]

ONE = {"number": "c1", "name": "N1"}
TWO = {"number": "c2", "name": "N2"}
THREE = {"number": "c3", "name": "N3"}
DOCUMENTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "resellers of each other": ({"clients": [ONE | {"reseller": 1}, TWO | {"reseller": 0}]}, []),
    "own reseller": ({"clients": [ONE | {"reseller": 0}]}, []),
    "rejected reseller": (
        {"clients": [ONE | {"reseller": 1}, TWO | {"hosts": "bogus"}, THREE]},
        ["c3"],
    ),
    "client of a domain": (
        {
            "clients": [ONE],
            "domains": [
                {"name": "a.example.test"},
                {"name": "b.example.test", "client": -1},
                {"name": "c.example.test", "client": True},
            ],
        },
        ["c1"],
    ),
    "large number": ({"clients": [ONE | {"created_at": 2**70}, TWO]}, ["c2"]),
    "tags and state": ({"clients": [ONE | {"tags": "abc"}, TWO | {"state": "leaving"}]}, []),
    "language": (
        {"clients": [ONE], "contacts": [{"name": "Ada", "client": 0, "language": "!!"}]},
        ["c1"],
    ),
}


def _import_json(certmgr: Runner, folder: Path, document: dict[str, Any]) -> Ran:
    source = folder / "in.json"
    source.write_text(json.dumps({"schema": "certmgr.inventory/1", **document}))
    return certmgr("import", str(source), "--from", "json")


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_invalid_json_record_is_skipped_and_the_others_are_imported(
    certmgr: Runner,
    tmp_path: Path,
    kind: str,
) -> None:
    document, imported = DOCUMENTS[kind]
    ran = _import_json(certmgr, tmp_path, document)
    assert ran.code == 3
    assert "skipped" in ran.err
    assert "internal error" not in ran.err.lower()
    clients = certmgr("client", "list", "--format", "json").json["clients"]
    assert [c["number"] for c in clients] == imported
    assert certmgr("domain", "list", "--format", "json").json["domains"] == []


def test_contact_method_that_occurs_twice_is_imported_once(certmgr: Runner, tmp_path: Path) -> None:
    method = {"kind": "email", "value": "a@example.com"}
    contact = {"name": "Ada", "client": 0, "ways": [method, method]}
    ran = _import_json(certmgr, tmp_path, {"clients": [ONE], "contacts": [contact]})
    assert ran.code == 0


def test_rejected_row_reserves_no_name(certmgr: Runner, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("client,client_name,domain\n1,NewCo,a b\n2,NewCo,ok.example.test\n")
    assert certmgr("import", str(source), "--from", "csv").code == 3
    source.write_text("client,client_name\n2,Renamed\n3,NewCo\n")
    assert certmgr("import", str(source), "--from", "csv").code == 0


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.conf", "Include /\nInclude a**b\n", "apache"),
        ("db.example.test", "$TTL 300\n$GENERATE 1-100000000 h$ A 192.0.2.1\n", "zone"),
    ],
)
def test_configuration_of_unlimited_size_is_refused(
    certmgr: Runner,
    tmp_path: Path,
    name: str,
    text: str,
    kind: str,
) -> None:
    certmgr("client", "add", "1", "One")
    (tmp_path / name).write_text(text)
    ran = certmgr("import", str(tmp_path / name), "--from", kind, "--client", "1")
    assert ran.code in (2, 3)
    assert "internal error" not in ran.err.lower()


def test_import_reactivates_a_retired_endpoint_but_not_a_retired_server(
    certmgr: Runner,
    tmp_path: Path,
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("client,domain,server\n1,a.example.test,web1\n")
    certmgr("import", str(source), "--from", "csv")
    certmgr("endpoint", "retire", "a.example.test")
    assert certmgr("import", str(source), "--from", "csv").code == 0
    clock.advance(seconds=2)
    then = f"{clock():%Y-%m-%dT%H:%M:%S}"
    status = certmgr("status", "--all", "--as-of", then, "--format", "json")
    assert status.json["summary"]["endpoints"] == 1
    certmgr("domain", "retire", "a.example.test")
    assert certmgr("server", "retire", "web1").code == 0
    assert certmgr("server", "retire", "web1").code == 2
    ran = certmgr("domain", "add", "b.example.test", "--client", "1", "--server", "web1")
    assert ran.code == 2
    assert certmgr("import", str(source), "--from", "csv").code == 3
