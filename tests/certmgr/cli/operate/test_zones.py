"""``certmgr zone``: what it changes, what it shows, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.fixture
def postgres(certmgr: Runner, migrated_postgres: Callable[[], str]) -> tuple[str, ...]:
    """Options that name a PostgreSQL database with one client."""
    options = ("--database", migrated_postgres())
    # It installs the queues, which the tables of the inventory come without.
    assert certmgr(*options, "database", "upgrade").code == 0
    assert certmgr(*options, "client", "add", "1001", "One").code == 0
    return options


def test_zones_on_sqlite_state_what_they_need(certmgr: Runner) -> None:
    certmgr("client", "add", "1001", "One")
    for arguments in (("add", "fra1"), ("assign", "fra1", "--client", "1001"), ("retire", "fra1")):
        ran = certmgr("zone", *arguments)
        assert ran.code == 2
        assert "Zones need an inventory in PostgreSQL" in ran.err
        assert "everything is visited from this machine" in ran.err
    listed = json.loads(certmgr("zone", "list", "--format", "json").out)
    assert [(z["name"], z["visits"]) for z in listed["zones"]] == [("default", "all others")]


def test_zone_is_added_assigned_listed_and_retired(
    certmgr: Runner, postgres: tuple[str, ...]
) -> None:
    ran = certmgr(*postgres, "zone", "add", "fra1", "--note", "Frankfurt")
    assert "certmgr worker --zone fra1" in ran.out
    scopes = ("--client", "1001", "--tag", "abroad", "--internal", "*.intern.example")
    assert certmgr(*postgres, "zone", "assign", "fra1", *scopes).code == 0
    again = certmgr(*postgres, "zone", "assign", "fra1", "--tag", "x", "--client", "1001")
    assert (again.code, "client 1001 is assigned to fra1 already" in again.err) == (3, True)
    ended = certmgr(*postgres, "zone", "unassign", "fra1", "--tag", "abroad")
    assert ended.out == "Zone fra1: 1 no longer assigned.\n"
    listed = json.loads(certmgr(*postgres, "zone", "list", "--format", "json").out)["zones"]
    assert listed[1] == {
        "name": "fra1",
        "note": "Frankfurt",
        "state": "active",
        "visits": "client 1001, internal intern.example",
        "workers": 0,
    }
    assert certmgr(*postgres, "zone", "retire", "fra1").code == 0
    assert "fra1" not in certmgr(*postgres, "zone", "list").out
    assert "retired" in certmgr(*postgres, "zone", "list", "--retired").out


def test_misspelt_client_or_server_gets_a_suggestion(
    certmgr: Runner, postgres: tuple[str, ...]
) -> None:
    certmgr(*postgres, "client", "edit", "1001", "--name", "Autohaus Nguyen")
    certmgr(*postgres, "server", "add", "web-frankfurt", "--address", "192.0.2.1")
    for scope, typed, meant in (
        ("--client", "autohuas", "1001"),
        ("--server", "web-frankfrut", "web-frankfurt"),
    ):
        for verb in ("assign", "unassign"):
            ran = certmgr(*postgres, "zone", verb, "default", scope, typed)
            assert (ran.code, "Did you mean" in ran.err, meant in ran.err) == (2, True, True), ran


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "default"), "cannot be the name of a zone"),
        (("assign", "fra1"), "Write --client, --server, --tag or --internal"),
        (("assign", "fra1", "--client", "1001"), "There is no zone 'fra1'"),
        (("assign", "default", "--server", "web1"), "There is no server 'web1'"),
    ],
)
def test_what_cannot_be_a_zone_is_refused(
    certmgr: Runner, postgres: tuple[str, ...], arguments: tuple[str, ...], words: str
) -> None:
    ran = certmgr(*postgres, "zone", *arguments)
    assert (ran.code, words in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("worker", "--zone", "fra1"), "There is no zone 'fra1'"),
        (("worker", "--zone", "fra1", "--queues", "renew"), "A worker of a zone only scans"),
        (("worker", "--zone", "fra1", "--schedule", "0 * * * *"), "A worker of a zone only scans"),
        (("scan", "--zones", "all"), "--zones needs workers of other vantage points"),
        (("scan", "--zones", "all", "127.0.0.1"), "--zones needs workers of other vantage points"),
    ],
)
def test_work_that_a_zone_cannot_do_is_refused(
    certmgr: Runner, postgres: tuple[str, ...], arguments: tuple[str, ...], words: str
) -> None:
    ran = certmgr(*postgres, *arguments)
    assert (ran.code, words in ran.err) == (2, True)


def test_worker_needs_the_section_of_its_zone(certmgr: Runner, postgres: tuple[str, ...]) -> None:
    certmgr(*postgres, "zone", "add", "fra1")
    ran = certmgr(*postgres, "worker", "--zone", "fra1")
    assert (ran.code, "Write [zones.fra1]" in ran.err) == (2, True)
