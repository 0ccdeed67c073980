"""Scans of the inventory, on both databases: what is checked, who acts, and interrupted runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority, self_signed
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.scan_run import POOL_THRESHOLD
from inventory.db.database import Database
from inventory.db.opening import open_database
from inventory.errors import Busy
from inventory.models import Run, StoredFinding
from inventory.store import domains, findings, runs
from inventory.store import servers as machines
from tests.campaign import time_limits, wait_until
from tests.certmgr.inspection.run_settings import DAY, scan_settings
from tests.certmgr.scanning import add, add_endpoint, open_codes, scan
from tests.certmgr.tls_servers import HOST, Stack, refusing_port, serve, serve_certificate
from tests.clock import clock
from tests.connects import counted_connects
from tests.program import run_process
from tests.servers import real


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


@pytest.mark.parametrize(
    ("count", "signal_"),
    [
        pytest.param(3, signal.SIGINT, id="one-process-INT"),
        pytest.param(3, signal.SIGKILL, id="one-process-KILL"),
        pytest.param(POOL_THRESHOLD + 1, signal.SIGTERM, id="several-processes-TERM"),
        pytest.param(POOL_THRESHOLD + 1, signal.SIGKILL, id="several-processes-KILL"),
    ],
)
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
