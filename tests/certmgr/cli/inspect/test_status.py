"""Tests of ``certmgr status``: from a scan to an acceptance, and the status at a past time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.certmgr.cli.refusals import assert_refused
from tests.certmgr.tls_servers import HOST, Stack, refusing_port
from tests.clock import clock
from tests.program import Ran

Runner = Callable[..., Ran]


def test_accepted_finding_is_shown_and_does_not_count_as_a_fault(
    certmgr: Runner, port: int
) -> None:
    assert certmgr("client", "add", "1001", "Example Ltd", "--renews", "client").code == 0
    assert certmgr("domain", "add", HOST, "--client", "1001").code == 0
    endpoint_options = ("--port", str(port), "--address", "127.0.0.1")
    assert certmgr("endpoint", "edit", HOST, *endpoint_options).code == 0
    scan = certmgr("scan", "--format", "json")  # exit code 1, because the test CA is not trusted
    assert scan.code == 1, scan.err
    (endpoint,) = scan.json["endpoints"]
    assert (endpoint["client"], endpoint["verdict"]) == ("1001", "fault")
    assert scan.json["run"]["state"] == "complete"

    status = certmgr("status", "--format", "json")
    assert status.code == 1
    (code,) = status.json["endpoints"][0]["codes"]
    reason = ("--until", "2099-01-01", "--reason", "known")
    assert certmgr("finding", "accept", code, *reason, "--domain", HOST).code == 0

    status = certmgr("status", "--format", "json", "--all")
    assert (status.code, status.json["summary"]["fault"]) == (0, 0)
    assert status.json["endpoints"][0]["accepted"][0]["code"] == code
    scan = certmgr("scan", "--format", "json")
    assert scan.code == 0
    assert scan.json["endpoints"][0]["findings"][0]["accepted"]["reason"] == "known"
    page = certmgr("domain", "show", HOST)
    assert page.code == 0
    for word in ("Example Ltd", "127.0.0.1", "accepted", "last attempt", "serial"):
        assert word in page.out
    page = certmgr("domain", "show", HOST, "--format", "json")
    assert page.json["schema"] == "certmgr.domain/1"
    causes = certmgr("status", "--causes", "--format", "json")
    assert causes.json["schema"] == "certmgr.causes/1"
    assert causes.json["causes"] == []


def test_past_status_includes_the_fault_of_an_endpoint_without_a_certificate(
    certmgr: Runner, add_client: Callable[..., None], opened: Stack
) -> None:
    add_client("a.example.test", port=refusing_port(opened))
    assert certmgr("scan").code == 1
    clock.advance(seconds=2)
    then = f"{clock():%Y-%m-%dT%H:%M:%S}"
    clock.advance(seconds=2)
    ran = certmgr("status", "--as-of", then, "--format", "json")
    assert (ran.code, ran.json["endpoints"][0]["verdict"]) == (1, "fault")


@pytest.mark.parametrize("date", ["yesterday", "2026-13-01", "2026-02-30", ""])
def test_invalid_date_is_refused(certmgr: Runner, date: str) -> None:
    assert_refused(certmgr("status", "--as-of", date), 2, "not a date")
