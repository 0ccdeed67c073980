"""A server on loopback that sends bytes as a test tells it, to see how long a client listens."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest

from certmgr.net.http_client import HttpClient


@dataclass
class ScriptedServer:
    """A running server.

    Attributes:
        port: Its port.
        sent: The bytes of ``then`` that were sent.
        requests: The first bytes of each request.
    """

    port: int
    sent: int = 0
    requests: list[bytes] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its URL over plain HTTP."""
        return f"http://127.0.0.1:{self.port}/file"


@contextmanager
def scripted(
    answer: bytes,
    then: bytes = b"",
    *,
    pause: float = 0.002,
    trust: ssl.SSLContext | None = None,
    at_once: bool = False,
) -> Iterator[ScriptedServer]:
    """Send ``answer`` to each client, and after it ``then`` again and again until it hangs up.

    Args:
        trust: The server's TLS context; None for plain HTTP.
        at_once: Whether the answer does not wait for a request.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server, stop = ScriptedServer(listener.getsockname()[1]), threading.Event()

    def serve(conn: socket.socket) -> None:
        with conn, suppress(OSError):
            stream = conn if trust is None else trust.wrap_socket(conn, server_side=True)
            if not at_once:
                server.requests.append(stream.recv(4096))
            stream.sendall(answer)
            while then and not stop.wait(pause):
                stream.sendall(then)
                server.sent += len(then)
            if trust is not None:
                stream.close()
        server.ended.set()

    def accept() -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(conn,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def count_waits(monkeypatch: pytest.MonkeyPatch, module: str, seconds: float) -> None:
    """Let each wait of the HTTP client of a module count as so many seconds of its deadline."""
    count = itertools.count()
    counted = partial(HttpClient, timer=lambda: next(count) * seconds)
    monkeypatch.setattr(f"{module}.HttpClient", counted)
