"""One request for a page: its headers, its protocol (ALPN), and its turn at the address.

Only GET is sent. By default, one address gets 2 fetches at once and 5 per second, since thousands
of shops share a machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from certmgr.net.addresses import Network
from certmgr.net.http2_exchange import AGAIN_WITH_HTTP1, Http2Exchange
from certmgr.net.http_body import MAX_BODY
from certmgr.net.http_exchange import NOT_HTTP, Exchange, HttpExchange
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import FailureKind
from certmgr.scan.page_answer import is_error_without_page
from certmgr.scan.rate_limits import AddressRateLimiter
from certmgr.scan.tls_offers import BROWSER_ALPN
from certmgr.scan.web_urls import port_of
from inventory.names import as_ip

MAX_BODIES = 40  # answers in memory at once, in one process: 60 took over 400 MB in all
# Of first pages, in addition, while they are received. The further ones get less room, which is
# enough for most pages; a larger one is requested again, in its turn.
MAX_FIRST_BODIES, MAX_SMALL_BODIES = 40, 600
SMALL_BODY = 98_304
MAX_FIRST_BYTES = 33_554_432  # of those that wait for the parser
_HTTP1: tuple[bytes, ...] = (b"http/1.1",)
_NO_ANSWER = frozenset({FailureKind.ALERT, FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET})
# Some servers close the connections of programs that do not resemble a browser. Before an answer
# counts as missing, they get the request of one. Our own name stays in it.
_BROWSER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/143.0.0.0 Safari/537.36"
)


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Options of page fetches.

    Attributes:
        port: The port of plain HTTP.
        per_address: Fetches at once per address; 0 means no limit.
        rate: Fetches per second and address; 0 means no limit.
        own: Our own networks, whose servers are asked faster.
    """

    port: int = 80
    user_agent: str = "certmgr"
    per_address: int = 2
    rate: float = 5.0
    own: tuple[Network, ...] = ()


@dataclass(slots=True, eq=False)
class _WaitingFetch:
    """A fetch that waits for a slot of its address."""

    address: str
    future: asyncio.Future[None]


