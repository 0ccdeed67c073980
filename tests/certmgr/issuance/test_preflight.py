"""What has to be done before a name can be automated."""

from __future__ import annotations

import pytest

from certmgr.dns.caa import Permission
from certmgr.issuance.preflight import Facts, Sort, advise
from certmgr.issuance.probe import Probed

OK = Probed("192.0.2.1", "ok")


@pytest.mark.parametrize(
    ("facts", "sort", "record"),
    [
        (
            Facts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), probes=(OK,)),
            Sort.AUTOMATE,
            "",
        ),
        (Facts("a.test", "http-01", "ok", ("198.51.100.1",), (), probes=()), Sort.ELSEWHERE, ""),
        (
            Facts("a.test", "http-01", "nxdomain", server=("192.0.2.1",)),
            Sort.RECORD,
            "a.test. IN A 192.0.2.1",
        ),
        (Facts("a.test", "http-01", "servfail", reason="SERVFAIL"), Sort.UNKNOWN, ""),
        (
            Facts("a.test", "http-01", "ok", ("192.0.2.1",), ("192.0.2.1",), validated="ov"),
            Sort.BUY,
            "",
        ),
        (Facts("*.a.test", "http-01", "ok", ("192.0.2.1",)), Sort.BUY, ""),
        (
            Facts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1",),
                caa=Permission(False, "only other.example may"),
                caa_wanted='a.test. IN CAA 0 issue "ca.example"',
            ),
            Sort.RECORD,
            'a.test. IN CAA 0 issue "ca.example"',
        ),
        (
            Facts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1", "2001:db8::1"),
                ("192.0.2.1",),
                probes=(OK, Probed("2001:db8::1", "other", "HTTP 404")),
            ),
            Sort.RECORD,
            "remove: a.test. IN AAAA 2001:db8::1",
        ),
        (
            Facts(
                "a.test",
                "http-01",
                "ok",
                ("192.0.2.1",),
                ("192.0.2.1",),
                probes=(Probed("192.0.2.1", "failed", "refused"),),
            ),
            Sort.UNKNOWN,
            "",
        ),
        (Facts("*.a.test", "dns-01", "ok", delegated="a.acme.provider.test"), Sort.AUTOMATE, ""),
        (
            Facts(
                "*.a.test", "dns-01", "ok", may_set=False, delegate_to="a.test.acme.provider.test"
            ),
            Sort.RECORD,
            "_acme-challenge.a.test. IN CNAME a.test.acme.provider.test.",
        ),
        (Facts("a.test", "dns-01", "ok", may_set=True), Sort.AUTOMATE, ""),
    ],
)
def test_facts_lead_to_an_advice_and_its_record(facts: Facts, sort: Sort, record: str) -> None:
    found = advise(facts)
    assert (found.sort, found.record) == (sort, record), found
    assert found.reason
