"""One run of the job over an inventory of two clients."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.errors import INTERNAL_ERROR, Busy
from inventory.models import AuditEntry
from inventory.store import jobs
from tests.certmgr.revocation.lists import make_list, points
from tests.certmgr.revocation.sites import ROSE, TULIP, Sites


def test_revoked_certificate_is_a_finding_of_its_client_only(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    tulip = sites.serve(TULIP, issuer.issue(TULIP, extensions=[points(sites.url())]))
    sites.publish(make_list(issuer, [rose]))
    summary = sites.run()
    assert (summary.lists.leaves, summary.lists.fetched, summary.opened, summary.suspect) == (
        2,
        1,
        1,
        [],
    )
    found = sites.findings(ROSE)["revoked"]
    assert (found.severity, found.actor, found.outcome) == (
        "critical",
        "client",
        "you-act",
    )
    assert found.addresses == ("192.0.2.1",)
    assert found.evidence["reason"] == "keyCompromise"
    assert found.evidence["source"] == sites.url()
    assert found.evidence["serial"] == f"{rose.certificate.serial_number:x}"
    assert sites.findings(TULIP) == {}
    assert (sites.status(rose).status, sites.status(tulip).status) == ("revoked", "good")
    assert TULIP not in str(found)


def test_no_unknown_finding_is_opened_if_most_lists_fail(sites: Sites, issuer: Authority) -> None:
    """The network of the provider is the likely cause.

    A revoked certificate is a finding all the same.
    """
    hosts = [f"site{i}.example.test" for i in range(6)]
    sites.add("1003", *hosts)
    issued = [
        sites.serve(h, issuer.issue(h, extensions=[points(sites.url(f"{h}.crl"))])) for h in hosts
    ]
    sites.publish(make_list(issuer, [issued[0]]), f"{hosts[0]}.crl")
    sites.run()
    sites.advance(days=3)
    sites.publish(make_list(issuer, [issued[0]], at=sites.now), f"{hosts[0]}.crl")
    summary = sites.run(every=True)
    assert summary.suspect == ["5 of 6 revocation lists could not be fetched"]
    assert {h: set(sites.findings(h)) for h in hosts} == {hosts[0]: {"revoked"}} | {
        h: set() for h in hosts[1:]
    }
    for host in hosts[2:]:
        sites.publish(make_list(issuer, at=sites.now), f"{host}.crl")
    sites.advance(days=1)
    assert sites.run(every=True).suspect == []
    assert set(sites.findings(hosts[1])) == {"revocation-unknown"}


def test_run_for_one_client_fetches_only_its_lists(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    tulip = sites.serve(TULIP, issuer.issue(TULIP, extensions=[points(sites.url("2.crl"))]))
    sites.publish(make_list(issuer, [rose]))
    sites.publish(make_list(issuer, [tulip]), "2.crl")
    summary = sites.run(client="1001")
    assert sites.files.requests(at_least=1) == ["1.crl"]
    assert (summary.opened, sites.findings(TULIP)) == (1, {})


def test_second_run_is_refused_and_an_error_is_recorded(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    with jobs.alone(sites.database, "revocation"), pytest.raises(Busy):
        sites.run()
    from certmgr.revocation import lists

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lists.CrlCheck, "run", broken)
    with pytest.raises(ZeroDivisionError):
        sites.run()
    with sites.database.read() as conn:
        # Type and text of an internal error are in the log only.
        assert jobs.state(conn, "revocation").error == INTERNAL_ERROR
    monkeypatch.undo()
    sites.run()
    with sites.database.read() as conn:
        assert jobs.state(conn, "revocation").error is None


def test_opened_and_closed_findings_are_audited(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.publish(make_list(issuer, [rose]))
    sites.run()
    sites.serve(ROSE, issuer.issue(ROSE))
    sites.run()
    with sites.database.read() as conn:
        rows = [
            (r.action, r.detail)
            for r in conn.execute(
                select(AuditEntry).where(AuditEntry.kind == "finding").order_by(AuditEntry.id)
            )
        ]
    assert [a for a, _ in rows] == ["open", "close"]
    assert "revoked" in rows[0][1]


def test_client_with_checked_certificates_can_be_erased(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    from inventory.store.erase import erase

    sites.publish(make_list(issuer, [rose]))
    sites.run()
    with sites.database.write() as tx:
        assert erase(tx, "1001")["certificates"] == 1
    assert sites.status(rose) is None


def test_disabled_job_fetches_and_queries_nothing(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.settings = replace(
        sites.settings, scan=replace(sites.settings.scan, revocation=False, dane=False)
    )
    sites.publish(make_list(issuer, [rose]))
    summary = sites.run()
    assert (summary.policy, sites.findings(), sites.names.asked) == (None, {}, [])
