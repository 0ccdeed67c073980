"""A notice about a deadline is suppressed only if every endpoint that misses it is handled."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.notices.gather import TopicRules, gather
from inventory.db.database import Database, Tx
from inventory.finding_codes import CODES
from inventory.store import deadlines, domains, endpoints, findings, tickets
from inventory.targets import Target
from notifiers.pipeline.topic import TopicKind
from tests.inventory.store.builders import (
    NOW,
    add_client,
    add_finding,
    add_ticket,
    endpoint_id,
    open_case,
)

HOST = "shop.example.test"
OTHER = "www.shop.example.test"
DAY = timedelta(days=1)


def deadline_reason(database: Database) -> tuple[str, str]:
    """Return why the notice of the deadline is suppressed, and of which host it is."""
    with database.read() as conn:
        open_tickets = tickets.by_key(conn, open_only=True)
    source = gather(database, NOW, open_tickets, TopicRules())
    (topic,) = [t for t in source.topics if t.kind == TopicKind.DEADLINE]
    return topic.suppress_reason, topic.target.host


def accept(tx: Tx, at_endpoint: int, code: str) -> None:
    until = NOW + 10 * DAY
    findings.accept(tx, code, frozenset(CODES), until, "agreed", endpoint_id=at_endpoint)


@pytest.fixture
def client_id(sqlite_database: Database) -> int:
    """A client with two hosts of one domain, whose deadline is in 20 days."""
    with sqlite_database.write(NOW) as tx:
        row_id = add_client(tx, "1001", HOST, renews="client", buys="client")
        endpoints.add(tx, Target(OTHER), HOST)
        due = {"at": NOW + 20 * DAY, "rule": "https-only", "title": "HTTPS only"}
        leads = {"purchase_days": 1, "validation_days": 1, "installation_days": 1}
        deadlines.add(tx, "own", due | leads, ("https-only",), for_clients=(), tags=())
    return row_id


def test_accepted_fault_of_one_endpoint_hides_no_fault_of_another(
    sqlite_database: Database, client_id: int
) -> None:
    with sqlite_database.write(NOW) as tx:
        first, second = endpoint_id(tx.conn, HOST), endpoint_id(tx.conn, OTHER)
        add_finding(tx, first, "http-served", severity="medium")
        add_finding(tx, second, "http-served", severity="medium")
        accept(tx, first, "http-served")
    assert deadline_reason(sqlite_database) == ("", OTHER)


def test_case_of_one_name_hides_no_fault_of_another(
    sqlite_database: Database, client_id: int
) -> None:
    with sqlite_database.write(NOW) as tx:
        add_finding(tx, endpoint_id(tx.conn, HOST), "self-signed")
        add_finding(tx, endpoint_id(tx.conn, OTHER), "self-signed")
        case = open_case(tx, client_id, HOST)
    assert deadline_reason(sqlite_database) == ("", OTHER)
    with sqlite_database.write(NOW) as tx:
        open_case(tx, client_id, OTHER)
    assert deadline_reason(sqlite_database) == (f"case {case.reference} handles it", HOST)


def test_case_hides_no_fault_of_the_same_endpoint_that_it_does_not_fix(
    sqlite_database: Database, client_id: int
) -> None:
    with sqlite_database.write(NOW) as tx:
        add_finding(tx, endpoint_id(tx.conn, HOST), "self-signed")
        add_finding(tx, endpoint_id(tx.conn, HOST), "http-served", severity="medium")
        open_case(tx, client_id, HOST)
    assert deadline_reason(sqlite_database) == ("", HOST)


def test_retired_endpoint_with_an_open_ticket_hides_no_fault(
    sqlite_database: Database, client_id: int
) -> None:
    with sqlite_database.write(NOW) as tx:
        first = endpoint_id(tx.conn, HOST)
        add_finding(tx, endpoint_id(tx.conn, OTHER), "self-signed")
        add_ticket(tx, client_id, f"cover:{first}:{client_id}", kind="cover", endpoint_id=first)
        endpoints.retire(tx, Target(HOST))
    assert deadline_reason(sqlite_database) == ("", OTHER)


def test_domain_that_is_leaving_gets_no_notice_whatever_the_severity(
    sqlite_database: Database, client_id: int
) -> None:
    with sqlite_database.write(NOW) as tx:
        add_finding(tx, endpoint_id(tx.conn, OTHER), "redirect-missing", severity="low")
        domains.edit(tx, HOST, {"state": "leaving"})
    assert deadline_reason(sqlite_database)[0] == "the domain is leaving"
