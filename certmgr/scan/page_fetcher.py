"""Fetch the pages of one address of an endpoint, over http:// and https://.

page_connection.py sends a request, page_answer.py reads the answer, page_parsers.py parses the
page, and redirects.py follows from one to the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from certmgr.net.addresses import Network
from certmgr.scan.dead_ends import dead_end
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialResult
from certmgr.scan.evidence import INTERNAL_ERROR
from certmgr.scan.first_page import FirstPage
from certmgr.scan.known_pages import KnownPages, page_key
from certmgr.scan.page_answer import Answer, content_type, is_download, read_answer
from certmgr.scan.page_connection import PageConnection, WebOptions
from certmgr.scan.page_parsers import PageParsers
from certmgr.scan.redirects import FetchedPage, RedirectFollower, TimeBudget
from certmgr.scan.refresh import parse_refresh
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import Hop, Page, Visit, VisitEnd
from certmgr.scan.web_urls import url_authority, web_url
from inventory.targets import Target

# Counts seconds of a visit.
Spend = Callable[[float], None]
MAX_OTHERS = 2_000  # other sites whose certificates are kept
MAX_OTHERS_BYTES = 8_388_608  # of them; an ordinary chain has 4 KB, and a hostile one 100 KB
_log = logging.getLogger(__name__)


class PageFetcher:
    """Visits pages with one dialler and one resolver. The resolver must be guarded."""

    def __init__(
        self,
        dialler: Dialler,
        resolver: Resolver,
        allowed: tuple[Network, ...],
        options: WebOptions,
    ) -> None:
        self._dialler, self._resolver = dialler, resolver
        self._allowed, self._options = allowed, options
        self._connection = PageConnection(dialler, options)
        self._parsers = PageParsers()
        self._others: dict[tuple[str, str], DialResult] = {}
        self._others_bytes = 0

    async def visit(
        self,
        target: Target,
        address: str,
        paths: tuple[str, ...],
        *,
        secure: bool,
        first: FirstPage | None = None,
        pages: KnownPages | None = None,
    ) -> tuple[Visit, ...]:
        """Visit the home page, then the further paths.

        Plain HTTP is visited always. HTTPS is visited if ``secure``, which states that a handshake
        succeeds. ``first`` may have the answer of its home page. ``pages`` are those of the last
        scan, which need not be parsed, and get those of this one.
        """
        # The process starts while the first request is sent, so that no page waits for it.
        self._parsers.start()
        pages = KnownPages() if pages is None else pages
        follower = RedirectFollower(
            fetch=partial(self._fetch, pages),
            handshake=self._handshake,
            resolver=self._resolver,
            allowed=self._allowed,
            now=self._dialler.loop.time,
            host=target.host,
            port=target.port,
            address=address,
            # One budget for all paths: a slow site must not delay the run once per path.
            budget=TimeBudget(self._dialler.limits.timeout),
        )
        if first is not None:
            await self._use(first, follower, pages)
        visits = []
        for path in dict.fromkeys(("/", *paths)):
            visits.append(
                await follower.follow(web_url("http", target.host, self._options.port, path))
            )
            if secure:
                visits.append(
                    await follower.follow(web_url("https", target.host, target.port, path))
                )
        return tuple(visits)

    def first_page(self, target: Target, address: str) -> FirstPage:
        """Offer to request the home page on the connection of the probe."""
        url = web_url("https", target.host, target.port, "/")
        # The parser starts while the request is sent, so that no page waits for it.
        return FirstPage(url, address, _connection=self._connection, _begun=self._parsers.start)

    async def _use(self, first: FirstPage, follower: RedirectFollower, pages: KnownPages) -> None:
        """Read the answer that the probe has got, before its body takes memory for longer."""
        try:
            if first.result is not None:
                follower.spend(first.result.seconds)
                fetched = await self._read(first.result, first.url, pages, follower.spend, own=True)
                follower.know(first.url, fetched)
        finally:
            first.release()

    def failed(self, target: Target, address: str, error: BaseException) -> Visit:
        """Return the visit of an endpoint whose visit ended with an internal error."""
        url = web_url("http", target.host, self._options.port, "/")
        _log.warning("a visit ended with an internal error")
        _log.debug("the internal error: %r", error)
        hop = Hop(url, address, why=INTERNAL_ERROR)
        return Visit(
            url,
            address,
            VisitEnd.UNKNOWN,
            (hop,),
            why="the visit failed because of an internal error",
        )

    async def _fetch(
        self,
        pages: KnownPages,
        url: str,
        address: str,
        cookies: str | None,
        budget: TimeBudget,
        own: bool,
    ) -> FetchedPage:
        """Fetch one URL. The page is parsed only if the URL belongs to the endpoint.

        The connections and the CPU time of its pages count towards the budget. The wait for a slot,
        and for the parser with the pages of other sites, is not the fault of this one.
        """
        request = self._connection.fetch(url, address, cookies, budget.left, own=own)
        async with request as (result, used):
            budget.spend(used)
            return await self._read(result, url, pages, budget.spend, own=own)

    async def _read(
        self, result: DialResult, url: str, pages: KnownPages, spend: Spend, *, own: bool
    ) -> FetchedPage:
        answer = read_answer(result, url, own=own)
        page = None
        if own and answer.has_page:
            page = await self._page(answer, url, pages, spend)
        # The page is parsed, and an answer is kept for the whole visit.
        answer.release()
        return FetchedPage(answer, page, result.chain)

    async def _handshake(self, url: str, address: str, budget: TimeBudget) -> DialResult | None:
        """Complete the handshake of another site, once per run for all that redirect to it."""
        key = (url_authority(url), address)
        if key not in self._others:
            result = await self._connection.handshake(url, address, budget.left)
            budget.spend(result.seconds)
            # Another visitor may not meet a time-out, so it is tried again.
            if result.failure is not None and not dead_end(result.failure):
                return None
            # Bounded memory. A site that is forgotten costs one more handshake.
            size = sum(map(len, result.chain))
            if len(self._others) >= MAX_OTHERS or self._others_bytes + size > MAX_OTHERS_BYTES:
                self._others.clear()
                self._others_bytes = 0
            self._others[key] = result
            self._others_bytes += size
        return self._others[key]

    async def _page(self, answer: Answer, url: str, pages: KnownPages, spend: Spend) -> Page | None:
        if is_download(answer):
            return None
        kind = content_type(answer)
        policies = tuple(answer.values("content-security-policy"))
        nosniff = (answer.header("x-content-type-options") or "").lower() == "nosniff"
        key = page_key(answer.body, kind, url, policies, nosniff=nosniff)
        page = pages.get(key)
        if page is None:
            page = await self._parsers.read(
                answer.body, kind, url, policies, nosniff=nosniff, charge=spend
            )
            if page is not None:
                pages.keep(key, page)
        if page is not None and not page.note and answer.note:
            page = replace(page, note=answer.note)
        # A browser joins several headers, and the first URL then contains the rest.
        header = ", ".join(v for n, v in answer.headers if n == "refresh")
        refresh = parse_refresh(header, url)
        # Of two, the earlier one counts, and the element if both take the same time.
        if refresh is None or (
            page is not None and page.refresh and page.refresh_seconds <= refresh[1]
        ):
            return page
        return replace(page or Page(), refresh=refresh[0], refresh_seconds=refresh[1])

    async def close(self) -> None:
        """End the parser processes."""
        await self._parsers.close()
