"""Revocation lists for an inventory of two clients: what is found, what is kept, and what a failed look must not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import select, update

from certmgr.checks.transport import finding
from certmgr.config import NetworkSettings
from certmgr.demo.authority import Authority, Issued
from certmgr.revocation.lists import GRACE
from inventory.certificates import parse
from inventory.database import to_epoch
from inventory.errors import Busy
from inventory.store import endpoints, findings, jobs
from inventory.tables import audit, endpoint, observation
from inventory.tables_acme import crl
from inventory.targets import Target
from tests.certmgr.revocation.lists import DAY, asked, make_list, points, shard
from tests.certmgr.revocation.street import ROSE, START, TULIP, Street
from tests.clock import clock

HOUR = timedelta(hours=1)


def test_revoked_is_found_and_stays_with_its_client(street: Street, rose: Issued, issuer: Authority) -> None:
    tulip = street.shows(TULIP, issuer.issue(TULIP, extensions=[points(street.url())]))
    street.put(make_list(issuer, [rose]))
    summary = street.run()
    assert (summary.lists.leaves, summary.lists.fetched, summary.opened, summary.suspect) == (2, 1, 1, [])
    found = street.found(ROSE)["revoked"]
    assert (found["severity"], found["actor"], found["outcome"]) == ("critical", "client", "you-act")
    assert found["addresses"] == ["192.0.2.1"]
    assert found["evidence"]["reason"] == "keyCompromise"
    assert found["evidence"]["source"] == street.url()
    assert found["evidence"]["serial"] == f"{rose.certificate.serial_number:x}"
    assert street.found(TULIP) == {}
    assert (street.status(rose)["status"], street.status(tulip)["status"]) == ("revoked", "good")
    assert TULIP not in str(found)


def test_a_list_is_asked_when_it_is_due(street: Street, rose: Issued, issuer: Authority) -> None:
    """Half of the way to nextUpdate, at least an hour, at most a day."""
    street.put(make_list(issuer, at=street.now, days=0.5))
    street.run()
    assert street.list()["next_at"] == to_epoch(street.now + timedelta(hours=6))
    street.pass_(hours=5)
    assert street.run().lists.fetched == 0
    street.pass_(hours=2)
    street.put(make_list(issuer, at=street.now, days=7))
    assert street.run().lists.fetched == 1
    assert street.list()["next_at"] == to_epoch(street.now + DAY)
    street.put(make_list(issuer, at=street.now, days=0.05))
    assert street.run(every=True).lists.fetched == 1
    assert street.list()["next_at"] == to_epoch(street.now + HOUR)


def test_a_new_certificate_is_told_from_the_list_that_is_held(street: Street, rose: Issued, issuer: Authority) -> None:
    tulip = issuer.issue(TULIP, extensions=[points(street.url())])
    street.put(make_list(issuer, [tulip]))
    street.run()
    street.shows(TULIP, tulip)
    street.pass_(hours=1)
    summary = street.run()
    assert (summary.lists.leaves, summary.lists.fetched) == (1, 0)
    assert set(street.found(TULIP)) == {"revoked"}


def test_a_failed_fetch_erases_nothing(street: Street, rose: Issued, issuer: Authority) -> None:
    """What is held counts until its nextUpdate; then good becomes unknown, after the grace; each failure waits longer than the last."""
    street.put(make_list(issuer, at=street.now, days=3))
    street.run()
    checked = street.status(rose)["checked_at"]
    street.gone()
    waits = []
    for _ in range(3):
        street.pass_(days=1, minutes=1)
        street.run(every=True)
        waits.append(street.list()["next_at"] - to_epoch(street.now))
    assert waits == [3600, 7200, 14400]
    assert "404" in street.list()["error"]
    assert street.list()["failures"] == 3
    street.now = START + 2 * DAY
    street.run(every=True)
    assert (street.status(rose)["status"], street.found()) == ("good", {})
    street.now = START + timedelta(days=3, hours=1)
    street.run(every=True)
    row = street.status(rose)
    assert (row["status"], row["checked_at"]) == ("unknown", checked), "known for the last time when the list was had"
    found = street.found(ROSE)["revocation-unknown"]
    assert (found["severity"], found["actor"], found["outcome"]) == ("undetermined", "staff", None)
    assert "404" in found["evidence"]["detail"]
    street.put(make_list(issuer, at=street.now))
    street.run(every=True)
    assert street.found() == {}


def test_unknown_has_a_grace(street: Street, rose: Issued) -> None:
    street.run()
    assert street.status(rose)["status"] == "unknown"
    assert street.found() == {}
    street.pass_(seconds=GRACE.total_seconds() + 1)
    street.run()
    assert set(street.found()) == {"revocation-unknown"}


def test_revoked_stays_revoked(street: Street, rose: Issued, issuer: Authority) -> None:
    """Through failures, an expired list, and a list that no longer names it; until another certificate is served."""
    street.put(make_list(issuer, [rose], at=street.now, days=3))
    street.run()
    street.gone()
    street.pass_(days=10)
    street.run()
    assert set(street.found(ROSE)) == {"revoked"}
    street.put(make_list(issuer, at=street.now))
    street.run(every=True)
    assert set(street.found(ROSE)) == {"revoked"}
    street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url())]))
    summary = street.run()
    assert (street.found(), summary.closed) == ({}, 1)


def test_on_hold_is_revoked_for_a_time(street: Street, rose: Issued, issuer: Authority) -> None:
    street.put(make_list(issuer, [rose], at=street.now - HOUR, reason=x509.ReasonFlags.certificate_hold))
    street.run()
    assert street.found(ROSE)["revoked"]["evidence"]["reason"] == "certificateHold"
    street.put(make_list(issuer, at=street.now))
    street.run(every=True)
    assert street.found() == {}


WRONG: dict[str, tuple[Callable[[Street, Authority, Issued], bytes], str]] = {
    "expired": (lambda s, ca, leaf: make_list(ca, [leaf], at=s.now - 10 * DAY), "was to be replaced"),
    "wrong signature": (lambda s, ca, leaf: make_list(ca, [leaf], key=Authority("X", clock=clock).key), "signature"),
    "another issuer": (lambda s, ca, leaf: make_list(Authority("Another CA", clock=clock), [leaf]), "another issuer"),
    "another shard": (lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url("2.crl"))]), "another distribution point"),
    "delta": (lambda s, ca, leaf: make_list(ca, extensions=[(x509.DeltaCRLIndicator(1), True)]), "delta"),
    "indirect": (lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url(), indirect_crl=True)]), "indirect"),
    "of CAs": (lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url(), only_contains_ca_certs=True)]), "another kind"),
    "not a list": (lambda s, ca, leaf: b"<html>It works!</html>", "no revocation list"),
    "older": (lambda s, ca, leaf: make_list(ca, at=s.now - 3 * DAY), "older"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_list_that_cannot_be_relied_on_replaces_none_that_can(
    street: Street, rose: Issued, issuer: Authority, kind: str
) -> None:
    street.put(make_list(issuer, at=street.now - HOUR, extensions=[shard(street.url())]))
    street.run()
    digest = street.list()["digest"]
    made, words = WRONG[kind]
    street.put(made(street, issuer, rose))
    summary = street.run(every=True)
    assert words in summary.lists.problems[street.url()]
    assert street.list()["digest"] == digest
    assert street.status(rose)["status"] == "good"
    assert street.found() == {}


def test_a_shard_answers_for_its_own_certificates_alone(street: Street, rose: Issued, issuer: Authority) -> None:
    other = street.shows(TULIP, issuer.issue(TULIP, extensions=[points(street.url("2.crl"))]))
    street.put(make_list(issuer, [rose], extensions=[shard(street.url())]))
    street.put(make_list(issuer, [other], extensions=[shard(street.url())]), "2.crl")
    street.run()
    assert set(street.found(ROSE)) == {"revoked"}
    assert street.status(other)["status"] == "unknown"


def test_a_list_answers_only_for_certificates_of_its_issuer_and_scope(street: Street, root: Authority, issuer: Authority) -> None:
    """Three certificates name one URL, and the list names all three: one is of its scope, one not, and one is another CA's with the same number."""
    mine = street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url(), street.url("2.crl"))]))
    outside = street.shows(TULIP, issuer.issue(TULIP, extensions=[points(street.url())]))
    street.add("1003", "lily.example.test")
    other = Authority("Other Issuer", root, path_length=0).issue("lily.example.test", extensions=[points(street.url())])
    street.shows("lily.example.test", other)
    street.put(make_list(issuer, [mine, outside, other], extensions=[shard(street.url("2.crl"))]))
    street.run()
    assert [street.status(one)["status"] for one in (mine, outside, other)] == ["revoked", "unknown", "unknown"]
    assert "not signed by the issuer" in street.status(other)["detail"]
    assert "another distribution point" in street.status(outside)["detail"]


