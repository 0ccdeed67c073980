"""Runs over the inventory: spans, failed looks, suspect and interrupted runs, one scan at a time; on both databases."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from certmgr.config import Settings
from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.scan.report import Report
from certmgr.status import causes, load
from certmgr.survey import Options, Summary, Survey
from inventory.database import Database, open_database, to_epoch
from inventory.errors import Busy, NotFound
from inventory.model import Verdict
from inventory.store import clients, domains, endpoints, findings, runs
from inventory.store import servers as machines
from inventory.tables import certificate, finding, observation, proposal, run, standing
from inventory.targets import Target
from tests.campaign import wait_until
from tests.clock import clock
from tests.connects import counted_connects
from tests.program import Ran
from tests.servers.ports import free_port, wait_for

Stack = contextlib.ExitStack
HOST = "shop.example.test"


def add(database: Database, host: str, port: int, addresses: tuple[str, ...] = ("127.0.0.1",), client: str = "1") -> None:
    with database.write() as tx:
        try:
            clients.find(tx.conn, client)
        except NotFound:
            clients.add(tx, {"number": client, "name": f"Client {client}", "hosts": "us", "renews": "client", "dns": "client"})
        domains.add(tx, host, {"client": client})
        endpoints.edit(tx, Target(host), {"port": port, "addresses": list(addresses)})


def scan(database: Database, settings: Settings, **options: object) -> Summary:
    return Survey(database, settings, Options(**options)).run()  # type: ignore[arg-type]


def open_codes(database: Database) -> dict[str, str]:
    with database.read() as conn:
        return {r["code"]: r["severity"] for r in findings.listing(conn)}


def standing_of(database: Database) -> dict[str, object]:
    with database.read() as conn:
        return dict(conn.execute(select(standing)).mappings().one())


@pytest.fixture
def good(issuer: Authority, opened: Stack) -> Server:
    server = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    return server


def test_a_run_stores_what_was_seen(database: Database, settings: Settings, good: Server) -> None:
    add(database, HOST, good.port)
    summary = scan(database, settings)
    assert (summary.state, summary.looked, summary.opened) == ("complete", 1, 0)
    with database.read() as conn:
        span = conn.execute(select(observation)).mappings().one()
        assert (span["address"], span["tls_version"], span["trusted"], span["open"], span["live"]) == (
            "127.0.0.1",
            "TLSv1.3",
            1,
            1,
            1,
        )
        assert conn.execute(select(func.count()).select_from(certificate)).scalar() == 2
        assert conn.execute(select(run.c.state, run.c.planned, run.c.looked)).one() == ("complete", 1, 1)


def test_a_span_goes_on_until_something_else_is_served(
    database: Database, settings: Settings, issuer: Authority, opened: Stack, good: Server
) -> None:
    add(database, HOST, good.port)
    first = scan(database, settings)
    clock.advance(seconds=2)
    scan(database, settings)
    with database.read() as conn:
        (span,) = conn.execute(select(observation)).mappings().all()
        assert span["last_seen"] > span["first_seen"], "the same certificate lengthens the span"
        assert span["last_seen"] >= to_epoch(first.finished_at)
    port = good.port
    good.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(renewed.close)
    scan(database, settings)
    with database.read() as conn:
        old, new = conn.execute(select(observation).order_by(observation.c.id)).mappings().all()
    assert (old["open"], new["open"]) == (0, 1)
    assert old["leaf"] != new["leaf"]


def test_a_failed_look_never_changes_what_was_known(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    now = clock()
    server = Server(servers.tls(server_context(issuer.issue(HOST, not_before=now - timedelta(days=60), days=4))))
    add(database, HOST, server.port)
    scan(database, settings)
    known = standing_of(database)
    server.close()
    silent = Server(servers.silent, port=server.port)
    opened.callback(silent.close)
    summary = scan(database, settings, timeout=1.0)
    after = standing_of(database)
    assert {k: after[k] for k in ("last_good", "leaf", "not_after", "issuer")} == {
        k: known[k] for k in ("last_good", "leaf", "not_after", "issuer")
    }
    assert after["error_layer"] == "timeout"
    assert open_codes(database) == {"certificate-expiring": "high", "connection-timeout": "undetermined"}
    assert summary.too_undetermined
    with database.read() as conn:
        span = conn.execute(select(observation)).mappings().one()
        assert (span["open"], span["live"]) == (1, 0)


def test_a_finding_closes_when_its_fault_is_gone(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    port = free_port()
    add(database, HOST, port)
    assert scan(database, settings).opened == 1
    assert open_codes(database) == {"https-missing": "high"}
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    assert scan(database, settings).closed == 1
    assert open_codes(database) == {}
    with database.read() as conn:
        (row,) = findings.listing(conn, closed=True)
    assert row["closed_at"] is not None


def test_the_silent_one_of_two_addresses_keeps_its_findings(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    now = clock()
    old = issuer.issue(HOST, not_before=now - timedelta(days=60), days=4)
    first = Server(servers.tls(server_context(old)))
    second = Server(servers.tls(server_context(old)), address="127.0.0.2", port=first.port)
    add(database, HOST, first.port, ("127.0.0.1", "127.0.0.2"))
    scan(database, settings)
    port = first.port
    first.close()
    second.close()
    renewed = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    silent = Server(servers.silent, address="127.0.0.2", port=port)
    opened.callback(renewed.close)
    opened.callback(silent.close)
    scan(database, settings, timeout=1.0)
    with database.read() as conn:
        rows = {r["code"]: r["addresses"] for r in findings.listing(conn)}
    assert rows == {"certificate-expiring": ["127.0.0.2"], "connection-timeout": ["127.0.0.2"]}


def test_unreachable_after_three_runs_over_a_day(database: Database, settings: Settings, opened: Stack) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    add(database, HOST, silent.port)
    for _ in range(2):
        scan(database, settings, timeout=0.8)
    with database.write() as tx:  # as if the first failure was yesterday
        tx.conn.execute(update(standing).values(failing_since=to_epoch(clock() - timedelta(hours=25))))
    scan(database, settings, timeout=0.8)
    assert open_codes(database) == {"unreachable": "high"}


def test_many_that_fail_together_make_a_suspect_run(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"h{i}.example.test" for i in range(6)]
    server = Server(servers.tls(server_context(issuer.issue(*names))))
    for name in names:
        add(database, name, server.port)
    assert scan(database, settings).state == "complete"
    server.close()
    suspect = scan(database, settings)
    assert (suspect.state, suspect.opened) == ("suspect", 0)
    assert suspect.reason is not None
    assert "6 of 6" in suspect.reason
    assert open_codes(database) == {}
    with database.read() as conn:
        assert conn.execute(select(func.count()).select_from(proposal)).scalar() == 0
    clock.advance(seconds=2)
    assert scan(database, settings).state == "suspect", "an outage of more than one run stays suspect"
    assert [s.verdict for s in load(database, clock())] == [Verdict.OK] * 6, "what was known stands"
    accepted = scan(database, settings, accept_suspect=True)
    assert (accepted.state, accepted.opened) == ("complete", 6)


def test_a_control_target_that_fails_makes_a_suspect_run(database: Database, settings: Settings, good: Server) -> None:
    add(database, HOST, free_port())
    controlled = replace(settings, scan=replace(settings.scan, controls=(f"127.0.0.1:{free_port()}",)))
    summary = scan(database, controlled)
    assert (summary.state, summary.looked) == ("suspect", 0)
    assert open_codes(database) == {}
    assert (
        scan(database, replace(settings, scan=replace(settings.scan, controls=(f"127.0.0.1:{good.port}",)))).state == "complete"
    )


def test_a_dead_address_is_asked_once_for_all_its_endpoints(database: Database, settings: Settings, opened: Stack) -> None:
    """A port that refuses: one confirmation holds for all twenty endpoints."""
    port = free_port()
    for i in range(20):
        add(database, f"h{i}.example.test", port)
    polite = replace(settings, scan=replace(settings.scan, per_address=1, rate=0.0))
    with counted_connects(port) as attempts:
        summary = scan(database, polite)
    assert len(attempts) <= 20 + 2, "each endpoint on its own would confirm it: 40 attempts"
    assert (summary.opened, open_codes(database)) == (20, {"https-missing": "high"})


def test_an_address_that_is_silent_for_every_name_is_given_up(database: Database, settings: Settings, opened: Stack) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    for i in range(30):
        add(database, f"h{i}.example.test", silent.port)
    polite = replace(settings, scan=replace(settings.scan, per_address=4, rate=0.0))
    scan(database, polite, timeout=1.0)
    assert silent.connections < 30
    assert open_codes(database) == {"connection-timeout": "undetermined"}


def test_one_silent_name_does_not_condemn_its_neighbours(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    """A router with one dead backend: silence for one name, good answers for the others."""
    import socket

    names = [f"h{i}.example.test" for i in range(8)]
    good = servers.tls(server_context(issuer.issue(*names)))

    def route(sock: socket.socket) -> None:
        hello = sock.recv(4096, socket.MSG_PEEK)
        (servers.silent if b"dead.example.test" in hello else good)(sock)

    server = Server(route)
    opened.callback(server.close)
    add(database, "dead.example.test", server.port)
    for name in names:
        add(database, name, server.port)
    scan(database, replace(settings, scan=replace(settings.scan, per_address=1, rate=0.0)), timeout=1.0)
    with database.read() as conn:
        assert [(r["host"], r["code"]) for r in findings.listing(conn)] == [("dead.example.test", "connection-timeout")]


def test_a_second_scan_is_refused_and_names_the_first(database: Database, settings: Settings, good: Server) -> None:
    add(database, HOST, good.port)
    with runs.exclusive(database):
        with database.write() as tx:
            runs.start(tx, "", 1)
        with pytest.raises(Busy, match=f"process {os.getpid()}"):
            scan(database, settings)
    assert scan(database, settings).state == "complete"
    with database.read() as conn:
        assert [r[0] for r in conn.execute(select(run.c.state).order_by(run.c.id))] == ["incomplete", "complete"]


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("endpoints_", [3, 90])
def test_an_interrupted_scan_leaves_a_consistent_database(
    url: str, tmp_path: Path, opened: Stack, signal_: int, endpoints_: int
) -> None:
    database = open_database(url, actor="tester")
    opened.callback(database.close)
    silent = Server(servers.silent)
    opened.callback(silent.close)
    for i in range(endpoints_):
        add(database, f"h{i}.example.test", silent.port, (f"127.0.0.{i % 200 + 1}" if i else "127.0.0.1",))
    config = tmp_path / "c.toml"
    config.write_text("[scan]\ntimeout = 30.0\nper_address = 0\nrate = 0.0\n")
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
        state = conn.execute(select(run.c.state)).scalar()
        assert conn.execute(select(func.count()).select_from(finding)).scalar() == 0
    if signal_ == signal.SIGKILL:
        assert state == "running"
        with runs.exclusive(database), database.write() as tx:  # the lock died with its holder
            runs.start(tx, "", 0)
        with database.read() as conn:
            assert conn.execute(select(run.c.state).order_by(run.c.id)).scalars().all() == ["incomplete", "running"]
    else:
        assert (state, process.returncode) == ("incomplete", 3), err
        assert "interrupted" in err
    wait_for(silent.port)


def test_processes_and_one_process_tell_the_same(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"h{i}.example.test" for i in range(80)]
    server = Server(servers.tls(server_context(issuer.issue(*names[:70]))))
    opened.callback(server.close)
    for name in names:
        add(database, name, server.port)
    told: dict[int, Report] = {}
    summary = Survey(database, settings, Options(full=True), on_report=lambda key, report: told.__setitem__(key, report)).run()
    assert summary.looked == 80
    assert sum(1 for r in told.values() if r.findings) == 10
    assert all("default-certificate" not in {f.code for f in r.findings} for r in told.values()), (
        "the certificate covers other names of this client"
    )


def test_who_acts_is_computed(database: Database, settings: Settings, issuer: Authority, opened: Stack) -> None:
    now = clock()
    server = Server(servers.tls(server_context(issuer.issue(HOST, not_before=now - timedelta(days=60), days=4))))
    opened.callback(server.close)
    add(database, HOST, server.port)
    scan(database, settings)
    with database.read() as conn:
        (row,) = findings.listing(conn)
    assert (row["actor"], row["outcome"]) == ("client", "you-act")
    with database.write() as tx:
        machines.add(tx, {"name": "web1", "renews": "us"})
        domains.edit(tx, HOST, {"server": "web1"})
    scan(database, settings)
    with database.read() as conn:
        (row,) = findings.listing(conn)
    assert (row["actor"], row["outcome"]) == ("provider", None), "nobody has taken it with a date yet"


def test_what_only_a_deep_look_sees_stays_until_a_deep_look(
    database: Database, settings: Settings, issuer: Authority, tmp_path: Path, opened: Stack
) -> None:
    from tests.servers import real

    pair = real.write_pair(tmp_path, issuer.issue(HOST))
    legacy = "ssl_protocols TLSv1.1 TLSv1.2; ssl_ciphers ALL:@SECLEVEL=0;"
    (tmp_path / "n").mkdir()
    port = opened.enter_context(real.nginx(tmp_path / "n", [(HOST, *pair)], extra=legacy))
    add(database, HOST, port)
    for deep in (True, False):
        scan(database, settings, deep=deep)
        assert open_codes(database) == {"tls-legacy-offered": "low"}
    opened.close()
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    scan(database, settings)
    assert open_codes(database) == {"tls-legacy-offered": "low"}
    scan(database, settings, deep=True)
    assert open_codes(database) == {}


def test_a_default_certificate_is_no_matter_of_the_buyer(database: Database, settings: Settings, opened: Stack) -> None:
    from certmgr.demo.authority import self_signed

    server = Server(servers.tls(server_context(self_signed("panel.provider.test", clock=clock))))
    opened.callback(server.close)
    add(database, HOST, server.port)
    scan(database, settings)
    with database.read() as conn:
        found = {r["code"]: r["actor"] for r in findings.listing(conn)}
    assert found == {"default-certificate": "provider", "name-mismatch": "provider", "self-signed": "provider"}


def test_what_was_only_looked_at_in_a_suspect_run_is_unknown(database: Database, settings: Settings, opened: Stack) -> None:
    from certmgr.demo.authority import self_signed

    server = Server(servers.tls(server_context(self_signed(HOST, clock=clock))))
    opened.callback(server.close)
    add(database, HOST, server.port)
    port = server.port
    control = Server(servers.tls(server_context(self_signed("control.test", clock=clock))))
    controlled = replace(settings, scan=replace(settings.scan, controls=(f"127.0.0.1:{control.port}",)))

    class Late(Survey):
        """The control target answers before the run, and not after it."""

        def _handle(self, found: list[Any], planned: int) -> None:
            super()._handle(found, planned)
            control.close()

    assert Late(database, controlled, Options()).run().state == "suspect"
    (standing_,) = load(database, clock(), troubled=True)
    assert standing_.verdict == Verdict.UNKNOWN, "never judged is not ok"
    assert port
    assert scan(database, settings).opened == 3 or open_codes(database)
    assert load(database, clock())[0].verdict == Verdict.FAULT


def test_facts_of_a_suspect_run_do_not_outlive_the_next_good_look(
    database: Database, settings: Settings, issuer: Authority, opened: Stack
) -> None:
    names = [f"h{i}.example.test" for i in range(6)]
    issued = issuer.issue(*names)
    server = Server(servers.tls(server_context(issued)))
    port = server.port
    for name in names:
        add(database, name, port)
    scan(database, settings)
    server.close()
    silent = Server(servers.silent, port=port)
    assert scan(database, settings, timeout=0.8).state == "suspect"
    silent.close()
    back = Server(servers.tls(server_context(issued)), port=port)
    opened.callback(back.close)
    scan(database, settings)
    with database.read() as conn:
        rows = conn.execute(select(standing)).mappings().all()
        spans = conn.execute(select(observation.c.open, observation.c.live)).all()
    assert {(r["error_reason"], r["failing_since"], r["failing_runs"], r["good"]) for r in rows} == {(None, None, 0, 1)}
    assert {tuple(s) for s in spans} == {(1, 1)}


def test_an_edited_port_is_judged_anew(database: Database, settings: Settings, opened: Stack) -> None:
    from certmgr.scan.evidence import AddressEvidence, Evidence, Resolution
    from certmgr.scan.examine import Examiner, Job, Setup

    seen = AddressEvidence("192.0.2.1", (b"x",), "TLSv1.3", "TLS_AES_128_GCM_SHA256")

    async def memos() -> set[str]:
        examiner = Examiner(Setup(), lambda _: None)
        made = set()
        for target in (Target(HOST, 25, "smtp"), Target(HOST, 587, "smtp")):
            evidence = Evidence(target, clock(), Resolution("fixed", ("192.0.2.1",)), (seen,))
            made.add(examiner._memo(Job(1, target), evidence))
        await examiner.close()
        return made

    import asyncio

    assert len(asyncio.run(memos())) == 2


def test_targets_know_the_intermediates_of_the_inventory(
    certmgr: Callable[..., Ran], root: Authority, root_file: Path, opened: Stack
) -> None:
    hidden = Authority("Hidden Issuer", root)
    whole = Server(servers.tls(server_context(hidden.issue(HOST))))
    short = Server(servers.tls(server_context(hidden.issue("127.0.0.1"), chain=())))
    opened.callback(whole.close)
    opened.callback(short.close)
    certmgr("client", "add", "1", "One")
    certmgr("domain", "add", HOST, "--client", "1")
    certmgr("endpoint", "edit", HOST, "--port", str(whole.port), "--address", "127.0.0.1")
    target = ("scan", f"127.0.0.1:{short.port}", "--ca-file", str(root_file), "--format", "json")
    assert certmgr(*target).json["endpoints"][0]["addresses"][0]["trusted"] is None
    assert certmgr("scan", "--ca-file", str(root_file)).code == 0
    assert certmgr(*target).json["endpoints"][0]["addresses"][0]["trusted"] is True


@pytest.mark.parametrize(
    "parties", [{"renews": "panel", "hosts": "panel"}, {"buys": "us"}, {"renews": "us", "buys": "us", "hosts": "us"}]
)
@pytest.mark.parametrize("code", ["certificate-expired", "https-missing", "not-tls", "name-mismatch"])
def test_behind_points_elsewhere_no_fault_is_ours(parties: dict[str, str], code: str) -> None:
    from certmgr.checks.actors import actor_of
    from inventory.model import Parties

    actor = actor_of(code, "critical", Parties(**parties, on_our_server=True), elsewhere=True, ever_had_certificate=False)
    assert actor == "client"


# -- status -----------------------------------------------------------------------------------------------------------


def test_status_accepts_folds_and_travels(database: Database, settings: Settings, issuer: Authority, opened: Stack) -> None:
    now = clock()
    names = [f"h{i}.example.test" for i in range(4)]
    server = Server(servers.tls(server_context(issuer.issue(*names, not_before=now - timedelta(days=60), days=4))))
    opened.callback(server.close)
    for i, name in enumerate(names):
        add(database, name, server.port, client=str(i % 2 + 1))
    scan(database, settings)
    (cause,) = causes(load(database, now))
    assert (cause.kind, cause.code, len(cause.endpoints), cause.clients) == ("certificate", "certificate-expiring", 4, {"1", "2"})
    assert {s.client for s in load(database, now, client="1")} == {"1"}
    with database.write() as tx:
        owner = clients.find(tx.conn, "1")["id"]
        findings.accept(
            tx, "certificate-expiring", frozenset({"certificate-expiring"}), now + timedelta(days=2), "moving", client_id=owner
        )
    later = clock()
    assert {(s.client, s.verdict) for s in load(database, later)} == {("1", Verdict.OK), ("2", Verdict.FAULT)}
    future = load(database, later, as_of=later + timedelta(days=10))
    assert {(s.verdict, s.findings[0].code) for s in future} == {(Verdict.FAULT, "certificate-expired")}, (
        "the acceptance has ended by then"
    )
    past = load(database, later, as_of=later - timedelta(days=1))
    assert past == [], "nothing was known then"


def test_the_past_shows_what_was_known_then(database: Database, settings: Settings, issuer: Authority, opened: Stack) -> None:
    port = free_port()
    add(database, HOST, port)
    scan(database, settings)
    then = clock()
    clock.advance(seconds=2)
    server = Server(servers.tls(server_context(issuer.issue(HOST))), port=port)
    opened.callback(server.close)
    scan(database, settings)
    now = clock()
    assert [s.verdict for s in load(database, now)] == [Verdict.OK]
    (old,) = load(database, now, as_of=then)
    assert [f.code for f in old.findings] == ["https-missing"]
    assert old.not_after is None


def test_the_demonstration(certmgr: Callable[..., Ran]) -> None:
    ran = certmgr("demo")
    assert ran.code == 0, ran.err
    for code in (
        "certificate-expired",
        "certificate-expiring",
        "self-signed",
        "chain-incomplete",
        "not-tls",
        "tls-legacy-only",
        "default-certificate",
        "inconsistent-deployment",
        "certificate-not-yet-valid",
        "https-missing",
        "connection-timeout",
    ):
        assert code in ran.out
    assert "gärten.blumen-meier.test" in ran.out
