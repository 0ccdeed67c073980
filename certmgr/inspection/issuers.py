"""Issuer certificates that a server did not send, fetched by AIA (``[trust] fetch_issuers``).

The URL comes from a certificate that is not trusted yet. So only plain http is used (BR 7.1.2.7.7),
with the guards of certmgr/net/http_stream.py, at most 64 KB and a few seconds. A fetched
certificate is only a candidate: the trust path is verified as usual.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from certmgr.net.addresses import Network
from certmgr.net.downloads import (
    Download,
    DownloadTarget,
    download,
    literal_address,
    parse_target,
)
from certmgr.scan.resolve import Resolver
from certmgr.x509.pem_text import decode_body, pem_blocks
from inventory.certificate_signatures import issued_by
from inventory.certificates import Certificate, from_pkcs7, parse
from inventory.der import is_sequence
from inventory.names import registered_domain

# A certificate of a CA has 2 KB, and a bundle of them (PKCS#7) less than 20 KB.
MAX_BYTES = 65_536
TIMEOUT = 5.0  # of one URL, with its redirects
MAX_URLS = 5  # per certificate, as in Chrome
MAX_REDIRECTS = 20  # as in Chrome; each target is guarded as the first URL is
MAX_FETCHES = 2_000  # requests: a server can name a different URL in each certificate
MAX_SITE_FETCHES = 100  # of them for URLs at one site; a CA has a few issuers
# Certificates may name any URL at the site of a CA, so that its limit is reached. Those that ask
# for little are asked for nevertheless.
MAX_ASKER_FETCHES = 100  # requests for the certificates of one asking domain
FEW_FETCHES = 5
# What is kept for all: an issuer has 2 KB. A larger answer is fetched again if it is needed.
MAX_KEPT = 16_384  # bytes of memory of one answer
MAX_KEPT_BYTES = 16_777_216  # of all of them
# So many fetches without an answer, and a port of a site gets no further one: each of them would
# occupy one of four places for seconds, and the issuers of all other sites wait for a place.
# Certificates may name other ports of a CA, which never answer: its port 80 is asked nevertheless.
MAX_SILENT = 5


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
        self._kept_bytes = 0
        self._started: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._silent: Counter[tuple[str, int]] = Counter()

    async def issuers(self, certificate: Certificate, asker: str = "") -> list[Certificate]:
        """Return certificates that may have issued this one; empty if none is available.

        Args:
            certificate: The certificate.
            asker: The registered domain that serves it.
        """
        issuers: list[Certificate] = []
        for url in usable_urls(certificate):
            # A CA names one URL, or several of the same certificate.
            if any(issued_by(certificate, issuer) for issuer in issuers):
                break
            task = self._fetches.get(url)
            if task is None and self._may_start(url, asker):
                task = self._fetches[url] = asyncio.ensure_future(self._fetch(url, asker))
            if task is not None:
                issuers += await task
        return issuers

    def _may_start(self, url: str, asker: str) -> bool:
        """Return whether a URL may be fetched, or one to which it redirects, and count it."""
        target = parse_target(url)
        if target is None:
            return False
        site = _site(target)
        few = bool(asker) and self._asked[asker] < FEW_FETCHES
        if (
            self._started.total() >= MAX_FETCHES
            or (self._started[site] >= MAX_SITE_FETCHES and not few)
            or (asker and self._asked[asker] >= MAX_ASKER_FETCHES)
        ):
            return False
        self._started[site] += 1
        self._asked[asker] += 1
        return True

    async def _fetch(self, url: str, asker: str) -> list[Certificate]:
        """Return the certificates of a URL, and forget those that take too much memory."""
        found = await self._certificates(url, asker)
        size = sum(c.weight for c in found)
        if size > MAX_KEPT or self._kept_bytes + size > MAX_KEPT_BYTES:
            # Those that wait for this fetch have it; the next one fetches again.
            del self._fetches[url]
        else:
            self._kept_bytes += size
        return found

    async def _certificates(self, url: str, asker: str) -> list[Certificate]:
        data = await self._body(url, asker)
        if not data:
            return []
        certificate = parse(data)
        if certificate.parsed is not None:
            return [certificate]
        # A CA may publish one certificate in DER or several in PKCS#7 (RFC 5280 4.2.2.1). Browsers
        # also read PEM, up to the first certificate.
        bodies = [body for label, body in pem_blocks(data) if body and label == b"CERTIFICATE"]
        pem = [der for der in map(decode_body, bodies) if der]
        if pem:
            return [parse(pem[0])]
        return from_pkcs7(data) if is_sequence(data) else []

    async def _body(self, url: str, asker: str) -> bytes:
        """Return what a URL answers, after its redirects; empty if it answers nothing of use."""
        following, left = url, TIMEOUT
        for _ in range(MAX_REDIRECTS + 1):
            result, seconds = await self._download(following, url, left)
            if result.location is None:
                return result.body
            following, left = result.location, left - seconds
            # Browsers do not fetch an issuer over https, which needs a certificate itself.
            if parse_target(following) is None:
                break
            # They may have more time, and no limit for the requests to a site.
            if left <= 0 or not self._may_start(url, asker):
                return b""
        self.answered.add(url)
        return b""

    async def _download(self, url: str, named: str, left: float) -> tuple[Download, float]:
        """Download from a URL, to which the named one may have led.

        Args:
            url: The URL.
            named: The URL that a certificate names.
            left: The seconds that the download may take.

        Returns:
            The download, and the seconds that it took.
        """
        target = parse_target(url)
        if target is None:
            return Download(), 0.0
        addresses = literal_address(target)
        if not addresses:
            resolution = await self._resolver.resolve(target.host, target.port)
            addresses = resolution.addresses
            # Browsers get no certificate from a name that does not exist.
            if resolution.status in ("nxdomain", "nodata"):
                self.answered.add(named)
            # A name without an address takes no place, and does not count as silent: certificates
            # may name any host below the domain of a CA.
            if not addresses:
                return Download(problem="the host has no address"), 0.0
        place = _site(target), target.port
        async with self._limit:
            if self._silent[place] >= MAX_SILENT:
                return Download(), 0.0
            # The time of the queue does not count.
            began = asyncio.get_running_loop().time()
            result = await asyncio.to_thread(
                download, target, addresses, self._allowed, limit=MAX_BYTES, seconds=left
            )
            seconds = asyncio.get_running_loop().time() - began
        if result.final:
            self.answered.add(named)
        elif not result.body and result.location is None:
            self._silent[place] += 1
        return result, seconds


def usable_urls(certificate: Certificate) -> list[str]:
    """Return the URLs at which browsers look for the issuer of a certificate."""
    return [u for u in certificate.issuer_urls if parse_target(u) is not None][:MAX_URLS]


def _site(target: DownloadTarget) -> str:
    """Return what limits apply to: one owner has any number of names below a registered domain."""
    return registered_domain(target.host) or target.host
