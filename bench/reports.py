"""An inventory for the benchmark of reports, as scans would leave it.

Each client has two sites, and every third site has a fault.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from inventory.clock import system_clock
from inventory.db.opening import open_database
from inventory.models import metadata

DAY = 86_400


def inventory(path: Path, count: int) -> None:
    """Write an inventory with ``count`` clients."""
    database = open_database(str(path))
    now = int(system_clock().timestamp())
    rows: dict[str, list[dict[str, Any]]] = {
        k: []
        for k in (
            "client",
            "contact",
            "domain",
            "endpoint",
            "certificate",
            "standing",
            "observation",
            "web",
            "finding",
        )
    }
    for i in range(count):
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
        for k in range(2):
            n = 2 * i + k + 1
            host = f"{'www' if k else 'shop'}.client{i}.test"
            sha = f"{n:064x}"
            rows["domain"].append({"id": n, "name": host, "client_id": i + 1, "created_at": 1})
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
            end = now + (n % 90) * DAY
            rows["certificate"].append(
                {
                    "sha256": sha,
                    "der": b"",
                    "serial": f"{n:x}",
                    "subject": f"CN={host}",
                    "issuer": "O=Bench CA, CN=Bench R1",
                    "not_before": end - 90 * DAY,
                    "not_after": end,
                    "names": json.dumps([host]),
                    "key": "EC P-256",
                    "is_ca": 0,
                    "first_seen": now,
                }
            )
            rows["standing"].append(
                {
                    "endpoint_id": n,
                    "judged_at": now,
                    "good": 1,
                    "last_attempt": now,
                    "last_good": now,
                    "leaf": sha,
                    "not_after": end,
                    "issuer": "O=Bench CA, CN=Bench R1",
                }
            )
            rows["observation"].append(
                {
                    "endpoint_id": n,
                    "address": "192.0.2.1",
                    "first_seen": now,
                    "last_seen": now,
                    "open": 1,
                    "live": 1,
                    "chain": sha,
                    "leaf": sha,
                    "trusted": 1,
                    "public": 1,
                }
            )
            rows["web"].append(
                {
                    "endpoint_id": n,
                    "first_seen": now,
                    "last_seen": now,
                    "open": 1,
                    "digest": "x",
                    "document": '{"visits": []}',
                }
            )
            if n % 3 == 0:
                evidence = json.dumps({"url": f"http://{host}/", "field": "<input type=password>"})
                rows["finding"].append(
                    {
                        "endpoint_id": n,
                        "code": "http-collects-secrets",
                        "severity": "critical",
                        "actor": "provider",
                        "outcome": None,
                        "addresses": "192.0.2.1",
                        "evidence": evidence,
                        "opened_at": now,
                    }
                )
    with database.write() as tx:
        for table, table_rows in rows.items():
            tx.conn.execute(
                insert(metadata.tables["web_observation" if table == "web" else table]),
                table_rows,
            )
    database.close()