def test_the_second_url_is_asked_where_the_first_fails(street: Street, issuer: Authority) -> None:
    issued = street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url("no.crl"), street.url("2.crl"))]))
    street.put(make_list(issuer, [issued]), "2.crl")
    summary = street.run()
    assert set(street.found(ROSE)) == {"revoked"}
    assert (summary.lists.fetched, list(summary.lists.problems)) == (2, [street.url("no.crl")])
    assert summary.lists.unknown == 0


def test_what_names_no_list_is_no_finding(street: Street, issuer: Authority) -> None:
    issued = street.shows(ROSE, issuer.issue(ROSE, days=6))
    for _ in range(3):
        summary = street.run()
        street.pass_(days=2)
    assert (summary.lists.leaves, street.status(issued), street.found()) == (0, None, {})


def test_what_no_ca_of_ours_signed_is_not_asked_about(street: Street) -> None:
    """Anybody can serve a certificate that names any list; it would make us ask anybody."""
    issued = street.shows(ROSE, Authority("Own", clock=clock).issue(ROSE, extensions=[points(street.url())]))
    with street.database.write() as tx:
        tx.conn.execute(update(observation).values(trusted=0))
    street.run()
    assert asked(street.folder / "web") == []
    assert street.status(issued) is None


def test_an_internal_list_is_not_asked_unless_allowed(street: Street, rose: Issued, issuer: Authority) -> None:
    street.put(make_list(issuer, [rose]))
    street.settings = replace(street.settings, network=NetworkSettings())
    assert "loopback" in street.run().lists.problems[street.url()]
    assert asked(street.folder / "web") == []


