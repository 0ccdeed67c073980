"""Issuer certificates that a server did not send, fetched by AIA (``[trust] fetch_issuers``).

The URL comes from a certificate that is not trusted yet. So only plain http is used (BR 7.1.2.7.7),
with the guards of certmgr/net/http_stream.py, at most 64 KB and a few seconds. A fetched
certificate is only a candidate: the trust path is verified as usual.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certmgr.net.addresses import Network
from certmgr.net.downloads import download, literal_address, parse_target
from certmgr.scan.resolve import Resolver
from inventory.certificates import Certificate, from_pkcs7, parse

# A certificate of a CA has 2 KB, and a bundle of them (PKCS#7) less than 20 KB.
MAX_BYTES = 65_536
TIMEOUT = 5.0
MAX_URLS = 2  # per certificate


class IssuerFetcher:
    """Fetches each URL once per run, four at a time.

    Attributes:
        answered: The URLs whose server answered, with a certificate or not, or whose name does not
            exist.
    """

    def __init__(self, resolver: Resolver, allowed: Sequence[Network]) -> None:
        self._resolver, self._allowed = resolver, tuple(allowed)
        self.answered: set[str] = set()
        # Each fetch occupies a thread for up to five seconds, and few hosts of CAs serve most of
        # the files.
        self._limit = asyncio.Semaphore(4)
        self._fetches: dict[str, asyncio.Task[list[Certificate]]] = {}

    async def issuers(self, certificate: Certificate) -> list[Certificate]:
        """Return certificates that may have issued this one; empty if none is available."""
        issuers: list[Certificate] = []
        for url in certificate.issuer_urls[:MAX_URLS]:
            task = self._fetches.get(url)
            # The limit bounds memory: a server can name a different URL in each certificate.
            if task is None and len(self._fetches) < 2000:
                task = self._fetches[url] = asyncio.ensure_future(self._fetch(url))
            if task is not None:
                issuers += await task
        return issuers

    async def _fetch(self, url: str) -> list[Certificate]:
        target = parse_target(url)
        if target is None:
            return []
        addresses = literal_address(target)
        if not addresses:
            resolution = await self._resolver.resolve(target.host, target.port)
            addresses = resolution.addresses
            # Browsers get no certificate from a name that does not exist.
            if resolution.status in ("nxdomain", "nodata"):
                self.answered.add(url)
        async with self._limit:
            result = await asyncio.to_thread(
                download, target, addresses, self._allowed, limit=MAX_BYTES, seconds=TIMEOUT
            )
        if result.final:
            self.answered.add(url)
        data = result.body
        if not data:
            return []
        certificate = parse(data)
        # A CA may publish one certificate in DER or several in PKCS#7 (RFC 5280 4.2.2.1).
        return [certificate] if certificate.parsed is not None else from_pkcs7(data)
