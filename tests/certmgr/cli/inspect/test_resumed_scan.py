"""The output of ``certmgr scan --resume``: it is about the whole run, in every format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from certmgr.cli.inspect import run_document
from certmgr.demo.authority import Authority, self_signed
from certmgr.inspection import scan_run
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.status import load
from certmgr.inspection.trust_ends import StoredTrust
from inventory.db.database import Database
from inventory.store import domains, endpoints, erase
from inventory.vocabulary import Severity
from tests.certmgr.scanning import add
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.clock import clock
from tests.databases import open_sqlite
from tests.inventory.store.builders import add_finding
from tests.program import Ran

Runner = Callable[..., Ran]
BAD, GOOD = "a.bad.example.test", ("b.good.example.test", "c.good.example.test")
HERE = ("--accept-suspect", "--no-http")


@pytest.fixture
def database(certmgr: Runner, tmp_path: Path) -> Iterator[Database]:
    assert certmgr("client", "list").code == 0
    assert certmgr("client", "add", "1", "One").code == 0
    database = open_sqlite(tmp_path / "cli.db")
    yield database
    database.close()


@pytest.fixture
def sites(database: Database, opened: Stack, issuer: Authority) -> None:
    """One site with a fault, which is visited first, and two without."""
    add(database, serve_certificate(opened, self_signed(BAD, clock=clock)), BAD)
    add(database, serve_certificate(opened, issuer.issue(*GOOD)), *GOOD)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Let the next scan end after its first endpoint."""
    monkeypatch.setattr(scan_run, "CHUNK_SIZE", 1)
    handle = ScanRun._handle

    def interrupt() -> None:
        def once(self: ScanRun, results: list[Any], planned: int) -> None:
            handle(self, results, planned)
            monkeypatch.setattr(ScanRun, "_handle", handle)
            raise KeyboardInterrupt

        monkeypatch.setattr(ScanRun, "_handle", once)

    return interrupt


def _rows(ran: Ran) -> dict[str, Any]:
    return {e["host"]: e for e in ran.json["endpoints"]}


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_a_resumed_scan_reports_the_fault_that_was_seen_before_the_interruption(
    certmgr: Runner,
    sites: None,
    root_file: Path,
    interrupted: Callable[[], None],
    output_format: str,
) -> None:
    options = (*HERE, "--ca-file", str(root_file), "--format", output_format)
    interrupted()
    assert certmgr("scan", *options).code == 130
    ran = certmgr("scan", "--resume", *options)
    assert ran.code == 1, ran.err
    if output_format == "table":
        assert BAD in ran.out
    elif output_format == "csv":
        lines = {row["target"].split(":")[0]: row for row in csv.DictReader(io.StringIO(ran.out))}
        assert {h: r["verdict"] for h, r in lines.items()} == {
            BAD: "fault",
            **dict.fromkeys(GOOD, "ok"),
        }
        assert "self-signed" in lines[BAD]["codes"]
        assert "1 endpoints had been checked" in " ".join(ran.err.split())
    else:
        assert ran.json["summary"]["fault"] == 1
        assert ran.json["run"]["resumed"] == 1
        assert [e.get("stored", False) for e in _rows(ran).values()] == [True, False, False]


def test_stored_rows_of_a_resumed_scan_equal_those_of_a_scan_in_one_go(
    certmgr: Runner, sites: None, root_file: Path, interrupted: Callable[[], None]
) -> None:
    options = (*HERE, "--ca-file", str(root_file), "--format", "json")
    # Away from the second at which a day of the certificate ends.
    clock.advance(minutes=1)
    interrupted()
    certmgr("scan", *options)
    resumed = _rows(certmgr("scan", "--resume", *options))
    whole = _rows(certmgr("scan", *options))
    assert resumed[BAD].pop("stored") is True
    for host in (BAD, *GOOD):
        for row in (resumed[host], whole[host]):
            # It is not stored.
            for address in row["addresses"]:
                address["post_quantum"] = None
        assert resumed[host] == whole[host]


