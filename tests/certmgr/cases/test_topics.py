"""What clients and staff are notified of: an order once per threshold, a case instead of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certmgr.cases.service import CaseService
from certmgr.config.settings import CasesSettings, Settings
from inventory.store import contacts, purchases
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, said


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    made = Street(open_sqlite(tmp_path / "street.db"))
    made.staff()
    made.client("1")
    made.site("shop.example", "1").serve(START - 10 * DAY, 398 * DAY)
    made.baseline()
    yield made
    made.database.close()


def order(street: Street, days: float, **given: Any) -> int:
    """Add an order that ends in ``days``, and return its id."""
    values = {
        "vendor": "DigiCert",
        "number": "D-1",
        "starts_at": street.now - 300 * DAY,
        "ends_at": street.now + days * DAY,
        **given,
    }
    with street.database.write(street.now) as tx:
        row_id, _ = purchases.add(tx, "1", values, ["shop.example"])
    return row_id


def desk(street: Street, folder: Path) -> CaseService:
    settings = replace(Settings(), cases=CasesSettings(keys=str(folder / "keys")))
    return CaseService(street.database, settings, street.now)


# -- orders --------------------------------------------------------------------------------------


def test_client_is_notified_of_the_end_of_an_order_once_per_threshold(street: Street) -> None:
    row_id = order(street, 70)
    assert said(street.day()) == [], "too early"
    street.pass_(12)
    outcome = street.day()
    client_id = street.sites["shop.example"].client_id
    assert said(outcome) == [(f"order:{row_id}:order:{client_id}", "60", "owner")]
    _, message = outcome.drafts[0]
    assert message.outcome == "you-act"
    assert "Your order DigiCert D-1 for shop.example ends on 11 May 2026" in message.text
    # 21 days before: for buying, validating and installing.
    assert "You need to act by 20 April 2026" in message.text
    street.sent()
    assert said(street.day()) == []
    with street.database.write(street.now) as tx:
        purchases.renew(tx, "D-1", {"number": "D-2"})
    street.pass_(30)
    assert said(street.day()) == []


def test_order_that_we_buy_or_the_vendor_renews_notifies_the_staff_alone(street: Street) -> None:
    order(street, 50, bought_by="us")
    order(street, 50, number="D-2", auto_renew=True)
    outcome = street.day()
    assert said(outcome) == []
    assert "order" in "".join(m.text for _, m in outcome.staff)


# -- cases ---------------------------------------------------------------------------------------


def test_open_case_notifies_instead_of_its_order(street: Street, tmp_path: Path) -> None:
    order(street, 50)
    row = desk(street, tmp_path).open("1", [], {"order": "D-1"})
    outcome = street.day()
    assert [s for s, _, _ in said(outcome) if s.startswith("order:")] == []
    assert outcome.drafts[0][1].reference == row["reference"]


def test_case_goes_on_under_the_reference_that_the_client_knows_until_it_is_overdue(
    street: Street, tmp_path: Path
) -> None:
    """The client was notified that the certificate of a name ends, before the case was opened."""
    street.pass_(373)
    before = street.day(1).drafts[0][1].reference
    street.sent()
    case = desk(street, tmp_path).open("1", ["shop.example"])
    assert case["reference"] == before
    outcome = street.day(0.95)
    assert {k.partition(":")[0] for k, _, _ in said(outcome)} == {"case"}
    assert outcome.drafts[0][1].reference == before
    street.sent()
    later = set()
    for _ in range(20):
        later |= {k.partition(":")[0] for k, _, _ in said(street.day())}
        street.sent()
    assert "cover" in later, "after an overdue case the client is notified of the end again"


def test_contact_of_a_case_is_written_to_and_without_an_answer_the_owner(
    street: Street, tmp_path: Path
) -> None:
    tech = {"name": "Tech", "role": "technical"}
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", tech, ("email:tech@client1.example",))
    given = {"contact": "Tech", "own_csr": True}
    desk(street, tmp_path).open("1", ["shop.example"], given)
    outcome = street.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Tech"]
    street.sent()
    again = []
    for _ in range(9):
        drafts = street.day().drafts
        again += [(d.person.name, i.step) for d, _ in drafts for i in d.items]
        street.sent()
    assert ("Owner of 1", "fallback") in again


def test_case_that_is_overdue_with_us_is_escalated_to_all_administrators_once(
    street: Street, tmp_path: Path
) -> None:
    street.staff("Carol", "email:carol@provider.example")
    row = desk(street, tmp_path).open("1", ["shop.example"], {"staff": "Ada"})
    subject = f"{row['reference']}: nothing moves, level 2"
    by_day = []
    for _ in range(8):
        staff = street.day().staff
        by_day.append({to for to, m in staff if m.subject.endswith(subject)})
        street.sent()
    escalated = [day for day, people in enumerate(by_day) if people]
    assert [len(by_day[day]) for day in escalated] == [2], "both, and once"
    assert escalated[0] in (3, 4), "two days after it was due"
