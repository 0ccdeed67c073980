"""The certificates that are expected at each endpoint, and a scan that finds another one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from certmgr.cases import installation, intake, new_case, signing_requests
from certmgr.cases.opening import run
from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.inspection.expectations import expectations
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_rows import _renewed_by_automation
from certmgr.inspection.scan_run import ScanRun
from inventory.clock import Clock
from inventory.store import (
    clients,
    domains,
    endpoints,
    findings,
    issuances,
    purchase_changes,
)
from tests.certmgr.cases.place import HOST, SECOND_HOST, CaseEnvironment, issue, vendor_upload


def expected(env: CaseEnvironment) -> dict[str, frozenset[str]]:
    """Host -> the leaves that are expected there now."""
    with env.database.read() as conn:
        rows = issuances.expected(conn)
        now = int(env.now.timestamp())
        leaves_by_id = expectations(rows, lambda ids: endpoints.of_clients(conn, ids), now)
        hosts = {e.id: e.host for c in endpoints.of_clients(conn, [1, 2, 3]).values() for e in c}
    return {hosts[i]: leaves for i, leaves in leaves_by_id.items()}


def test_leaf_that_a_case_verified_is_expected_and_the_next_one_too(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, leaf = env.ready(issuer)
    assert expected(env) == {}, "nothing was verified yet"
    installation.mark_installed(env.service, reference, "x")
    installation.verify_case(env.service_seeing(leaf), reference)
    assert expected(env) == {HOST: frozenset({leaf})}
    env.pass_(days=1)
    _, following = env.ready(issuer)
    assert expected(env) == {HOST: frozenset({leaf, following})}


def test_certificate_that_was_linked_to_an_order_is_expected_too(
    env: CaseEnvironment, issuer: Authority, tmp_path: Path
) -> None:
    with env.database.write(env.now) as tx:
        purchase_changes.add(tx, "1001", {"vendor": "V", "number": "1"}, [HOST])
    _, leaf = env.closed(issuer)
    (tmp_path / "own.pem").write_bytes(issuer.issue(HOST, days=90).chain_pem)
    linked = intake.attach_certificate(env.context, "1", str(tmp_path / "own.pem"))
    assert frozenset({leaf, linked}) in expected(env).values()


def test_endpoint_that_a_panel_renews_expects_nothing(env: CaseEnvironment) -> None:
    with env.database.read() as conn:
        ids = [e.id for e in endpoints.of_clients(conn, [1, 2, 3]).get(1, [])]
        rows = endpoints.visited(conn, ids)
    assert [_renewed_by_automation(r) for r in rows] == [False, False]
    with env.database.write(env.now) as tx:
        clients.edit(tx, "1001", {"renews": "panel"})
    with env.database.read() as conn:
        assert all(_renewed_by_automation(r) for r in endpoints.visited(conn, ids))


def scan(env: CaseEnvironment) -> dict[str, Any]:
    """Scan all endpoints, and return the findings of the host by their codes."""
    summary = ScanRun(Context(env.database, env.settings, env.database.clock), ScanOptions()).run()
    assert summary.state == "complete", summary.reason
    with env.database.read() as conn:
        return {f.code: f for f in findings.listing(conn) if f.host == HOST}


def test_scan_finds_a_certificate_that_no_case_installed_and_the_case_reopens(
    sqlite_env: CaseEnvironment, issuer: Authority, clock: Clock
) -> None:
    env = sqlite_env
    env.now = clock()
    with env.database.write(env.now) as tx:
        domains.retire(tx, SECOND_HOST)
    machine = env.machine(HOST, ("127.0.0.7",))
    old = issuer.issue(HOST, days=20)
    machine.show(old, old.key)
    assert "unexpected-certificate" not in scan(env), "nothing was verified yet"
    reference = new_case.open_case(env.service, "1001", [HOST]).reference
    (pem,) = signing_requests.make_csr(env.service, reference)
    signing_requests.send_csr(env.service, reference)
    issued = issue(issuer, pem)
    assert not intake.receive(env.service, reference, vendor_upload(issued)).refused
    machine.show(issued, env.key(reference))
    installation.mark_installed(env.service, reference, "at night")
    assert run(env.service).closed == [reference]
    assert "unexpected-certificate" not in scan(env)
    machine.show(old, old.key)
    found = scan(env)["unexpected-certificate"]
    assert (found.severity, found.actor) == ("high", "staff")
    assert found.addresses == ("127.0.0.7",)
    env.now = clock() + timedelta(minutes=1)
    assert run(env.service).reopened == [reference]
    machine.show(issued, env.key(reference))
    assert "unexpected-certificate" not in scan(env), "the expected one is seen again"
