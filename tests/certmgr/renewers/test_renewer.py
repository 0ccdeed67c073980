"""Who renews a name: the evidence in its order, for one client alone."""

from datetime import UTC, datetime, timedelta

import pytest

from certmgr.renewers.renewer import (
    DomainParties,
    LineageCover,
    PurchaseCover,
    RenewalFacts,
    RenewalMethod,
    parent_names,
)
from inventory.vocabulary import LineageState, Parties

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = timedelta(days=1)
OURS = DomainParties(True, Parties(buys="us", renews="us"), ())


def lineage(
    *names: str, state: LineageState = LineageState.ACTIVE, error: str = "", days: int = 40
) -> LineageCover:
    return LineageCover(
        name="shop", state=state, names=names, not_after=NOW + days * DAY, error=error
    )


def purchase(
    *names: str, start: int = -100, end: int = 200, label: str = "Vendor 1"
) -> PurchaseCover:
    return PurchaseCover(label=label, names=names, starts=NOW + start * DAY, ends=NOW + end * DAY)


def facts(
    *,
    lineages: tuple[LineageCover, ...] = (),
    purchases: tuple[PurchaseCover, ...] = (),
    domain: DomainParties = OURS,
    learned: dict[str, timedelta] | None = None,
) -> RenewalFacts:
    return RenewalFacts(
        now=NOW,
        lineages={1: lineages},
        purchases={1: purchases},
        domains={1: {"shop.example": domain}, 2: {"other.example": OURS}},
        learned={1: learned or {}},
    )


@pytest.mark.parametrize(
    "domain",
    [
        OURS,
        DomainParties(True, Parties(buys="client"), ()),
        DomainParties(True, Parties(), ("auto-renewed",)),
        DomainParties(True, Parties(renews="panel"), ()),
        DomainParties(False, Parties(), ()),
    ],
)
def test_a_lineage_decides_whatever_is_recorded_of_the_domain(domain: DomainParties) -> None:
    known = facts(
        lineages=(lineage("www.shop.example"),),
        purchases=(purchase("www.shop.example"),),
        domain=domain,
    )
    answer = known.renewer(1, "www.shop.example")
    assert (answer.method, answer.reference) == (RenewalMethod.LINEAGE, "shop")
    assert answer.automatic
    assert answer.ours
    assert answer.not_after == NOW + 40 * DAY


@pytest.mark.parametrize(
    ("names", "asked", "covered"),
    [
        (("*.shop.example",), "www.shop.example", True),
        (("*.shop.example",), "*.shop.example", True),
        (("*.shop.example",), "shop.example", False),
        (("*.shop.example",), "a.b.shop.example", False),
        (("shop.example",), "www.shop.example", False),
        (("www.shop.example",), "*.shop.example", False),
        (("192.0.2.1",), "192.0.2.1", True),
    ],
)
def test_a_lineage_renews_the_names_that_its_certificate_covers(
    names: tuple[str, ...], asked: str, covered: bool
) -> None:
    assert facts(lineages=(lineage(*names),)).renewer(1, asked).ours is covered


def test_a_lineage_of_another_client_renews_nothing_for_this_one() -> None:
    known = RenewalFacts(now=NOW, lineages={2: (lineage("www.shop.example"),)})
    assert known.renewer(1, "www.shop.example").method is RenewalMethod.NONE


def test_a_paused_lineage_does_not_renew() -> None:
    known = facts(lineages=(lineage("www.shop.example", state=LineageState.PAUSED),))
    assert not known.renewer(1, "www.shop.example").automatic


def test_a_lineage_without_trouble_is_named_before_one_that_fails() -> None:
    failing = lineage("www.shop.example", error="the CA refused", days=80)
    good = LineageCover(
        name="good",
        state=LineageState.ACTIVE,
        names=("*.shop.example",),
        not_after=NOW + 10 * DAY,
    )
    answer = facts(lineages=(failing, good)).renewer(1, "www.shop.example")
    assert (answer.reference, answer.trouble) == ("good", "")
    alone = facts(lineages=(failing,)).renewer(1, "www.shop.example")
    assert alone.automatic
    assert "the CA refused" in alone.trouble


