"""A PostgreSQL server for the tests, run as an ordinary user on a free loopback port.

Its files are in memory if there is room: copying the template for a test then takes a tenth of the
time that it takes on a disk. No data has to survive a crash of the server.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import wait_until
from tests.servers.ports import free_port, wait_for

_MEMORY = Path("/dev/shm")
_ROOM = 2 * 1024**3  # bytes; containers often have only 64 MB there
_INIT = ("-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
_SETTINGS = (
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "max_connections=40",
    "shared_buffers=32MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    # Compiling a query takes longer than running it on the few rows of a test.
    "jit=off",
    "max_parallel_workers_per_gather=0",
)


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} is missing: apt-get install postgresql (make test does it as root)"
    return path


def server_user() -> str | None:
    """Return the user who runs servers that refuse to run as root; None for the current user."""
    if os.getuid() != 0:
        return None
    return "postgres" if _exists("postgres") else "nobody"


def as_user(command: list[str], user: str | None) -> list[str]:
    """Return the command as the user runs it."""
    return (
        [
            "setpriv",
            f"--reuid={user}",
            f"--regid={pwd.getpwnam(user).pw_gid}",
            "--clear-groups",
            *command,
        ]
        if user
        else command
    )


@dataclass(slots=True)
class Server:
    """A server that can be stopped and started again."""

    port: int
    _command: list[str]
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        process = self._process = subprocess.Popen(
            self._command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port, process)
        # It listens before it has started.
        wait_until(
            lambda: _accepts(self.port) or process.poll() is not None, "the start of PostgreSQL"
        )
        assert process.poll() is None, f"PostgreSQL ended with {process.returncode}"

    def stop(self) -> None:
        """Stop it, and end all connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown
            self._process.wait()


@contextmanager
def running(tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Run a server and yield its port; see :func:`server`."""
    with server(tls) as found:
        yield found.port


@contextmanager
def server(tls: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """Run a server. The superuser 'test' may connect without a password.

    Args:
        tls: Certificate and key files for TLS connections.
    """
    user = server_user()
    folder = Path(tempfile.mkdtemp(prefix="certmgr-pg-", dir=_memory()))
    try:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        folder.chmod(0o755 if user else 0o700)
        data = folder / "data"
        init = [_binary("initdb"), "-D", str(data), *_INIT]
        subprocess.run(as_user(init, user), check=True, capture_output=True, cwd="/")
        port = free_port()
        options = ["-p", str(port), "-k", str(folder), *_settings(_SETTINGS)]
        if tls:
            for source, name in zip(tls, ("server.crt", "server.key"), strict=True):
                target = data / name
                target.write_bytes(source.read_bytes())
                target.chmod(0o600)
                if user:
                    os.chown(target, pwd.getpwnam(user).pw_uid, -1)
            options += _settings(("ssl=on",))
        found = Server(port, as_user([_binary("postgres"), "-D", str(data), *options], user))
        try:
            found.start()
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]


def _memory() -> Path | None:
    """Return a folder in memory, or None for the usual one."""
    if not os.access(_MEMORY, os.W_OK):
        return None
    free = os.statvfs(_MEMORY)
    return _MEMORY if free.f_bavail * free.f_frsize >= _ROOM else None


def _accepts(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"host=127.0.0.1 port={port} user=test dbname=postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
