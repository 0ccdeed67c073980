"""Runs in which many endpoints or a control target fail, and what they still open."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.status import load
from inventory.db.database import Database
from inventory.models import ProbeState, Proposal, ServedChain
from inventory.vocabulary import Verdict
from tests.certmgr.inspection.run_settings import scan_settings
from tests.certmgr.scanning import add, open_codes, scan
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve_certificate
from tests.clock import clock


def test_run_in_which_many_endpoints_fail_together_is_suspect(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"h{n}.example.test" for n in range(6)]
    server = Server(servers.tls(server_context(issuer.issue(*names))))
    add(database, server.port, *names)
    assert scan(database, settings).state == "complete"
    server.close()
    suspect = scan(database, settings)
    assert (suspect.state, suspect.opened) == ("suspect", 0)
    assert suspect.reason is not None
    assert "6 of 6" in suspect.reason
    assert open_codes(database) == {}
    with database.read() as conn:
        assert conn.execute(select(func.count()).select_from(Proposal)).scalar() == 0
    clock.advance(seconds=2)
    assert scan(database, settings).state == "suspect", "a longer outage stays suspect"
    assert [s.verdict for s in load(database, clock())] == [Verdict.OK] * 6
    accepted = scan(database, settings, accept_suspect=True)
    assert (accepted.state, accepted.opened) == ("complete", 6)


def test_run_whose_control_target_fails_is_suspect(
    database: Database,
    settings: Settings,
    opened: Stack,
    good: Server,
) -> None:
    add(database, refusing_port(opened), HOST)
    failing = scan_settings(settings, controls=(f"127.0.0.1:{refusing_port(opened)}",))
    summary = scan(database, failing)
    assert (summary.state, summary.checked) == ("suspect", 0)
    assert open_codes(database) == {}
    answering = scan_settings(settings, controls=(f"127.0.0.1:{good.port}",))
    assert scan(database, answering).state == "complete"


def test_endpoint_that_only_a_suspect_run_checked_is_unknown(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    add(database, serve_certificate(opened, self_signed(HOST, clock=clock)), HOST)
    control = Server(servers.tls(server_context(self_signed("control.test", clock=clock))))
    controlled = scan_settings(settings, controls=(f"127.0.0.1:{control.port}",))

    class FailingAfterwards(ScanRun):
        """The control target answers before the run, and not after it."""

        def _handle(self, results: list[Any], planned: int) -> None:
            super()._handle(results, planned)
            control.close()

    context = Context(database, controlled, database.clock)
    assert FailingAfterwards(context, ScanOptions()).run().state == "suspect"
    (unknown,) = load(database, clock(), skip_healthy=True)
    assert unknown.verdict == Verdict.UNKNOWN, "never judged is not ok"
    assert scan(database, settings).opened > 0
    assert load(database, clock())[0].verdict == Verdict.FAULT


def test_failures_of_a_suspect_run_are_forgotten_after_the_next_good_check(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"h{n}.example.test" for n in range(6)]
    talk = servers.tls(server_context(issuer.issue(*names)))
    server = Server(talk)
    port = server.port
    add(database, port, *names)
    scan(database, settings)
    server.close()
    silent = Server(servers.silent, port=port)
    assert scan(database, settings, timeout=0.8).state == "suspect"
    silent.close()
    back = Server(talk, port=port)
    opened.callback(back.close)
    scan(database, settings)
    with database.read() as conn:
        rows = conn.execute(select(ProbeState)).mappings().all()
        seen = conn.execute(select(ServedChain.open, ServedChain.live)).all()
    columns = ("error_reason", "failing_since", "failing_runs", "good")
    assert {tuple(r[c] for c in columns) for r in rows} == {(None, None, 0, 1)}
    assert {tuple(s) for s in seen} == {(1, 1)}


def test_no_single_party_silences_the_others(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    """Six sites of one client go down; the expired certificate of another one opens."""
    many = [f"h{n}.many.test" for n in range(6)]
    others = [f"www.other{n}.test" for n in range(6)]
    down = Server(servers.tls(server_context(issuer.issue(*many))))
    add(database, down.port, *many, client="1")
    add(database, serve_certificate(opened, issuer.issue(*others)), *others, client="2")
    scan(database, settings)
    down.close()
    clock.advance(seconds=2)
    done = scan(database, settings)
    assert (done.state, done.opened) == ("complete", 6)


def test_expired_certificate_opens_in_a_suspect_run(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"www.site{n}.test" for n in range(12)]
    server = Server(servers.tls(server_context(issuer.issue(*names))))
    add(database, server.port, *names[:6], client="1")
    add(database, server.port, *names[6:], client="3")
    soon = issuer.issue("late.test", not_after=clock() + timedelta(hours=1))
    add(database, serve_certificate(opened, soon), "late.test", client="2")
    scan(database, settings)
    server.close()
    clock.advance(seconds=7200)
    run = scan(database, settings)
    assert (run.state, run.opened) == ("suspect", 1)
    assert "certificate-expired" in open_codes(database)
    assert "unreachable" not in open_codes(database)
    # The same fault is not opened twice, and the rest follows when the run is accepted.
    assert scan(database, settings).opened == 0
    accepted = scan(database, settings, accept_suspect=True)
    assert (accepted.state, accepted.opened >= 12) == ("complete", True)
