"""Advice on what a name needs before it can be automated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmgr.acme.preflight.http_probe import ProbeResult
from certmgr.acme.preflight.preflight import Category, PreflightFacts, advise
from certmgr.checks.caa import Permission

OK = ProbeResult("192.0.2.1", "ok")


@pytest.mark.parametrize(
    ("facts", "category", "record"),
    [
        (
            PreflightFacts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), probes=(OK,)),
            Category.AUTOMATE,
            "",
        ),
        (
            PreflightFacts("a.test", "http-01", "ok", ("198.51.100.1",), (), probes=()),
            Category.ELSEWHERE,
            "",
        ),
        (
            PreflightFacts("a.test", "http-01", "nxdomain", server=("192.0.2.1",)),
            Category.RECORD,
            "a.test. IN A 192.0.2.1",
        ),
        (PreflightFacts("a.test", "http-01", "servfail", reason="SERVFAIL"), Category.UNKNOWN, ""),
        (
            PreflightFacts(
                "a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), validated="ov"
            ),
            Category.BUY,
            "",
        ),
        (PreflightFacts("*.a.test", "http-01", "ok", ("192.0.2.1",)), Category.BUY, ""),
        (
            PreflightFacts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1",),
                caa=Permission(False, "only other.example may"),
                caa_wanted='a.test. IN CAA 0 issue "ca.example"',
            ),
            Category.RECORD,
            'a.test. IN CAA 0 issue "ca.example"',
        ),
        (
            PreflightFacts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1", "2001:db8::1"),
                ("192.0.2.1",),
                probes=(OK, ProbeResult("2001:db8::1", "other", "HTTP 404")),
            ),
            Category.RECORD,
            "remove: a.test. IN AAAA 2001:db8::1",
        ),
        (
            PreflightFacts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1",),
                ("192.0.2.1",),
                probes=(ProbeResult("192.0.2.1", "failed", "refused"),),
            ),
            Category.UNKNOWN,
            "",
        ),
        (
            PreflightFacts("*.a.test", "dns-01", "ok", delegated="a.acme.provider.test"),
            Category.AUTOMATE,
            "",
        ),
        (
            PreflightFacts(
                "*.a.test", "dns-01", "ok", may_set=False, delegate_to="a.test.acme.provider.test"
            ),
            Category.RECORD,
            "_acme-challenge.a.test. IN CNAME a.test.acme.provider.test.",
        ),
        (PreflightFacts("a.test", "dns-01", "ok", may_set=True), Category.AUTOMATE, ""),
    ],
)
def test_facts_lead_to_an_advice_and_its_record(
    facts: PreflightFacts, category: Category, record: str
) -> None:
    advice = advise(facts)
    assert (advice.category, advice.record) == (category, record), advice
    assert advice.reason


@pytest.mark.parametrize(
    ("facts", "category"),
    [
        (
            PreflightFacts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), probes=(OK,)),
            Category.NOT_NOW,
        ),
        (PreflightFacts("*.a.test", "dns-01", "ok", may_set=True), Category.NOT_NOW),
        (PreflightFacts("a.test", "tls-alpn-01", "ok", ("192.0.2.1",)), Category.NOT_NOW),
        # Other faults come first: the client has something to do.
        (
            PreflightFacts("a.test", "http-01", "nxdomain", server=("192.0.2.1",)),
            Category.RECORD,
        ),
        (PreflightFacts("a.test", "http-01", "ok", ("198.51.100.1",), ()), Category.ELSEWHERE),
    ],
)
def test_caa_that_cannot_be_queried_is_not_now(facts: PreflightFacts, category: Category) -> None:
    failed = Permission(None, "the CAA records of a.test could not be queried: SERVFAIL")
    advice = advise(replace(facts, caa=failed, caa_failed=True))
    assert advice.category is category
    assert "could not be queried" in f"{advice.reason} {advice.notes}"


def test_wildcard_cname_is_a_remark() -> None:
    facts = PreflightFacts("a.test", "dns-01", "ok", may_set=True, wildcard_cname="builder.test")
    advice = advise(facts)
    assert advice.category is Category.AUTOMATE and "builder.test" in advice.notes[0]
