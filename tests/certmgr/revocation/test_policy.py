"""CAA and DANE for an inventory of two clients: findings follow what the DNS answers, and no failed
query.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.demo.authority import Authority, IssuedCertificate
from certmgr.revocation.policy import AT_ONCE, MIN_FAILURES
from inventory.models import Endpoint
from inventory.records import VisitedEndpoint
from inventory.store import endpoints
from inventory.targets import Target
from tests.certmgr.revocation.sites import ROSE, TULIP, Sites
from tests.clock import START

OURS = ("letsencrypt.org",)


def by_host(**output: Any) -> Callable[[VisitedEndpoint], Any]:
    return lambda row: output.get(row.host.partition(".")[0])


def test_caa_record_that_forbids_our_ca_is_a_finding(sites: Sites, rose: IssuedCertificate) -> None:
    sites.names.records[ROSE, "CAA"] = ['0 issue "other.example"']
    sites.identities = by_host(rose=(OURS, None, "http-01"))
    sites.run()
    found = sites.findings(ROSE)["caa-mismatch"]
    assert (found.severity, found.actor, found.outcome) == ("high", "client", "you-act")
    assert found.evidence["ca"] == "letsencrypt.org"
    assert found.evidence["record"] == f'{ROSE} CAA 0 issue "other.example"'
    assert (TULIP, "CAA", "udp") not in sites.names.asked, "we issue no certificate for it"
    sites.names.records[ROSE, "CAA"] = "SERVFAIL"
    sites.advance(days=1)
    sites.run()
    assert set(sites.findings(ROSE)) == {"caa-mismatch"}, "a failed query changes nothing"
    sites.names.records[ROSE, "CAA"] = ['0 issue "letsencrypt.org"']
    sites.advance(days=1)
    sites.run()
    assert sites.findings() == {}


def test_caa_finding_is_closed_once_we_issue_no_certificate(
    sites: Sites, rose: IssuedCertificate
) -> None:
    sites.names.records[ROSE, "CAA"] = ['0 issue ";"']
    sites.identities = by_host(rose=(OURS, None, None))
    sites.run()
    assert set(sites.findings(ROSE)) == {"caa-mismatch"}
    sites.identities = None
    sites.run(every=True)
    assert set(sites.findings(ROSE)) == {"caa-mismatch"}, "CAA was not checked"
    sites.identities = by_host()
    sites.run(every=True)
    assert sites.findings() == {}


def smtp(sites: Sites, host: str) -> None:
    with sites.database.write() as tx:
        endpoints.retire(tx, Target(host))
        endpoints.add(tx, Target(host, 25, "smtp"))
        tx.conn.execute(
            update(Endpoint)
            .where(Endpoint.state == "retired", Endpoint.host == host)
            .values(host=f"old-{host}")
        )


@pytest.mark.parametrize(("mail", "severity"), [(True, "high"), (False, "info")])
def test_tlsa_record_that_does_not_match_is_a_finding(
    sites: Sites, issuer: Authority, mail: bool, severity: str
) -> None:
    if mail:
        smtp(sites, ROSE)
    name = f"_{25 if mail else 443}._tcp.{ROSE}"
    sites.serve(ROSE, issuer.issue(ROSE), "192.0.2.1", "192.0.2.2")
    sites.names.records[name, "TLSA"] = ["3 1 1 " + "ab" * 32]
    sites.run()
    found = sites.findings(ROSE)["dane-mismatch"]
    assert (found.severity, found.addresses) == (severity, ("192.0.2.1", "192.0.2.2"))
    assert found.evidence["name"] == name
    sites.names.records[name, "TLSA"] = ["3 1 1 " + "ab" * 32, found.evidence["needed"]]
    sites.run()
    assert set(sites.findings(ROSE)) == {"dane-mismatch"}, "once a day"
    sites.advance(days=1)
    sites.run()
    assert sites.findings() == {}, "the record that the finding named fixes it"


@pytest.mark.parametrize(
    ("records", "authentic", "expected"),
    [
        (["3 1 1 " + "ab" * 32], (), set()),  # not validated
        (["3 1 9 abab"], ("example.test",), set()),  # unusable
        ("SERVFAIL", ("example.test",), set()),
        (["3 1 1 " + "ab" * 32], ("example.test",), {"dane-mismatch"}),
    ],
)
def test_only_validated_and_usable_tlsa_records_count(
    sites: Sites,
    rose: IssuedCertificate,
    records: Any,
    authentic: tuple[str, ...],
    expected: set[str],
) -> None:
    sites.names.authentic = authentic
    sites.names.records[f"_443._tcp.{ROSE}", "TLSA"] = records
    sites.run()
    assert set(sites.findings()) == expected


def test_tlsa_finding_survives_a_failed_query_and_ends_with_the_records(
    sites: Sites, rose: IssuedCertificate
) -> None:
    name = (f"_443._tcp.{ROSE}", "TLSA")
    sites.names.records[name] = ["3 1 1 " + "ab" * 32]
    sites.run()
    sites.names.records[name] = "SERVFAIL"
    sites.run(every=True)
    assert set(sites.findings()) == {"dane-mismatch"}
    sites.names.records[name] = []
    sites.run(every=True)
    assert sites.findings() == {}


def test_dns_is_queried_once_per_day_and_name(sites: Sites, rose: IssuedCertificate) -> None:
    sites.serve(TULIP, rose)
    sites.identities = lambda row: (OURS, None, None)
    sites.run()
    questions = [(n, t) for n, t, _ in sites.names.asked]
    assert len(questions) == len(set(questions))
    assert {
        (f"_443._tcp.{ROSE}", "TLSA"),
        (f"_443._tcp.{TULIP}", "TLSA"),
        (ROSE, "CAA"),
        ("test", "CAA"),
    } <= set(questions)
    before = len(questions)
    sites.advance(hours=20)
    summary = sites.run()
    assert (summary.policy, summary.dns_asked_at) == (None, START)
    assert len(sites.names.asked) == before
    sites.run(client="1001")
    assert len(sites.names.asked) == before
    sites.run(every=True, client="1001")
    assert len(sites.names.asked) > before
    sites.advance(hours=4)
    assert sites.run().policy is not None


def test_dead_resolver_is_reported_and_not_queried_further(sites: Sites, issuer: Authority) -> None:
    """Once most queries failed, no more are sent. The next run queries again."""
    hosts = [f"site{i}.example.test" for i in range(3 * (MIN_FAILURES + AT_ONCE))]
    sites.add("1003", *hosts)
    same = issuer.issue(*hosts)
    for host in hosts:
        sites.serve(host, same)
        sites.names.records[f"_443._tcp.{host}", "TLSA"] = "SERVFAIL"
    summary = sites.run()
    assert summary.policy is not None
    assert summary.policy.broken
    assert summary.policy.asked <= MIN_FAILURES + AT_ONCE
    assert "DNS queries failed" in summary.suspect[0]
    assert sites.findings() == {}
    assert sites.run().policy is not None


def test_ip_address_is_not_queried(sites: Sites, issuer: Authority) -> None:
    sites.add("1003", "192.0.2.9")
    sites.serve("192.0.2.9", issuer.issue("192.0.2.9"))
    sites.identities = lambda row: (OURS, None, None)
    sites.run(client="1003")
    assert sites.names.asked == []
