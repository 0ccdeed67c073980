"""1,000 due certificates renewed against Debian's pebble with real http-01 validation: seconds,
CPU, and memory at the beginning and the end.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import update

from certmgr.acme.renewal_run import RenewalRunner
from certmgr.config.settings import Settings
from inventory.db.opening import open_database
from inventory.models.tables import endpoint
from inventory.store import lineages
from tests.certmgr.acme.shop import shop
from tests.servers.pebble import pebble

COUNT = 1000


def main(count: int = COUNT) -> None:
    with tempfile.TemporaryDirectory() as text, pebble(Path(text) / "pebble", authz_reuse=0) as ca:
        folder = Path(text)
        database = open_database(str(folder / "bench.db"), actor="bench")
        place = shop(
            database,
            Settings(),
            folder,
            ca.directory,
            ca.ca_file,
            dns=ca.dns,
            http_port=ca.http_port,
        )
        names = [f"site{i}.shop{i % 97}.test" for i in range(count)]
        place.client("1", *names)
        with (
            database.write() as tx
        ):  # what is measured is ordering; tests show deploying and proving
            tx.conn.execute(update(endpoint).values(state="retired"))
        place.register()
        ids = [place.lineage("1", [n]) for n in names]
        marks: list[tuple[int, int]] = []

        def progress(done: int, total: int) -> None:
            if done % max(total // 10, 1) == 0:
                marks.append((done, _memory()))

        started, clock = time.monotonic(), time.process_time()
        fleet = RenewalRunner(place.office, progress)
        summary = fleet.due()
        seconds, cpu = time.monotonic() - started, time.process_time() - clock
        with database.read() as conn:
            held = sum(r["sha256"] is not None for r in lineages.listing(conn))
        print(
            f"{held} of {len(ids)} certificates in {seconds:.0f} s, {cpu:.0f} s of CPU,"
            f" {dict(summary.counts)}; {summary.troubles[:2]}"
        )
        print(
            "memory, MB resident: " + ", ".join(f"{m} after {n}" for n, m in marks),
            f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}",
        )
        database.close()


def _memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