class PageConnection:
    """Sends requests for pages with one dialler."""

    def __init__(self, dialler: Dialler, options: WebOptions) -> None:
        self._dialler, self._options = dialler, options
        self._bodies = asyncio.Semaphore(MAX_BODIES)
        self._first_bodies = self._first_bytes = 0
        self._rate_limiter: AddressRateLimiter[_WaitingFetch] = AddressRateLimiter(
            options.per_address,
            options.rate,
            dialler.loop,
            self._give_slot,
            self._enter_queue,
            own=options.own,
        )

    def _give_slot(self, waiting: _WaitingFetch) -> None:
        # A fetch that was cancelled while it waited (Ctrl-C, a time limit) gives the slot back.
        if waiting.future.done():
            self._dialler.loop.call_soon(self._rate_limiter.leave, waiting.address)
        else:
            waiting.future.set_result(None)

    def _enter_queue(self, waiting: _WaitingFetch) -> None:
        self._rate_limiter.enter(waiting, waiting.address)

    @asynccontextmanager
    async def fetch(
        self, url: str, address: str, cookies: str | None, seconds: float, *, own: bool
    ) -> AsyncIterator[tuple[DialResult, float]]:
        """Send one request. Its body stays in memory until the context ends, so they are limited.

        A server gets the protocols of a browser (ALPN), and so the one that it prefers. If it gives
        no answer that a browser shows, it gets a second request, with the headers of a browser.

        Args:
            url: The URL.
            address: The address to dial.
            cookies: The Cookie header.
            seconds: The time limit. No wait for a slot counts towards it.
            own: Whether the URL belongs to the endpoint. The bodies of other sites are not read.

        Yields:
            The result, and the seconds that its connections took.
        """
        request = self._request(url, address, cookies, seconds, own)
        if request.protocol == "https":
            request.alpn = BROWSER_ALPN
        async with AsyncExitStack() as stack:
            await self._turn(address)
            try:
                await stack.enter_async_context(self._bodies)
                result = await self._dialler.dial(request)
            finally:
                self._rate_limiter.leave(address)
            used = result.seconds
            if request.protocol == "https" and used < seconds and is_refused(result, own=own):
                second = self._request(url, address, cookies, seconds - used, own, as_browser=True)
                # As browsers do (RFC 9113 9.2.2 and 8.1).
                second.alpn = _HTTP1 if _wants_http1(result) else BROWSER_ALPN
                await self._turn(address)
                try:
                    other = await self._dialler.dial(second)
                finally:
                    self._rate_limiter.leave(address)
                used += other.seconds
                other.as_browser = True
                # Without any answer, what the request of a browser meets counts.
                if not _is_unanswered(other) or other.failure is not None:
                    result = other
            yield result, used

    def enter_first(self, address: str) -> int:
        """Take the turn of an address for its first page, if nothing has to be waited for.

        Returns:
            The most bytes that its body may have; 0: there is no turn.
        """
        if self._first_bodies >= MAX_SMALL_BODIES or self._first_bytes >= MAX_FIRST_BYTES:
            return 0
        if not self._rate_limiter.enter_now(address):
            return 0
        self._first_bodies += 1
        return MAX_BODY if self._first_bodies <= MAX_FIRST_BODIES else SMALL_BODY

    def leave_first(self, address: str) -> None:
        """Give the turn back: the connection has ended."""
        self._first_bodies -= 1
        self._rate_limiter.leave(address)

    def hold_first(self, size: int) -> None:
        """Count the bytes of a first page that waits for the parser; negative: it is read."""
        self._first_bytes += size

    async def handshake(self, url: str, address: str, seconds: float) -> DialResult:
        """Complete the handshake of a URL as a browser does, and request nothing."""
        parts = urlsplit(url)
        name = parts.hostname or ""
        request = DialRequest(
            address,
            port_of(url),
            "https",
            None if as_ip(name) is not None else name,
            # The rest of a budget may be too short for any answer, and would make a working site a
            # time-out.
            timeout=max(seconds, 0.5),
        )
        await self._turn(address)
        try:
            return await self._dialler.dial(request)
        finally:
            self._rate_limiter.leave(address)

    async def _turn(self, address: str) -> None:
        slot = _WaitingFetch(address, self._dialler.loop.create_future())
        self._enter_queue(slot)
        try:
            await slot.future
        except asyncio.CancelledError:
            if slot.future.done() and not slot.future.cancelled():
                self._rate_limiter.leave(address)
            raise

    def _request(
        self,
        url: str,
        address: str,
        cookies: str | None,
        seconds: float,
        own: bool,
        *,
        as_browser: bool = False,
    ) -> DialRequest:
        secure = urlsplit(url).scheme == "https"
        name = urlsplit(url).hostname or ""
        return DialRequest(
            address,
            port_of(url),
            "https" if secure else "http",
            None if as_ip(name) is not None else name,
            timeout=max(seconds, 0.5),
            exchange=partial(self.exchange, url, cookies, own=own, as_browser=as_browser),
            keep_chain=secure,
        )

    def exchange(
        self,
        url: str,
        cookies: str | None,
        protocol: str | None,
        *,
        own: bool,
        as_browser: bool = False,
        room: int = MAX_BODY,
    ) -> Exchange:
        """Return the exchange that requests a URL.

        Args:
            url: The URL.
            cookies: The Cookie header.
            protocol: What ALPN selected.
            own: Whether the URL belongs to the endpoint. The bodies of other sites are not read.
            as_browser: Whether to send the headers of a browser.
            room: The most bytes that the body may have.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        name = parts.hostname or ""
        bracketed = f"[{name}]" if ":" in name else name
        host = bracketed if parts.port is None else f"{bracketed}:{parts.port}"
        agent = self._options.user_agent
        headers = [
            ("User-Agent", f"{_BROWSER_AGENT} {agent}" if as_browser else agent),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            # A browser offers more over HTTPS. Each server can send one of these.
            ("Accept-Encoding", "gzip, deflate"),
            # Some sites redirect to HTTPS only if the browser sends this header.
            ("Upgrade-Insecure-Requests", "1"),
        ]
        if as_browser:
            headers.append(("Accept-Language", "en-US,en;q=0.9"))
        if cookies is not None:
            headers.append(("Cookie", cookies))  # limited to fit one TLS record
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # The body of another host's page is not needed.
        limit = room if own else 0
        if protocol == "h2":
            return Http2Exchange(host, path, tuple(headers), limit)
        # Chromium reads an answer without a status line from port 80 only (HTTP/0.9).
        usual_port = not secure and port_of(url) == 80
        return HttpExchange(host, path, tuple(headers), limit, secure=secure, usual_port=usual_port)


def is_refused(result: DialResult, *, own: bool) -> bool:
    """Return whether the server may answer the request of a browser, although not this one.

    It ended the connection or the stream, or sent something that browsers show no page for.

    Args:
        result: The result of a request over HTTPS.
        own: Whether the body was read.
    """
    exchange, failure = result.exchange, result.failure
    if exchange is not None and (exchange.invalid or exchange.status is not None):
        if exchange.invalid:
            return exchange.invalid == NOT_HTTP or isinstance(exchange, Http2Exchange)
        return own and is_error_without_page(exchange)
    return _wants_http1(result) or (failure is not None and failure.kind in _NO_ANSWER)


def _is_unanswered(result: DialResult) -> bool:
    return result.exchange is None or result.exchange.status is None


def _wants_http1(result: DialResult) -> bool:
    return result.exchange is not None and result.exchange.error == AGAIN_WITH_HTTP1
