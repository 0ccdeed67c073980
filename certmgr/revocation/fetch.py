"""Fetch revocation lists over plain http: a few at once, each within bounds.

Internal addresses are refused by the guards of certmgr/net/http_stream.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from certmgr.net.addresses import Network
from certmgr.net.dns import DnsClient
from certmgr.net.downloads import Download, download, literal_address, parse_target
from certmgr.x509.crl import MAX_BYTES
from inventory.threads import thread_pool

_log = logging.getLogger(__name__)

AT_ONCE = 4
SECONDS = 60.0  # per list, whatever its size


class CrlFetcher:
    """Fetches revocation lists.

    ``allowed``: internal networks from which a list may be fetched.
    """

    def __init__(
        self,
        dns_client: DnsClient,
        allowed: Sequence[Network],
        *,
        limit: int = MAX_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        self._dns_client, self._allowed = dns_client, tuple(allowed)
        self._limit, self._seconds = limit, seconds

    def fetch(self, url: str) -> Download:
        """Fetch one list. Never raises for the behaviour of a server or the DNS."""
        _log.info("fetching the revocation list %s", url)
        target = parse_target(url)
        if target is None:
            return Download(problem="the URL is not a plain http URL with a valid host")
        addresses: Sequence[str] = literal_address(target)
        if not addresses:
            answer = self._dns_client.addresses(target.host)
            if answer.status != "ok":
                return Download(problem=f"{target.host}: {answer.reason}")
            addresses = answer.records
        return download(target, addresses, self._allowed, limit=self._limit, seconds=self._seconds)

    def each(self, urls: Iterable[str]) -> Iterator[tuple[str, Download]]:
        """Fetch several lists, and yield each URL with its result in the order of completion."""
        waiting = iter(urls)
        with thread_pool(AT_ONCE) as pool:
            running: dict[Future[Download], str] = {}
            while True:
                # Each URL is submitted only when another is done. A list may have 32 MB, so
                # results must not accumulate while the caller works.
                for url in waiting:
                    running[pool.submit(self.fetch, url)] = url
                    if len(running) >= AT_ONCE:
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
                    del done
