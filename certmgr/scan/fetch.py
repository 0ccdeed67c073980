"""Issuers that a server did not send, fetched by AIA where the configuration allows it ([trust] fetch_issuers).

The URL comes from a stranger's certificate: plain http only (BR 7.1.2.7.7), the name is resolved once, internal addresses are
refused unless configured, the address that was checked is the one that is asked, no redirect is followed, 64 KB and a few
seconds at most. What comes back counts only as a possible issuer: the path is verified as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from certmgr.scan.guard import Network, refusal
from certmgr.scan.resolve import Resolver
from inventory.certificates import Certificate, from_pkcs7, parse
from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host

MAX_BYTES = 65_536
TIMEOUT = 5.0
MAX_URLS = 2


class Fetcher:
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
        try:
            parts = urlsplit(url)
            host, port = normalise_host(parts.hostname or ""), parts.port or 80
        except (ValueError, CertmgrError):
            return []
        if parts.scheme != "http":
            return []
        addresses = (host,) if as_ip(host) is not None else (await self._resolver.resolve(host, port)).addresses
        allowed = [a for a in addresses if refusal(a, self._allowed) is None]
        if not allowed:
            return []
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        async with self._limit:
            data = await asyncio.to_thread(_download, allowed[0], port, host, path)
        if not data:
            return []
        certificate = parse(data)
        return [certificate] if certificate.parsed is not None else from_pkcs7(data)


def _download(address: str, port: int, host: str, path: str) -> bytes:
    """The body from the address that was checked; empty for anything but a 200 within the bounds."""
    import urllib3

    pool = urllib3.HTTPConnectionPool(address, port, timeout=urllib3.Timeout(total=TIMEOUT), retries=False, maxsize=1)
    try:
        response = pool.request(
            "GET", path, headers={"Host": host, "Accept-Encoding": "identity"}, redirect=False, preload_content=False
        )
        data = response.read(MAX_BYTES + 1, decode_content=False)
        return data if response.status == 200 and len(data) <= MAX_BYTES else b""
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return b""
    finally:
        pool.close()
