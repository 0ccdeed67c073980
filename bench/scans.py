"""Scans of the farm: without pages, with pages, and with dead endpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from bench import dead, farm
from bench.measuring import Measured, Row, measure
from inventory.db.opening import open_database
from inventory.models import Domain, Endpoint
from inventory.store import clients


def inventory(path: Path, count: int, dead_share: float = 0.0) -> None:
    """Write an inventory of endpoints with fixed addresses of the farm.

    Args:
        path: The database.
        count: The number of endpoints.
        dead_share: The share of unreachable endpoints, half of them silent.
    """
    database = open_database(str(path))
    every = int(1 / dead_share) if dead_share else 0
    with database.write() as tx:
        client = clients.add(tx, {"number": "1", "name": "Bench", "hosts": "us", "renews": "us"})
        tx.conn.execute(
            insert(Domain),
            [
                {"id": i + 1, "name": f"d{i}.farm.test", "client_id": client, "created_at": 1}
                for i in range(count)
            ],
        )
        rows: list[dict[str, Any]] = []
        for i in range(count):
            row = {
                "domain_id": i + 1,
                "host": farm.name_of(i),
                "port": farm.PORT,
                "protocol": "https",
                "addresses": farm.ADDRESSES[i % 4],
                "created_at": 1,
            }
            if every and i % every == 0:
                n = i // every
                silent = n % 2 == 0
                row["port"] = dead.SILENT if silent else dead.UNREACHABLE
                row["addresses"] = f"127.{78 if silent else 79}.{n // 250 % 250}.{n % 250 + 1}"
            rows.append(row)
        tx.conn.execute(insert(Endpoint), rows)
    database.close()


def scan(
    database: Path,
    roots: Path,
    *options: str,
    in_flight: int = 200,
    timeout: int = 20,
    http: bool = False,
) -> Measured:
    environment = {
        "CERTMGR_HTTP_RATE": "0",
        "CERTMGR_HTTP_PER_ADDRESS": "0",
        "CERTMGR_HTTP_PORT": str(farm.HTTP_PORT),
        "CERTMGR_NETWORK_ALLOW": "127.0.0.0/8",
        "CERTMGR_SCAN_RATE": "0",
        "CERTMGR_SCAN_PER_ADDRESS": "0",
        "CERTMGR_SCAN_CONCURRENCY": str(in_flight),
        "CERTMGR_TRUST_CA_FILES": str(roots),
        "CERTMGR_SCAN_TIMEOUT": str(timeout),
    }
    command = [
        sys.executable,
        "-m",
        "certmgr",
        "--database",
        str(database),
        "scan",
        "--exit-zero",
        *([] if http else ["--no-http"]),
        *options,
    ]
    measured = measure(command, environment)
    assert measured.code in (0, 3), measured.out[-2000:]
    return measured


def scans(folder: Path, roots: Path) -> list[Row]:
    rows = []
    path = folder / "scan.db"
    inventory(path, 20_000)
    first = scan(path, roots, "--no-cache")
    rows.append(
        Row(
            "certmgr scan, 20,000 endpoints, first",
            20_000,
            first.cpu / 20,
            20_000 / first.wall,
            first.peak_mb,
            "verification cache off",
            at_most=2.5,
        )
    )
    again = scan(path, roots)
    rows.append(
        Row(
            "certmgr scan, 20,000 endpoints, repeated",
            20_000,
            again.cpu / 20,
            20_000 / again.wall,
            again.peak_mb,
            at_most=1.4,
        )
    )
    path = folder / "large.db"
    inventory(path, 100_000)
    large = scan(path, roots)
    rows.append(
        Row(
            "certmgr scan, 100,000 endpoints, first",
            100_000,
            large.cpu / 100,
            100_000 / large.wall,
            large.peak_mb,
            f"{large.peak_mb / first.peak_mb:.2f} of the memory for 20,000",
            "at most 400 MB, and flat",
            large.peak_mb <= 400 and large.peak_mb <= 1.25 * first.peak_mb,
            at_most=2.5,
        )
    )
    status = measure(
        [sys.executable, "-m", "certmgr", "--database", str(path), "status", "--exit-zero"]
    )
    rows.append(
        Row(
            "certmgr status of 100,000 endpoints",
            100_000,
            status.cpu / 100,
            100_000 / status.wall,
            status.peak_mb,
            f"{status.wall:.2f} s",
            "under 2 s",
            status.wall < 2,
        )
    )
    return rows


def with_http(folder: Path, roots: Path) -> list[Row]:
    """Compare scans with and without HTTP.

    HTTP adds two requests per endpoint, one of them over TLS, and 20 KB of HTML to parse.
    """
    path = folder / "http.db"
    inventory(path, 10_000)
    without = scan(path, roots, "--no-cache")
    rows = [
        Row(
            "certmgr scan, 10,000 endpoints, without HTTP",
            10_000,
            without.cpu / 10,
            10_000 / without.wall,
            without.peak_mb,
        )
    ]
    for what, at_most in (("first", 5.0), ("repeated", 3.0)):
        measured = scan(path, roots, http=True)
        rows.append(
            Row(
                f"certmgr scan, 10,000 endpoints, with HTTP, {what}",
                10_000,
                measured.cpu / 10,
                10_000 / measured.wall,
                measured.peak_mb,
                f"{measured.cpu / without.cpu:.1f} times the CPU without",
                at_most=at_most,
            )
        )
    return rows


def with_dead(folder: Path, roots: Path) -> list[Row]:
    """Measure a scan in which every tenth endpoint is unreachable."""
    path = folder / "dead.db"
    count = 40_000
    inventory(path, count, 0.1)
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.dead"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        measured = scan(path, roots, in_flight=2000, timeout=5)
    finally:
        server.terminate()
    rate = count / measured.wall
    return [
        Row(
            "certmgr scan, 40,000 endpoints, 10% dead, 2,000 in flight, time-out 5 s",
            count,
            measured.cpu / count * 1000,
            rate,
            measured.peak_mb,
            "half silent, half unreachable",
            "at least 1,000/s",
            rate >= 1000,
        )
    ]
