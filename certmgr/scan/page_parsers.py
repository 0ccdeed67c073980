"""Several parser processes, with fair turns among sites.

A registered domain has one page in a process at a time, and the domains that wait take turns: a
site with many slow pages delays no other one for longer than one page. A host whose page broke the
parser, or whose pages took much time together, is left for the rest of the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from certmgr.scan.page_process import CRASHED, SLOW, PageParserProcess
from certmgr.scan.page_source import document_kind
from certmgr.scan.visits import Page, host_of
from inventory.names import registered_domain

PARSERS = 2  # processes per scanning process; the second one starts when it is needed
# So many hosts of a registered domain may break the parser before all of its hosts are left.
MAX_BROKEN_HOSTS = 5
# CPU time of all pages of a host in one run. A large page takes a tenth of a second, and equal ones
# are parsed once.
MAX_HOST_SECONDS = 8.0
MAX_KNOWN = 100_000
LEFT = "earlier pages of this site took too long to parse, or broke the HTML parser"


class PageParsers:
    """Reads pages. :meth:`read` never raises for the content of a page."""

    def __init__(self, count: int = PARSERS) -> None:
        # The last one in the list is used first, so that a further one starts only if it is needed.
        self._idle = [PageParserProcess() for _ in range(count)]
        self._all = tuple(reversed(self._idle))
        self._waiting: dict[str, deque[asyncio.Future[PageParserProcess]]] = {}
        self._reading: set[str] = set()
        self._broken_hosts: set[str] = set()
        self._broken: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def start(self) -> None:
        """Start the first process if there is none, without waiting for it."""
        self._all[0].start()

    async def read(
        self,
        body: bytes,
        content_type: str | None,
        url: str,
        policies: tuple[str, ...],
        *,
        nosniff: bool = False,
        charge: Callable[[float], None] = lambda _: None,
    ) -> Page | None:
        """Return the page, or None if a browser does not show the body as a document.

        If the page could not be parsed, its ``note`` states why. If this machine is the cause, its
        ``error`` does.

        Args:
            charge: Called with the CPU seconds of the page.
        """
        if not document_kind(content_type, body, nosniff=nosniff):
            return None
        host = host_of(url)
        domain = registered_domain(host) or host
        parser = await self._turn(domain)
        try:
            if host in self._broken_hosts or self._broken[domain] >= MAX_BROKEN_HOSTS:
                return Page(note=LEFT)
            page = await parser.read(body, content_type, url, policies, nosniff=nosniff)
            charge(parser.seconds)
            slow = self._is_slow(host, parser.seconds)
            if slow or (page is not None and page.note in (SLOW, CRASHED)):
                self._record_broken(host, domain)
            return page
        finally:
            self._release(domain, parser)

    async def close(self) -> None:
        """End the processes."""
        for parser in self._all:
            await parser.close()

    def _is_slow(self, host: str, seconds: float) -> bool:
        """Add the time of a page, and return whether the host has used all of its time."""
        # Bounded memory, as below.
        if len(self._seconds) < MAX_KNOWN or host in self._seconds:
            self._seconds[host] += seconds
        return self._seconds.get(host, 0.0) > MAX_HOST_SECONDS

    def _record_broken(self, host: str, domain: str) -> None:
        # Bounded memory. Each one cost seconds of CPU time, so a run does not get there.
        if host not in self._broken_hosts and len(self._broken_hosts) < MAX_KNOWN:
            self._broken_hosts.add(host)
            self._broken[domain] += 1

    async def _turn(self, domain: str) -> PageParserProcess:
        waiting: asyncio.Future[PageParserProcess] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(domain, deque()).append(waiting)
        self._give_turns()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._release(domain, waiting.result())
            raise

    def _release(self, domain: str, parser: PageParserProcess) -> None:
        self._reading.discard(domain)
        self._idle.append(parser)
        self._give_turns()

    def _give_turns(self) -> None:
        while self._idle:
            domain = next((d for d in self._waiting if d not in self._reading), None)
            if domain is None:
                return
            queue = self._waiting.pop(domain)
            first = queue.popleft()
            if queue:  # behind all other domains
                self._waiting[domain] = queue
            if not first.cancelled():
                self._reading.add(domain)
                first.set_result(self._idle.pop())
