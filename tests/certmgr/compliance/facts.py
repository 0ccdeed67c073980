"""Assess one domain for a deadline, by given findings and without a scan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from certmgr.compliance.assessment import ComplianceRow, DomainFacts, assess
from certmgr.compliance.facts import EndpointFacts, LeafFacts
from certmgr.compliance.milestones import Deadline
from inventory.targets import Target
from inventory.vocabulary import Finding, HttpsPolicy, Parties
from tests.certmgr.compliance.scanned_site import DAY, HOST

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def endpoint_facts(
    *findings: Finding, checked: bool = True, visited: bool = True, accepted: tuple[Any, ...] = ()
) -> EndpointFacts:
    good = LeafFacts(NOW - 10 * DAY, NOW + 80 * DAY, True)
    return EndpointFacts(Target(HOST), "site", findings, (good,), checked, visited, accepted)


def domain_facts(
    *parts: EndpointFacts,
    purpose: str = "site",
    policy: HttpsPolicy | None = None,
    tags: frozenset[str] = frozenset(),
) -> DomainFacts:
    return DomainFacts(1, HOST, "1001", 1, purpose, policy, Parties(), tags, parts)


def assess_domain(
    deadline: Deadline, *parts: EndpointFacts, at: datetime = NOW, **options: Any
) -> ComplianceRow:
    row = assess(domain_facts(*parts, **options), deadline, at)
    assert row is not None
    return row


SERVED = Finding("http-served", "medium", ("192.0.2.1",), {"url": f"http://{HOST}/"})
OWN = Deadline("own", NOW + 30 * DAY, "all sites on HTTPS", "https-only", own=True)
