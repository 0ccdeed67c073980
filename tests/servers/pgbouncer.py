"""PgBouncer in front of a PostgreSQL server of the tests, run as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port, wait_for
from tests.servers.postgres import as_user, server_user
from tests.servers.processes import stop
from tests.servers.real import program


@contextmanager
def running(
    postgres_port: int, *, mode: str = "transaction", pool: int = 5, wait_seconds: int = 60
) -> Iterator[int]:
    """Run a pooler and yield its port. It has all databases of the server.

    Args:
        postgres_port: The port of the PostgreSQL server.
        mode: transaction, session or statement.
        pool: Connections to the server per database.
        wait_seconds: Seconds for which a client waits for one of them.
    """
    port, user = free_port(), server_user()
    with tempfile.TemporaryDirectory(prefix="certmgr-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text('"test" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres_port} user=test\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = {mode}\n"
            f"default_pool_size = {pool}\nquery_wait_timeout = {wait_seconds}\n"
            # The pool takes the connections in turn, so that a client meets several of them.
            "server_round_robin = 1\n"
        )
        command = [program("pgbouncer", "pgbouncer"), "-q", str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(
            as_user(command, user),
            cwd="/",
            env={"PATH": os.defpath},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            yield port
        finally:
            stop(process)
