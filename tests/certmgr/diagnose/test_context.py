"""What the inventory knows of the site."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certmgr.config.context import Context
from certmgr.config.settings import HttpSettings, Settings
from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.diagnose import context as contexts
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from inventory.store import clients, domains, endpoints, findings, servers
from inventory.targets import Target
from tests.certmgr.diagnose.probed_site import HOST, probe, served
from tests.clock import clock
from tests.databases import open_sqlite


def test_changes_since_the_last_good_scan_are_listed(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack, tmp_path: Path
) -> None:
    port = served(issuer, opened)
    database = open_sqlite(tmp_path / "x.db")
    with database.write() as tx:
        clients.add(
            tx, {"number": "1", "name": "One", "account_manager": "Jo", "hosts": "us", "buys": "us"}
        )
        servers.add(tx, {"name": "web1", "kind": "web", "addresses": ["127.0.0.1"]})
        domains.add(tx, HOST, {"client": "1", "server": "web1"})
        endpoints.edit(tx, Target(HOST), {"port": port, "addresses": ["127.0.0.1"]})
    ScanRun(
        Context(database, replace(settings, http=HttpSettings(enabled=False)), database.clock),
        ScanOptions(),
    ).run()
    opened.close()
    now = clock()
    expired = Server(
        secure(
            server_context(
                issuer.issue(
                    HOST, not_before=now - timedelta(days=60), not_after=now - timedelta(days=1)
                )
            ),
            lambda h, p: page("x"),
        ),
        port=port,
    )
    opened.callback(expired.close)
    known = contexts.load(database, Target(HOST, port), now)
    assert known is not None
    report = probe(settings, port, ("127.0.0.1", "127.0.0.2"))
    listed = contexts.changes(known, report)
    assert "the address 127.0.0.2 is new" in listed
    assert any("another certificate" in line for line in listed)
    assert "new since the last scan: certificate-expired" in listed
    assert json.dumps(listed)
    with database.read() as conn:
        assert findings.listing(conn) == []
    database.close()
