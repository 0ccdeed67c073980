"""Revocation lists over plain http: a few at once, each within bounds, none from inside.

The guards are certmgr/net/downloads.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from certmgr.net.addresses import Network
from certmgr.net.dns import DnsClient
from certmgr.net.downloads import Download, download, literal, permitted, place_of
from certmgr.x509.crl import MAX_BYTES

AT_ONCE = 4
SECONDS = 60.0  # for one list, whatever its size


class CrlFetcher:
    """``allowed``: internal networks that may be asked."""

    def __init__(
        self,
        asker: DnsClient,
        allowed: Sequence[Network],
        *,
        limit: int = MAX_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        self._asker, self._allowed = asker, tuple(allowed)
        self._limit, self._seconds = limit, seconds

    def fetch(self, url: str) -> Download:
        """Never raises for what a server or the DNS does."""
        place = place_of(url)
        if place is None:
            return Download(problem="it is no http URL that can be asked")
        addresses: Sequence[str] = literal(place)
        if not addresses:
            answer = self._asker.addresses(place.host)
            if answer.status != "ok":
                return Download(problem=f"{place.host}: {answer.reason}")
            addresses = answer.records
        address, why = permitted(addresses, self._allowed)
        if address is None:
            return Download(problem=why)
        return download(address, place, limit=self._limit, seconds=self._seconds)

    def each(self, urls: Iterable[str]) -> Iterator[tuple[str, Download]]:
        """In the order in which they come.

        No more than ``AT_ONCE`` are on their way or wait to be taken, so that bodies do not pile
        up.
        """
        waiting = iter(urls)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running: dict[Future[Download], str] = {}
            while True:
                for url in waiting:
                    running[pool.submit(self.fetch, url)] = url
                    if len(running) >= AT_ONCE:
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
                    del done
