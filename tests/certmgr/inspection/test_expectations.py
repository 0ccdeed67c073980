"""Which certificates are expected where, and the scan that finds another one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from certmgr.cases import intake
from certmgr.cases.opening import run
from certmgr.demo.authority import Authority
from certmgr.inspection.expectations import expectations
from certmgr.inspection.scan_run import ScanOptions, ScanRun, _robot
from inventory.clock import Clock
from inventory.store import cases, clients, domains, endpoints, findings, purchases
from tests.certmgr.cases.place import HOST, SECOND_HOST, Place, issue, material


def expected(place: Place) -> dict[str, frozenset[str]]:
    """Host -> the leaves that are expected there now."""
    with place.database.read() as conn:
        rows = cases.expected(conn)
        now = int(place.now.timestamp())
        found = expectations(rows, lambda ids: cases.places(conn, ids), now)
        hosts = {e["id"]: e["host"] for c in cases.places(conn, [1, 2, 3]).values() for e in c}
    return {hosts[i]: leaves for i, leaves in found.items()}


def test_leaf_that_a_case_proved_is_expected_and_the_next_one_too(
    place: Place, issuer: Authority
) -> None:
    reference, leaf = place.ready(issuer)
    assert expected(place) == {}, "nothing was proved yet"
    place.desk.installed(reference, "x")
    place.desk_seeing(leaf).verify(reference)
    assert expected(place) == {HOST: frozenset({leaf})}
    place.pass_(days=1)
    _, following = place.ready(issuer)
    assert expected(place) == {HOST: frozenset({leaf, following})}


def test_certificate_that_was_linked_to_an_order_is_expected_too(
    place: Place, issuer: Authority, tmp_path: Path
) -> None:
    with place.database.write(place.now) as tx:
        purchases.add(tx, "1001", {"vendor": "V", "number": "1"}, [HOST])
    _, leaf = place.closed(issuer)
    (tmp_path / "own.pem").write_bytes(issuer.issue(HOST, days=90).chain_pem)
    linked = intake.attach(place.database, place.now, "1", str(tmp_path / "own.pem"))
    assert frozenset({leaf, linked}) in expected(place).values()


def test_endpoint_that_a_panel_renews_expects_nothing(place: Place) -> None:
    with place.database.read() as conn:
        ids = [e["id"] for e in cases.places(conn, [1, 2, 3]).get(1, [])]
        rows = endpoints.visited(conn, ids)
    assert [_robot(r) for r in rows] == [False, False]
    with place.database.write(place.now) as tx:
        clients.edit(tx, "1001", {"renews": "panel"})
    with place.database.read() as conn:
        assert all(_robot(r) for r in endpoints.visited(conn, ids))


def scan(place: Place) -> dict[str, Any]:
    """Scan all endpoints, and return the findings of the host by their codes."""
    summary = ScanRun(place.database, place.settings, ScanOptions()).run()
    assert summary.state == "complete", summary.reason
    with place.database.read() as conn:
        return {f["code"]: f for f in findings.listing(conn) if f["host"] == HOST}


def test_scan_finds_a_certificate_that_no_case_installed_and_the_case_reopens(
    sqlite_place: Place, issuer: Authority, clock: Clock
) -> None:
    place = sqlite_place
    place.now = clock()
    with place.database.write(place.now) as tx:
        domains.retire(tx, SECOND_HOST)
    machine = place.machine(HOST, ("127.0.0.7",))
    old = issuer.issue(HOST, days=20)
    machine.show(old, old.key)
    assert "unexpected-certificate" not in scan(place), "nothing was proved yet"
    reference = place.desk.open("1001", [HOST])["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    issued = issue(issuer, pem)
    assert not intake.receive(place.desk, reference, material(issued)).refused
    machine.show(issued, place.key(reference))
    place.desk.installed(reference, "at night")
    assert run(place.desk).closed == [reference]
    assert "unexpected-certificate" not in scan(place)
    machine.show(old, old.key)
    found = scan(place)["unexpected-certificate"]
    assert (found["severity"], found["actor"]) == ("high", "staff")
    assert found["addresses"] == ["127.0.0.7"]
    place.now = clock() + timedelta(minutes=1)
    assert run(place.desk).reopened == [reference]
    machine.show(issued, place.key(reference))
    assert "unexpected-certificate" not in scan(place), "the expected one is seen again"
