"""Findings that lists open and close, and those that they leave to a scan."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from sqlalchemy import select, update

from certmgr.checks.transport import finding
from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.revocation.status_rows import GRACE
from inventory.certificates import parse
from inventory.db.database import to_epoch
from inventory.models import Endpoint, ServedChain
from inventory.store import endpoints, findings, proposals, runs
from inventory.store.proposals import ProposedChanges
from inventory.store.scan_results import CacheKeys
from inventory.targets import Target
from tests.certmgr.revocation.lists import make_list, points
from tests.certmgr.revocation.sites import ROSE, Sites
from tests.clock import START

HOUR = timedelta(hours=1)


def test_unknown_status_is_a_finding_after_the_grace_period(
    sites: Sites, rose: IssuedCertificate
) -> None:
    sites.run()
    assert sites.status(rose).status == "unknown"
    assert sites.findings() == {}
    sites.advance(seconds=GRACE.total_seconds() + 1)
    sites.run()
    assert set(sites.findings()) == {"revocation-unknown"}


def test_revoked_certificate_stays_revoked_until_it_is_replaced(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    """A failed fetch, an expired list and a list without it change nothing."""
    sites.publish(make_list(issuer, [rose], at=sites.now, days=3))
    sites.run()
    sites.remove()
    sites.advance(days=10)
    sites.run()
    assert set(sites.findings(ROSE)) == {"revoked"}
    sites.publish(make_list(issuer, at=sites.now))
    sites.run(every=True)
    assert set(sites.findings(ROSE)) == {"revoked"}
    sites.serve(ROSE, issuer.issue(ROSE, extensions=[points(sites.url())]))
    summary = sites.run()
    assert (sites.findings(), summary.closed) == ({}, 1)


def test_certificate_on_hold_is_good_once_it_is_off_the_list(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.publish(
        make_list(issuer, [rose], at=sites.now - HOUR, reason=x509.ReasonFlags.certificate_hold)
    )
    sites.run()
    assert sites.findings(ROSE)["revoked"].evidence["reason"] == "certificateHold"
    sites.publish(make_list(issuer, at=sites.now))
    sites.run(every=True)
    assert sites.findings() == {}


def test_silent_address_keeps_its_finding(sites: Sites, issuer: Authority) -> None:
    """Two addresses served it. One has a new certificate, and the other one does not answer."""
    old = sites.serve(
        ROSE, issuer.issue(ROSE, extensions=[points(sites.url())]), "192.0.2.1", "192.0.2.2"
    )
    sites.publish(make_list(issuer, [old]))
    sites.run()
    new = issuer.issue(ROSE, extensions=[points(sites.url())])
    sites.serve(ROSE, new, "192.0.2.1", findings=[finding("connection-timeout", ("192.0.2.2",))])
    sites.run()
    assert sites.findings(ROSE)["revoked"].addresses == ("192.0.2.2",)
    with sites.database.write() as tx:
        rows = findings.listing(tx.conn)
        findings.settle(tx, [], [], [r.id for r in rows if r.code == "connection-timeout"])
    sites.run()
    assert sites.findings() == {}, "that address is no longer the name's"


def test_finding_stays_open_if_no_certificate_was_seen(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.publish(make_list(issuer, [rose]))
    sites.run()
    with sites.database.write() as tx:
        tx.conn.execute(update(ServedChain).values(live=0))
    sites.run(every=True)
    assert set(sites.findings(ROSE)) == {"revoked"}


def test_scan_changes_no_finding_of_this_job() -> None:
    from certmgr.inspection.reconcile import OpenFinding, reconcile
    from certmgr.inspection.report import EndpointReport
    from inventory.finding_codes import CODES, LAYERS_NOT_SCANNED, STAPLE

    ours = sorted(c for c, m in CODES.items() if m.layer in LAYERS_NOT_SCANNED - {"zones"})
    assert ours == ["caa-mismatch", "dane-mismatch", "revocation-unknown", "revoked"]
    report = EndpointReport(Target(ROSE), START, None, (), (), True, False, True, (), None)
    known = [
        OpenFinding(i, finding(c, ("192.0.2.1",), source="http://c/1.crl"))
        for i, c in enumerate(ours)
    ]
    assert not reconcile(known, report)
    again = replace(report, findings=(finding("revoked", ("192.0.2.1",), source=STAPLE),))
    assert not reconcile(known, again), "known by the list already"
    assert [f.code for f in reconcile([], again).opened] == ["revoked"]
    by_staple = [OpenFinding(1, finding("revoked", ("192.0.2.1",), source=STAPLE))]
    changed = reconcile(by_staple, replace(report, addresses=_seen("192.0.2.1")))
    assert changed.closed == [1], "a finding of a staple ends with the staple"


def _seen(address: str) -> tuple[Any, ...]:
    from certmgr.inspection.report import AddressView

    return (AddressView(address, "TLSv1.3", "x", "x", None, "good", ("a" * 64,), True, None),)


def test_finding_that_scan_and_list_open_at_once_is_one(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    """The scan proposes it while the job opens it, and the end of the scan must not fail."""
    staple = finding(
        "revoked", ("192.0.2.1",), source="staple", certificates=[parse(rose.der).sha256]
    )
    change = ProposedChanges(at=to_epoch(sites.now), opened=(staple,))
    with sites.database.write(sites.now) as tx:
        row = tx.conn.execute(select(Endpoint.id).where(Endpoint.host == ROSE)).scalar()
        assert row is not None
        run_id = runs.start(tx, "", 1)
        proposals.propose(tx, run_id, [(CacheKeys(row, "f", "", None), change)])
    sites.publish(make_list(issuer, [rose]))
    sites.run()
    with sites.database.write(sites.now) as tx:
        proposals.apply_proposals(tx, run_id)
        runs.finish(tx, run_id, "complete", None, 1, 0)
    assert sites.findings(ROSE)["revoked"].evidence["source"] == sites.url()


def test_finding_of_a_staple_is_not_closed_by_a_list(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    staple = finding(
        "revoked",
        ("192.0.2.1",),
        source="staple",
        since="",
        reason="",
        certificates=[parse(rose.der).sha256],
    )
    with sites.database.write() as tx:
        row = tx.conn.execute(select(Endpoint.id).where(Endpoint.host == ROSE)).scalar()
        assert row is not None
        findings.settle(tx, [(row, staple)], [], [])
    sites.publish(make_list(issuer, at=sites.now - HOUR))
    sites.run()
    assert sites.findings(ROSE)["revoked"].evidence["source"] == "staple"
    sites.publish(make_list(issuer, [rose], at=sites.now))
    sites.run(every=True)
    assert sites.findings(ROSE)["revoked"].evidence["source"] == sites.url()


def test_revoked_certificate_on_port_25_is_info(sites: Sites, issuer: Authority) -> None:
    with sites.database.write() as tx:
        endpoints.retire(tx, Target(ROSE))
        endpoints.add(tx, Target(ROSE, 25, "smtp"))
        tx.conn.execute(
            update(Endpoint).where(Endpoint.state == "retired").values(host="old.example.test")
        )
    issued = sites.serve(ROSE, issuer.issue(ROSE, extensions=[points(sites.url())]))
    sites.publish(make_list(issuer, [issued]))
    sites.run()
    assert sites.findings(ROSE)["revoked"].severity == "info"
