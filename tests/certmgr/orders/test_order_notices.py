"""What clients and staff hear of orders: once a threshold, to the right side, and nothing where a case leads or the vendor renews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from certmgr.cases.work import Desk
from certmgr.config import CasesSettings, Settings
from inventory.store import orders
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street, said


@pytest.fixture
def street(tmp_path: Path) -> Street:
    made = Street(open_sqlite(tmp_path / "street.db"))
    made.staff()
    made.client("1")
    made.site("shop.example", "1").serve(START - 10 * DAY, 398 * DAY)
    made.baseline()
    return made


def order(street: Street, days: float, **given: Any) -> int:
    with street.database.write(street.now) as tx:
        values = {
            "vendor": "DigiCert",
            "number": "D-1",
            "starts_at": street.now - 300 * DAY,
            "ends_at": street.now + days * DAY,
        } | given
        row_id, _ = orders.add(tx, "1", values, ["shop.example"])
    return row_id


def test_a_term_that_ends_is_said_once_a_threshold(street: Street) -> None:
    row_id = order(street, 70)
    assert said(street.day()) == [], "too early"
    street.pass_(12)
    outcome = street.day()
    assert said(outcome) == [(f"order:{row_id}:order:{street.sites['shop.example'].client_id}", "60", "owner")]
    (_, message) = outcome.drafts[0]
    assert message.outcome == "you-act"
    assert "Your order DigiCert D-1 for shop.example ends on 11 May 2026" in message.text
    assert "You need to act by 20 April 2026" in message.text, "21 days for buying, validating and installing"
    street.sent()
    assert said(street.day()) == []
    with street.database.write(street.now) as tx:
        orders.renew(tx, "D-1", {"number": "D-2"})
    street.pass_(30)
    assert said(street.day()) == []


def test_ours_and_the_vendors_are_no_clients_matter(street: Street) -> None:
    order(street, 50, bought_by="us")
    order(street, 50, number="D-2", auto_renew=True)
    outcome = street.day()
    assert said(outcome) == []
    staff = "".join(m.text for _, m in outcome.staff)
    assert "order" in staff


def test_a_case_speaks_in_the_place_of_its_order(street: Street, tmp_path: Path) -> None:
    from dataclasses import replace

    order(street, 50)
    settings = replace(Settings(), cases=CasesSettings(keys=str(tmp_path / "keys")))
    reference = Desk(street.database, settings, street.now).open("1", [], {"order": "D-1"})["reference"]
    outcome = street.day()
    assert [s for s, _, _ in said(outcome) if s.startswith("order:")] == []
    assert outcome.drafts[0][1].reference == reference


def test_a_reference_stays_when_a_matter_becomes_a_case(street: Street, tmp_path: Path) -> None:
    """The client was told that the name loses cover: the case goes on under that reference, and speaks in its place until it is overdue."""
    from dataclasses import replace

    street.pass_(373)
    told = street.day(1)
    before = told.drafts[0][1].reference
    street.sent()
    settings = replace(Settings(), cases=CasesSettings(keys=str(tmp_path / "keys")))
    case = Desk(street.database, settings, street.now).open("1", ["shop.example"])
    assert case["reference"] == before
    outcome = street.day(0.95)
    assert {k.partition(":")[0] for k, _, _ in said(outcome)} == {"case"}
    assert outcome.drafts[0][1].reference == before
    street.sent()
    later = []
    for _ in range(20):
        later += [k.partition(":")[0] for k, _, _ in said(street.day())]
        street.sent()
    assert "cover" in later, "a case that we let lie hides nothing: the client hears again that the end comes"


def test_the_contact_of_a_case_is_written_to(street: Street, tmp_path: Path) -> None:
    from dataclasses import replace

    from inventory.store import contacts

    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Tech", "role": "technical"}, ("email:tech@client1.example",))
    settings = replace(Settings(), cases=CasesSettings(keys=str(tmp_path / "keys")))
    Desk(street.database, settings, street.now).open("1", ["shop.example"], {"contact": "Tech", "own_csr": True})
    outcome = street.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Tech"]
    street.sent()
    again = []
    for _ in range(9):
        again += [(d.person.name, i.step) for d, _ in street.day().drafts for i in d.items]
        street.sent()
    assert ("Owner of 1", "fallback") in again, "nobody answered, so it climbs"


def test_a_case_that_we_let_lie_reaches_all_administrators_once(street: Street, tmp_path: Path) -> None:
    from dataclasses import replace

    from inventory.store import contacts

    with street.database.write(street.now) as tx:
        contacts.add(tx, None, {"name": "Carol", "role": "administrator"}, ("email:carol@provider.example",))
    settings = replace(Settings(), cases=CasesSettings(keys=str(tmp_path / "keys")))
    desk = Desk(street.database, settings, street.now)
    reference = desk.open("1", ["shop.example"], {"staff": "Ada"})["reference"]
    heard = []
    for _ in range(8):
        heard.append({to for to, m in street.day().staff if m.subject.endswith(f"{reference}: nothing moves, level 2")})
        street.sent()
    told = [people for people in heard if people]
    assert [len(people) for people in told] == [2], "both, and once"
    assert heard.index(told[0]) in (3, 4), "two days after it was due"
