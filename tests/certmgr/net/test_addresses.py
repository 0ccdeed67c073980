"""Addresses that a name in public DNS must not lead to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmgr.config.context import Context
from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo import servers
from certmgr.demo.servers import Server
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.net.addresses import networks, refusal
from inventory.db.database import Database
from inventory.store import clients, domains
from tests.certmgr.tls_servers import HOST, Stack, resolved_by
from tests.servers import real


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "4000::1",
        "::ffff:192.168.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
    ],
)
def test_internal_address_is_refused_unless_its_network_is_configured(address: str) -> None:
    assert refusal(address, ()) is not None
    assert refusal(address, networks(["0.0.0.0/0", "::/0"], "test")) is None


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"])
def test_public_address_is_visited(address: str) -> None:
    assert refusal(address, ()) is None


def _scan_inventory(database: Database, settings: Settings) -> EndpointReport:
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        domains.add(tx, HOST, {"client": "1"})
    reports: list[EndpointReport] = []
    ScanRun(
        Context(database, settings, database.clock),
        ScanOptions(full=True),
        on_report=lambda _, report: reports.append(report),
    ).run()
    return reports[0]


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "10.0.0.5",
        "127.0.0.1",
        "::ffff:10.0.0.1",
        "fd00::1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_domain_with_an_internal_address_is_not_visited(
    database: Database, settings: Settings, opened: Stack, address: str
) -> None:
    server = Server(servers.silent)
    opened.callback(server.close)
    resolver = opened.enter_context(real.dns({HOST: [address]}))
    report = _scan_inventory(database, resolved_by(settings, resolver))
    assert [(f.code, f.severity, f.actor) for f in report.findings] == [
        ("address-refused", "undetermined", "staff"),
    ]
    assert report.addresses == ()
    assert server.connections == 0


def test_domain_in_a_configured_network_is_visited(
    database: Database,
    settings: Settings,
    opened: Stack,
) -> None:
    resolver = opened.enter_context(real.dns({HOST: ["127.0.0.1"]}))
    allowing = replace(settings, network=NetworkSettings(allow=("127.0.0.0/8",)))
    report = _scan_inventory(database, resolved_by(allowing, resolver))
    assert [a.address for a in report.addresses] == ["127.0.0.1"]
