"""A PostgreSQL of the tests' own, run as an ordinary user on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port, wait_for


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} is missing: apt-get install postgresql (make test does it as root)"
    return path


def _as_user(command: list[str], user: str | None) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups", *command] if user else command


@contextmanager
def running(tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Yields the port. ``tls``: certificate and key files; a superuser 'test' may connect without a password."""
    user = None
    if os.getuid() == 0:
        user = "postgres" if _exists("postgres") else "nobody"
    folder = Path(tempfile.mkdtemp(prefix="certmgr-pg-"))
    try:
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        folder.chmod(0o755 if user else 0o700)
        data = folder / "data"
        init = [_binary("initdb"), "-D", str(data), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(_as_user(init, user), check=True, capture_output=True, cwd="/")
        port = free_port()
        options = [
            "-c",
            "listen_addresses=127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(folder),
            "-c",
            "fsync=off",
            "-c",
            "max_connections=40",
        ]
        if tls:
            for source, name in zip(tls, ("server.crt", "server.key"), strict=True):
                target = data / name
                target.write_bytes(source.read_bytes())
                target.chmod(0o600)
                if user:
                    os.chown(target, pwd.getpwnam(user).pw_uid, -1)
            options += ["-c", "ssl=on"]
        process = subprocess.Popen(
            _as_user([_binary("postgres"), "-D", str(data), *options], user),
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port, process)
            yield port
        finally:
            process.send_signal(2)  # fast shutdown
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