def test_where_most_lists_fail_nothing_is_opened_as_unknown(street: Street, issuer: Authority) -> None:
    """It is rather our own way out that is shut. Revoked is revoked all the same."""
    hosts = [f"site{i}.example.test" for i in range(6)]
    street.add("1003", *hosts)
    made = [street.shows(h, issuer.issue(h, extensions=[points(street.url(f"{h}.crl"))])) for h in hosts]
    street.put(make_list(issuer, [made[0]]), f"{hosts[0]}.crl")
    street.run()
    street.pass_(days=3)
    street.put(make_list(issuer, [made[0]], at=street.now), f"{hosts[0]}.crl")
    summary = street.run(every=True)
    assert summary.suspect == ["5 of 6 revocation lists could not be had"]
    assert {h: set(street.found(h)) for h in hosts} == {hosts[0]: {"revoked"}} | {h: set() for h in hosts[1:]}
    for host in hosts[2:]:
        street.put(make_list(issuer, at=street.now), f"{host}.crl")
    street.pass_(days=1)
    assert street.run(every=True).suspect == []
    assert set(street.found(hosts[1])) == {"revocation-unknown"}


def test_a_silent_address_keeps_what_was_known_of_it(street: Street, issuer: Authority) -> None:
    """Two addresses showed it. One has a new certificate; the other does not answer: nobody can say that it has one too."""
    old = street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url())]), "192.0.2.1", "192.0.2.2")
    street.put(make_list(issuer, [old]))
    street.run()
    new = issuer.issue(ROSE, extensions=[points(street.url())])
    street.shows(ROSE, new, "192.0.2.1", findings=[finding("connection-timeout", ("192.0.2.2",))])
    street.run()
    assert street.found(ROSE)["revoked"]["addresses"] == ["192.0.2.2"]
    with street.database.write() as tx:
        rows = findings.listing(tx.conn)
        findings.settle(tx, [], [], [r["id"] for r in rows if r["code"] == "connection-timeout"])
    street.run()
    assert street.found() == {}, "that address is no longer the name's"


