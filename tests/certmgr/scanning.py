"""Helpers for inventories with endpoints on loopback, and for scans of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo.servers import Server
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.scan_summary import ScanSummary
from inventory.db.database import Database, Tx
from inventory.errors import NotFound
from inventory.store import clients, domains, endpoints, findings
from inventory.targets import Target
from tests.campaign import wait_until


def add_endpoint(
    tx: Tx,
    host: str,
    port: int,
    addresses: Iterable[str] = ("127.0.0.1",),
    client: str = "1",
) -> None:
    """Add a domain with one endpoint at a port of this machine, and its client if needed."""
    try:
        clients.find(tx.conn, client)
    except NotFound:
        values = {"number": client, "name": f"Client {client}"}
        clients.add(tx, values | {"hosts": "us", "renews": "client", "dns": "client"})
    domains.add(tx, host, {"client": client})
    endpoints.edit(tx, Target(host), {"port": port, "addresses": list(addresses)})


def add(database: Database, port: int, *hosts: str, **options: Any) -> None:
    """Add endpoints in one transaction. ``options`` are those of :func:`add_endpoint`."""
    with database.write() as tx:
        for host in hosts:
            add_endpoint(tx, host, port, **options)


def scan(database: Database, settings: Settings, **options: Any) -> ScanSummary:
    """Scan the inventory. ``options`` are fields of :class:`ScanOptions`."""
    return ScanRun(Context(database, settings, database.clock), ScanOptions(**options)).run()


def open_codes(database: Database) -> dict[str, str]:
    """Return the severity of each open finding by its code."""
    with database.read() as conn:
        return {r.code: r.severity for r in findings.listing(conn)}


@contextmanager
def running_scan(database: Path, silent: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Run a scan in a process, which waits for a silent server until SIGTERM ends it.

    SIGINT is ignored at the start, as in a background job of a shell.
    """
    scan = ("scan", "--timeout", "600")
    command = (sys.executable, "-m", "certmgr", "--database", str(database), *scan)
    process = subprocess.Popen(
        ["/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: silent.connections > 0 or process.poll() is not None,
            "the first connection",
        )
        yield process
    finally:
        process.terminate()
        code = process.wait()
    assert code == 143
