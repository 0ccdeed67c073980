"""Download a file from a URL of an untrusted certificate (AIA, CRL).

Plain http only, guarded, pinned, and bounded in size and time. The caller resolves the name once.
Internal addresses are refused unless configured, and the request goes to the address that was
checked. No redirect is followed. One deadline covers the whole transfer, so that a server that
sends one byte at a time cannot block the caller.
"""

from __future__ import annotations

import logging
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

_log = logging.getLogger(__name__)

MAX_URL = 2000
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class DownloadTarget:
    """The parts of a URL to download. ``path`` includes the query, as it is sent."""

    host: str
    port: int
    path: str

    @property
    def header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 80 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Download:
    """The result of a download: ``body``, or the reason of its failure in ``problem``.

    Attributes:
        final: Whether the server answered with the body or an error, so that others get no more.
    """

    body: bytes = b""
    problem: str = ""
    final: bool = False


def parse_target(url: str) -> DownloadTarget | None:
    """Parse a URL; None unless it is plain http with a valid host."""
    # The URL comes from an untrusted certificate.
    if len(url) > MAX_URL:
        return None
    try:
        parts = urlsplit(url)
        host, port = normalise_host(parts.hostname or ""), 80 if parts.port is None else parts.port
    except (ValueError, CertmgrError):
        return None
    # Certificates use http for these files: https would need a verified certificate (RFC 5280 8).
    if parts.scheme != "http" or parts.username is not None or not port:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Control characters in the path could otherwise inject headers.
    return DownloadTarget(host, port, quote(path, safe="/?&=%:@!$'()*+,;~-._[]"))


def first_permitted(addresses: Sequence[str], allowed: Sequence[Network]) -> tuple[str | None, str]:
    """Return the first address that may be requested, or None and the reason."""
    reason = "the host has no address"
    for address in addresses:
        refused = refusal(address, allowed)
        if refused is None:
            return address, ""
        reason = f"{address} is not visited: {refused}"
    return None, reason


def literal_address(target: DownloadTarget) -> tuple[str, ...]:
    """Return the address in the URL itself; empty if the URL has a host name."""
    return (target.host,) if as_ip(target.host) is not None else ()


def download(address: str, target: DownloadTarget, *, limit: int, seconds: float) -> Download:
    """Send one GET request to ``address``. Never raises for the behaviour of a server.

    Anything but a complete 200 response within ``limit`` bytes and ``seconds`` is a problem.
    """
    exchange = HttpExchange(target.header, target.path, (("Accept-Encoding", "identity"),), limit)
    _log.debug("GET http://%s%s at %s", target.host, target.path, address)
    end = monotonic() + seconds
    try:
        with socket.create_connection((address, target.port), seconds) as sock:
            sock.sendall(exchange.request)
            complete = False
            while not complete:
                # A time-out per read would restart with every byte of a slow server.
                remaining = end - monotonic()
                if remaining <= 0:
                    raise TimeoutError
                sock.settimeout(remaining)
                data = sock.recv(_PIECE)
                complete = exchange.feed(data) if data else exchange.end() or True
    except TimeoutError:
        return Download(problem=f"it did not complete within {seconds:g} seconds")
    except OSError as error:
        return Download(
            problem=f"the connection failed: {printable(error.strerror or str(error), 100)}"
        )
    return _download_result(exchange, limit)


def _download_result(exchange: HttpExchange, limit: int) -> Download:
    if exchange.invalid or exchange.error:
        problem = f"it answers with {exchange.invalid or exchange.error}"
        return Download(problem=printable(problem, 150))
    if exchange.status is None:
        return Download(problem="the server closed the connection without an answer")
    # A redirect is not followed: its target would have to be guarded again.
    if exchange.status != 200:
        return Download(
            problem=f"the server answered with HTTP {exchange.status}",
            final=exchange.status >= 400,
        )
    if exchange.truncated or exchange.incomplete:
        return Download(problem=f"it is larger than {limit} bytes, or incomplete")
    return Download(exchange.body, final=True)
