"""Scans that go on after an interruption, on both databases."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import func, select

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import self_signed
from certmgr.demo.servers import Server
from certmgr.inspection import scan_run
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.scan_summary import ScanSummary
from inventory.db.database import Database, to_epoch
from inventory.models import ProbeState, Proposal, Run
from inventory.store import domains, editing, endpoints, findings, observations
from inventory.store import servers as machines
from tests.campaign import Campaign
from tests.certmgr.scanning import add, open_codes, scan
from tests.certmgr.tls_servers import Stack, serve_certificate
from tests.clock import clock
from tests.connects import counted_connects

HOSTS = [f"h{n}.example.test" for n in range(6)]


@pytest.fixture(autouse=True)
def _one_endpoint_per_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_run, "CHUNK_SIZE", 1)


@pytest.fixture
def port(database: Database, opened: Stack) -> int:
    """An inventory of six sites that serve a self-signed certificate at this port."""
    port = serve_certificate(opened, self_signed(*HOSTS, clock=clock))
    add(database, port, *HOSTS)
    return port


class InterruptedRun(ScanRun):
    """A run that ends after a number of endpoints: by Ctrl-C, or as a process that dies."""

    def __init__(self, context: Context, options: ScanOptions, after: int, error: BaseException):
        super().__init__(context, options)
        self.after, self.error = after, error

    def _handle(self, results: list[Any], planned: int) -> None:
        super()._handle(results, planned)
        if self.checked - self.before >= self.after:
            raise self.error


class Died(BaseException):
    """The process ended at once: nothing of the run was finished."""


def interrupt(database: Database, settings: Settings, after: int, **options: Any) -> ScanSummary:
    context = Context(database, settings, database.clock)
    return InterruptedRun(context, ScanOptions(**options), after, KeyboardInterrupt()).run()


def die(database: Database, settings: Settings, after: int, **options: Any) -> None:
    context = Context(database, settings, database.clock)
    with pytest.raises(Died):
        InterruptedRun(context, ScanOptions(**options), after, Died()).run()


@pytest.mark.parametrize("end", [interrupt, die])
def test_a_resumed_run_visits_the_others_and_opens_the_findings_of_all(
    database: Database, settings: Settings, port: int, end: Any
) -> None:
    end(database, settings, 4)
    assert open_codes(database) == {}, "findings wait for the end of the run"
    clock.advance(minutes=50)
    with counted_connects(port) as connects:
        summary = scan(database, settings, resume=True)
    assert len(connects) == 2, "the endpoints that the run had checked are not visited again"
    assert (summary.state, summary.checked, summary.resumed) == ("complete", 6, 4)
    with database.read() as conn:
        assert len(findings.listing(conn)) == 6
        assert conn.execute(select(func.count()).select_from(Run)).scalar() == 1
        assert conn.execute(select(func.count()).select_from(Proposal)).scalar() == 0


def test_a_run_that_is_interrupted_several_times_is_resumed_each_time(
    database: Database, settings: Settings, port: int
) -> None:
    interrupt(database, settings, 2)
    die(database, settings, 1, resume=True)
    with counted_connects(port) as connects:
        summary = scan(database, settings, resume=True)
    assert (len(connects), summary.checked, summary.resumed) == (3, 6, 3)


@pytest.mark.parametrize(
    ("minutes", "options", "reason"),
    [
        (61, {}, "is too old"),
        (1, {"client": "1"}, "was about the whole inventory, and this one is about client 1"),
        (1, {"tag": "gold"}, "about tag gold"),
        (1, {"server": "web1"}, "about server web1"),
        (1, {"deep": True}, "was begun with --no-http, and this one with --deep --no-http"),
        (1, {"cache": False}, "with --no-http --no-cache"),
    ],
)
def test_a_run_that_is_too_old_or_of_another_scope_or_with_other_checks_is_not_resumed(
    database: Database,
    settings: Settings,
    port: int,
    minutes: int,
    options: dict[str, Any],
    reason: str,
) -> None:
    with database.write() as tx:
        machines.add(tx, {"name": "web1"})
        for host in HOSTS:
            domains.edit(tx, host, {"server": "web1"})
            editing.change_tags(tx, "domain", domains.find(tx.conn, host).id, ["gold"])
    die(database, settings, 4)
    clock.advance(minutes=minutes)
    with counted_connects(port) as connects:
        summary = scan(database, settings, resume=True, **options)
    # A deep scan connects more than once.
    assert len(connects) >= 6
    assert (summary.checked, summary.resumed, summary.state) == (6, 0, "complete")
    assert reason in summary.not_resumed


def test_a_run_of_one_client_is_resumed_by_number_and_by_name_and_with_other_limits(
    database: Database, settings: Settings, port: int
) -> None:
    interrupt(database, settings, 2, client="1")
    interrupt(database, settings, 1, client="Client 1", timeout=5.0, resume=True)
    summary = scan(database, settings, client="1", concurrency=2, accept_suspect=True, resume=True)
    assert (summary.checked, summary.resumed, summary.not_resumed) == (6, 3, "")


def test_a_complete_run_is_not_resumed(database: Database, settings: Settings, port: int) -> None:
    scan(database, settings)
    with counted_connects(port) as connects:
        assert scan(database, settings, resume=True).resumed == 0
    assert len(connects) == 6


def test_a_new_run_drops_what_an_interrupted_one_proposed(
    database: Database, settings: Settings, port: int
) -> None:
    interrupt(database, settings, 4)
    interrupt(database, settings, 1)
    with database.read() as conn:
        owners = set(conn.scalars(select(Proposal.run_id)))
    assert len(owners) == 1
    assert scan(database, settings).opened == 6


def test_failures_are_counted_once_for_a_run_that_was_resumed(
    database: Database, settings: Settings, opened: Stack
) -> None:
    silent = Server(servers.silent)
    opened.callback(silent.close)
    add(database, silent.port, *HOSTS)
    interrupt(database, settings, 3, timeout=0.2)
    with database.read() as conn:
        assert set(conn.scalars(select(ProbeState.failing_runs))) == {0}, "taken back"
    die(database, settings, 1, timeout=0.2, resume=True)
    assert scan(database, settings, timeout=0.2, resume=True, accept_suspect=True).checked == 6
    with database.read() as conn:
        assert list(conn.scalars(select(ProbeState.failing_runs))) == [1] * 6


def test_endpoints_that_were_not_attempted_for_long_come_first(
    database: Database, settings: Settings, port: int
) -> None:
    die(database, settings, 2)
    with database.read() as conn:
        first = set(conn.scalars(select(ProbeState.endpoint_id)))
    clock.advance(days=1)
    die(database, settings, 4)
    with database.read() as conn:
        newest = conn.scalar(select(func.max(Run.id)))
        mine = ProbeState.last_run_id == newest
        second = set(conn.scalars(select(ProbeState.endpoint_id).where(mine)))
    assert not first & second


@pytest.mark.campaign
def test_a_month_of_nightly_kills_leaves_no_endpoint_unvisited_for_more_than_a_day(
    database: Database, settings: Settings, port: int, campaign: Campaign
) -> None:
    nights = campaign.size("nights", 6, 31)
    chance = random.Random(16)
    scan(database, settings)
    for _ in range(nights):
        clock.advance(days=1, minutes=-20)
        die(database, settings, chance.randint(1, 5))
        # The next call of cron finds the run that died, and goes on.
        clock.advance(minutes=20)
        summary = scan(database, settings, resume=True)
        assert (summary.state, summary.checked) == ("complete", 6)
        with database.read() as conn:
            oldest = conn.scalar(select(func.min(ProbeState.last_attempt)))
        assert oldest is not None
        assert to_epoch(clock()) - oldest <= 86400
    with database.read() as conn:
        assert len(findings.listing(conn)) == 6


def test_a_scan_of_one_server_visits_its_names_alone(
    database: Database, settings: Settings, port: int
) -> None:
    with database.write() as tx:
        machines.add(tx, {"name": "web1"})
        for host in HOSTS[:2]:
            domains.edit(tx, host, {"server": "web1"})
    with counted_connects(port) as connects:
        summary = scan(database, settings, server="web1")
    assert (len(connects), summary.planned) == (2, 2)


def test_an_inventory_that_changed_meanwhile_is_visited_as_it_is_now(
    database: Database, settings: Settings, port: int
) -> None:
    """One endpoint that was checked is retired, one that was not is too, and one is new."""
    die(database, settings, 4)
    with database.read() as conn:
        checked = {e.host for e in endpoints.listing(conn) if observations.probe_state(conn, e.id)}
    with database.write() as tx:
        for host in (min(checked), min(set(HOSTS) - checked)):
            domains.retire(tx, host)
    add(database, port, "new.example.test")
    summary = scan(database, settings, resume=True)
    # The new endpoint, and the one that is left. The one that was checked and retired is no part of
    # the run any more.
    assert (summary.state, summary.checked - summary.resumed) == ("complete", 2)
    assert (summary.planned, summary.checked, summary.resumed) == (5, 5, 3)
    with database.read() as conn:
        found = {f.host for f in findings.listing(conn)}
        active = {e.host for e in endpoints.listing(conn) if e.state == "active"}
    assert "new.example.test" in found
    assert found == active
