"""What several zones saw of one endpoint: a fault of the site, or a difference for staff."""

from __future__ import annotations

from typing import Any

import pytest

from certmgr.checks.zone_judgement import (
    NOT_REACHED,
    ZoneSight,
    as_seen_from,
    judge_zones,
    without_withheld,
)
from inventory.finding_codes import CODES
from inventory.vocabulary import Finding

A, B = "192.0.2.1", "2001:db8::1"


def found(code: str, severity: str | None = None, *addresses: str) -> Finding:
    return Finding(code, severity or CODES[code].severity, addresses or (A,), {})


def sight(zone: str, *findings: Finding, good: bool = True, **given: Any) -> ZoneSight:
    leaves = frozenset({"leaf"}) if good else frozenset[str]()
    values: dict[str, Any] = {"first": zone == "fra1", "addresses": (A,), "leaves": leaves} | given
    return ZoneSight(zone=zone, good=good, findings=findings, **values)


def silent(zone: str, code: str = "connection-timeout", error: str = "timed out") -> ZoneSight:
    return sight(zone, found(code), good=False, error=error)


EXPIRED, WEAK, MIXED = "certificate-expired", "key-weak", "mixed-content"


def test_nothing_is_concluded_from_one_zone_or_without_the_first() -> None:
    assert judge_zones([]) is None
    assert judge_zones([sight("fra1")]) is None
    assert judge_zones([sight("syd1"), silent("office")]) is None


@pytest.mark.parametrize(
    "sights",
    [
        [sight("fra1"), sight("syd1")],
        [sight("fra1", found(EXPIRED)), sight("syd1", found(EXPIRED))],
        [silent("fra1"), silent("syd1"), silent("office", "https-missing", "refused")],
        # Remarks differ without a meaning.
        [sight("fra1", found("hsts-missing")), sight("syd1")],
        [sight("fra1", found("points-elsewhere")), sight("syd1")],
    ],
)
def test_what_all_zones_see_stays_a_finding_of_the_site(sights: list[ZoneSight]) -> None:
    judged = judge_zones(sights)
    assert judged is not None
    assert (judged.withheld, judged.difference) == (frozenset(), None)


def test_endpoint_that_only_some_zones_reach_is_not_down() -> None:
    judged = judge_zones([silent("fra1", "unreachable"), sight("syd1"), silent("bom1")])
    assert judged is not None and judged.difference is not None
    assert judged.withheld == {"unreachable"}
    assert (judged.difference.code, judged.difference.severity) == ("zone-difference", "high")
    seen = judged.difference.evidence
    assert (seen["variant"], seen["seen"], seen["missing"]) == ("reach", ["syd1"], ["fra1", "bom1"])
    assert (seen["zones"], seen["reason"]) == (["fra1", "bom1", "syd1"], "timed out")


def test_first_zone_that_reaches_the_endpoint_keeps_its_findings() -> None:
    judged = judge_zones([sight("fra1", found(EXPIRED)), silent("syd1")])
    assert judged is not None and judged.difference is not None
    assert judged.withheld == frozenset()
    assert judged.difference.evidence["missing"] == ["syd1"]


@pytest.mark.parametrize(
    ("code", "severity", "expected"),
    [(EXPIRED, None, "high"), (WEAK, None, "high"), (MIXED, None, "medium")],
)
@pytest.mark.parametrize("first_sees_it", [True, False])
def test_fault_that_only_some_zones_see_is_for_staff(
    code: str, severity: str | None, expected: str, first_sees_it: bool
) -> None:
    seeing, other = ("fra1", "syd1") if first_sees_it else ("syd1", "fra1")
    judged = judge_zones([sight(seeing, found(code, severity)), sight(other)])
    assert judged is not None and judged.difference is not None
    assert judged.withheld == ({code} if first_sees_it else set())
    # Browsers in the other zone show the page, so it is never critical.
    assert judged.difference.severity == expected
    seen = judged.difference.evidence
    assert (seen["variant"], seen["codes"]) == ("verdict", [code])
    assert (seen["seen"], seen["missing"]) == ([seeing], [other])


