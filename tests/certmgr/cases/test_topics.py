"""Topics for clients and staff: a purchase once per threshold, a case instead of its purchase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.cases import new_case
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.settings import CasesSettings, Settings
from inventory.models import Case
from inventory.store import clients, contacts, purchase_changes
from tests.databases import open_sqlite
from tests.notifiers.sites import DAY, START, SiteSimulation, sent_items


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[SiteSimulation]:
    made = SiteSimulation(open_sqlite(tmp_path / "simulation.db"))
    made.staff()
    made.client("1")
    made.site("shop.example", "1").serve(START - 10 * DAY, 398 * DAY)
    made.baseline()
    yield made
    made.database.close()


def add_purchase(simulation: SiteSimulation, days: float, **given: Any) -> int:
    """Add a purchase that ends in ``days``, and return its id."""
    values = {
        "vendor": "DigiCert",
        "number": "D-1",
        "starts_at": simulation.now - 300 * DAY,
        "ends_at": simulation.now + days * DAY,
        **given,
    }
    with simulation.database.write(simulation.now) as tx:
        row_id, _ = purchase_changes.add(tx, "1", values, ["shop.example"])
    return row_id


def case_service(simulation: SiteSimulation, folder: Path) -> CaseService:
    settings = replace(Settings(), cases=CasesSettings(keys=str(folder / "keys")))
    return CaseService(Context(simulation.database, settings, lambda: simulation.now))


def test_client_is_notified_of_the_end_of_a_purchase_once_per_threshold(
    simulation: SiteSimulation,
) -> None:
    row_id = add_purchase(simulation, 70)
    assert sent_items(simulation.day()) == [], "too early"
    simulation.advance(12)
    outcome = simulation.day()
    client_id = simulation.sites["shop.example"].client_id
    assert sent_items(outcome) == [(f"order:{row_id}:order:{client_id}", "60", "owner")]
    _, message = outcome.drafts[0]
    assert message.outcome == "you-act"
    assert "Your order DigiCert D-1 for shop.example ends on 11 May 2026" in message.text
    # 21 days before: for buying, validating and installing.
    assert "You need to act by 20 April 2026" in message.text
    simulation.mark_sent()
    assert sent_items(simulation.day()) == []
    with simulation.database.write(simulation.now) as tx:
        purchase_changes.renew(tx, "D-1", {"number": "D-2"})
    simulation.advance(30)
    assert sent_items(simulation.day()) == []


def test_purchase_that_provider_or_vendor_renews_notifies_only_the_staff(
    simulation: SiteSimulation,
) -> None:
    add_purchase(simulation, 50, bought_by="us")
    add_purchase(simulation, 50, number="D-2", auto_renew=True)
    outcome = simulation.day()
    assert sent_items(outcome) == []
    assert "order" in "".join(m.text for _, m in outcome.staff)


def test_open_case_notifies_instead_of_its_purchase(
    simulation: SiteSimulation, tmp_path: Path
) -> None:
    add_purchase(simulation, 50)
    row = new_case.open_case(
        case_service(simulation, tmp_path), "1", [], new_case.CaseOptions(order="D-1")
    )
    outcome = simulation.day()
    assert [s for s, _, _ in sent_items(outcome) if s.startswith("order:")] == []
    assert outcome.drafts[0][1].reference == row.reference


def test_case_continues_under_the_reference_that_the_client_knows_until_it_is_overdue(
    simulation: SiteSimulation, tmp_path: Path
) -> None:
    """The client was notified that the certificate of a name ends, before the case was opened."""
    simulation.advance(373)
    before = simulation.day(1).drafts[0][1].reference
    simulation.mark_sent()
    case = new_case.open_case(case_service(simulation, tmp_path), "1", ["shop.example"])
    assert case.reference == before
    outcome = simulation.day(0.95)
    assert {k.partition(":")[0] for k, _, _ in sent_items(outcome)} == {"case"}
    assert outcome.drafts[0][1].reference == before
    simulation.mark_sent()
    later = set()
    for _ in range(20):
        later |= {k.partition(":")[0] for k, _, _ in sent_items(simulation.day())}
        simulation.mark_sent()
    assert "cover" in later, "after an overdue case the client is notified of the end again"


def test_contact_of_a_case_is_notified_and_without_an_answer_the_owner(
    simulation: SiteSimulation, tmp_path: Path
) -> None:
    tech = {"name": "Tech", "role": "technical"}
    with simulation.database.write(simulation.now) as tx:
        contacts.add(tx, "1", tech, ("email:tech@client1.example",))
    given = new_case.CaseOptions(contact="Tech", own_csr=True)
    new_case.open_case(case_service(simulation, tmp_path), "1", ["shop.example"], given)
    outcome = simulation.day()
    assert [d.person.name for d, _ in outcome.drafts] == ["Tech"]
    simulation.mark_sent()
    again = []
    for _ in range(9):
        drafts = simulation.day().drafts
        again += [(d.person.name, i.step) for d, _ in drafts for i in d.items]
        simulation.mark_sent()
    assert ("Owner of 1", "fallback") in again


def test_case_that_is_overdue_with_the_provider_is_escalated_to_all_administrators_once(
    simulation: SiteSimulation, tmp_path: Path
) -> None:
    simulation.staff("Carol", "email:carol@provider.example")
    row = new_case.open_case(
        case_service(simulation, tmp_path), "1", ["shop.example"], new_case.CaseOptions(staff="Ada")
    )
    subject = f"{row.reference}: overdue, level 2"
    by_day = []
    for _ in range(8):
        staff = simulation.day().staff
        by_day.append({to for to, m in staff if m.subject.endswith(subject)})
        simulation.mark_sent()
    escalated = [day for day, people in enumerate(by_day) if people]
    assert [len(by_day[day]) for day in escalated] == [2], "both, and once"
    assert escalated[0] in (3, 4), "two days after it was due"


@pytest.mark.parametrize("assignee", [None, "automatic", "Ada"])
def test_case_promises_in_the_name_of_its_assignee_alone(
    simulation: SiteSimulation, tmp_path: Path, assignee: str | None
) -> None:
    with simulation.database.write(simulation.now) as tx:
        clients.edit(tx, "1", {"account_manager": "Grace Hopper"})
    row = new_case.open_case(
        case_service(simulation, tmp_path),
        "1",
        ["shop.example"],
        new_case.CaseOptions(staff="Ada" if assignee == "Ada" else None),
    )
    # The only administrator is chosen automatically, which is no promise of hers.
    assert (row.staff, row.staff_named) == ("Ada", assignee == "Ada")
    if assignee is None:
        with simulation.database.write(simulation.now) as tx:
            tx.conn.execute(update(Case).values(staff_id=None))
    (message,) = [m for _, m in simulation.day().drafts]
    assert message.reference == row.reference
    assert ("Ada will have it done" in message.text) == (assignee == "Ada")
    assert ("plan to have it done" in message.text) == (assignee != "Ada")
    assert "Grace Hopper will" not in message.text
    assert "Grace Hopper is your contact" in message.text
    assert "You do not need to do anything." in message.text
