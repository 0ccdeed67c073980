"""The status of the inventory: by client, with acceptances, and at other times."""

from __future__ import annotations

from datetime import timedelta

import pytest

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.causes import causes
from certmgr.inspection.status import changes, counted, load
from inventory.db.database import Database
from inventory.store import clients, findings
from inventory.vocabulary import Finding, Severity, Verdict
from tests.certmgr.scanning import add, scan
from tests.certmgr.tls_servers import HOST, Stack, serve_certificate
from tests.clock import clock
from tests.servers.ports import free_port

DAY = timedelta(days=1)


def test_acceptance_holds_for_its_client_until_its_end(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    now = clock()
    names = [f"h{n}.example.test" for n in range(4)]
    port = serve_certificate(opened, issuer.issue(*names, not_before=now - 60 * DAY, days=4))
    add(database, port, *names[::2], client="1")
    add(database, port, *names[1::2], client="2")
    scan(database, settings)
    (cause,) = causes(load(database, now))
    assert (cause.kind, cause.code) == ("certificate", "certificate-expiring")
    assert (len(cause.endpoints), cause.clients) == (4, {"1", "2"})
    assert {s.client for s in load(database, now, client="1")} == {"1"}
    code = "certificate-expiring"
    with database.write() as tx:
        owner = clients.find(tx.conn, "1").id
        findings.accept(tx, code, frozenset({code}), now + 2 * DAY, "moving", client_id=owner)
    later = clock()
    assert {(s.client, s.verdict) for s in load(database, later)} == {
        ("1", Verdict.OK),
        ("2", Verdict.FAULT),
    }
    future = load(database, later, as_of=later + 10 * DAY)
    assert {(s.verdict, s.findings[0].code) for s in future} == {
        (Verdict.FAULT, "certificate-expired"),
    }
    assert load(database, later, as_of=later - DAY) == [], "nothing was known then"


def test_past_status_shows_what_was_known_then(
    database: Database,
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = free_port()
    add(database, port, HOST)
    scan(database, settings)
    then = clock()
    clock.advance(seconds=2)
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    scan(database, settings)
    now = clock()
    assert [s.verdict for s in load(database, now)] == [Verdict.OK]
    (past,) = load(database, now, as_of=then)
    assert [f.code for f in past.findings] == ["https-missing"]
    assert past.not_after is None


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["http-served", "redirect-missing"], ["http-served"]),
        (["http-collects-secrets", "redirect-missing"], ["http-collects-secrets"]),
        (["https-missing", "http-served", "redirect-missing"], ["https-missing"]),
        (["default-certificate", "name-mismatch"], ["default-certificate"]),
        (["redirect-missing", "name-mismatch"], ["redirect-missing", "name-mismatch"]),
    ],
)
def test_finding_that_another_one_resolves_is_not_counted(
    codes: list[str], expected: list[str]
) -> None:
    found = [Finding(code, "medium", (), {}) for code in codes]
    assert [f.code for f in counted(found)] == expected


def test_changes_of_a_run_are_counted_as_all_findings_are(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    add(database, serve_certificate(opened, issuer.issue(HOST)), HOST)
    scan(database, settings)
    (seen,) = load(database, clock())
    codes = {"http-served": "medium", "redirect-missing": "medium", "points-elsewhere": "info"}
    seen.findings[:] = [Finding(c, Severity(s)) for c, s in codes.items()]
    every = {(seen.id, code) for code in codes}
    assert changes([seen], every, set()) == (1, 0), "one action fixes both, and info is no fault"
    assert changes([seen], set(), set()) == (0, 0)
    gone = {(seen.id, "not-tls"), (7, "http-served"), (7, "redirect-missing")}
    assert changes([seen], set(), gone) == (0, 2)
    seen.findings[:] = seen.findings[:1]
    still = {(seen.id, "redirect-missing")}
    assert changes([seen], set(), still) == (0, 0), "it was part of the fault that stays"