def test_zone_that_could_not_check_something_contradicts_nothing() -> None:
    blind = sight("syd1", found("http-unknown"))
    judged = judge_zones([sight("fra1", found("redirect-missing")), blind])
    assert judged is not None
    assert (judged.withheld, judged.difference) == (frozenset(), None)
    # The same zone contradicts what it could check.
    judged = judge_zones([sight("fra1", found(EXPIRED)), blind])
    assert judged is not None
    assert judged.withheld == {EXPIRED}


def test_zone_without_ipv6_contradicts_nothing_about_an_ipv6_address() -> None:
    both: dict[str, Any] = {"addresses": (A, B)}
    first = sight("fra1", found("https-missing", None, B), **both)
    judged = judge_zones([first, sight("syd1", unrouted=(B,), **both)])
    assert judged is not None
    assert (judged.withheld, judged.difference) == (frozenset(), None)
    judged = judge_zones([first, sight("syd1", **both)])
    assert judged is not None
    assert judged.withheld == {"https-missing"}


def test_other_certificates_and_addresses_are_remarks() -> None:
    other = sight("syd1", leaves=frozenset({"other"}), addresses=(B,))
    judged = judge_zones([sight("fra1"), other])
    assert judged is not None and judged.difference is not None
    assert judged.difference.evidence["kinds"] == ["certificate", "dns"]
    assert (judged.difference.severity, judged.difference.evidence["variant"]) == (
        "low",
        "certificate",
    )
    judged = judge_zones([sight("fra1"), sight("syd1", addresses=(B,))])
    assert judged is not None and judged.difference is not None
    assert (judged.difference.severity, judged.difference.evidence["kinds"]) == ("info", ["dns"])
    assert judged.withheld == frozenset()


def test_one_zone_alone_does_not_reopen_what_others_disproved() -> None:
    open_ = Finding("zone-difference", "high", (), {"withheld": ["unreachable"]})
    now = (found("unreachable"), found(EXPIRED))
    assert [f.code for f in without_withheld(now, [open_])] == [EXPIRED]
    assert without_withheld(now, [found(EXPIRED)]) == now


def test_codes_of_an_endpoint_that_is_not_reached_exist() -> None:
    assert CODES.keys() >= NOT_REACHED


@pytest.mark.parametrize(
    ("zone", "seen", "shown"),
    [
        # The probe is kept out, as the difference states.
        ("bom1", ("connection-timeout", MIXED), (MIXED, "zone-difference")),
        # It reaches the site now, so that the difference may have ended.
        ("bom1", (MIXED,), (MIXED,)),
        # It reaches the site, and a visitor elsewhere may not.
        ("syd1", (), ("zone-difference",)),
        # This zone was not compared.
        ("ams1", ("connection-timeout",), ("connection-timeout",)),
    ],
)
def test_single_probe_does_not_contradict_an_open_difference(
    zone: str, seen: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    judged = judge_zones([silent("fra1"), sight("syd1"), silent("bom1")])
    assert judged is not None and judged.difference is not None
    found_now = [found(code) for code in seen]
    after = as_seen_from(zone, found_now, [found(EXPIRED), judged.difference])
    assert tuple(f.code for f in after) == shown
    assert as_seen_from(zone, found_now, [found(EXPIRED)]) == tuple(found_now)


def test_fault_that_another_zone_disproved_is_not_one_of_the_site_in_a_probe() -> None:
    judged = judge_zones([sight("fra1", found(EXPIRED)), sight("syd1")])
    assert judged is not None and judged.difference is not None
    after = as_seen_from("fra1", [found(EXPIRED), found(WEAK)], [judged.difference])
    assert [f.code for f in after] == [WEAK, "zone-difference"]
