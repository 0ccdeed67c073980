"""An inventory in PostgreSQL with many endpoints on loopback, and workers as real processes.

Each connection to the sites can be counted by the host that it asks for (nginx writes a log), so
that a test knows which endpoint was visited how often.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import insert, update

from certmgr.config.context import Context
from certmgr.config.loading import load
from certmgr.demo.authority import Authority
from certmgr.workers.engine import install_schema
from inventory.clock import system_clock
from inventory.db.opening import open_database
from inventory.models import Endpoint
from inventory.store import clients, domains
from tests.campaign import UNREACHED
from tests.servers.real import long_lived, tls_counter, write_pair

ADDRESSES = tuple(f"127.55.0.{n}" for n in range(1, 9))
DOMAIN = "fleet.example"


@dataclass(slots=True)
class Fleet:
    """The inventory, its sites, and the workers that were started.

    Attributes:
        url: The database.
        config: The configuration of all workers.
        hosts: The endpoints' hosts.
        log: The log of nginx: one requested host per line, at the end of each connection.
    """

    url: str
    config: Path
    hosts: tuple[str, ...]
    log: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @contextmanager
    def context(self) -> Iterator[Context]:
        """Open the inventory with the configuration of the workers."""
        database = open_database(self.url, actor="tester", clock=system_clock)
        try:
            yield Context(database, load(str(self.config)), system_clock)
        finally:
            database.close()

    def start(self, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [sys.executable, "-m", "certmgr", "-v", "--config", str(self.config), "worker"]
        log = (self.config.parent / "workers.log").open("ab")
        process = subprocess.Popen(
            [*prefix, *command, *arguments],
            env=dict(os.environ),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.workers.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        """End a worker and its children with a signal."""
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, number)
        process.wait()

    def visits(self) -> Counter[str]:
        """Return how often each host was visited."""
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()


@contextmanager
def fleet(
    folder: Path,
    url: str,
    root: Authority,
    count: int,
    shard_size: int = 10,
    silent: int = 4,
    *,
    zones: str = "",
    blocked: str = "",
) -> Iterator[Fleet]:
    """Run a fleet of ``count`` endpoints on the database of this URL.

    ``zones`` are further sections of the configuration. ``blocked`` is a directive of nginx, such
    as ``deny 127.0.0.2;``. Each fourth host is not in the certificate, so a scan opens a finding
    for it.
    """
    hosts = tuple(f"h{n:06d}.{'deep.' if n % 4 == 3 else ''}{DOMAIN}" for n in range(count))
    log = folder / "visits.log"
    certificate, key = write_pair(folder, long_lived(root, f"*.{DOMAIN}"))
    (folder / "root.pem").write_bytes(root.pem)
    with ExitStack() as stack:
        port = stack.enter_context(tls_counter(folder, certificate, key, log, ADDRESSES, blocked))
        config = folder / "certmgr.toml"
        config.write_text(
            f'[database]\nurl = "{url}"\n[scan]\nrate = 0\nper_address = 0\nprocesses = 1\n'
            f"timeout = {UNREACHED:.0f}\n"
            f"[trust]\nca_files = [{str(folder / 'root.pem')!r}]\n[http]\nenabled = false\n"
            f'[network]\nallow = ["127.0.0.0/8"]\n[workers]\nenabled = true\n'
            f'shard_size = {shard_size}\nsilent_seconds = {silent}\n[notify]\nopens = "00:00"\n'
            f"{zones}"
        )
        database = open_database(url, actor="tester", clock=system_clock, migrate=True)
        install_schema(database)
        with database.write() as tx:
            clients.add(tx, {"number": "1001", "name": "Fleet"})
            domain = domains.add(tx, DOMAIN, {"client": "1001"})
            tx.conn.execute(update(Endpoint).values(state="retired"))
            tx.conn.execute(
                insert(Endpoint),
                [
                    {
                        "domain_id": domain,
                        "host": host,
                        "port": port,
                        "protocol": "tls",
                        "created_at": tx.at,
                        "addresses": (ADDRESSES[n % len(ADDRESSES)],),
                    }
                    for n, host in enumerate(hosts)
                ],
            )
        database.close()
        found = Fleet(url, config, hosts, log)
        try:
            yield found
        finally:
            for process in found.workers:
                found.end(process)
