"""Issuers that a server did not send, fetched by AIA where the configuration allows it ([trust]
fetch_issuers).

The URL comes from a stranger's certificate: plain http only (BR 7.1.2.7.7), with the guards of
certmgr/net/downloads.py, 64 KB and a few seconds at most. What comes back counts only as a possible
issuer: the path is verified as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certmgr.net.addresses import Network
from certmgr.net.downloads import download, literal, permitted, place_of
from certmgr.scan.resolve import Resolver
from inventory.certificates import Certificate, from_pkcs7, parse

MAX_BYTES = 65_536
TIMEOUT = 5.0
MAX_URLS = 2


class IssuerFetcher:
    """Asks each URL once a run, four at a time."""

    def __init__(self, resolver: Resolver, allowed: Sequence[Network]) -> None:
        self._resolver, self._allowed = resolver, tuple(allowed)
        self._limit = asyncio.Semaphore(4)
        self._asked: dict[str, asyncio.Task[list[Certificate]]] = {}

    async def issuers(self, certificate: Certificate) -> list[Certificate]:
        """Certificates that may have issued this one; empty where none could be had."""
        found: list[Certificate] = []
        for url in certificate.issuer_urls[:MAX_URLS]:
            task = self._asked.get(url)
            if task is None and len(self._asked) < 2000:
                task = self._asked[url] = asyncio.ensure_future(self._get(url))
            if task is not None:
                found += await task
        return found

    async def _get(self, url: str) -> list[Certificate]:
        place = place_of(url)
        if place is None:
            return []
        addresses = (
            literal(place) or (await self._resolver.resolve(place.host, place.port)).addresses
        )
        address, _ = permitted(addresses, self._allowed)
        if address is None:
            return []
        async with self._limit:
            data = (
                await asyncio.to_thread(download, address, place, limit=MAX_BYTES, seconds=TIMEOUT)
            ).body
        if not data:
            return []
        certificate = parse(data)
        return [certificate] if certificate.parsed is not None else from_pkcs7(data)
