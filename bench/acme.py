"""Benchmark of ACME: 1,000 due certificates renewed against Debian's pebble by http-01.

It measures seconds, CPU time, and the memory at the start and the end.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import update

from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.settings import Settings
from inventory.db.opening import open_database
from inventory.models import Endpoint
from inventory.store import lineages
from tests.certmgr.acme.shop import make_environment
from tests.servers.pebble import pebble

COUNT = 1000


def main(count: int = COUNT) -> None:
    """Renew ``count`` certificates and print the figures."""
    with tempfile.TemporaryDirectory() as text, pebble(Path(text) / "pebble", authz_reuse=0) as ca:
        folder = Path(text)
        database = open_database(str(folder / "bench.db"), actor="bench")
        env = make_environment(
            database,
            Settings(),
            folder,
            ca.directory,
            ca.ca_file,
            dns=ca.dns,
            http_port=ca.http_port,
        )
        names = [f"site{i}.shop{i % 97}.test" for i in range(count)]
        env.client("1", *names)
        # Only orders are measured. Without endpoints, no deployment has to be verified.
        with database.write() as tx:
            tx.conn.execute(update(Endpoint).values(state="retired"))
        env.register()
        ids = [env.lineage("1", [n]) for n in names]
        memory: list[tuple[int, int]] = []

        def progress(done: int, total: int) -> None:
            if done % max(total // 10, 1) == 0:
                memory.append((done, _memory()))

        started, clock = time.monotonic(), time.process_time()
        runner = RenewalRunner(env.context, progress)
        summary = runner.run_due()
        seconds, cpu = time.monotonic() - started, time.process_time() - clock
        with database.read() as conn:
            issued = sum(r.sha256 is not None for r in lineages.listing(conn))
        print(
            f"{issued} of {len(ids)} certificates in {seconds:.0f} s, {cpu:.0f} s of CPU,"
            f" {dict(summary.counts)}; {summary.problems[:2]}"
        )
        print(
            "memory, MB resident: " + ", ".join(f"{m} after {n}" for n, m in memory),
            f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}",
        )
        database.close()


def _memory() -> int:
    """Return the resident memory of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
