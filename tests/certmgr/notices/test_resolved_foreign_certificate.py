"""The message that a fault is resolved does not name the private CA of another client."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from certmgr.notices.gather import TopicRules, gather
from inventory.db.database import Database
from inventory.models import StoredFinding
from inventory.records import TicketRecord
from inventory.vocabulary import TicketKind
from tests.clock import START
from tests.inventory.store import builders

SECRET = "Private CA of Two"


def _ticket(**given: Any) -> TicketRecord:
    values: dict[str, Any] = {f.name: None for f in fields(TicketRecord)}
    return TicketRecord(**values | given)


@pytest.mark.parametrize("foreign", [True, False])
def test_resolved_fault_names_the_issuer_only_of_a_certificate_of_the_client(
    sqlite_database: Database, foreign: bool
) -> None:
    with sqlite_database.write(START) as tx:
        client_id, _ = builders.two_clients(tx)
        at = builders.endpoint_id(tx.conn, "shop1001.example")
        chain = builders.add_finding(tx, at, "chain-incomplete", evidence={"missing": SECRET})
        builders.add_finding(tx, at, "name-mismatch" if foreign else "key-weak", evidence={})
    later = START + timedelta(hours=1)
    # The server was repaired, so the next scan closes both findings at once.
    with sqlite_database.write(later) as tx:
        tx.conn.execute(update(StoredFinding).values(closed_at=tx.at))
    key = f"fault:{at}:chain-incomplete:{client_id}"
    ticket = _ticket(
        key=key,
        kind=TicketKind.FAULT,
        client_id=client_id,
        endpoint_id=at,
        round=str(chain),
        opened_at=builders.AT,
    )
    source = gather(sqlite_database, later, {key: ticket}, TopicRules())
    ended = source.ended[key]
    assert ended.resolved
    assert ended.topic is not None
    assert ended.topic.finding is not None
    assert (SECRET in str(ended.topic.finding.evidence)) is not foreign
