"""The assessment of a domain for a deadline: five states, now and at a past or future date."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from certmgr.compliance.assessment import assess, judge
from certmgr.compliance.facts import NOT_CHECKED, ComplianceState, EndpointFacts, LeafFacts
from certmgr.compliance.milestones import Deadline, milestones
from certmgr.compliance.rules import RULES
from certmgr.demo.authority import Authority
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, HttpsPolicy
from tests.certmgr.compliance.facts import (
    NOW,
    OWN,
    SERVED,
    assess_domain,
    domain_facts,
    endpoint_facts,
)
from tests.certmgr.compliance.scanned_site import DAY, HOST, HSTS, REDIRECT, ScannedSite
from tests.clock import clock


def test_domain_gets_one_of_five_states() -> None:
    past = replace(OWN, at=NOW - DAY)
    assert assess_domain(OWN, endpoint_facts()).state is ComplianceState.COMPLIES
    assert assess_domain(past, endpoint_facts(SERVED)).state is ComplianceState.FAILS
    row = assess_domain(OWN, endpoint_facts(SERVED))
    assert (row.state, row.since) == (ComplianceState.WILL_FAIL, OWN.at)
    assert assess_domain(OWN, endpoint_facts(visited=False)).state is ComplianceState.UNKNOWN
    assert assess_domain(OWN, endpoint_facts(checked=False)).note == NOT_CHECKED
    acceptance = Acceptance(
        1, "http-served", None, 1, None, NOW + 5 * DAY, "moves in spring", "ines"
    )
    waived = assess_domain(past, endpoint_facts(accepted=((SERVED, acceptance),)))
    assert (waived.state, waived.waived) == (
        ComplianceState.WAIVED,
        ("ines", NOW + 5 * DAY, "moves in spring"),
    )


def test_undetermined_finding_gives_unknown_for_its_rule_only() -> None:
    doubt = Finding(
        "http-unknown", "undetermined", ("192.0.2.1",), {"url": f"http://{HOST}/", "why": "403"}
    )
    assert assess_domain(OWN, endpoint_facts(doubt)).state is ComplianceState.UNKNOWN
    assert (
        assess_domain(replace(OWN, rule="modern-tls"), endpoint_facts(doubt)).state
        is ComplianceState.COMPLIES
    ), "the page has nothing to do with TLS"
    silent = Finding("connection-timeout", "undetermined", ("192.0.2.1",), {})
    assert (
        assess_domain(replace(OWN, rule="valid-certificate"), endpoint_facts(silent)).state
        is ComplianceState.UNKNOWN
    )


def test_unreadable_scts_give_unknown_and_missing_ones_fail() -> None:
    scts = Finding("sct-missing", "undetermined", ("192.0.2.1",), {"embedded": 0, "needed": 2})
    assert (
        assess_domain(replace(OWN, rule="valid-certificate"), endpoint_facts(scts)).state
        is ComplianceState.UNKNOWN
    )
    assert (
        assess_domain(replace(OWN, rule="no-weak-key"), endpoint_facts(scts)).state
        is ComplianceState.COMPLIES
    )
    missing = replace(scts, severity="high")
    assert (
        assess_domain(
            replace(OWN, rule="valid-certificate", at=NOW - DAY), endpoint_facts(missing)
        ).state
        is ComplianceState.FAILS
    )


def test_rule_may_be_violated_until_the_end_of_the_last_day() -> None:
    assert assess_domain(OWN, endpoint_facts(SERVED), at=OWN.at).state is ComplianceState.WILL_FAIL
    assert (
        assess_domain(OWN, endpoint_facts(SERVED), at=OWN.at + timedelta(seconds=1)).state
        is ComplianceState.FAILS
    )


def test_optional_domain_that_complies_is_reported_as_complying() -> None:
    assert (
        assess_domain(OWN, endpoint_facts(), policy=HttpsPolicy.OPTIONAL).state
        is ComplianceState.COMPLIES
    )


def test_certificate_that_expires_will_fail_from_its_end() -> None:
    ending = EndpointFacts(
        Target(HOST), "site", (), (LeafFacts(NOW - 85 * DAY, NOW + 5 * DAY, True),), True, True
    )
    row = assess_domain(replace(OWN, at=NOW - DAY), ending)
    assert (row.state, row.since) == (
        ComplianceState.WILL_FAIL,
        NOW + 5 * DAY + timedelta(seconds=1),
    )
    assert [s.name for s in row.steps] == ["decide", "buy", "validate", "install"]


def test_certificate_is_bound_by_the_limit_of_its_issue_date() -> None:
    """It lives 398 days and was issued in October 2026, when the limit was 200 days."""
    old = EndpointFacts(
        Target(HOST), "site", (), (LeafFacts(NOW - 40 * DAY, NOW + 358 * DAY, True),), True, True
    )
    states = {
        r.deadline.name: r.state
        for r in judge([domain_facts(old)], milestones(), NOW)
        if r.deadline.name.startswith("lifetime")
    }
    assert states == {"lifetime-200": ComplianceState.FAILS}


def test_deadline_applies_to_its_purposes_clients_and_tags() -> None:
    assert assess(domain_facts(endpoint_facts(), purpose="parked"), OWN, NOW) is None
    assert assess(domain_facts(endpoint_facts(), purpose="mail"), OWN, NOW) is None
    assert (
        assess(domain_facts(endpoint_facts()), replace(OWN, clients=frozenset({"2002"})), NOW)
        is None
    )
    assert (
        assess(domain_facts(endpoint_facts()), replace(OWN, clients=frozenset({"1001"})), NOW)
        is not None
    )
    assert (
        assess(
            domain_facts(endpoint_facts(), tags=frozenset({"gold"})),
            replace(OWN, tags=frozenset({"gold"})),
            NOW,
        )
        is not None
    )
    assert (
        assess(domain_facts(endpoint_facts()), Deadline("info", NOW, "for information"), NOW)
        is None
    )
    assert (
        assess_domain(OWN, endpoint_facts(SERVED), policy=HttpsPolicy.OPTIONAL).state
        is ComplianceState.WAIVED
    )
    assert (
        assess_domain(
            replace(OWN, own=False), endpoint_facts(SERVED), policy=HttpsPolicy.OPTIONAL
        ).state
        is ComplianceState.WILL_FAIL
    ), "a browser knows no policy"


def test_one_failing_endpoint_fails_the_domain() -> None:
    assert (
        assess_domain(replace(OWN, at=NOW - DAY), endpoint_facts(), endpoint_facts(SERVED)).state
        is ComplianceState.FAILS
    )


def test_past_date_uses_the_evidence_of_that_date(site: ScannedSite, issuer: Authority) -> None:
    site.serve(issuer.issue(HOST), "return 200 ok;", f"{HSTS} return 200 ok;")
    assert site.scan_and_assess("chrome-68").state is ComplianceState.FAILS
    then = clock()
    clock.advance(seconds=2)
    site.stack.close()
    site.serve(issuer.issue(HOST), REDIRECT, f"{HSTS} return 200 ok;")
    assert site.scan_and_assess("chrome-68").state is ComplianceState.COMPLIES
    assert site.row("chrome-68", then).state is ComplianceState.FAILS


def test_future_date_counts_the_certificate_as_expired(
    site: ScannedSite, issuer: Authority
) -> None:
    from inventory.store import deadlines

    now = clock()
    site.serve(
        issuer.issue(HOST, not_before=now - DAY, days=90), REDIRECT, f"{HSTS} return 200 ok;"
    )
    with site.database.write() as tx:
        deadlines.add(
            tx,
            "own",
            {
                "at": now + 200 * DAY,
                "rule": "valid-certificate",
                "title": "own",
                "purchase_days": 7,
                "validation_days": 7,
                "installation_days": 7,
            },
            tuple(RULES),
            for_clients=[],
            tags=[],
        )
    assert site.scan_and_assess("own").state is ComplianceState.COMPLIES
    assert site.row("own", now + 95 * DAY).state is ComplianceState.WILL_FAIL
    assert site.row("own", now + 201 * DAY).state is ComplianceState.FAILS
