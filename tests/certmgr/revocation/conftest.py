"""Fixtures: files that nginx serves, and inventories of two clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certmgr.config.settings import NetworkSettings, Settings
from certmgr.demo.authority import Authority, IssuedCertificate
from inventory.db.database import Database
from inventory.store import clients, contacts, domains
from tests.certmgr.cases.place import serve
from tests.certmgr.net.server import serving
from tests.certmgr.revocation.files import Files, FileServer, file_server
from tests.certmgr.revocation.lists import make_list, points
from tests.certmgr.revocation.sites import ROSE, TULIP, Sites
from tests.certmgr.revocation.two_clients import HOSTS, TwoClients
from tests.clock import START
from tests.databases import open_sqlite
from tests.program import Ran


@pytest.fixture(scope="session")
def web_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    with file_server(tmp_path_factory.mktemp("files")) as server:
        yield server


@pytest.fixture
def files(web_server: FileServer) -> Files:
    """An empty folder that nginx serves."""
    return web_server.new()


@pytest.fixture
def sites(database: Database, settings: Settings, files: Files) -> Iterator[Sites]:
    with serving({}, authentic=("example.test",)) as names:
        scan = replace(settings.scan, resolvers=(names.address,))
        chosen = replace(settings, scan=scan, network=NetworkSettings(allow=("127.0.0.0/8",)))
        sites = Sites(database, chosen, files, names)
        sites.add("1001", ROSE)
        sites.add("1002", TULIP)
        yield sites


@pytest.fixture
def rose(sites: Sites, issuer: Authority) -> IssuedCertificate:
    """The certificate of the first client, which names a list."""
    return sites.serve(ROSE, issuer.issue(ROSE, extensions=[points(sites.url())]))


@pytest.fixture
def two_clients(
    tmp_path: Path, certmgr: Callable[..., Ran], issuer: Authority, files: Files
) -> Iterator[TwoClients]:
    database = open_sqlite(tmp_path / "cli.db")
    parties = {"buys": "client", "renews": "client", "dns": "us", "hosts": "us"}
    records = {(f"_443._tcp.{h}", "TLSA"): ["3 1 1 " + "ab" * 32] for h in HOSTS.values()}
    with serving(records, authentic=("example.test",)) as names:
        # The root of the tests is not an anchor here, so the issuer is one that a scan saw.
        (tmp_path / "certmgr.toml").write_text(
            f'[scan]\nresolvers = ["{names.address}"]\nper_address = 0\nrate = 0.0\n'
            '[http]\nenabled = false\n[network]\nallow = ["127.0.0.0/8"]\n'
        )
        issued: dict[str, IssuedCertificate] = {}
        for number, host in HOSTS.items():
            with database.write(START) as tx:
                clients.add(tx, {"number": number, "name": f"Client {number}", **parties})
                contacts.add(
                    tx,
                    number,
                    {"name": f"Owner {number}"},
                    (f"email:owner@client{number}.example",),
                )
                domains.add(tx, host, {"client": number})
            issued[number] = issuer.issue(host, extensions=[points(files.url(f"{number}.crl"))])
            serve(database, host, issued[number], START)
            files.publish(make_list(issuer, [issued[number]]), f"{number}.crl")
        yield TwoClients(certmgr, database, files, names, issued)
    database.close()
