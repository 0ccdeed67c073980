"""One step of all cases of an incident, at the command line."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.cases import agreement, bulk, incident, incident_selection, intake, signing_requests
from certmgr.cases.states import CaseAction
from certmgr.demo.authority import Authority
from inventory.errors import CertmgrError
from inventory.store import cases, incidents
from inventory.vocabulary import IncidentKind
from tests.certmgr.cases.place import (
    HOST,
    OTHER_HOST,
    SECOND_HOST,
    CaseEnvironment,
    issue,
    serve,
    vendor_upload,
)


@pytest.fixture
def env(sqlite_env: CaseEnvironment) -> CaseEnvironment:
    return sqlite_env


def revoke(env: CaseEnvironment, issuer: Authority, *hosts: str) -> str:
    """Open an incident about one certificate per host; return its reference."""
    for host in hosts:
        serve(env.database, host, issuer.issue(host, days=80), env.now)
    items = incident_selection.select_affected(env.service, issuer="test issuer")
    until = env.now + timedelta(hours=20)
    row, _ = incident.open_incident(
        env.service, items, IncidentKind.ISSUER, "x", until, "it revokes"
    )
    return row.reference


def states(env: CaseEnvironment, reference: str) -> dict[str, str]:
    with env.database.read() as conn:
        row = incidents.find(conn, reference)
        return {c.names[0]: str(c.state) for c in cases.listing(conn, incident_id=row.id)}


def test_each_case_of_the_incident_takes_the_step_and_a_second_call_changes_nothing(
    env: CaseEnvironment, issuer: Authority
) -> None:
    env.client("1002", OTHER_HOST)
    reference = revoke(env, issuer, HOST, SECOND_HOST, OTHER_HOST)
    service = env.service

    def make(one: str) -> object:
        return signing_requests.make_csr(service, one)

    made = bulk.of_incident(service, reference, CaseAction.CSR, make)
    assert (len(made.done), made.skipped, made.failed) == (3, [], [])
    again = bulk.of_incident(service, reference, CaseAction.CSR, make)
    assert (again.done, len(again.skipped)) == ([], 3), "no second key"
    sent = bulk.of_incident(
        service, reference, CaseAction.SEND, lambda r: signing_requests.send_csr(service, r)
    )
    assert len(sent.done) == 3
    assert set(states(env, reference).values()) == {"waiting-purchase"}


def test_approval_applies_to_checked_cases_alone(env: CaseEnvironment, issuer: Authority) -> None:
    reference = revoke(env, issuer, HOST, SECOND_HOST)
    with env.database.read() as conn:
        first = cases.listing(conn, incident_id=incidents.find(conn, reference).id)[0].reference
    (pem,) = signing_requests.make_csr(env.service, first)
    signing_requests.send_csr(env.service, first)
    upload = vendor_upload(issue(issuer, pem, start=env.now))
    assert not intake.receive(env.service, first, upload).refused
    done = bulk.of_incident(
        env.service, reference, None, lambda r: agreement.approve(env.service, r, "Ada", "mail")
    )
    assert (done.done, [s for _, s in done.skipped]) == ([first], ["requested"])
    assert env.row(first).approved_by == "Ada"


def test_error_of_one_case_does_not_stop_the_others(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference = revoke(env, issuer, HOST, SECOND_HOST)
    seen: list[str] = []

    def change(one: str) -> object:
        seen.append(one)
        if len(seen) == 1:
            raise CertmgrError("The disk is full", "", "")
        return signing_requests.make_csr(env.service, one)

    result = bulk.of_incident(env.service, reference, CaseAction.CSR, change)
    assert (len(result.done), [r for r, _ in result.failed]) == (1, seen[:1])
    assert sorted(states(env, reference).values()) == ["csr-ready", "requested"]
