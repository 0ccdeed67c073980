"""An inventory for the benchmark of reports, as scans would leave it.

Each client has two sites, and every third site has a fault.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from inventory.clock import system_clock
from inventory.db.opening import open_database
from inventory.models.schema import metadata

DAY = 86_400
ISSUER = "O=Bench CA, CN=Bench R1"
Rows = dict[str, list[dict[str, Any]]]


def inventory(path: Path, count: int) -> None:
    """Write an inventory with ``count`` clients."""
    database = open_database(str(path))
    now = int(system_clock().timestamp())
    rows: Rows = defaultdict(list)
    for i in range(count):
        _add_client(rows, i)
        for number, host in enumerate((f"shop.client{i}.test", f"www.client{i}.test")):
            _add_site(rows, i + 1, 2 * i + number + 1, host, now)
    with database.write() as tx:
        # In this order, because later tables refer to earlier ones.
        for table, table_rows in rows.items():
            tx.conn.execute(insert(metadata.tables[table]), table_rows)
    database.close()


def _add_client(rows: Rows, i: int) -> None:
    rows["client"].append(
        {
            "id": i + 1,
            "number": f"{100_000 + i}",
            "name": f"Client {i}",
            "hosts": "us",
            "dns": "client",
            "buys": "client",
            "renews": "client",
            "created_at": 1,
        }
    )
    rows["contact"].append(
        {
            "client_id": i + 1,
            "name": f"Owner {i}",
            "role": "owner",
            "language": "de" if i % 2 else "en",
            "created_at": 1,
        }
    )


def _add_site(rows: Rows, client_id: int, n: int, host: str, now: int) -> None:
    """Add a domain, its endpoint and certificate, and what a scan saw."""
    leaf, end = f"{n:064x}", now + (n % 90) * DAY
    rows["domain"].append({"id": n, "name": host, "client_id": client_id, "created_at": 1})
    rows["endpoint"].append(
        {
            "id": n,
            "domain_id": n,
            "host": host,
            "port": 443,
            "protocol": "https",
            "created_at": 1,
        }
    )
    rows["certificate"].append(
        {
            "sha256": leaf,
            "der": b"",
            "serial": f"{n:x}",
            "subject": f"CN={host}",
            "issuer": ISSUER,
            "not_before": end - 90 * DAY,
            "not_after": end,
            "names": json.dumps([host]),
            "key": "EC P-256",
            "is_ca": 0,
            "first_seen": now,
        }
    )
    _add_observed(rows, n, host, now, {"leaf": leaf, "not_after": end})


def _add_observed(rows: Rows, n: int, host: str, now: int, served: dict[str, Any]) -> None:
    rows["standing"].append(
        {
            "endpoint_id": n,
            "judged_at": now,
            "good": 1,
            "last_attempt": now,
            "last_good": now,
            "issuer": ISSUER,
            **served,
        }
    )
    seen = {"endpoint_id": n, "first_seen": now, "last_seen": now, "open": 1}
    rows["observation"].append(
        {
            **seen,
            "address": "192.0.2.1",
            "live": 1,
            "chain": served["leaf"],
            "leaf": served["leaf"],
            "trusted": 1,
            "public": 1,
        }
    )
    rows["web_observation"].append({**seen, "digest": "x", "document": '{"visits": []}'})
    if n % 3 == 0:
        rows["finding"].append(
            {
                "endpoint_id": n,
                "code": "http-collects-secrets",
                "severity": "critical",
                "actor": "provider",
                "outcome": None,
                "addresses": "192.0.2.1",
                "evidence": json.dumps(
                    {"url": f"http://{host}/", "field": "<input type=password>"}
                ),
                "opened_at": now,
            }
        )
