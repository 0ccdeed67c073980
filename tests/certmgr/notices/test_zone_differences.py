"""What only some zones see reaches staff, and never a client."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.inspection.status import load
from certmgr.notices.gather import TopicRules, gather
from certmgr.notices.recheck import rechecker
from certmgr.report.load import load_report_input
from inventory.db.database import Database
from inventory.models import StoredFinding
from inventory.records import TicketRecord
from inventory.store import clients, zones
from inventory.store.zones import ScopeValue
from inventory.vocabulary import TicketKind, Verdict, ZoneScopeKind
from notifiers.pipeline.topic import RecheckState
from notifiers.wording.catalogue import language
from notifiers.wording.sentences import instruction, sentence, short
from tests.clock import START, clock
from tests.inventory.store import builders

RULES = TopicRules()
REACH = {
    "variant": "reach",
    "kinds": ["reach"],
    "zones": ["fra1", "syd1"],
    "seen": ["fra1"],
    "missing": ["syd1"],
    "reason": "timed out",
    "codes": [],
    "withheld": ["unreachable"],
}


def _ticket(**given: Any) -> TicketRecord:
    values: dict[str, Any] = {f.name: None for f in fields(TicketRecord)}
    return TicketRecord(**values | given)


@pytest.fixture
def endpoint(sqlite_database: Database) -> int:
    """An endpoint that is not reachable from one of two zones."""
    with sqlite_database.write(START) as tx:
        builders.two_clients(tx)
        key = builders.endpoint_id(tx.conn, "shop1001.example")
        builders.serve(tx, key, builders.add_certificate(tx, "leaf", "shop1001.example"))
        builders.add_finding(
            tx, key, "zone-difference", severity="high", actor="staff", evidence=REACH
        )
    return key


def test_staff_see_the_difference_and_the_report_of_the_client_does_not(
    sqlite_database: Database, endpoint: int
) -> None:
    (status,) = load(sqlite_database, START, client="1001")
    assert (status.verdict, [f.code for f in status.findings]) == (
        Verdict.FAULT,
        ["zone-difference"],
    )
    context = Context(sqlite_database, Settings(), lambda: START)
    (shown,) = load_report_input(context, "1001", as_of=None, deadlines=()).statuses
    # Neither down nor well: what only some zones see is undetermined.
    assert (shown.verdict, shown.findings, shown.differs) == (Verdict.UNKNOWN, [], True)
    source = gather(sqlite_database, START, {}, RULES)
    (topic,) = [t for t in source.topics if t.code == "zone-difference"]
    assert topic.actor == "staff"


def test_fault_that_other_zones_disproved_is_not_reported_as_resolved(
    sqlite_database: Database, endpoint: int
) -> None:
    with sqlite_database.write(START) as tx:
        fault = builders.add_finding(tx, endpoint, "unreachable", evidence={})
        tx.conn.execute(
            update(StoredFinding).where(StoredFinding.id == fault).values(closed_at=tx.at)
        )
        client_id = clients.find(tx.conn, "1001").id
    key = f"fault:{endpoint}:unreachable:{client_id}"
    ticket = _ticket(
        key=key,
        kind=TicketKind.FAULT,
        code="unreachable",
        client_id=client_id,
        endpoint_id=endpoint,
        round=str(fault),
        opened_at=builders.AT,
    )
    later = START + timedelta(hours=1)
    assert key not in gather(sqlite_database, later, {key: ticket}, RULES).ended
    # The zones agree now.
    with sqlite_database.write(later) as tx:
        tx.conn.execute(update(StoredFinding).values(closed_at=tx.at))
    assert gather(sqlite_database, later, {key: ticket}, RULES).ended[key].resolved


def test_difference_names_the_zones_in_each_language(
    sqlite_database: Database, endpoint: int
) -> None:
    (status,) = load(sqlite_database, START, client="1001")
    (finding,) = status.findings
    assert sentence(finding, status.target) == (
        "shop1001.example is reachable from fra1, and not from syd1: timed out."
    )
    assert short(finding, status.target) == "not reachable from syd1"
    assert "geo block" in instruction(finding, status.target)
    german = language("de", "Europe/Berlin")
    assert sentence(finding, status.target, german) == (
        "shop1001.example ist von fra1 erreichbar, von syd1 aber nicht: timed out."
    )


def test_fault_of_an_internal_name_is_not_disproved_from_outside(
    sqlite_database: Database, settings: Settings, endpoint: int
) -> None:
    """The machine that sends notices does not reach the name, and must not take it for fixed."""
    with sqlite_database.write(START) as tx:
        builders.add_finding(tx, endpoint, "key-weak", evidence={})
        zones.add(tx, "office")
        zones.assign(tx, "office", ScopeValue(ZoneScopeKind.INTERNAL, "shop1001.example"))
    source = gather(sqlite_database, START, {}, RULES)
    (topic,) = [t for t in source.topics if t.code == "key-weak"]
    (found,) = rechecker(Context(sqlite_database, settings, clock))([topic]).values()
    assert found.state is RecheckState.SAME
    assert "only the zone office sees it" in found.reason
