"""A fleet: each certificate that dies early is named 90 days ahead, and no other one is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.cli.inspect.trust import early_rows
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import Issuers
from certmgr.x509.trust_until import NOTICE
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.store import clients
from inventory.targets import Target
from inventory.vocabulary import Finding
from tests.campaign import Campaign
from tests.certmgr.trusted_sites import (
    NOW,
    REMOVAL,
    SUNSET,
    TrustedCas,
    TrustedSite,
    write_sites,
)
from tests.inventory.store.builders import add_certificate

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def cas() -> TrustedCas:
    return TrustedCas()


def judged(judge: Judge, site: TrustedSite, now: datetime) -> dict[str, Finding]:
    """Return the findings about a site at a time."""
    chain = tuple(c.der for c in (site.leaf, *site.ca.sent))
    seen = AddressEvidence("192.0.2.1", chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    evidence = Evidence(Target(site.host), now, Resolution("fixed", ("192.0.2.1",)), (seen,))
    return {f.code: f for f in judge.judge(evidence, JudgingContext(), now).findings}


@pytest.mark.campaign
def test_each_certificate_that_dies_early_is_named_90_days_ahead_and_no_other(
    sqlite_database: Database, cas: TrustedCas, campaign: Campaign
) -> None:
    """The expected date of each CA stands in tests/certmgr/trusted_sites.py."""
    with sqlite_database.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    count = campaign.size("certificates of a fleet", 420, 10_000)
    sites = write_sites(sqlite_database, cas, count, "1")
    dying = {s.host: s.dies for s in sites if s.dies is not None}
    assert set(dying.values()) == {SUNSET, REMOVAL}
    campaign.report("of them die early", len(dying))
    with sqlite_database.read() as conn:
        stored = StoredTrust(conn, cas.store(), cas.rules)
        for now in (SUNSET - NOTICE, REMOVAL - NOTICE, REMOVAL - NOTICE - SECOND, NOW):
            named = {r["target"].partition(":")[0] for r in early_rows(stored, now, now + NOTICE)}
            assert named == {
                s.host
                for s in sites
                if s.dies is not None and s.dies <= now + NOTICE and s.leaf.not_after >= now  # type: ignore[operator]
            }
        everything = {t.target.host: t for t in stored.endpoints().values()}
    assert {h for h, t in everything.items() if t.early()} == set(dying)
    for host, at in dying.items():
        assert min(e.at for e in everything[host].early()) == at
    # Private CAs are in no list of a browser.
    assert set(everything) == {s.host for s in sites if s.ca.public}


def test_computation_goes_on_with_another_connection_until_a_ca_certificate_is_stored(
    sqlite_database: Database, cas: TrustedCas
) -> None:
    with sqlite_database.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    write_sites(sqlite_database, cas, 14, "1")
    with sqlite_database.read() as conn:
        first = StoredTrust(conn, cas.store(), cas.rules)
        ends = first.endpoints()
    with sqlite_database.read() as conn:
        assert first.on(conn) is first
        assert first.endpoints() == ends
    with sqlite_database.write(NOW) as tx:
        add_certificate(tx, "another CA", is_ca=True)
    with sqlite_database.read() as conn:
        fresh = first.on(conn)
        assert fresh is not first
        assert fresh.on(conn) is fresh
        assert len(fresh.authorities) == len(first.authorities) + 1


@pytest.mark.campaign
def test_scan_names_each_certificate_from_90_days_ahead_until_it_dies(
    cas: TrustedCas, sqlite_database: Database, campaign: Campaign
) -> None:
    with sqlite_database.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "One"})
    count = campaign.size("certificates judged", 70, 10_000)
    sites = write_sites(sqlite_database, cas, count, "1")
    issuers = Issuers()
    for authority in cas.stored:
        issuers.add(authority)
    judge = Judge(cas.store(), parse, issuers, rules=cas.rules)
    for site in sites:
        if site.dies is None:
            for now in (NOW, SUNSET - NOTICE, SUNSET):
                assert not {"trust-ending", "ca-distrusted"} & set(judged(judge, site, now))
            continue
        assert site.leaf.not_after is not None
        first = site.dies - NOTICE
        assert "trust-ending" not in judged(judge, site, first - SECOND)
        for now, severity in (
            (first, "medium"),
            (site.dies - timedelta(days=14), "high"),
            (site.dies - SECOND, "high"),
        ):
            ending = judged(judge, site, now)["trust-ending"]
            assert ending.severity == severity
            assert ending.evidence["rules"] == "test-1"
            assert ending.evidence["until"] == site.dies.isoformat()
        after = judged(judge, site, site.dies)
        # An approximate date that has passed does not show that the browser has acted.
        if site.dies == SUNSET:
            assert after["trust-ending"].severity == "undetermined"
        else:
            assert after["ca-distrusted"].evidence["browsers"] == ["Firefox"]
            assert after["ca-distrusted"].evidence["rules"] == "test-1"


def test_reused_judgement_ends_before_the_finding_is_due(cas: TrustedCas) -> None:
    """A scan reuses a judgement until a date changes it: 90 days ahead, 14 days, and the end."""
    from certmgr.x509.trust_until import change_dates

    judge = Judge(cas.store(), parse, Issuers(), rules=cas.rules)
    site = TrustedSite(
        "a.example",
        cas.cas[0],
        parse(cas.cas[0].issuer.issue("a.example", not_after=SUNSET + timedelta(days=9)).der),
    )
    chain = tuple(c.der for c in (site.leaf, *site.ca.sent))
    seen = AddressEvidence("192.0.2.1", chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    for due in (SUNSET - NOTICE, SUNSET - timedelta(days=14), SUNSET):
        now = due - timedelta(days=2)
        evidence = Evidence(Target("a.example"), now, Resolution("fixed", ("192.0.2.1",)), (seen,))
        judgement = judge.judge(evidence, JudgingContext(), now)
        assert judgement.stable_until(now) == due
        assert due in change_dates(judgement.addresses[0].trust_ends)
