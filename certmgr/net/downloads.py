"""A file behind a URL that stands in a stranger's certificate (AIA, CRL): plain http, guarded,
pinned, bounded in size and in time.

The name is resolved once by whoever calls; internal addresses are refused unless configured; the
address that was checked is the one that is asked; no redirect is followed. One deadline holds for
the whole transfer, so that a server that sends a byte at a time holds nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from urllib.parse import quote, urlsplit

from certmgr.net.addresses import Network, refusal
from certmgr.net.http_exchange import HttpExchange
from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host
from inventory.text import printable

MAX_URL = 2000
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class DownloadTarget:
    """Where a URL leads. ``path``: with its query, as it is sent."""

    host: str
    port: int
    path: str

    @property
    def header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Download:
    """``body``, or why there is none in ``problem``."""

    body: bytes = b""
    problem: str = ""


def place_of(url: str) -> DownloadTarget | None:
    """None for anything but plain http with a host that can be one."""
    if len(url) > MAX_URL:
        return None
    try:
        parts = urlsplit(url)
        host, port = normalise_host(parts.hostname or ""), 80 if parts.port is None else parts.port
    except (ValueError, CertmgrError):
        return None
    if parts.scheme != "http" or parts.username is not None or not port:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return DownloadTarget(host, port, quote(path, safe="/?&=%:@!$'()*+,;~-._[]"))


def permitted(addresses: Sequence[str], allowed: Sequence[Network]) -> tuple[str | None, str]:
    """(the first address that may be asked, why none may)."""
    why = "its name has no address"
    for address in addresses:
        refused = refusal(address, allowed)
        if refused is None:
            return address, ""
        why = f"{address} is not asked: {refused}"
    return None, why


def literal(place: DownloadTarget) -> tuple[str, ...]:
    """The address that the URL itself names; empty where it names a host."""
    return (place.host,) if as_ip(place.host) is not None else ()


def download(address: str, place: DownloadTarget, *, limit: int, seconds: float) -> Download:
    """One GET from ``address``.

    Anything but a whole 200 within ``limit`` bytes and ``seconds`` is a problem. Never raises for
    what a server does.
    """
    exchange = HttpExchange(place.header, place.path, (("Accept-Encoding", "identity"),), limit)
    end = monotonic() + seconds
    try:
        with socket.create_connection((address, place.port), seconds) as sock:
            sock.sendall(exchange.request)
            whole = False
            while not whole:
                left = end - monotonic()
                if left <= 0:
                    raise TimeoutError
                sock.settimeout(left)
                data = sock.recv(_PIECE)
                whole = exchange.feed(data) if data else exchange.end() or True
    except TimeoutError:
        return Download(problem=f"it did not come to its end within {seconds:g} seconds")
    except OSError as error:
        return Download(
            problem=f"the connection failed: {printable(error.strerror or str(error), 100)}"
        )
    return _taken(exchange, limit)


def _taken(exchange: HttpExchange, limit: int) -> Download:
    if exchange.error:
        return Download(problem=printable(exchange.error, 150))
    if exchange.status is None:
        return Download(problem="the server closed the connection without an answer")
    if exchange.status != 200:
        return Download(problem=f"the server answered with HTTP {exchange.status}")
    if exchange.truncated:
        return Download(problem=f"it is larger than {limit} bytes, or ended too soon")
    return Download(exchange.body)