def test_a_resumed_scan_that_is_interrupted_again_has_what_the_run_saw_so_far(
    certmgr: Runner, sites: None, root_file: Path, interrupted: Callable[[], None]
) -> None:
    options = (*HERE, "--ca-file", str(root_file), "--format", "json")
    interrupted()
    certmgr("scan", *options)
    interrupted()
    ran = certmgr("scan", "--resume", *options)
    assert ran.code == 130
    rows = _rows(ran)
    assert set(rows) == {BAD, GOOD[0]}
    # Its finding takes effect at the end of the run, and is shown as what the run saw.
    assert "self-signed" in [f["code"] for f in rows[BAD]["findings"]]
    assert (rows[BAD]["verdict"], rows[GOOD[0]]["verdict"]) == ("fault", "ok")


def test_parts_of_stored_results_share_one_trust_store(
    certmgr: Runner,
    sites: None,
    root_file: Path,
    interrupted: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_document, "CHUNK_SIZE", 1)
    loaded: list[StoredTrust] = []

    class Counted(StoredTrust):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            loaded.append(self)

    monkeypatch.setattr(run_document, "StoredTrust", Counted)
    options = (*HERE, "--ca-file", str(root_file), "--format", "json")
    for resumed in ([], ["--resume"]):
        interrupted()
        certmgr("scan", *resumed, *options)
    loaded.clear()
    rows = _rows(certmgr("scan", "--resume", *options))
    assert [host for host in (BAD, *GOOD) if rows[host].get("stored")] == [BAD, GOOD[0]]
    assert len(loaded) == 1


def test_an_endpoint_that_was_retired_before_the_resume_is_no_part_of_the_run(
    certmgr: Runner,
    database: Database,
    sites: None,
    root_file: Path,
    interrupted: Callable[[], None],
) -> None:
    options = (*HERE, "--ca-file", str(root_file))
    interrupted()
    certmgr("scan", *options)
    with database.write() as tx:
        domains.retire(tx, BAD)
    ran = certmgr("scan", "--resume", *options)
    assert ran.code == 0, ran.out
    assert "2 of 2 endpoints" in " ".join(ran.out.split())


def test_a_client_that_is_erased_while_the_document_is_written_is_left_out(
    certmgr: Runner,
    database: Database,
    sites: None,
    root_file: Path,
    interrupted: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = (*HERE, "--ca-file", str(root_file), "--format", "json")
    interrupted()
    certmgr("scan", *options)

    def load_and_erase(*given: Any, **named: Any) -> Any:
        statuses = load(*given, **named)
        with database.write(clock()) as tx:
            erase.erase(tx, "1")
        return statuses

    monkeypatch.setattr("certmgr.cli.inspect.scan_inventory.load", load_and_erase)
    ran = certmgr("scan", "--resume", *options)
    # As in the table, the exit code is that of the status, which had the fault.
    assert ran.code == 1, ran.err
    assert set(_rows(ran)) == set(GOOD), "the earlier endpoint is not stored any more"


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_a_fault_that_another_check_found_counts_in_every_format(
    certmgr: Runner,
    database: Database,
    sites: None,
    root_file: Path,
    output_format: str,
) -> None:
    """The exit code was that of the scan alone in JSON and CSV."""
    with database.write() as tx:
        domains.retire(tx, BAD)
    options = (*HERE, "--ca-file", str(root_file), "--format", output_format)
    assert certmgr("scan", *options).code == 0
    with database.write() as tx:
        known = {e.host: e.id for e in endpoints.listing(tx.conn)}
        add_finding(
            tx, known[GOOD[0]], "revoked", severity=Severity.CRITICAL, addresses=(), evidence={}
        )
    ran = certmgr("scan", *options)
    assert ran.code == 1, ran.out
    if output_format != "table":
        assert "revoked" in ran.out


@pytest.mark.parametrize("output_format", ["table", "json", "csv"])
def test_a_run_that_is_not_resumed_states_why(
    certmgr: Runner,
    sites: None,
    root_file: Path,
    interrupted: Callable[[], None],
    output_format: str,
) -> None:
    options = (*HERE, "--ca-file", str(root_file), "--format", output_format)
    interrupted()
    certmgr("scan", *options)
    ran = certmgr("scan", "--resume", "--client", "One", *options)
    assert ran.code == 1
    assert "this one is about client 1" in " ".join(ran.err.split())
