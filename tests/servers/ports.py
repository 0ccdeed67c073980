"""Free loopback ports, and waiting for a server."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.campaign import PATIENCE

_KEPT = 200
"""The number of ports that a process keeps for its servers: more than one test uses."""
_kept: deque[socket.socket] = deque()

# How often a server is started if another process took its port.
TRIES = 5


def free_port(address: str = "127.0.0.1") -> int:
    """Return a free TCP port, which no other process gets until ``_KEPT`` later calls.

    A socket without a listener keeps it: connections are refused, and a server with SO_REUSEADDR,
    as all servers of the tests are, can listen.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kept = socket.socket(family)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind((address, 0))
    _kept.append(kept)
    if len(_kept) > _KEPT:
        _kept.popleft().close()
    return int(kept.getsockname()[1])


def stop_receiving(sock: socket.socket) -> None:
    """Close a UDP socket, and wake the thread that waits in it, which would never end."""
    # A socket without a peer refuses to be shut down, and wakes the thread all the same.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def wait_for(
    port: int,
    process: subprocess.Popen[bytes] | None = None,
    address: str = "127.0.0.1",
    seconds: float = PATIENCE,
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


def held_port(stack: ExitStack, *, udp: bool = False) -> int:
    """Return a TCP port of 127.0.0.1 that stays reserved until the stack closes.

    With ``udp`` the port is free for both protocols. The socket that reserves it never listens, so
    that a server with SO_REUSEADDR (Go, nginx, socketserver with allow_reuse_address) can listen.
    """
    for _ in range(50):
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if udp:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    held.close()
                    continue
        stack.enter_context(held)
        return port
    raise AssertionError("no port is free for TCP and UDP at once")


def may_start(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether a server runs and has not logged that another process has its port."""
    text = log.read_text(errors="replace")
    return process.poll() is None and not re.search("address (already )?in use", text)
