"""A renewal that is ours or automatic is planned, and a certificate that has ended has no plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certmgr.compliance.facts import ComplianceState, EndpointFacts, LeafFacts
from certmgr.compliance.load import is_planned
from certmgr.renewers.renewer import RenewalMethod, Renewer
from inventory.targets import Target
from inventory.vocabulary import Acceptance, Finding, Parties
from tests.certmgr.compliance.facts import NOW, OWN, assess_domain
from tests.certmgr.compliance.scanned_site import DAY, HOST

EXPIRED = Finding(
    "certificate-expired", "critical", (), {"not_after": f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}"}
)
RULE = replace(OWN, rule="valid-certificate", at=NOW - DAY)


def _ending(days: float, *findings: Finding, **changes: Any) -> EndpointFacts:
    end = NOW + timedelta(days=days)
    facts = EndpointFacts(
        Target(HOST), "site", findings, (LeafFacts(end - 90 * DAY, end, True),), True, True
    )
    return replace(facts, **changes)


@pytest.mark.parametrize(
    ("days", "renewed", "state"),
    [
        (20, True, ComplianceState.COMPLIES),
        (20, False, ComplianceState.WILL_FAIL),
        # Below 7 days, and below a tenth of its life, an automation is late.
        (5, True, ComplianceState.WILL_FAIL),
        (60, False, ComplianceState.COMPLIES),
    ],
)
def test_renewal_that_is_ours_and_in_time_complies(
    days: int, renewed: bool, state: ComplianceState
) -> None:
    assert assess_domain(RULE, _ending(days, renewed=renewed)).state is state


@pytest.mark.parametrize(
    ("renewer", "parties", "planned"),
    [
        (Renewer(RenewalMethod.LINEAGE, "shop"), Parties(), True),
        (
            Renewer(RenewalMethod.LINEAGE, "shop", trouble="it failed"),
            Parties(),
            False,
        ),
        (Renewer(RenewalMethod.PANEL), Parties(renews="panel"), True),
        (Renewer(RenewalMethod.PURCHASE, "vendor 1"), Parties(renews="us"), True),
        (Renewer(RenewalMethod.PURCHASE, "vendor 1"), Parties(renews="client"), False),
        (Renewer(RenewalMethod.NONE), Parties(), False),
    ],
)
def test_renewal_is_planned_if_we_or_an_automation_do_it_without_trouble(
    renewer: Renewer, parties: Parties, planned: bool
) -> None:
    assert is_planned(renewer, parties) is planned


@pytest.mark.parametrize("at", [NOW + 60 * DAY, NOW - DAY])
def test_certificate_that_has_ended_has_no_step_with_a_date(at: datetime) -> None:
    row = assess_domain(replace(OWN, at=at), _ending(-1, EXPIRED))
    assert row.state in (ComplianceState.WILL_FAIL, ComplianceState.FAILS)
    assert row.steps == ()


def test_end_after_the_last_scan_does_not_comply() -> None:
    soon = Finding("certificate-expiring", "high", (), {"not_after": "2026-11-22T12:00:00Z"})
    row = assess_domain(RULE, _ending(-1, soon))
    assert (row.state, row.since) == (ComplianceState.FAILS, None)


def test_accepted_end_is_waived_and_not_a_failure_in_the_past() -> None:
    acceptance = Acceptance(1, EXPIRED.code, 1, None, None, NOW + 9 * DAY, "moving", "Ada")
    row = assess_domain(RULE, _ending(-1, accepted=((EXPIRED, acceptance),)))
    assert (row.state, row.since, row.steps) == (ComplianceState.WAIVED, None, ())
