"""Inventories for the benchmark of notices: no problems, or all certificates about to expire.

``python -m bench.notices FILE COUNT`` decides in this process and prints the seconds. The recheck
of endpoints is replaced by a constant result, because its time depends on the network.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from inventory.clock import system_clock
from inventory.db.opening import open_database
from inventory.models.schema import metadata

DAY = 86_400


def inventory(path: Path, count: int, *, due: bool) -> None:
    """Write an inventory.

    Args:
        path: The database.
        count: The number of clients, each with one site.
        due: Whether all certificates expire in six days. Otherwise they have 80 to 89 days left.
    """
    database = open_database(str(path))
    now = int(system_clock().timestamp())
    names = (
        "client",
        "contact",
        "contact_way",
        "domain",
        "endpoint",
        "certificate",
        "standing",
        "observation",
        "run",
        "job",
    )
    rows: dict[str, list[dict[str, Any]]] = {k: [] for k in names}
    rows["run"] = [
        {
            "id": 1,
            "state": "complete",
            "vantage": "bench",
            "pid": 1,
            "started_at": now - 60,
            "finished_at": now - 50,
            "scope": "",
            "planned": count,
        }
    ]
    rows["job"] = [
        {
            "name": "notify",
            "started_at": now - DAY,
            "success_at": now - DAY,
            "detail": json.dumps({"baseline_at": now - DAY}),
        }
    ]
    for n in range(1, count + 1):
        host, sha = f"shop.client{n}.example", f"{n:064x}"
        end = now + (6 * DAY + 3600 if due else (80 + n % 10) * DAY)
        issuer = "CN=Bench R1, O=Bench CA"
        rows["client"].append(
            {
                "id": n,
                "number": f"{n}",
                "name": f"Client {n}",
                "hosts": "us",
                "buys": "client",
                "renews": "client",
                "created_at": 1,
            }
        )
        rows["contact"].append(
            {"id": n, "client_id": n, "name": f"Owner {n}", "role": "owner", "created_at": 1}
        )
        rows["contact_way"].append(
            {"contact_id": n, "position": 0, "kind": "email", "value": f"owner@client{n}.example"}
        )
        rows["domain"].append({"id": n, "name": host, "client_id": n, "created_at": 1})
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
                "sha256": sha,
                "der": b"",
                "serial": f"{n:x}",
                "subject": f"CN={host}",
                "issuer": issuer,
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
                "issuer": issuer,
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
    with database.write() as tx:
        for table, table_rows in rows.items():
            tx.conn.execute(insert(metadata.tables[table]), table_rows)
    database.close()


def decide(path: Path) -> dict[str, Any]:
    """Run notices once, on a weekday at ten o'clock, when clients may be notified."""
    from certmgr.notices.gather import TopicRules, gather
    from notifiers.pipeline.notice_settings import NoticeSettings
    from notifiers.pipeline.rendering import Templates
    from notifiers.pipeline.run import NoticeRun
    from notifiers.pipeline.topic import Recheck, RecheckState

    now = system_clock()
    while now.weekday() > 4:
        now += timedelta(days=1)
    now = (
        max(now, now.replace(hour=10))
        if now.hour < 17
        else (now + timedelta(days=1 if now.weekday() < 4 else 3)).replace(hour=10)
    )
    database = open_database(str(path))
    rules = NoticeSettings(zone=UTC, confirm_above=10**9)
    started = time.monotonic()
    run = NoticeRun(
        database,
        lambda at, notified: gather(
            database, at, notified, TopicRules(thresholds=rules.policy.thresholds)
        ),
        lambda s: {x.mark: Recheck(RecheckState.SAME, "bench") for x in s},
        Templates(),
        rules,
        now,
    )
    outcome = run.decide()
    database.close()
    return {"seconds": time.monotonic() - started, "queued": outcome.queued}


if __name__ == "__main__":
    print(json.dumps(decide(Path(sys.argv[1]))))
