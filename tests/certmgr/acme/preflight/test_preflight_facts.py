"""Facts of preflight from the DNS."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmgr.acme.challenges.build import Solvers
from certmgr.acme.preflight.preflight import Category
from certmgr.acme.preflight.preflight_facts import FactCollector, NameFacts
from certmgr.config.acme import AcmeSettings, SolverSettings
from certmgr.config.settings import Settings
from tests.certmgr.net.server import Records, serving


def collector(settings: Settings, resolver: str) -> FactCollector:
    acme = AcmeSettings(solvers={"dns": SolverSettings(kind="hook", command=("/bin/true",))})
    changed = replace(settings, acme=acme, scan=replace(settings.scan, resolvers=(resolver,)))
    return FactCollector(changed, Solvers(changed), ("ca.example",))


@pytest.mark.parametrize(
    ("records", "name", "record"),
    [
        # The nearest set decides, and not that of the registered domain.
        (
            {
                ("a.shop.test", "CAA"): ['0 issue "other.example"'],
                ("shop.test", "CAA"): ['0 issue "ca.example"'],
            },
            "b.a.shop.test",
            'a.shop.test. IN CAA 0 issue "ca.example"',
        ),
        ({("shop.test", "CAA"): ['0 issue ";"']}, "b.a.shop.test", "shop.test. IN CAA 0 issue"),
        # Through a CNAME the set of its target decides.
        (
            {
                ("www.shop.test", "CNAME"): ["edge.cdn.test."],
                ("edge.cdn.test", "CAA"): ['0 issue "other.example"'],
            },
            "www.shop.test",
            'edge.cdn.test. IN CAA 0 issue "ca.example"',
        ),
        (
            {("shop.test", "CAA"): ['0 issue "ca.example"', '0 issuewild "other.example"']},
            "*.shop.test",
            'shop.test. IN CAA 0 issuewild "ca.example"',
        ),
        (
            {("shop.test", "CAA"): ['0 issue "other.example"']},
            "*.shop.test",
            'shop.test. IN CAA 0 issue "ca.example"',
        ),
    ],
)
def test_advice_names_the_caa_set_that_decides(
    settings: Settings, records: Records, name: str, record: str
) -> None:
    with serving(records) as server:
        advice = collector(settings, server.address).advise([(name, "dns", NameFacts("us"))])[0]
    assert advice.category is Category.RECORD, advice
    assert advice.record.startswith(record)
    assert record.partition(".")[0] in advice.reason


@pytest.mark.parametrize("failure", ["SERVFAIL", "REFUSED"])
@pytest.mark.parametrize("broken", ["www.shop.test", "shop.test", "test"])
def test_caa_that_a_ca_could_not_query_either_is_not_now(
    settings: Settings, broken: str, failure: str
) -> None:
    with serving({(broken, "CAA"): failure}) as server:
        advice = collector(settings, server.address).advise(
            [("www.shop.test", "dns", NameFacts("us"))]
        )[0]
    assert advice.category is Category.NOT_NOW, advice
    assert broken in advice.reason


@pytest.mark.parametrize(
    ("caa", "wanted"),
    [
        # No record that is added helps against a critical one that no CA supports.
        (['128 tbs "x"', '0 issue "ca.example"'], ""),
        (['0 tbs "x"', '0 issue "other.example"'], 'shop.test. IN CAA 0 issue "ca.example"'),
        # A record for another method or account does not permit this order.
        (['0 issue "ca.example; validationmethods=http-01"'], "shop.test. IN CAA 0 issue"),
        (['0 issue "ca.example; a=1; a=2"', '0 issue "%%%"'], None),
        (['0 issuewild ";"', '0 issue "ca.example"'], None),
        (['128 issue "ca.example"', '0 iodef "mailto:x@shop.test"'], None),
    ],
)
def test_advice_about_tags_and_parameters_of_caa(
    settings: Settings, caa: list[str], wanted: str | None
) -> None:
    """``wanted``: the record of the advice; None if the records permit the CA."""
    with serving({("shop.test", "CAA"): caa}) as server:
        facts = [("www.shop.test", "dns", NameFacts("us"))]
        advice = collector(settings, server.address).advise(facts)[0]
    assert (advice.category is Category.RECORD and "CAA" in advice.reason) == (wanted is not None)
    if wanted is not None:
        assert advice.record.startswith(wanted)
        assert bool(advice.record) != ("remove it: shop.test" in advice.reason)
