"""Live checks of names that this machine does not reach: from their zone, or undetermined."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.config.zone_settings import ZoneSettings
from certmgr.demo.authority import Authority
from certmgr.inspection.live_check import LiveCheckTarget
from certmgr.inspection.verification import Observation, verify
from certmgr.inspection.zone_checks import check_in_zone, observe, with_zones
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import zones
from inventory.store.zones import ScopeValue, ZonesOfHosts
from inventory.targets import Target
from inventory.vocabulary import CallKind, VerificationState, ZoneScopeKind
from tests.certmgr.cases.place import prober_showing, sha256
from tests.clock import START, clock
from tests.inventory.store.builders import two_clients
from tests.servers.real import dns, nginx, write_pair

HOST = "intern.example.com"
OTHER = "f" * 64
INTERNAL = LiveCheckTarget(Target(HOST), zone="office")


@dataclass(slots=True)
class Workers:
    """Workers of a zone on another machine: values travel as JSON."""

    context: Context
    zones: tuple[str, ...] = ("office",)
    error: str = ""
    asked: list[str] = field(default_factory=list)

    def available(self, zone: str) -> bool:
        return zone in self.zones

    def call(self, zone: str, kind: CallKind, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        assert kind is CallKind.LIVE_CHECK
        self.asked.append(zone)
        if self.error:
            raise CertmgrError(self.error)
        result = check_in_zone(self.context, json.loads(json.dumps(arguments)))
        return dict(json.loads(json.dumps(result)))


def no_probe(*_: object) -> list[Observation]:
    raise AssertionError("this machine does not reach the name, so it must not judge it")


def test_host_has_the_zones_of_its_endpoint_or_of_the_name_above(
    sqlite_database: Database,
) -> None:
    with sqlite_database.write(START) as tx:
        client_id, _ = two_clients(tx)[:2]
        for name in ("office", "syd1"):
            zones.add(tx, name)
        zones.assign(tx, "office", ScopeValue(ZoneScopeKind.INTERNAL, "intern.example"))
        zones.assign(tx, "syd1", ScopeValue(ZoneScopeKind.CLIENT, "1001"))
        zones.assign(tx, "default", ScopeValue(ZoneScopeKind.CLIENT, "1001"))
        found = zones.of_hosts(tx.conn, client_id)
    assert found.visiting("shop1001.example", 443) == ("syd1", "default")
    assert found.visiting("db.intern.example", 5432) == ("office",)
    assert found.visiting("notintern.example", 443) == ("default",)


@pytest.mark.parametrize(
    ("visiting", "zone"),
    [(("office",), "office"), (("syd1", "default"), "default"), (("a", "b"), "a")],
)
def test_this_machine_is_used_if_it_is_one_of_the_zones(
    visiting: tuple[str, ...], zone: str
) -> None:
    known = ZonesOfHosts({(HOST, 443): visiting}, ())
    (found,) = with_zones([LiveCheckTarget(Target(HOST))], known)
    assert found.zone == zone


def test_internal_name_without_a_worker_of_its_zone_is_undetermined(
    sqlite_database: Database, settings: Settings
) -> None:
    """Outside, the name may have another server, which must not count as a missing installation."""
    context = Context(sqlite_database, settings, clock)
    for workers in (None, Workers(context, zones=()), Workers(context, error="They are busy")):
        here = replace(context, zone_workers=workers)
        found = verify({"EC": OTHER}, observe(here, [INTERNAL], here=no_probe))
        assert found.state is VerificationState.UNKNOWN
        assert "intern.example.com:443 at the zone office" in found.unknown[0]
    assert "They are busy" in found.unknown[0]


def test_address_that_the_caller_named_is_probed_from_here(
    sqlite_database: Database, settings: Settings
) -> None:
    context = Context(sqlite_database, settings, clock)
    given = {(HOST, 443): ("192.0.2.1",)}
    found = observe(context, [INTERNAL], given, here=prober_showing(OTHER))
    assert verify({"EC": OTHER}, found).state is VerificationState.LIVE


def test_worker_of_the_zone_proves_what_only_its_dns_knows(
    sqlite_database: Database, settings: Settings, tmp_path: Path, issuer: Authority
) -> None:
    """The DNS of the office has the server; everything else is probed from here."""
    issued = issuer.issue(HOST)
    with (
        nginx(tmp_path, [(HOST, *write_pair(tmp_path, issued))]) as port,
        dns({HOST: ["127.0.0.1"]}) as resolver,
    ):
        office = ZoneSettings(resolvers=(resolver,), allow=("127.0.0.0/8",))
        context = Context(sqlite_database, settings, clock)
        inside = in_office(context, office)
        targets = [
            LiveCheckTarget(Target(HOST, port), zone="office"),
            LiveCheckTarget(Target("www.example.com")),
        ]
        workers = Workers(inside)
        asking = replace(context, zone_workers=workers)
        expected = {"EC": sha256(issued)}
        found = observe(asking, targets, here=only_www(sha256(issued)))
        assert verify(expected, found).state is VerificationState.LIVE
        assert workers.asked == ["office"]
        # This machine is in the zone if its configuration describes it.
        described = replace(settings, zones={"office": office})
        there = observe(replace(context, settings=described), targets[:1])
        assert verify(expected, there).state is VerificationState.LIVE


def in_office(context: Context, office: ZoneSettings) -> Context:
    settings = context.settings
    return replace(
        context,
        settings=replace(
            settings,
            scan=replace(settings.scan, resolvers=office.resolvers),
            network=replace(settings.network, allow=office.allow),
        ),
    )


def only_www(leaf: str) -> Any:
    """Return a prober of this machine that must get no internal name."""

    def probe(settings: Settings, targets: Sequence[LiveCheckTarget], given: Any) -> Any:
        assert [t.target.host for t in targets] == ["www.example.com"]
        return prober_showing(leaf)(settings, targets, given)

    return probe
