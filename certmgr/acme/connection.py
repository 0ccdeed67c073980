"""HTTPS connections to a CA: addresses are checked, and the time and size
of answers are bounded.

This module performs I/O.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from certmgr.net.addresses import Network, refusal
from inventory.text import printable

# A chain for 100 names has about 20 KB.
MAX_RESPONSE = 1_000_000
TOTAL_SECONDS = 60.0
# Seconds to connect, and seconds between two reads.
TIMEOUT = (10.0, 30.0)


class InternalAddressRefused(urllib3.exceptions.NewConnectionError):
    """The name leads to an internal address, so nothing was sent."""

    def __init__(self, connection: HTTPSConnection, why: str) -> None:
        super().__init__(connection, why)
        self.why = why


class CheckedConnection(HTTPSConnection):
    """A connection to an address that was checked, with a time limit for the headers.

    The name is resolved once. A second lookup could return another, unchecked address.
    """

    allowed: Sequence[Network] = ()
    internal = False

    def _new_conn(self) -> socket.socket:
        host, port = self._dns_host, self.port or 443
        try:
            results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(
                self, f"the name {printable(host, 100)} could not be resolved"
            ) from error
        why = ""
        last: OSError | None = None
        for family, kind, proto, _, address in results[:8]:
            plain = str(address[0]).partition("%")[0]
            # A CA's answer names further URLs: without this check it could reach internal hosts.
            why = "" if self.internal else refusal(plain, self.allowed) or ""
            if why:
                continue
            connection = socket.socket(family, kind, proto)
            try:
                connection.settimeout(TIMEOUT[0])
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                last = error
                connection.close()
        if last is None and why:
            raise InternalAddressRefused(
                self, f"{printable(host, 100)} leads to an internal address: {why}"
            )
        raise urllib3.exceptions.NewConnectionError(
            self, f"no server answers: {last.strerror if last else 'no address'}"
        )

    def getresponse(self) -> Any:
        # The read timeout starts anew with each byte, so a timer ends a slow header.
        sock = self.sock
        watch = threading.Timer(TOTAL_SECONDS, _shutdown_socket, (sock,))
        watch.daemon = True
        watch.start()
        try:
            return super().getresponse()
        finally:
            watch.cancel()


def _shutdown_socket(sock: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):
        sock.shutdown(socket.SHUT_RDWR)


class CheckedAdapter(HTTPAdapter):
    """Opens :class:`CheckedConnection`, and never repeats a request."""

    def __init__(self, allowed: Sequence[Network], internal: bool, at_once: int) -> None:
        self._attributes = {"allowed": tuple(allowed), "internal": internal}
        super().__init__(pool_connections=4, pool_maxsize=at_once, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **given: Any) -> None:
        super().init_poolmanager(*arguments, **given)
        connection = type("Connection", (CheckedConnection,), self._attributes)
        pool = type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": connection})
        self.poolmanager.pool_classes_by_scheme = {"https": pool}


@dataclass(frozen=True, slots=True)
class CaConnection:
    """The connection settings of a CA.

    Attributes:
        ca_file: PEM file that verifies its TLS certificate; empty for the public roots.
        internal: Whether its URLs may lead to internal addresses.
        allowed: Networks that may be reached although they are internal.
        at_once: The maximum number of parallel connections.
    """

    ca_file: str = ""
    internal: bool = False
    allowed: tuple[Network, ...] = ()
    at_once: int = 16


def read_bounded(response: requests.Response) -> bytes:
    """Return the body, of at most :data:`MAX_RESPONSE` bytes within :data:`TOTAL_SECONDS`."""
    end, parts, size = time.monotonic() + TOTAL_SECONDS, [], 0
    raw = response.raw
    try:
        while part := raw.read1(65_536):
            size += len(part)
            parts.append(part)
            if size > MAX_RESPONSE:
                raise requests.exceptions.ContentDecodingError(
                    f"its answer is larger than {MAX_RESPONSE:,} bytes"
                )
            if time.monotonic() > end:
                raise requests.exceptions.ReadTimeout(
                    f"its answer took longer than {TOTAL_SECONDS:.0f} seconds"
                )
    except BaseException:
        raw.close()
        raise
    expected = response.headers.get("Content-Length", "")
    if expected.isdigit() and response.request.method != "HEAD" and size < int(expected):
        raise requests.exceptions.ChunkedEncodingError(
            f"its answer was cut off after {size} of {expected} bytes"
        )
    raw.release_conn()
    return b"".join(parts)
