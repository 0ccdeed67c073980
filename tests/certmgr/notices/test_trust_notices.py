"""A client is notified of a certificate that a browser stops trusting before it expires."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from certmgr.checks.judge import Judge
from certmgr.checks.judgement import JudgingContext
from certmgr.diagnose.chrome import browser_view
from certmgr.notices.gather import TopicRules, gather
from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
from certmgr.x509.trust import Issuers
from inventory.certificates import parse
from inventory.db.database import Database
from inventory.models import Endpoint
from inventory.store import clients
from inventory.targets import Target
from inventory.vocabulary import Finding, Parties
from notifiers.wording.catalogue import language
from notifiers.wording.sentences import client_instruction, sentence
from tests.certmgr.trusted_sites import NOW, REMOVAL, SUNSET, TrustedCas, write_sites
from tests.inventory.store.builders import add_finding


def finding_at(cas: TrustedCas, which: int, host: str, now: object) -> dict[str, Finding]:
    """Return what a scan finds for a CA of the test when 20 days of trust are left."""
    ca = cas.cas[which]
    assert ca.ends is not None
    leaf = parse(ca.issuer.issue(host, not_before=NOW, not_after=SUNSET.replace(month=6)).der)
    chain = tuple(c.der for c in (leaf, *ca.sent))
    seen = AddressEvidence("192.0.2.1", chain, "TLSv1.3", "TLS_AES_128_GCM_SHA256")
    at = now or ca.ends.replace(month=ca.ends.month - 1)
    evidence = Evidence(Target(host), at, Resolution("fixed", ("192.0.2.1",)), (seen,))  # type: ignore[arg-type]
    judge = Judge(cas.store(), parse, Issuers(), rules=cas.rules)
    context = JudgingContext(parties=Parties(hosts="us", buys="client", renews="client"))
    return {f.code: f for f in judge.judge(evidence, context, evidence.at).findings}


@pytest.mark.parametrize(("which", "who"), [(0, "Chrome / Firefox"), (4, "Firefox")])
def test_client_gets_one_topic_with_date_browser_and_instruction(
    sqlite_database: Database, which: int, who: str
) -> None:
    cas = TrustedCas()
    with sqlite_database.write(NOW) as tx:
        clients.add(tx, {"number": "1", "name": "One", "renews": "client"})
    site = write_sites(sqlite_database, cas, 7, "1")[which]
    finding = finding_at(cas, which, site.host, None)["trust-ending"]
    assert (finding.actor, finding.severity) == ("client", "medium")
    with sqlite_database.write(NOW) as tx:
        endpoint_id = tx.conn.scalar(select(Endpoint.id).where(Endpoint.host == site.host))
        assert endpoint_id is not None
        evidence = json.dumps(finding.evidence)
        add_finding(tx, endpoint_id, "trust-ending", severity="medium", evidence=evidence)
    source = gather(sqlite_database, NOW, {}, TopicRules())
    (topic,) = [t for t in source.topics if t.code == "trust-ending"]
    assert topic.finding is not None
    day = f"{site.ca.ends:%Y-%m-%d}"
    text = sentence(topic.finding, topic.target)
    assert f"loses the trust of {who} on {day}" in text
    assert ("approximate" in text) == (which == 0)
    assert f"before {day}" in client_instruction(topic.finding, topic.target, we_install=True)
    assert "verliert am" in sentence(topic.finding, topic.target, language("de"))


def test_error_page_is_named_for_the_browser_that_shows_it() -> None:
    found = finding_at(TrustedCas(), 4, "shop.example", REMOVAL)
    assert found["ca-distrusted"].severity == "critical"
    assert "Firefox shows an error page" in browser_view(found.values(), ["192.0.2.1"], plain=False)
    both = Finding("ca-distrusted", "critical", (), {"browsers": ["Chrome", "Firefox"]})
    assert "ERR_CERT_AUTHORITY_INVALID" in browser_view([both], ["192.0.2.1"], plain=False)
    before = Finding("ca-distrusted", "critical", (), {"ca": "Entrust"})
    assert "ERR_CERT_AUTHORITY_INVALID" in browser_view([before], ["192.0.2.1"], plain=False)
