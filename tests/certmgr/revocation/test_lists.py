"""Revocation lists: when each is fetched, what it covers, what a failed fetch must not change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from sqlalchemy import select, update

from certmgr.config.settings import NetworkSettings
from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.db.database import to_epoch
from inventory.models import ServedChain, StoredCrl
from tests.certmgr.revocation.lists import DAY, make_list, points, shard
from tests.certmgr.revocation.sites import ROSE, TULIP, Sites
from tests.clock import START, clock

HOUR = timedelta(hours=1)


def test_list_is_fetched_when_due(sites: Sites, rose: IssuedCertificate, issuer: Authority) -> None:
    """Half of the way to nextUpdate, at least an hour, at most a day."""
    sites.publish(make_list(issuer, at=sites.now, days=0.5))
    sites.run()
    assert sites.list().next_at == to_epoch(sites.now + timedelta(hours=6))
    sites.advance(hours=5)
    assert sites.run().lists.fetched == 0
    sites.advance(hours=2)
    sites.publish(make_list(issuer, at=sites.now, days=7))
    assert sites.run().lists.fetched == 1
    assert sites.list().next_at == to_epoch(sites.now + DAY)
    sites.publish(make_list(issuer, at=sites.now, days=0.05))
    assert sites.run(every=True).lists.fetched == 1
    assert sites.list().next_at == to_epoch(sites.now + HOUR)


def test_new_certificate_is_checked_against_the_stored_list(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    tulip = issuer.issue(TULIP, extensions=[points(sites.url())])
    sites.publish(make_list(issuer, [tulip]))
    sites.run()
    sites.serve(TULIP, tulip)
    sites.advance(hours=1)
    summary = sites.run()
    assert (summary.lists.leaves, summary.lists.fetched) == (1, 0)
    assert set(sites.findings(TULIP)) == {"revoked"}


def test_failed_fetch_keeps_the_stored_list_until_its_next_update(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    """Then good becomes unknown, after the grace period.

    Each failure waits longer than the last.
    """
    sites.publish(make_list(issuer, at=sites.now, days=3))
    sites.run()
    checked = sites.status(rose).checked_at
    sites.remove()
    waits = []
    for _ in range(3):
        sites.advance(days=1, minutes=1)
        sites.run(every=True)
        waits.append(sites.list().next_at - to_epoch(sites.now))
    assert waits == [3600, 7200, 14400]
    assert "404" in sites.list().error
    assert sites.list().failures == 3
    sites.now = START + 2 * DAY
    sites.run(every=True)
    assert (sites.status(rose).status, sites.findings()) == ("good", {})
    sites.now = START + timedelta(days=3, hours=1)
    sites.run(every=True)
    row = sites.status(rose)
    assert (row.status, row.checked_at) == (
        "unknown",
        checked,
    ), "the last time when the list was available"
    found = sites.findings(ROSE)["revocation-unknown"]
    assert (found.severity, found.actor, found.outcome) == ("undetermined", "staff", None)
    assert "404" in found.evidence["detail"]
    sites.publish(make_list(issuer, at=sites.now))
    sites.run(every=True)
    assert sites.findings() == {}


WRONG: dict[str, tuple[Callable[[Sites, Authority, IssuedCertificate], bytes], str]] = {
    "expired": (
        lambda s, ca, leaf: make_list(ca, [leaf], at=s.now - 10 * DAY),
        "it expired at",
    ),
    "wrong signature": (
        lambda s, ca, leaf: make_list(ca, [leaf], key=Authority("X", clock=clock).key),
        "signature",
    ),
    "another issuer": (
        lambda s, ca, leaf: make_list(Authority("Another CA", clock=clock), [leaf]),
        "another issuer",
    ),
    "another shard": (
        lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url("2.crl"))]),
        "another distribution point",
    ),
    "delta": (
        lambda s, ca, leaf: make_list(ca, extensions=[(x509.DeltaCRLIndicator(1), True)]),
        "delta",
    ),
    "indirect": (
        lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url(), indirect_crl=True)]),
        "indirect",
    ),
    "of CAs": (
        lambda s, ca, leaf: make_list(ca, extensions=[shard(s.url(), only_contains_ca_certs=True)]),
        "another kind",
    ),
    "not a list": (lambda s, ca, leaf: b"<html>It works!</html>", "not a revocation list"),
    "older": (lambda s, ca, leaf: make_list(ca, at=s.now - 3 * DAY), "older"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_unreliable_list_does_not_replace_a_reliable_one(
    sites: Sites, rose: IssuedCertificate, issuer: Authority, kind: str
) -> None:
    sites.publish(make_list(issuer, at=sites.now - HOUR, extensions=[shard(sites.url())]))
    sites.run()
    digest = sites.list().digest
    make_body, words = WRONG[kind]
    sites.publish(make_body(sites, issuer, rose))
    summary = sites.run(every=True)
    assert words in summary.lists.problems[sites.url()]
    assert sites.list().digest == digest
    assert sites.status(rose).status == "good"
    assert sites.findings() == {}


def test_shard_covers_only_its_certificates(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    other = sites.serve(TULIP, issuer.issue(TULIP, extensions=[points(sites.url("2.crl"))]))
    sites.publish(make_list(issuer, [rose], extensions=[shard(sites.url())]))
    sites.publish(make_list(issuer, [other], extensions=[shard(sites.url())]), "2.crl")
    sites.run()
    assert set(sites.findings(ROSE)) == {"revoked"}
    assert sites.status(other).status == "unknown"


def test_list_covers_only_certificates_of_its_issuer_and_scope(
    sites: Sites, root: Authority, issuer: Authority
) -> None:
    """Three certificates name one URL, and the list names all three.

    One is in its scope, one is not, and one is from another CA.
    """
    mine = sites.serve(
        ROSE, issuer.issue(ROSE, extensions=[points(sites.url(), sites.url("2.crl"))])
    )
    outside = sites.serve(TULIP, issuer.issue(TULIP, extensions=[points(sites.url())]))
    sites.add("1003", "lily.example.test")
    other = Authority("Other Issuer", root, path_length=0).issue(
        "lily.example.test", extensions=[points(sites.url())]
    )
    sites.serve("lily.example.test", other)
    sites.publish(make_list(issuer, [mine, outside, other], extensions=[shard(sites.url("2.crl"))]))
    sites.run()
    assert [sites.status(one).status for one in (mine, outside, other)] == [
        "revoked",
        "unknown",
        "unknown",
    ]
    assert "not signed by the issuer" in sites.status(other).detail
    assert "another distribution point" in sites.status(outside).detail


def test_second_url_is_fetched_if_the_first_fails(sites: Sites, issuer: Authority) -> None:
    issued = sites.serve(
        ROSE, issuer.issue(ROSE, extensions=[points(sites.url("no.crl"), sites.url("2.crl"))])
    )
    sites.publish(make_list(issuer, [issued]), "2.crl")
    summary = sites.run()
    assert set(sites.findings(ROSE)) == {"revoked"}
    assert (summary.lists.fetched, list(summary.lists.problems)) == (2, [sites.url("no.crl")])
    assert summary.lists.unknown == 0


def test_certificate_that_names_no_list_is_no_finding(sites: Sites, issuer: Authority) -> None:
    issued = sites.serve(ROSE, issuer.issue(ROSE, days=6))
    for _ in range(3):
        summary = sites.run()
        sites.advance(days=2)
    assert (summary.lists.leaves, sites.status(issued), sites.findings()) == (0, None, {})


def test_list_of_an_untrusted_certificate_is_not_fetched(sites: Sites) -> None:
    """A stranger could serve a certificate that names any URL."""
    issued = sites.serve(
        ROSE, Authority("Own", clock=clock).issue(ROSE, extensions=[points(sites.url())])
    )
    with sites.database.write() as tx:
        tx.conn.execute(update(ServedChain).values(trusted=0))
    sites.run()
    assert sites.files.requests() == []
    assert sites.status(issued) is None


def test_list_at_an_internal_address_is_not_fetched_unless_allowed(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.publish(make_list(issuer, [rose]))
    sites.settings = replace(sites.settings, network=NetworkSettings())
    assert "loopback" in sites.run().lists.problems[sites.url()]
    assert sites.files.requests() == []


def test_unused_list_loses_its_body(
    sites: Sites, rose: IssuedCertificate, issuer: Authority
) -> None:
    sites.publish(make_list(issuer))
    sites.run()
    sites.serve(ROSE, issuer.issue(ROSE))
    sites.advance(days=40)
    sites.run()
    with sites.database.read() as conn:
        assert conn.execute(select(StoredCrl.body)).scalars().all() == [None]
