"""`unexpected-certificate` through a whole scan of a real server: what a case proved is expected, another certificate is a finding, the old one reopens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from certmgr.cases import intake
from certmgr.cases.material import unpack
from certmgr.cases.opening import run
from certmgr.demo.authority import Authority
from certmgr.survey import Options, Survey
from inventory.store import findings
from tests.certmgr.cases.place import Place, issue
from tests.clock import clock


def scan(place: Place) -> dict[str, Any]:
    summary = Survey(place.database, place.settings, Options()).run()
    assert summary.state == "complete", summary.reason
    with place.database.read() as conn:
        return {f["code"]: f for f in findings.listing(conn) if f["host"] == "shop.example.com"}


def test_a_scan_sees_what_a_case_did_not_install(place: Place, issuer: Authority) -> None:
    place.now = clock()
    with place.database.write(place.now) as tx:
        from inventory.store import domains

        domains.retire(tx, "www.shop.example.com")
    machine = place.machine("shop.example.com", ("127.0.0.7",))
    old = issuer.issue("shop.example.com", days=20)
    machine.show(old, old.key)
    assert "unexpected-certificate" not in scan(place), "nothing is expected before a case proved something"
    reference = place.desk.open("1001", ["shop.example.com"])["reference"]
    (pem,) = intake.make_csr(place.desk, reference)
    intake.send(place.desk, reference)
    issued = issue(issuer, pem)
    assert not intake.receive(place.desk, reference, unpack([issued.chain_pem])).refused
    machine.show(issued, place.key(reference))
    place.desk.installed(reference, "at night")
    assert run(place.desk).closed == [reference]
    assert "unexpected-certificate" not in scan(place)
    machine.show(old, old.key)
    found = scan(place)["unexpected-certificate"]
    assert (found["severity"], found["actor"], found["addresses"]) == ("high", "staff", ["127.0.0.7"])
    place.now = clock() + timedelta(minutes=1)
    assert run(place.desk).reopened == [reference]
    machine.show(issued, place.key(reference))
    assert "unexpected-certificate" not in scan(place), "it is closed by a look that sees what is expected"
