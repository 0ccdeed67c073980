"""What changes after an incident was opened, and certificates that several clients share."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from certmgr.cases import bulk, incident, incident_events, incident_progress, incident_selection
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.certificates import parse
from inventory.db.database import to_epoch
from inventory.records import IncidentRecord
from inventory.store import accounts, cases, domains, incidents, lineages
from inventory.vocabulary import IncidentCategory, IncidentKind
from tests.certmgr.cases.place import HOST, SECOND_HOST, CaseEnvironment, serve, with_lineage
from tests.certmgr.cases.test_incident import left_of

HOURS = timedelta(hours=1)
WILDCARD = "*.platform.example"
SITES = {"2001": "a.platform.example", "2002": "b.platform.example"}


@pytest.fixture
def env(sqlite_env: CaseEnvironment) -> CaseEnvironment:
    return sqlite_env


def open_for(env: CaseEnvironment, leaf: IssuedCertificate, what: str = "1") -> IncidentRecord:
    items = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    until = env.now + 24 * HOURS
    return incident.open_incident(env.service, items, IncidentKind.SERIALS, what, until, "revoked")[
        0
    ]


def names_by_client(env: CaseEnvironment, row: IncidentRecord) -> dict[str, tuple[str, ...]]:
    with env.database.read() as conn:
        return {c.client: c.names for c in cases.listing(conn, incident_id=row.id)}


def test_wildcard_over_two_clients_is_replaced_by_each_for_the_own_hosts(
    env: CaseEnvironment, issuer: Authority
) -> None:
    for number, host in SITES.items():
        env.client(number, host)
    leaf = issuer.issue(WILDCARD, days=80)
    for host in SITES.values():
        serve(env.database, host, leaf, env.now)
    row = open_for(env, leaf)
    assert names_by_client(env, row) == {n: (h,) for n, h in SITES.items()}
    serve(env.database, SITES["2001"], issuer.issue(SITES["2001"], days=80), env.now)
    with env.database.read() as conn:
        assert [i.client for i in left_of(conn, row.reference, env)] == ["2002"]


def test_owner_of_a_platform_replaces_its_wildcard_and_each_other_client_the_own_host(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.client("2000", "platform.example")
    env.client("2001", SITES["2001"])
    leaf = issuer.issue(WILDCARD, "platform.example", days=80)
    for host in ("platform.example", SITES["2001"]):
        serve(env.database, host, leaf, env.now)
    found = names_by_client(env, open_for(env, leaf))
    assert sorted(found["2000"]) == [WILDCARD, "platform.example"]
    assert found["2001"] == (SITES["2001"],)


def test_exact_names_of_a_shared_certificate_are_named_to_their_owner_alone(
    env: CaseEnvironment, issuer: Authority
) -> None:
    for number, host in SITES.items():
        env.client(number, host)
    leaf = issuer.issue(*SITES.values(), days=80)
    for host in SITES.values():
        serve(env.database, host, leaf, env.now)
    items = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    assert {i.client: i.hosts for i in items} == {n: (h,) for n, h in SITES.items()}


def test_wildcard_of_one_client_stays_whole(env: CaseEnvironment, issuer: Authority) -> None:
    env.client("2001", SITES["2001"])
    leaf = issuer.issue(WILDCARD, days=80)
    serve(env.database, SITES["2001"], leaf, env.now)
    assert names_by_client(env, open_for(env, leaf)) == {"2001": (WILDCARD,)}


def test_second_incident_over_the_same_certificate_joins_and_both_are_worked_on(
    env: CaseEnvironment, issuer: Authority
) -> None:
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    first, second = open_for(env, leaf), open_for(env, leaf, "2")
    with env.database.read() as conn:
        (case,) = cases.listing(conn)
    asked: list[str] = []
    for row in (first, second):
        result = bulk.of_incident(env.service, row.reference, CaseAction.CANCEL, asked.append)
        assert result.done == [case.reference]
    assert asked == [case.reference] * 2
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    closed = incident_progress.close_resolved(env.context)
    assert sorted(closed) == sorted([first.reference, second.reference])


def test_lineage_that_was_removed_is_no_automation_and_its_certificate_gets_a_case(
    env: CaseEnvironment, issuer: Authority
) -> None:
    lineage = with_lineage(env, HOST)
    with env.database.write(env.now) as tx:
        lineages.note(tx, lineage, state="retired", retired_at=tx.at)
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    assert names_by_client(env, open_for(env, leaf)) == {"1001": (HOST,)}


@pytest.mark.parametrize("changed", [{"state": "paused"}, {"state": "retired"}])
def test_automation_that_ends_during_an_incident_is_reported(
    env: CaseEnvironment, issuer: Authority, changed: dict[str, Any]
) -> None:
    lineage = with_lineage(env, HOST)
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    row = open_for(env, leaf)

    def progress() -> incident_progress.Progress:
        with env.database.read() as conn:
            return incident_progress.progress(conn, row, to_epoch(env.now))

    assert progress().stranded == frozenset()
    assert progress().state(progress().items[0]) == "still served"
    with env.database.write(env.now) as tx:
        lineages.note(tx, lineage, **changed)
    found = progress()
    assert "no automation renews it any more" in found.state(found.items[0])
    assert any("open cases" in line for line in incident_events.event_of(found).lines)
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert progress().stranded == frozenset(), "replaced by any party is done"


def test_lineage_whose_account_is_lost_stays_automatic_with_its_trouble(
    env: CaseEnvironment, issuer: Authority
) -> None:
    """Staff repair the account: a second renewal by hand would be installed over it."""
    with_lineage(env, HOST)
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    with env.database.write(env.now) as tx:
        (account,) = accounts.listing(tx.conn)
        accounts.edit(tx, account.id, state="lost")
    (item,) = incident_selection.select_affected(env.service, serials=[parse(leaf.der).serial])
    assert item.category is IncidentCategory.AUTOMATIC
    assert f"its account {account.name} is lost" in item.reason


def test_closed_incident_opens_again_when_its_certificate_is_served_again(
    env: CaseEnvironment, issuer: Authority
) -> None:
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    row = open_for(env, leaf)
    env.pass_(hours=1)
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]
    assert incident_progress.reopen_returned(env.context) == []
    env.pass_(hours=1)
    serve(env.database, HOST, leaf, env.now)
    assert incident_progress.reopen_returned(env.context) == [row.reference]
    with env.database.read() as conn:
        assert incidents.find(conn, row.reference).closed_at is None
    assert incident_progress.close_resolved(env.context) == []
    env.pass_(hours=1)
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]


def test_closed_incident_stays_closed_if_another_certificate_of_the_site_ends(
    env: CaseEnvironment, issuer: Authority
) -> None:
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    row = open_for(env, leaf)
    serve(env.database, HOST, issuer.issue(HOST, days=80), env.now)
    assert incident_progress.close_resolved(env.context) == [row.reference]
    env.pass_(hours=1)
    serve(env.database, HOST, issuer.issue(SECOND_HOST, days=80), env.now)
    assert incident_progress.reopen_returned(env.context) == []


def test_name_that_left_the_inventory_keeps_no_incident_open(
    env: CaseEnvironment, issuer: Authority
) -> None:
    leaf = issuer.issue(HOST, days=80)
    serve(env.database, HOST, leaf, env.now)
    row = open_for(env, leaf)
    with env.database.write(env.now) as tx:
        domains.retire(tx, HOST)
    with env.database.read() as conn:
        assert left_of(conn, row.reference, env) == []
        progress = incident_progress.progress(conn, row, to_epoch(env.now))
    assert [progress.state(i) for i in progress.items] == ["left the inventory"]
    assert incident_progress.close_resolved(env.context) == [row.reference]