def test_nothing_is_closed_where_nothing_was_seen(street: Street, rose: Issued, issuer: Authority) -> None:
    street.put(make_list(issuer, [rose]))
    street.run()
    with street.database.write() as tx:
        tx.conn.execute(update(observation).values(live=0))
    street.run(every=True)
    assert set(street.found(ROSE)) == {"revoked"}


def test_a_scan_leaves_these_findings_alone() -> None:
    from certmgr.checks.codes import CODES, ELSEWHERE, STAPLE
    from certmgr.checks.reconcile import Open, reconcile
    from certmgr.scan.report import Report

    ours = sorted(c for c, m in CODES.items() if m.layer in ELSEWHERE)
    assert ours == ["caa-mismatch", "dane-mismatch", "revocation-unknown", "revoked"]
    report = Report(Target(ROSE), START, None, (), (), True, False, True, (), None)
    known = [Open(i, finding(c, ("192.0.2.1",), source="http://c/1.crl")) for i, c in enumerate(ours)]
    assert not reconcile(known, report)
    again = replace(report, findings=(finding("revoked", ("192.0.2.1",), source=STAPLE),))
    assert not reconcile(known, again), "known by the list already"
    assert [f.code for f in reconcile([], again).opened] == ["revoked"]
    by_staple = [Open(1, finding("revoked", ("192.0.2.1",), source=STAPLE))]
    changed = reconcile(by_staple, replace(report, addresses=_seen("192.0.2.1")))
    assert changed.closed == [1], "a staple's word ends with the staple"


def _seen(address: str) -> tuple[Any, ...]:
    from certmgr.scan.report import AddressView

    return (AddressView(address, "TLSv1.3", "x", "x", None, "good", ("a" * 64,), True, None),)


def test_a_finding_that_a_scan_and_a_list_open_at_once_is_one(street: Street, rose: Issued, issuer: Authority) -> None:
    """The scan proposes while the job opens: what the scan ends with must not fail."""
    from inventory.store import results, runs

    staple = finding("revoked", ("192.0.2.1",), source="staple", certificates=[parse(rose.der).sha256])
    change = {"at": to_epoch(street.now), "close": [], "update": [], "open": [results.columns_of(staple)]}
    with street.database.write(street.now) as tx:
        row = tx.conn.execute(select(endpoint.c.id).where(endpoint.c.host == ROSE)).scalar()
        assert row is not None
        run_id = runs.start(tx, "", 1)
        results.propose(tx, run_id, [((row, "f", "", None), change)])
    street.put(make_list(issuer, [rose]))
    street.run()
    with street.database.write(street.now) as tx:
        results.apply_proposals(tx, run_id)
        runs.finish(tx, run_id, "complete", None, 1, 0)
    assert street.found(ROSE)["revoked"]["evidence"]["source"] == street.url()


