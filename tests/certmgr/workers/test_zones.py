"""Scans from several zones: what is stored, what is concluded, and what a missing zone holds up."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text, update

from certmgr.config.context import Context
from certmgr.config.zones import in_zone
from certmgr.demo.authority import Authority
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.workers import recovery
from certmgr.workers.engine import WorkQueues, work_queues_of
from certmgr.workers.service import WorkerService
from certmgr.workers.spread_scan import SpreadScan
from inventory.clock import system_clock
from inventory.errors import ConfigError, NotFound
from inventory.models import Domain, Endpoint, ProbeState, ScanShard, StoredFinding
from inventory.records import RunRecord
from inventory.store import clients, runs, shards, work_queues, zone_views, zones
from inventory.store.zones import ScopeValue
from inventory.vocabulary import ZoneScopeKind
from tests.certmgr.workers.fleet import DOMAIN, Fleet, fleet

# The site refuses connections from the address of this zone, as a geo block does.
ABROAD = "127.0.77.2"
ZONES = f"""[zones.syd1]
sources = ["{ABROAD}"]
[zones.office]
[zones.offline]
controls = ["127.0.77.3:9/tls"]
"""
CLIENT = ScopeValue(ZoneScopeKind.CLIENT, "1001")


@pytest.fixture(scope="module")
def system_root() -> Authority:
    return Authority("Fleet Root", clock=system_clock)


@pytest.fixture
def small(
    tmp_path: Path, migrated_postgres: Callable[[], str], system_root: Authority
) -> Iterator[Fleet]:
    """Eight endpoints that are not reachable from the zone syd1; two have another name."""
    url = migrated_postgres()
    blocked = f"deny {ABROAD};"
    with fleet(tmp_path, url, system_root, 8, zones=ZONES, blocked=blocked) as found:
        yield found


@pytest.fixture
def context(small: Fleet) -> Iterator[Context]:
    with small.context() as context:
        with context.write() as tx:
            for name in ("syd1", "office", "offline"):
                zones.add(tx, name)
        yield context


@pytest.fixture
def queues(context: Context) -> Iterator[WorkQueues]:
    with work_queues_of(context.database) as queues:
        yield queues


def assign(context: Context, zone: str, *scopes: ScopeValue) -> None:
    with context.write() as tx:
        for scope in scopes:
            zones.assign(tx, zone, scope)


def work(context: Context, *names: str) -> None:
    """Run a worker of each zone in this process until no job waits."""
    for name in names:
        there = replace(context, settings=in_zone(context.settings, name))
        WorkerService(there, ["scan"], 1, zone=name).run(drain=True)


def scan(context: Context, queues: WorkQueues, *names: str, ask: tuple[str, ...] = ()) -> RunRecord:
    """Scan with workers of these zones, and return the run."""
    run_id, _ = SpreadScan(context, ScanOptions(zones=ask), queues)._begin()
    work(context, *names)
    recovery.take_up(context, queues)
    work(context, names[0])
    with context.read() as conn:
        return runs.get(conn, run_id)


def open_codes(context: Context) -> dict[str, int]:
    query = select(StoredFinding.code).where(StoredFinding.closed_at.is_(None))
    with context.read() as conn:
        return dict(Counter(conn.scalars(query)))


def test_second_opinion_changes_no_state_and_names_the_zones(
    small: Fleet, context: Context, queues: WorkQueues
) -> None:
    run = scan(context, queues, "default", "syd1", ask=("syd1",))
    assert (run.state, run.planned, run.looked, run.undetermined) == ("complete", 8, 8, 0)
    assert run.notes == ()
    # What both zones see cannot be compared where one does not reach the site at all.
    assert open_codes(context) == {"name-mismatch": 2, "zone-difference": 8}
    with context.read() as conn:
        (key, evidence, actor) = conn.execute(
            select(StoredFinding.endpoint_id, StoredFinding.evidence, StoredFinding.actor)
            .where(StoredFinding.code == "zone-difference")
            .order_by(StoredFinding.endpoint_id)
            .limit(1)
        ).one()
        views = zone_views.of_endpoint(conn, key)
        good = conn.scalar(select(func.count()).where(ProbeState.good == 1))
        attempts = conn.scalars(select(ProbeState.failing_runs)).all()
    assert (evidence["seen"], evidence["missing"]) == (["default"], ["syd1"])
    assert (evidence["variant"], str(actor)) == ("reach", "staff")
    assert [(v.zone, v.first, v.good) for v in views] == [
        ("default", True, True),
        ("syd1", False, False),
    ]
    assert (good, set(attempts)) == (8, {0})


def test_first_zone_behind_a_geo_block_makes_no_site_down_and_the_difference_ends(
    context: Context, queues: WorkQueues
) -> None:
    """The state of the endpoints is that of syd1, which the sites refuse."""
    assign(context, "syd1", CLIENT)
    assign(context, "default", CLIENT)
    scan(context, queues, "default", "syd1")
    assert open_codes(context) == {"zone-difference": 8}
    with context.read() as conn:
        evidence = conn.scalars(select(StoredFinding.evidence).limit(1)).one()
    assert evidence["withheld"]
    # From syd1 alone, the fault does not open either: the open difference asks the zones again.
    with context.write() as tx:
        zones.unassign(tx, "default", CLIENT)
    scan(context, queues, "default", "syd1")
    assert open_codes(context) == {"zone-difference": 8}
    # Without the block, all zones agree.
    settings = context.settings
    open_to_all = {**settings.zones, "syd1": settings.zones["office"]}
    unblocked = replace(context, settings=replace(settings, zones=open_to_all))
    scan(unblocked, queues, "default", "syd1")
    assert open_codes(context) == {"name-mismatch": 2}


def test_fault_that_each_zone_sees_opens_as_without_zones(
    context: Context, queues: WorkQueues
) -> None:
    run = scan(context, queues, "office", "default", ask=("all",))
    # The zones syd1 and offline have no worker, so the run waits for them.
    assert run.state == "running"
    with context.write() as tx:
        tx.conn.execute(update(ScanShard).values(touched_at=0))
    recovery.take_up(context, queues)
    work(context, "default")
    with context.read() as conn:
        run = runs.get(conn, run.id)
    assert run.state == "complete"
    assert run.notes == (
        "zone offline: it has no worker; 8 endpoint(s) were not judged from there",
        "zone syd1: it has no worker; 8 endpoint(s) were not judged from there",
    )
    assert open_codes(context) == {"name-mismatch": 2}


def test_zone_whose_control_target_fails_blames_no_site(
    context: Context, queues: WorkQueues
) -> None:
    run = scan(context, queues, "default", "offline", ask=("offline",))
    assert run.state == "complete"
    (note,) = run.notes
    assert note.startswith("zone offline: its control target 127.0.77.3:9/tls failed; 8 endpoint")
    assert open_codes(context) == {"name-mismatch": 2}
    with context.read() as conn:
        views = zone_views.of_endpoint(conn, conn.scalars(select(ProbeState.endpoint_id)).all()[0])
    assert [v.zone for v in views] == ["default"]


def test_zone_that_reaches_nothing_of_several_clients_blames_no_site(
    context: Context, queues: WorkQueues
) -> None:
    """Without control targets, an outage of a zone is recognised by its extent."""
    with context.write() as tx:
        clients.add(tx, {"number": "1002", "name": "Other"})
        tx.conn.execute(insert(Domain).values(name="other.example", client_id=2, created_at=tx.at))
        other = tx.conn.scalars(select(Domain.id).where(Domain.name == "other.example")).one()
        two = select(Endpoint.id).where(Endpoint.state == "active").order_by(Endpoint.id).limit(2)
        tx.conn.execute(update(Endpoint).where(Endpoint.id.in_(two)).values(domain_id=other))
    run = scan(context, queues, "default", "syd1", ask=("syd1",))
    (note,) = run.notes
    assert note.startswith("zone syd1: it reached none of 8 endpoint(s) that other zones reach")
    assert open_codes(context) == {"name-mismatch": 2}


def test_endpoints_of_a_zone_are_visited_by_its_workers_alone(
    small: Fleet, context: Context, queues: WorkQueues, caplog: pytest.LogCaptureFixture
) -> None:
    below = ScopeValue(ZoneScopeKind.INTERNAL, f"deep.{DOMAIN}")
    assign(context, "office", below)
    run_id, _ = SpreadScan(context, ScanOptions(zones=("all",)), queues)._begin()
    with context.read() as conn:
        planned = conn.execute(
            select(ScanShard.zone, ScanShard.role, ScanShard.endpoints, ScanShard.turn)
        ).all()
        states = work_queues.queue_states(conn, 30)
        internal = set(conn.scalars(select(Endpoint.id).where(Endpoint.host.contains(".deep."))))
    assert {s.queue for s in states} == {"scan", "scan@office", "scan@offline", "scan@syd1"}
    # An internal name is visited from its zone alone, even for a second opinion of all zones.
    visited = {(zone, str(role)): set(ids) for zone, role, ids, _ in planned}
    assert visited["office", "only"] == internal
    assert all(not ids & internal for (zone, role), ids in visited.items() if role != "only")
    scan_ = SpreadScan(context, ScanOptions(zones=("all",)), queues)
    with caplog.at_level(logging.WARNING):
        run, able = scan_._poll(run_id)
        scan_._poll(run_id)
    assert run is not None and not able  # the default zone has no worker either
    messages = [m for m in caplog.messages if "has no worker" in m]
    assert len(messages) == 3
    assert "certmgr worker --zone syd1" in " ".join(messages)


def test_scan_in_one_process_leaves_endpoints_of_other_zones_alone_and_states_it(
    small: Fleet, context: Context
) -> None:
    assign(context, "office", ScopeValue(ZoneScopeKind.INTERNAL, f"deep.{DOMAIN}"))
    summary = ScanRun(context, ScanOptions()).run()
    assert (summary.state, summary.planned, summary.checked) == ("complete", 6, 6)
    (note,) = summary.notes
    assert note.startswith("zone office: 2 endpoint(s) are visited by its workers alone")
    assert not [host for host in small.visits() if ".deep." in host]
    with context.read() as conn:
        assert runs.last_complete(conn) is None  # not the whole inventory
        assert conn.scalar(text("SELECT scope FROM run")) == "zone default"


def test_unknown_zone_is_refused_before_anything_begins(
    context: Context, queues: WorkQueues
) -> None:
    with pytest.raises(NotFound, match="There is no zone 'syd2'"):
        SpreadScan(context, ScanOptions(zones=("syd2",)), queues)._begin()
    with pytest.raises(ConfigError, match=r"Write \[zones.syd2\]"):
        in_zone(context.settings, "syd2")
    with context.read() as conn:
        assert shards.running(conn) == []
