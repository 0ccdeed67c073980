"""Scans of the inventory, on both databases: observations, failed, suspect and interrupted runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import POOL_THRESHOLD, ScanRun
from certmgr.inspection.status import load
from inventory.db.database import Database, to_epoch
from inventory.db.opening import open_database
from inventory.errors import Busy
from inventory.models import (
    ProbeState,
    Proposal,
    Run,
    ServedChain,
    StoredCertificate,
    StoredFinding,
)
from inventory.store import domains, findings, runs
from inventory.store import servers as machines
from inventory.vocabulary import Verdict
from tests.campaign import time_limits, wait_until
from tests.certmgr.scanning import add, add_endpoint, open_codes, scan
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve, serve_certificate
from tests.clock import clock
from tests.connects import counted_connects
from tests.program import run_process
from tests.servers import real
from tests.servers.ports import free_port

DAY = timedelta(days=1)


def standing_of(database: Database) -> dict[str, object]:
    with database.read() as conn:
        return dict(conn.execute(select(ProbeState)).mappings().one())


def scan_settings(settings: Settings, **changes: Any) -> Settings:
    return replace(settings, scan=replace(settings.scan, **changes))


@pytest.fixture
def good(issuer: Authority, opened: Stack) -> Server:
    server = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    return server


# -- observations and findings -------------------------------------------------------------------


def test_complete_run_stores_observation_and_certificates(
    database: Database,
    settings: Settings,
    good: Server,
) -> None:
    add(database, good.port, HOST)
    summary = scan(database, settings)
    assert (summary.state, summary.checked, summary.opened) == ("complete", 1, 0)
    with database.read() as conn:
        row = conn.execute(select(ServedChain)).mappings().one()
        assert (row["address"], row["tls_version"]) == ("127.0.0.1", "TLSv1.3")
        assert (row["trusted"], row["open"], row["live"]) == (1, 1, 1)
        assert conn.execute(select(func.count()).select_from(StoredCertificate)).scalar() == 2
        state = conn.execute(select(Run.state, Run.planned, Run.looked)).one()
        assert state == ("complete", 1, 1)


def test_observation_lasts_until_another_certificate_is_served(
    database: Database, settings: Settings, issuer: Authority, opened: Stack, good: Server
) -> None:
    add(database, good.port, HOST)
    first = scan(database, settings)
    clock.advance(seconds=2)
    scan(database, settings)
    with database.read() as conn:
        (row,) = conn.execute(select(ServedChain)).mappings().all()
        assert row["last_seen"] > row["first_seen"], "the same certificate extends it"
        assert row["last_seen"] >= to_epoch(first.finished_at)
    port = good.port
    good.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(renewed.close)
    scan(database, settings)
    with database.read() as conn:
        rows = conn.execute(select(ServedChain).order_by(ServedChain.id)).mappings()
        old, new = rows.all()
    assert (old["open"], new["open"]) == (0, 1)
    assert old["leaf"] != new["leaf"]


def test_failed_check_changes_nothing_that_was_known(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - 60 * DAY, days=4)
    server = Server(servers.tls(server_context(issued)))
    add(database, server.port, HOST)
    scan(database, settings)
    known = standing_of(database)
    server.close()
    silent = Server(servers.silent, port=server.port)
    opened.callback(silent.close)
    summary = scan(database, settings, timeout=0.8)
    after = standing_of(database)
    kept = ("last_good", "leaf", "not_after", "issuer")
    assert {k: after[k] for k in kept} == {k: known[k] for k in kept}
    assert after["error_layer"] == "timeout"
    assert open_codes(database) == {
        "certificate-expiring": "high",
        "connection-timeout": "undetermined",
    }
    assert summary.too_undetermined
    with database.read() as conn:
        row = conn.execute(select(ServedChain)).mappings().one()
        assert (row["open"], row["live"]) == (1, 0)


def test_finding_closes_when_its_fault_is_gone(
    database: Database,
    settings: Settings,
    issuer: Authority,
    opened: Stack,
) -> None:
    port = free_port()
    add(database, port, HOST)
    assert scan(database, settings).opened == 1
    assert open_codes(database) == {"https-missing": "high"}
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    assert scan(database, settings).closed == 1
    assert open_codes(database) == {}
    with database.read() as conn:
        (row,) = findings.listing(conn, closed=True)
    assert row.closed_at is not None


def test_silent_address_of_two_keeps_its_findings(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    old = servers.tls(server_context(issuer.issue(HOST, not_before=clock() - 60 * DAY, days=4)))
    first = Server(old)
    port = first.port
    second = Server(old, address="127.0.0.2", port=port)
    add(database, port, HOST, addresses=("127.0.0.1", "127.0.0.2"))
    scan(database, settings)
    first.close()
    second.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    silent = Server(servers.silent, address="127.0.0.2", port=port)
    opened.callback(renewed.close)
    opened.callback(silent.close)
    for limit in time_limits(1.5):
        scan(database, settings, timeout=limit)
        with database.read() as conn:
            rows = {r.code: r.addresses for r in findings.listing(conn)}
        if rows["connection-timeout"] == ("127.0.0.2",):  # the other one answered in time
            break
    assert rows == {"certificate-expiring": ("127.0.0.2",), "connection-timeout": ("127.0.0.2",)}


def test_endpoint_is_unreachable_after_three_failed_runs_in_a_day(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    add(database, serve(opened, servers.silent), HOST)
    for _ in range(2):
        scan(database, settings, timeout=0.5)
    with database.write() as tx:  # as if the first failure was yesterday
        since = to_epoch(clock() - timedelta(hours=25))
        tx.conn.execute(update(ProbeState).values(failing_since=since))
    scan(database, settings, timeout=0.5)
    assert open_codes(database) == {"unreachable": "high"}


def test_actor_of_a_finding_follows_the_responsibilities(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    issued = issuer.issue(HOST, not_before=clock() - 60 * DAY, days=4)
    add(database, serve_certificate(opened, issued), HOST)
    scan(database, settings)
    with database.read() as conn:
        (row,) = findings.listing(conn)
    assert (row.actor, row.outcome) == ("client", "you-act")
    with database.write() as tx:
        machines.add(tx, {"name": "web1", "renews": "us"})
        domains.edit(tx, HOST, {"server": "web1"})
    scan(database, settings)
    with database.read() as conn:
        (row,) = findings.listing(conn)
    # no administrator is assigned to it with a date yet.
    assert (row.actor, row.outcome) == ("provider", None)


def test_finding_of_a_deep_scan_stays_until_the_next_deep_scan(
    database: Database, settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    legacy = "ssl_protocols TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"
    found_by_a_deep_scan = {"tls-legacy-offered": "low", "post-quantum-missing": "info"}
    (tmp_path / "n").mkdir()
    with real.nginx(tmp_path / "n", [(HOST, *pair)], extra=legacy) as port:
        add(database, port, HOST)
        for deep in (True, False):
            scan(database, settings, deep=deep)
            assert open_codes(database) == found_by_a_deep_scan
    # This server has a newer OpenSSL than the nginx, with post-quantum key exchange.
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    scan(database, settings)
    assert open_codes(database) == found_by_a_deep_scan
    scan(database, settings, deep=True)
    assert open_codes(database) == {}


def test_default_certificate_is_assigned_to_the_host_and_not_to_the_buyer(
    database: Database, settings: Settings, opened: Stack
) -> None:
    issued = self_signed("panel.provider.test", clock=clock)
    add(database, serve_certificate(opened, issued), HOST)
    scan(database, settings)
    with database.read() as conn:
        found = {r.code: r.actor for r in findings.listing(conn)}
    assert found == {
        "default-certificate": "provider",
        "name-mismatch": "provider",
        "self-signed": "provider",
    }


# -- suspect runs ----------------------------------------------------------------------------------


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


# -- addresses with many endpoints -----------------------------------------------------------------


def test_refusing_address_is_confirmed_once_for_all_its_endpoints(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    port = refusing_port(opened)
    add(database, port, *[f"h{n}.example.test" for n in range(20)])
    with counted_connects(port) as attempts:
        summary = scan(database, scan_settings(settings, per_address=1, rate=0.0))
    assert len(attempts) <= 20 + 2, "each endpoint would confirm it separately: 40 attempts"
    assert (summary.opened, open_codes(database)) == (20, {"https-missing": "high"})


def test_address_that_is_silent_for_several_names_is_given_up(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    add(database, silent.port, *[f"h{n}.example.test" for n in range(30)])
    scan(database, scan_settings(settings, per_address=4, rate=0.0), timeout=0.6)
    assert silent.connections < 30
    assert open_codes(database) == {"connection-timeout": "undetermined"}


def test_silent_name_has_no_effect_on_others_at_its_address(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    """A router with one dead backend: silence for one name, good answers for the others."""
    names = [f"h{n}.example.test" for n in range(8)]
    answer = servers.tls(server_context(issuer.issue(*names)))

    def route(sock: socket.socket) -> None:
        hello = sock.recv(4096, socket.MSG_PEEK)
        (servers.silent if b"dead.example.test" in hello else answer)(sock)

    add(database, serve(opened, route), "dead.example.test", *names)
    for limit in time_limits(2.0):
        scan(database, scan_settings(settings, per_address=1, rate=0.0), timeout=limit)
        with database.read() as conn:
            rows = [(r.host, r.code) for r in findings.listing(conn)]
        if len(rows) == 1:  # all others answered in time
            break
    assert rows == [("dead.example.test", "connection-timeout")]


# -- one scan at a time, and processes -----------------------------------------------------------


def test_second_scan_is_refused_and_names_the_first(
    database: Database,
    settings: Settings,
    good: Server,
) -> None:
    add(database, good.port, HOST)
    with runs.exclusive(database):
        with database.write() as tx:
            runs.start(tx, "", 1)
        with pytest.raises(Busy, match=f"process {os.getpid()}"):
            scan(database, settings)
    assert scan(database, settings).state == "complete"
    with database.read() as conn:
        states = conn.execute(select(Run.state).order_by(Run.id)).scalars().all()
    assert states == ["incomplete", "complete"]


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("count", [3, POOL_THRESHOLD + 1], ids=["one-process", "several-processes"])
def test_interrupted_scan_leaves_a_consistent_database(
    url: str, tmp_path: Path, opened: Stack, signal_: signal.Signals, count: int
) -> None:
    database = open_database(url, actor="tester")
    opened.callback(database.close)
    silent = Server(servers.silent)
    opened.callback(silent.close)
    with database.write() as tx:
        for n in range(count):  # the first is silent, and at the other addresses nothing listens
            add_endpoint(tx, f"h{n}.example.test", silent.port, (f"127.0.0.{n + 1}",))
    config = tmp_path / "c.toml"
    config.write_text("[scan]\ntimeout = 600.0\nper_address = 0\nrate = 0.0\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "certmgr", "--config", str(config), "--database", url, "scan"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: silent.connections > 0 or process.poll() is not None, "the first connection")
    process.send_signal(signal_)
    _, err = process.communicate()
    with database.read() as conn:
        state = conn.execute(select(Run.state)).scalar()
        assert conn.execute(select(func.count()).select_from(StoredFinding)).scalar() == 0
    if signal_ == signal.SIGKILL:
        assert state == "running"
        with runs.exclusive(database), database.write() as tx:  # the lock died with its holder
            runs.start(tx, "", 0)
        with database.read() as conn:
            states = conn.execute(select(Run.state).order_by(Run.id)).scalars().all()
        assert states == ["incomplete", "running"]
    else:
        code = 130 if signal_ == signal.SIGINT else 143
        assert (state, process.returncode) == ("incomplete", code), err
        assert "Traceback" not in err and "Exception" not in err
        assert "interrupted" in err


def test_scan_by_several_processes_judges_each_endpoint(
    url: str, issuer: Authority, root_file: Path, tmp_path: Path, opened: Stack
) -> None:
    # In a separate process: pytest has threads, and a fork copies the locks that they hold.
    names = [f"h{n}.example.test" for n in range(80)]
    assert len(names) > POOL_THRESHOLD
    port = serve_certificate(opened, real.long_lived(issuer, *names[:70]))
    database = open_database(url, actor="tester")
    opened.callback(database.close)
    add(database, port, *names)
    config = tmp_path / "c.toml"
    config.write_text("[scan]\nper_address = 0\nrate = 0.0\n[http]\nenabled = false\n")
    files = ("--config", str(config), "--database", url)
    ran = run_process([*files, "scan", "--ca-file", str(root_file), "--format", "json"])
    rows = ran.json["endpoints"]
    found = {row["host"]: {f["code"] for f in row["findings"]} for row in rows}
    assert sorted(found) == sorted(names)
    assert {host for host, codes in found.items() if codes} == set(names[70:])
    # The certificate covers other names of this client.
    assert all("default-certificate" not in codes for codes in found.values())


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
