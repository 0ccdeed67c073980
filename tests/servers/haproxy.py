"""HAProxy with one frontend over TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.ports import free_port, wait_for
from tests.servers.processes import stop
from tests.servers.real import program


@contextmanager
def haproxy(folder: Path, pair: tuple[Path, Path], bind: str, answer: str) -> Iterator[int]:
    """Run HAProxy, and yield its port.

    Args:
        folder: The directory for its files.
        pair: The certificate with its issuers, and the key.
        bind: Options of the listener, such as ``alpn h2 proto h2``.
        answer: The rest of ``http-request return``.
    """
    port = free_port()
    bundle = folder / "haproxy.pem"
    bundle.write_text("".join(path.read_text() for path in pair))
    config = folder / "haproxy.cfg"
    config.write_text(
        "global\n  maxconn 100\n"
        "defaults\n  mode http\n  timeout client 60s\n  timeout connect 60s\n  timeout server 60s\n"
        f"frontend site\n  bind 127.0.0.1:{port} ssl crt {bundle} {bind}\n"
        f"  http-request return {answer}\n"
    )
    process = subprocess.Popen(
        [program("haproxy", "haproxy"), "-db", "-q", "-f", str(config)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port, process)
        yield port
    finally:
        stop(process)
