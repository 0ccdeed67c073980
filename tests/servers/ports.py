"""Free loopback ports, and waiting for a server."""

from __future__ import annotations

import socket
import subprocess
import time
from contextlib import suppress


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that is free now for TCP and UDP, since name servers need both."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(100):
        with socket.socket(family) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port = int(tcp.getsockname()[1])
            with suppress(OSError):
                udp.bind((address, port))
                return port
    raise AssertionError(f"no port of {address} is free")


def wait_for(
    port: int,
    process: subprocess.Popen[bytes] | None = None,
    address: str = "127.0.0.1",
    seconds: float = 120,
) -> None:
    """Wait until a server listens. It is a failure if the process ends or never listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}: {process.args!r}")
        try:
            socket.create_connection((address, port), 0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"no server listens at {address}:{port}")
