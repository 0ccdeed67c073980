"""A domain that nginx serves and a scan has inspected."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from certmgr.compliance.assessment import ComplianceRow, judge
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.config.context import Context
from certmgr.config.settings import HttpSettings, Settings
from certmgr.demo.authority import IssuedCertificate
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from inventory.store import clients, domains, endpoints
from inventory.targets import Target
from tests.clock import clock
from tests.databases import open_sqlite
from tests.servers import real
from tests.servers.ports import free_port

HOST = "shop.example.test"
HSTS = 'add_header Strict-Transport-Security "max-age=31536000" always;'
REDIRECT = f"return 301 https://{HOST}:HTTPS_PORT/;"
DAY = timedelta(days=1)


class ScannedSite:
    """An inventory with one domain that nginx serves and that is scanned as by ``certmgr scan``."""

    def __init__(self, settings: Settings, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder, self.stack, self.port = folder, stack, 443
        self.settings = replace(
            settings, http=HttpSettings(per_address=0, rate=0.0, port=free_port())
        )
        self.database = open_sqlite(folder / "site.db")
        stack.callback(self.database.close)
        with self.database.write() as tx:
            clients.add(
                tx,
                {
                    "number": "1001",
                    "name": "Shop",
                    "hosts": "us",
                    "buys": "client",
                    "renews": "client",
                },
            )
            domains.add(tx, HOST, {"client": "1001"})

    def serve(self, issued: IssuedCertificate, plain: str, secure: str, page: str = "") -> None:
        (self.folder / "page.html").write_text(page)
        pair = real.write_pair(self.folder, issued)
        plain_port, secure_port = self.stack.enter_context(
            real.web(self.folder, pair, plain, secure)
        )
        self.at(plain_port, secure_port)

    def at(self, plain_port: int, secure_port: int) -> None:
        self.settings = replace(self.settings, http=replace(self.settings.http, port=plain_port))
        with self.database.write() as tx:
            endpoints.edit(
                tx, Target(HOST, self.port), {"port": secure_port, "addresses": ["127.0.0.1"]}
            )
        self.port = secure_port

    def scan(self) -> None:
        ScanRun(Context(self.database, self.settings, self.database.clock), ScanOptions()).run()

    def scan_and_assess(self, name: str, as_of: datetime | None = None) -> ComplianceRow:
        """Scan, and return the assessment of the domain for the deadline ``name``."""
        self.scan()
        return self.row(name, as_of)

    def row(self, name: str, as_of: datetime | None = None) -> ComplianceRow:
        """Return the assessment of the domain by the last scan."""
        now = clock()
        facts, _ = load_domain_facts(self.database, now, as_of=as_of)
        deadlines = [d for d in all_deadlines(self.database) if d.name == name]
        (row,) = judge(facts, deadlines, as_of or now)
        return row