@pytest.mark.parametrize(
    ("parties", "tags", "method"),
    [
        (Parties(renews="panel", buys="us"), (), RenewalMethod.PANEL),
        (Parties(buys="cdn"), (), RenewalMethod.CDN),
        (Parties(renews="client", buys="panel"), (), RenewalMethod.NONE),
        (Parties(buys="client"), ("auto-renewed", "vip"), RenewalMethod.STATED),
        (Parties(), (), RenewalMethod.NONE),
    ],
)
def test_what_is_recorded_decides_without_a_lineage(
    parties: Parties, tags: tuple[str, ...], method: RenewalMethod
) -> None:
    known = facts(domain=DomainParties(True, parties, tags))
    assert known.renewer(1, "www.shop.example").method is method


def test_observed_replacements_are_an_automation_of_that_host_alone() -> None:
    known = facts(
        domain=DomainParties(True, Parties(buys="client"), ()),
        learned={"www.shop.example": 30 * DAY},
    )
    answer = known.renewer(1, "www.shop.example")
    assert (answer.method, answer.lead) == (RenewalMethod.LEARNED, 30 * DAY)
    assert answer.automatic
    assert not answer.replaces_on_revocation
    assert known.renewer(1, "shop.example").method is RenewalMethod.NONE


def test_the_purchase_that_ends_last_is_named_and_is_not_automatic() -> None:
    known = facts(
        purchases=(
            purchase("*.shop.example", end=30, label="Vendor 1"),
            purchase("www.shop.example", end=300, label="Vendor 2"),
            purchase("www.shop.example", start=10, end=900, label="Vendor 3"),
        )
    )
    answer = known.renewer(1, "www.shop.example")
    assert (answer.method, answer.reference) == (RenewalMethod.PURCHASE, "Vendor 2")
    assert not answer.automatic


def test_a_person_is_needed_if_one_name_of_an_active_domain_has_no_automation() -> None:
    known = facts(lineages=(lineage("www.shop.example"),))
    assert not known.needs_person(1, ["www.shop.example"])
    assert known.needs_person(1, ["www.shop.example", "mail.shop.example"])
    assert not known.needs_person(1, ["gone.example"]), "it left the inventory"
    leaving = facts(domain=DomainParties(False, Parties(buys="us"), ()))
    assert not leaving.needs_person(1, ["www.shop.example"])


def test_all_automatic_needs_a_name() -> None:
    known = facts(lineages=(lineage("www.shop.example"),))
    assert known.all_automatic(1, ["www.shop.example"])
    assert not known.all_automatic(1, ["www.shop.example", "shop.example"])
    assert not known.all_automatic(1, [])


def test_parent_names_of_hosts_wildcards_and_addresses() -> None:
    assert parent_names("a.b.example") == ["a.b.example", "b.example", "example"]
    assert parent_names("*.b.example") == ["b.example", "example"]
    assert parent_names("192.0.2.1") == ["192.0.2.1"]
    assert parent_names("2001:db8::1") == ["2001:db8::1"]


@pytest.mark.parametrize(
    ("known", "text"),
    [
        (
            facts(lineages=(lineage("shop.example", error="no answer"),)),
            "renewed by certmgr: lineage shop, whose certificate ends on 2027-01-04; its last"
            " attempt failed: no answer",
        ),
        (
            facts(domain=DomainParties(True, Parties(renews="panel"), ())),
            "renewed by the hosting panel",
        ),
        (facts(domain=DomainParties(True, Parties(buys="cdn"), ())), "renewed by the CDN"),
        (
            facts(domain=DomainParties(True, Parties(), ("auto-renewed",))),
            "renewed by the client's automation (tag auto-renewed)",
        ),
        (
            facts(learned={"shop.example": timedelta(days=29, hours=20)}),
            "renewed by an automation that scans observed, about 30 day(s) before the end",
        ),
        (
            facts(purchases=(purchase("shop.example"),)),
            "renewed by hand, under the purchase Vendor 1, which ends on 2027-06-13",
        ),
        (facts(), "renewed by hand: no purchase covers it, and no automation is known"),
    ],
)
def test_description_names_the_evidence(known: RenewalFacts, text: str) -> None:
    assert known.renewer(1, "shop.example").description == text
