"""One event is one message to staff, however many cases it has, and one line of the digest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from certmgr.cases import incident, incident_selection, new_case
from certmgr.cases.service import CaseService
from certmgr.config.context import Context
from certmgr.config.settings import CasesSettings, Settings
from inventory.models import Case
from inventory.store import domains, servers
from inventory.vocabulary import IncidentKind
from notifiers.pipeline.message import Message
from tests.databases import open_sqlite
from tests.notifiers.sites import DAY, START, SiteSimulation

LIFE = 90 * DAY


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[SiteSimulation]:
    made = SiteSimulation(open_sqlite(tmp_path / "staff.db", "Ada"), digest_hour=23)
    made.staff()
    for number in ("1", "2"):
        made.client(number)
        for i in range(6):
            made.site(f"n{i}.of{number}.example", number).serve(START - DAY, LIFE)
    made.baseline()
    made.advance(hours=1)
    yield made


@pytest.fixture
def service(simulation: SiteSimulation, tmp_path: Path) -> CaseService:
    settings = Settings(cases=CasesSettings(keys=str(tmp_path / "keys")))
    return CaseService(Context(simulation.database, settings, lambda: simulation.now))


def messages(simulation: SiteSimulation) -> list[Message]:
    """Return what staff get in a run, the digest left out."""
    found = [m for _, m in simulation.notify().staff if m.reference == "errand"]
    simulation.mark_sent()
    return found


def revoke_all(service: CaseService, simulation: SiteSimulation) -> str:
    items = incident_selection.select_affected(service, issuer="Test CA")
    until = simulation.now + timedelta(hours=20)
    row, counts = incident.open_incident(
        service, items, IncidentKind.ISSUER, "Test CA", until, "it revokes"
    )
    assert counts["opened"] == 12
    return row.reference


def test_incident_with_many_cases_is_one_message_and_its_steps_are_in_the_digest(
    simulation: SiteSimulation, service: CaseService
) -> None:
    reference = revoke_all(service, simulation)
    (message,) = messages(simulation)
    assert reference in message.subject
    assert "0 of 12 done: bought by the client" in message.text
    assert f"12 case(s) of {reference} wait for you in the step requested" in message.text
    assert f"certmgr case csr --incident {reference}" in message.text
    # A later step of each case, and then the end of its time, make no further message.
    for state in ("csr-ready", "csr-ready"):
        simulation.advance(hours=5)
        with simulation.database.write(simulation.now) as tx:
            tx.conn.execute(update(Case).values(state=state, step=Case.step + 1))
        assert messages(simulation) == []
    simulation.advance(days=3)
    assert messages(simulation) == []


def test_second_administrator_is_notified_too_and_a_second_incident_is_a_second_message(
    simulation: SiteSimulation, service: CaseService
) -> None:
    revoke_all(service, simulation)
    assert len(messages(simulation)) == 1
    simulation.staff("Bob", "email:bob@provider.example")
    assert len(messages(simulation)) == 1, "Bob alone"
    items = incident_selection.select_affected(service, issuer="Test CA")
    until = simulation.now + timedelta(hours=30)
    incident.open_incident(service, items, IncidentKind.ISSUER, "Test CA", until, "again")
    assert len(messages(simulation)) == 2, "one for each of them"


def test_lost_server_is_one_message_although_it_opens_no_case(
    simulation: SiteSimulation, service: CaseService
) -> None:
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1"})
    with simulation.database.write(simulation.now) as tx:
        for i in range(6):
            domains.edit(tx, f"n{i}.of1.example", {"server": "web1"})
    items = incident_selection.select_lost(service, "web1")
    until = simulation.now + timedelta(hours=20)
    incident.open_incident(service, items, IncidentKind.SERVER_LOST, "web1", until, "disk")
    (message,) = messages(simulation)
    assert "web1" in message.subject
    assert "done: to be installed again" in message.text
    assert "To do:" not in message.text, "no case was opened"
    assert messages(simulation) == []


def test_mass_opening_without_an_incident_is_one_message(
    simulation: SiteSimulation, service: CaseService
) -> None:
    for i in range(5):
        new_case.open_case(service, "1", [f"n{i}.of1.example"])
    (message,) = messages(simulation)
    assert message.subject == "[certmgr] 5 cases wait for you"
    assert "5 case(s) wait for you in the step requested" in message.text
    new_case.open_case(service, "2", ["n0.of2.example"])
    (single,) = messages(simulation)
    assert single.subject.endswith(": requested"), "a single case is shown in full"


def test_step_that_a_client_took_in_an_incident_is_reported_at_once_and_folded(
    simulation: SiteSimulation, service: CaseService
) -> None:
    reference = revoke_all(service, simulation)
    assert len(messages(simulation)) == 1
    with simulation.database.write(simulation.now) as tx:
        tx.conn.execute(update(Case).values(state="received", step=Case.step + 1))
    (message,) = messages(simulation)
    assert f"12 case(s) of {reference} wait for you in the step received" in message.text


def test_digest_folds_the_cases_of_an_incident_into_lines(
    simulation: SiteSimulation, service: CaseService
) -> None:
    reference = revoke_all(service, simulation)
    simulation.now = simulation.now.replace(hour=23)
    (digest,) = [m for _, m in simulation.notify().staff if m.reference == "digest"]
    lines = [line for line in digest.text.splitlines() if reference in line]
    assert len(lines) <= 4, "an incident, its command, and its only step"
    assert f"{reference}: 12 case(s) in the step requested wait for Ada (12 new)" in digest.text
    assert f"certmgr case csr --incident {reference}" in digest.text
