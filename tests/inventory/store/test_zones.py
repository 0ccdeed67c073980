"""Zones: what is visited from each, what they saw, and which workers they have."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from inventory.db.database import Database
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import Endpoint, ProbeState, StoredFinding, ZoneScope, ZoneView, ZoneWorker
from inventory.records import NewZoneView
from inventory.store import (
    clients,
    domains,
    editing,
    erase,
    runs,
    servers,
    zone_views,
    zone_workers,
    zones,
)
from inventory.store.finding_columns import columns_of
from inventory.store.zones import ScopeValue
from inventory.vocabulary import Finding, ZoneScopeKind
from tests.inventory.store.builders import AT, LATER, NOW, add_client

CLIENT = ScopeValue(ZoneScopeKind.CLIENT, "1001")
SERVER = ScopeValue(ZoneScopeKind.SERVER, "web1")
TAG = ScopeValue(ZoneScopeKind.TAG, "abroad")
NAME = ScopeValue(ZoneScopeKind.INTERNAL, "*.intern.shop1001.example")


@pytest.fixture
def zoned(pair: Database) -> Database:
    """The zones fra1 and office, next to the default one."""
    with pair.write(NOW) as tx:
        zones.add(tx, "fra1", "Frankfurt")
        zones.add(tx, "office")
        servers.add(tx, {"name": "web1"})
    return pair


def endpoint_id(database: Database, host: str) -> int:
    with database.read() as conn:
        return conn.scalars(select(Endpoint.id).where(Endpoint.host == host)).one()


def zones_of(database: Database, host: str, **selection: int | str) -> tuple[str, ...] | None:
    given: dict[str, int | str | None] = {"client_id": None, "tag_name": None} | dict(selection)
    key = endpoint_id(database, host)
    with database.read() as conn:
        return zones.of_endpoints(conn, **given).get(key)  # type: ignore[arg-type]


def assign(database: Database, zone: str, *scopes: ScopeValue) -> None:
    with database.write(NOW) as tx:
        for scope in scopes:
            zones.assign(tx, zone, scope)


def view(key: int, *, good: bool = True, error: str | None = None) -> NewZoneView:
    found = Finding("https-missing", "high", ("192.0.2.1",), {"reason": "refused"})
    return NewZoneView(
        endpoint_id=key,
        at=AT,
        good=good,
        error=error,
        addresses=("192.0.2.1", "2001:db8::1"),
        unrouted=("2001:db8::1",),
        findings=() if good else (found,),
        served={"192.0.2.1": "ab" * 32} if good else {},
    )


def test_endpoints_are_visited_from_the_zones_of_client_server_and_tag(zoned: Database) -> None:
    first, second = "shop1001.example", "shop1002.example"
    assert zones_of(zoned, first) is None  # the default zone
    with zoned.write(NOW) as tx:
        domains.edit(tx, second, {"server": "web1"})
        editing.change_tags(tx, "domain", domains.find(tx.conn, second).id, ["abroad"])
    assign(zoned, "office", SERVER)
    assign(zoned, "fra1", CLIENT, TAG)
    assert zones_of(zoned, first) == ("fra1",)
    assert zones_of(zoned, second) == ("office", "fra1")  # assigned in this order
    with zoned.read() as conn:
        client_id = clients.find(conn, "1001").id
        assert [(s.zone, str(s.kind), s.label) for s in zones.scopes(conn)] == [
            ("office", "server", "web1"),
            ("fra1", "client", "1001"),
            ("fra1", "tag", "abroad"),
        ]
    assert zones_of(zoned, first, client_id=client_id) == ("fra1",)
    assert zones_of(zoned, second, client_id=client_id) is None  # not selected
    assign(zoned, "default", TAG)
    assert zones_of(zoned, second) == ("office", "fra1", "default")
    with zoned.write(NOW) as tx:
        zones.unassign(tx, "office", SERVER)
        zones.unassign(tx, "fra1", TAG)
    assert zones_of(zoned, second) is None  # from the default zone alone
    with zoned.write(NOW) as tx, pytest.raises(NotFound, match="web1 is not assigned to office"):
        zones.unassign(tx, "office", SERVER)


def test_name_that_only_a_zone_reaches_is_visited_from_no_other_one(zoned: Database) -> None:
    with zoned.write(NOW) as tx:
        for name in ("wiki.intern.shop1001.example", "xintern.shop1001.example"):
            domains.add(tx, name, {"client": "1001"})
    assign(zoned, "fra1", CLIENT)
    assign(zoned, "office", NAME)
    assert zones_of(zoned, "wiki.intern.shop1001.example") == ("office",)
    assert zones_of(zoned, "xintern.shop1001.example") == ("fra1",)
    with zoned.read() as conn:
        internal = zones.internal_endpoints(conn, None, None)
    assert internal == {endpoint_id(zoned, "wiki.intern.shop1001.example")}
    with zoned.write(NOW) as tx, pytest.raises(UsageError, match="cannot be the only one"):
        zones.assign(tx, "default", NAME)


@pytest.mark.parametrize("name", ["default", "", "Fra1", "a b", "x" * 41, "-a", "zone\x1b[1m"])
def test_name_that_no_zone_can_have_is_refused(pair: Database, name: str) -> None:
    with pair.write(NOW) as tx, pytest.raises(UsageError, match="cannot be the name of a zone"):
        zones.add(tx, name)


def test_unknown_zone_is_refused_and_similar_ones_are_named(zoned: Database) -> None:
    with zoned.write(NOW) as tx:
        with pytest.raises(NotFound, match="Did you mean fra1 Frankfurt"):
            zones.assign(tx, "fra2", CLIENT)
        with pytest.raises(Conflict, match="'fra1' exists already"):
            zones.add(tx, "fra1")
        zones.assign(tx, "fra1", CLIENT)
        with pytest.raises(Conflict, match="1001 is assigned to fra1 already"):
            zones.assign(tx, "fra1", CLIENT)


def test_what_a_zone_saw_served_outlives_a_failure(zoned: Database) -> None:
    key = endpoint_id(zoned, "shop1001.example")
    with zoned.write(NOW) as tx:
        run_id = runs.start(tx, "", 1)
        zone_views.write(tx, run_id, "fra1", [view(key)], first=True)
    with zoned.write(LATER) as tx:
        run_id = runs.start(tx, "", 1)
        failed = view(key, good=False, error="timed out")
        zone_views.write(tx, run_id, "fra1", [failed], first=True)
    with zoned.read() as conn:
        assert list(zone_views.compared(conn, run_id)) == []  # one zone has nothing to compare
        (stored,) = zone_views.of_endpoint(conn, key)
    assert (stored.good, stored.error, stored.first) == (False, "timed out", True)
    assert (stored.served, stored.served_at) == ({"192.0.2.1": "ab" * 32}, AT)
    assert stored.unrouted == ("2001:db8::1",)
    assert [(f.code, f.addresses) for f in stored.findings] == [("https-missing", ("192.0.2.1",))]


def test_views_of_one_run_are_compared_per_endpoint(zoned: Database) -> None:
    first, second = (endpoint_id(zoned, f"shop100{n}.example") for n in (1, 2))
    with zoned.write(NOW) as tx:
        old = runs.start(tx, "", 2)
        zone_views.write(tx, old, "office", [view(first)], first=False)
        run_id = runs.start(tx, "", 2)
        zone_views.write(tx, run_id, "fra1", [view(second), view(first)], first=True)
        zone_views.write(tx, run_id, "default", [view(second)], first=False)
    with zoned.read() as conn:
        (found,) = zone_views.compared(conn, run_id)
        # What the office saw in an earlier run is not compared with what another zone sees now.
        assert {k: [v.zone for v in views] for k, views in found.items()} == {
            second: ["default", "fra1"]
        }


def test_reach_of_a_further_zone_counts_what_others_reached(zoned: Database) -> None:
    first, second = (endpoint_id(zoned, f"shop100{n}.example") for n in (1, 2))
    down: dict[str, Any] = {"good": False, "error": "timed out"}
    with zoned.write(NOW) as tx:
        run_id = runs.start(tx, "", 2)
        good = [view(first), view(second)]
        zone_views.write(tx, run_id, "default", good, first=True)
        zone_views.write(
            tx, run_id, "fra1", [view(k, **down) for k in (first, second)], first=False
        )
        zone_views.write(tx, run_id, "office", [view(first), view(second, **down)], first=False)
    with zoned.read() as conn:
        found = zone_views.reach(conn, run_id)
    assert [(z.zone, z.reached, z.missed, z.clients) for z in found] == [
        ("fra1", 0, 2, 2),
        ("office", 1, 1, 1),
    ]


def test_retired_zone_leaves_no_difference_that_nobody_could_close(zoned: Database) -> None:
    first, second = (endpoint_id(zoned, f"shop100{n}.example") for n in (1, 2))
    assign(zoned, "fra1", CLIENT)
    with zoned.write(NOW) as tx:
        run_id = runs.start(tx, "", 1)
        zone_views.write(tx, run_id, "fra1", [view(first)], first=True)
        for key, zone in ((first, "fra1"), (second, "office")):
            evidence = {"zones": ["default", zone]}
            columns = columns_of(Finding("zone-difference", "high", (), evidence))
            values = columns | {"endpoint_id": key, "opened_at": AT}
            tx.conn.execute(insert(StoredFinding).values(values))
            tx.conn.execute(
                insert(ProbeState).values(
                    endpoint_id=key, last_attempt=AT, fingerprint="seen", memo="seen"
                )
            )
        assert zones.with_open_difference(tx.conn)[first] == ("default", "fra1")
    with zoned.write(LATER) as tx:
        zones.retire(tx, "fra1")
    with zoned.read() as conn:
        assert set(zones.with_open_difference(conn)) == {second}
        # The endpoint is judged again, although it serves the same as before.
        marks = select(ProbeState.fingerprint).where(ProbeState.endpoint_id == first)
        assert conn.scalar(marks) == ""
        for table in (ZoneScope, ZoneView):
            assert conn.scalar(select(func.count()).select_from(table)) == 0
        assert zones.names(conn) == ("default", "office")
        assert [z.name for z in zones.listing(conn, retired=True)] == ["fra1", "office"]
    with zoned.write(LATER) as tx:
        zones.add(tx, "fra1")
        assert zones.names(tx.conn) == ("default", "fra1", "office")


def test_erased_client_leaves_nothing_in_zones(zoned: Database) -> None:
    key = endpoint_id(zoned, "shop1001.example")
    own = ScopeValue(ZoneScopeKind.INTERNAL, "shop1001.example")
    assign(zoned, "fra1", CLIENT, own, TAG)
    with zoned.write(NOW) as tx:
        run_id = runs.start(tx, "", 1)
        zone_views.write(tx, run_id, "fra1", [view(key)], first=True)
        add_client(tx, "1003")
        erase.erase(tx, "1001")
        assert tx.conn.scalar(select(func.count()).select_from(ZoneView)) == 0
        assert [str(s.kind) for s in zones.scopes(tx.conn)] == ["tag"]


def test_workers_that_run_are_counted_by_zone_and_queue(zoned: Database) -> None:
    with zoned.write(NOW) as tx:
        zone_workers.seen(tx, "a:1", "fra1", ("scan", "renew"))
        zone_workers.seen(tx, "a:2", "fra1", ("scan",))
        zone_workers.seen(tx, "b:1", "default", ("notify",))
        zone_workers.seen(tx, "b:1", "default", ("notify",))
    with zoned.read() as conn:
        assert zone_workers.live(conn, "scan", 30) == {"fra1": 2}
        assert zone_workers.live(conn, "notify", 30) == {"default": 1}
        found = zone_workers.by_queue(conn, 30)
        assert found == {"scan@fra1": 2, "renew@fra1": 1, "notify": 1}
    with zoned.write(NOW) as tx:
        zone_workers.ended(tx, "a:1")
        tx.conn.execute(
            update(ZoneWorker).where(ZoneWorker.worker == "a:2").values(seen_at=AT - 100)
        )
    with zoned.read() as conn:
        assert zone_workers.live(conn, "scan", 30) == {}
        assert zone_workers.by_queue(conn, 30) == {"notify": 1}
