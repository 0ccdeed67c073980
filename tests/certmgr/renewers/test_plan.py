"""A renewal that is due and in time is planned; one that is late, or the client's, is not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from certmgr.renewers.plan import (
    PlannedBy,
    RenewalPlan,
    ServedDates,
    assigned_plan,
    renewal_plan,
)
from certmgr.renewers.renewer import (
    DomainParties,
    LineageCover,
    OpenCase,
    PurchaseCover,
    RenewalFacts,
)
from inventory.dates import parse_end
from inventory.vocabulary import Acceptance, LineageState, Parties
from notifiers.wording.catalogue import language

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "www.shop.example"
US, CLIENT = Parties(buys="us", renews="us"), Parties(buys="client", renews="client")


def served(left: float, life: int = 200) -> ServedDates:
    end = NOW + left * DAY
    return ServedDates(end - life * DAY, end)


def lineage(left: float, state: LineageState = LineageState.ACTIVE, **given: str) -> LineageCover:
    return LineageCover(
        name="shop", state=state, names=("*.shop.example",), not_after=NOW + left * DAY, **given
    )


def facts(
    parties: Parties = US,
    *,
    lineages: tuple[LineageCover, ...] = (),
    bought: bool = False,
    cases: Mapping[str, OpenCase] | None = None,
    tags: tuple[str, ...] = (),
) -> RenewalFacts:
    purchase = PurchaseCover("Vendor 1", (HOST,), NOW - 100 * DAY, NOW + 300 * DAY)
    return RenewalFacts(
        now=NOW,
        lineages={1: lineages},
        purchases={1: (purchase,) if bought else ()},
        domains={1: {"shop.example": DomainParties(True, parties, tags)}},
        cases={1: cases or {}},
    )


def plan(known: RenewalFacts, dates: ServedDates, *codes: str) -> RenewalPlan | None:
    return renewal_plan(known, 1, HOST, dates, NOW, codes)


@pytest.mark.parametrize(
    ("known", "by", "reference", "begun"),
    [
        (facts(), PlannedBy.US, "", False),
        (facts(Parties(buys="us")), PlannedBy.US, "", False),
        (facts(bought=True), PlannedBy.US, "purchase Vendor 1", False),
        (facts(cases={HOST: OpenCase("CM-1", NOW + DAY)}), PlannedBy.US, "case CM-1", True),
        (facts(cases={"*.shop.example": OpenCase("CM-2", None)}), PlannedBy.US, "case CM-2", True),
    ],
)
def test_renewal_of_19_days_ahead_is_planned_until_a_week_before_the_end(
    known: RenewalFacts, by: PlannedBy, reference: str, begun: bool
) -> None:
    found = plan(known, served(19))
    assert found == RenewalPlan(by, NOW + 12 * DAY, reference, begun=begun)


@pytest.mark.parametrize(
    ("known", "by"),
    [
        (facts(Parties(buys="client", renews="panel")), PlannedBy.PANEL),
        (facts(Parties(renews="cdn")), PlannedBy.CDN),
        (facts(CLIENT, tags=("auto-renewed",)), PlannedBy.AUTOMATION),
    ],
)
def test_automation_of_another_party_is_late_before_the_reminder_of_two_weeks(
    known: RenewalFacts, by: PlannedBy
) -> None:
    assert plan(known, served(19)) == RenewalPlan(by, NOW + 4 * DAY)
    assert plan(known, served(14)) is None
    assert plan(known, served(20, 90)) == RenewalPlan(by, NOW + 5 * DAY)


@pytest.mark.parametrize("left", [60, 6, 0, -1])
def test_nothing_is_planned_before_it_is_due_or_after_it_is_late(left: int) -> None:
    assert plan(facts(), served(left)) is None


@pytest.mark.parametrize(
    "known",
    [
        facts(CLIENT),
        facts(CLIENT, bought=True),
        # The client's case is the client's work.
        facts(CLIENT, cases={HOST: OpenCase("CM-1", None)}),
        facts(Parties()),
        # A case past its date is not in time.
        facts(cases={HOST: OpenCase("CM-1", NOW - DAY)}),
    ],
)
def test_renewal_of_the_client_or_of_an_overdue_case_is_not_planned(known: RenewalFacts) -> None:
    assert plan(known, served(19)) is None


def test_lineage_is_planned_until_a_sixth_of_the_life_whoever_is_recorded() -> None:
    known = facts(CLIENT, lineages=(lineage(20),), bought=True)
    assert plan(known, served(20, 90)) == RenewalPlan(PlannedBy.US, NOW + 5 * DAY, "lineage shop")
    assert plan(facts(CLIENT, lineages=(lineage(14),)), served(14, 90)) is None, "late"


@pytest.mark.parametrize(
    "troubled",
    [
        lineage(20, error="the CA refused"),
        lineage(20, blocked="its account main is lost"),
        # It has issued already, and the new certificate is not installed there.
        lineage(80),
    ],
)
def test_lineage_that_may_not_renew_in_time_plans_nothing(troubled: LineageCover) -> None:
    assert plan(facts(lineages=(troubled,)), served(20, 90)) is None


def test_paused_lineage_leaves_the_renewal_to_whom_the_domain_names() -> None:
    paused = lineage(20, LineageState.PAUSED)
    found = plan(facts(US, lineages=(paused,), bought=True), served(19))
    assert found is not None
    assert (found.reference, found.begun) == ("purchase Vendor 1", False)
    assert plan(facts(CLIENT, lineages=(paused,)), served(19)) is None


@pytest.mark.parametrize("code", ["points-elsewhere", "foreign-address", "default-certificate"])
def test_what_another_server_shows_is_not_what_we_renew(code: str) -> None:
    assert plan(facts(), served(19), "certificate-expiring", code) is None


def test_person_with_an_assignment_does_it_by_the_earlier_date() -> None:
    found = plan(facts(), served(19))
    assert found is not None
    assert assigned_plan(found, [], NOW) == found

    def assigned(days: int) -> Acceptance:
        code = "certificate-expiring"
        return Acceptance(1, code, None, None, None, NOW + days * DAY, "taken", "Ada")

    early = assigned_plan(found, [assigned(3)], NOW)
    assert (early.person, early.until, early.begun) == ("Ada", NOW + 3 * DAY, True)
    assert assigned_plan(found, [assigned(18)], NOW).until == found.until


def test_plan_states_who_does_it_until_when_in_both_languages() -> None:
    found = RenewalPlan(PlannedBy.US, NOW + 12 * DAY, "case CM-1")
    assert found.staff_text(UTC) == "planned, by us, until 2026-12-07"
    assert found.description(UTC) == "planned, by us, until 2026-12-07 (case CM-1)"
    assert found.text(language("en")) == "planned, by us, until 7 December 2026"
    assert found.text(language("de")) == "geplant, durch uns, bis 7. Dezember 2026"
    waiting = RenewalPlan(PlannedBy.US, NOW, begun=False)
    assert waiting.description(UTC).endswith("; no case is open for it yet")


@pytest.mark.parametrize("time_zone", ["America/Los_Angeles", "UTC", "Pacific/Kiritimati"])
def test_plan_ends_on_the_day_that_was_entered(time_zone: str) -> None:
    """The end of a day west of Greenwich is the next day in UTC."""
    zone = ZoneInfo(time_zone)
    found = RenewalPlan(PlannedBy.US, parse_end("2026-12-07", time_zone), person="Ada")
    assert found.description(zone) == "planned, by Ada, until 2026-12-07"
    assert "7 December 2026" in found.text(language("en", time_zone))