def test_what_a_staple_said_is_a_scans_to_close(street: Street, rose: Issued, issuer: Authority) -> None:
    staple = finding("revoked", ("192.0.2.1",), source="staple", since="", reason="", certificates=[parse(rose.der).sha256])
    with street.database.write() as tx:
        row = tx.conn.execute(select(endpoint.c.id).where(endpoint.c.host == ROSE)).scalar()
        assert row is not None
        findings.settle(tx, [(row, staple)], [], [])
    street.put(make_list(issuer, at=street.now - HOUR))
    street.run()
    assert street.found(ROSE)["revoked"]["evidence"]["source"] == "staple"
    street.put(make_list(issuer, [rose], at=street.now))
    street.run(every=True)
    assert street.found(ROSE)["revoked"]["evidence"]["source"] == street.url()


def test_on_port_25_it_is_a_remark(street: Street, issuer: Authority) -> None:
    with street.database.write() as tx:
        endpoints.retire(tx, Target(ROSE))
        endpoints.add(tx, Target(ROSE, 25, "smtp"))
        tx.conn.execute(update(endpoint).where(endpoint.c.state == "retired").values(host="old.example.test"))
    issued = street.shows(ROSE, issuer.issue(ROSE, extensions=[points(street.url())]))
    street.put(make_list(issuer, [issued]))
    street.run()
    assert street.found(ROSE)["revoked"]["severity"] == "info"


def test_only_one_client_is_asked_about(street: Street, rose: Issued, issuer: Authority) -> None:
    tulip = street.shows(TULIP, issuer.issue(TULIP, extensions=[points(street.url("2.crl"))]))
    street.put(make_list(issuer, [rose]))
    street.put(make_list(issuer, [tulip]), "2.crl")
    summary = street.run(client="1001")
    assert asked(street.folder / "web") == ["/1.crl"]
    assert (summary.opened, street.found(TULIP)) == (1, {})


def test_one_at_a_time_and_what_went_wrong_is_remembered(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    with jobs.alone(street.database, "revocation"), pytest.raises(Busy):
        street.run()
    from certmgr.revocation import lists

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lists.Look, "run", broken)
    with pytest.raises(ZeroDivisionError):
        street.run()
    with street.database.read() as conn:
        assert "ZeroDivisionError" in jobs.state(conn, "revocation")["error"]
    monkeypatch.undo()
    street.run()
    with street.database.read() as conn:
        assert jobs.state(conn, "revocation")["error"] is None


def test_every_change_is_in_the_audit_log(street: Street, rose: Issued, issuer: Authority) -> None:
    street.put(make_list(issuer, [rose]))
    street.run()
    street.shows(ROSE, issuer.issue(ROSE))
    street.run()
    with street.database.read() as conn:
        rows = [(r.action, r.detail) for r in conn.execute(select(audit).where(audit.c.kind == "finding").order_by(audit.c.id))]
    assert [a for a, _ in rows] == ["open", "close"]
    assert "revoked" in rows[0][1]


def test_a_client_can_be_erased_whose_certificates_were_asked_about(street: Street, rose: Issued, issuer: Authority) -> None:
    from inventory.store.erase import erase

    street.put(make_list(issuer, [rose]))
    street.run()
    with street.database.write() as tx:
        assert erase(tx, "1001")["certificates"] == 1
    assert street.status(rose) is None


def test_a_list_that_nobody_needs_any_more_gives_its_space_back(street: Street, rose: Issued, issuer: Authority) -> None:
    street.put(make_list(issuer))
    street.run()
    street.shows(ROSE, issuer.issue(ROSE))
    street.pass_(days=40)
    street.run()
    with street.database.read() as conn:
        assert conn.execute(select(crl.c.body)).scalars().all() == [None]


def test_lists_may_be_turned_off(street: Street, rose: Issued, issuer: Authority) -> None:
    street.settings = replace(street.settings, scan=replace(street.settings.scan, revocation=False, dane=False))
    street.put(make_list(issuer, [rose]))
    summary = street.run()
    assert (summary.policy, street.found(), street.names.asked) == (None, {}, [])
