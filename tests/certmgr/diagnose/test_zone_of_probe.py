"""Diagnosis of hosts that other vantage points see: from there, or not at all."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from certmgr.config.settings import NetworkSettings, Settings
from certmgr.config.zone_settings import ZoneSettings
from certmgr.demo.authority import Authority
from certmgr.diagnose.examination import Diagnosis, DiagnosisOptions, diagnose
from certmgr.diagnose.question import parse
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import ProbeContext
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import clients, domains, endpoints, zones
from inventory.store.zones import ScopeValue
from inventory.targets import Target
from inventory.vocabulary import ZoneScopeKind
from tests.certmgr.diagnose.probed_site import HOST, served
from tests.clock import START, clock
from tests.inventory.store import builders
from tests.servers.ports import free_port
from tests.servers.real import dns


@pytest.fixture
def known(sqlite_database: Database) -> Database:
    """An inventory with the site."""
    with sqlite_database.write(START) as tx:
        clients.add(tx, {"number": "1001", "name": "One"})
        domains.add(tx, HOST, {"client": "1001"})
    return sqlite_database


def run(
    database: Database, settings: Settings, port: int, *addresses: str, language: str = "en"
) -> Diagnosis:
    overrides = {(HOST, port): addresses} if addresses else {}
    return diagnose(
        ProbeContext(settings=settings, database=database, clock=clock),
        parse(f"https://{HOST}:{port}/", None),
        ScanOptions(overrides=overrides, http_port=free_port(), always_http=True),
        DiagnosisOptions(vantage="here", language=language),
    )


def only_office(database: Database) -> None:
    with database.write(START) as tx:
        zones.add(tx, "office")
        zones.assign(tx, "office", ScopeValue(ZoneScopeKind.INTERNAL, HOST))


def test_internal_name_is_not_judged_by_a_machine_that_does_not_reach_it(
    known: Database, settings: Settings
) -> None:
    only_office(known)
    with pytest.raises(CertmgrError, match="cannot be diagnosed from this machine") as raised:
        run(known, settings, 443)
    assert "visited from office only" in raised.value.why
    assert "[zones.office]" in raised.value.todo


def test_machine_in_the_zone_diagnoses_with_its_name_servers(
    known: Database, settings: Settings, issuer: Authority
) -> None:
    only_office(known)
    with contextlib.ExitStack() as opened:
        port = served(issuer, opened)
        office = opened.enter_context(dns({HOST: ["127.0.0.1"]}))
        outside = opened.enter_context(dns({HOST: "NXDOMAIN"}))
        zone = ZoneSettings(resolvers=(office,), allow=("127.0.0.0/8",))
        scan = replace(settings.scan, resolvers=(outside,))
        found = run(known, replace(settings, scan=scan, zones={"office": zone}), port)
        assert [s.state for s in found.steps if s.name == "name resolution"] == ["ok"]
        assert "from here (zone office)" in found.escalation
        # An address that the agent names is reached from this machine.
        network = NetworkSettings(allow=("127.0.0.0/8",))
        named = run(known, replace(settings, network=network), port, "127.0.0.1")
        assert "from here. Chrome" in named.escalation


REACH: dict[str, Any] = {
    "variant": "reach",
    "kinds": ["reach"],
    "zones": ["syd1", "default"],
    "seen": ["syd1"],
    "missing": ["default"],
    "reason": "timed out",
    "codes": [],
    "withheld": [],
}


def test_client_does_not_read_that_a_site_is_down_which_others_reach(
    known: Database, settings: Settings
) -> None:
    """This machine is behind the geo block."""
    port = free_port()
    with known.write(START) as tx:
        key = endpoints.add(tx, Target(HOST, port))
        builders.add_finding(
            tx, key, "zone-difference", severity="high", actor="staff", evidence=REACH
        )
    network = NetworkSettings(allow=("127.0.0.0/8",))
    found = run(known, replace(settings, network=network), port, "127.0.0.1")
    assert (found.outcome.code, found.outcome.who) == ("zone-difference", "staff")
    assert "reachable from syd1, and not from default" in found.staff.cause
    assert f"We are finding out why {HOST} does not look the same" in found.message
    for text in ("syd1", "refuse", "does not accept", "DNS", "down"):
        assert text not in found.message
