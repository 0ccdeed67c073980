"""Probe one endpoint and return its :class:`Evidence`.

Every address is probed with the offer of a browser. A further handshake happens only if it gives
new information. Without SNI: if the certificate does not cover the name. With other offers: if the
browser's one failed (other_offers.py), or with ``--deep``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import (
    INTERNAL_ERROR,
    TRANSIENT,
    AddressEvidence,
    Evidence,
    Failure,
    FailureKind,
    Resolution,
)
from certmgr.scan.first_page import FirstPage
from certmgr.scan.internal_errors import is_internal
from certmgr.scan.known_pages import KnownPages
from certmgr.scan.openssl_names import BROWSER_CIPHER_NAMES, POST_QUANTUM_GROUP
from certmgr.scan.other_offers import SECOND_PROFILE, accepted_offer
from certmgr.scan.page_fetcher import PageFetcher
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import Visit
from certmgr.x509.names import certificate_covers
from inventory.certificates import Certificate, parse
from inventory.clock import Clock, system_clock
from inventory.errors import log_internal_error
from inventory.targets import Target

_log = logging.getLogger(__name__)
_CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49, 116})
# With these, a server that can use post-quantum key exchange would have completed the handshake.
_REFUSALS = frozenset({FailureKind.ALERT, FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET})
# A later visitor may not meet these, so the pages are visited.
_MAY_PASS = TRANSIENT | {FailureKind.LOCAL}

# An ordinary certificate takes 4 KB.
MAX_CACHE_BYTES = 16_777_216


class CertificateCache:
    """A cache of parsed certificates by their bytes, bounded in number and memory.

    Thousands of endpoints share a few intermediates.
    """

    def __init__(self, limit: int = 4096, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._limit, self._max_bytes = limit, max_bytes
        self._by_der: dict[bytes, Certificate] = {}
        self.bytes = 0

    def parse(self, der: bytes) -> Certificate:
        """Return the parsed certificate, from the cache if possible."""
        certificate = self._by_der.get(der)
        if certificate is None:
            certificate = parse(der)
            # A huge certificate occurs once. It must not displace those that occur often.
            if certificate.weight > self._max_bytes // 64:
                return certificate
            if self._is_full(certificate):
                # A leaf occurs once, an issuer often. A full cache therefore drops its leaves
                # first, and everything only if it is full of issuers.
                self._by_der = {k: v for k, v in self._by_der.items() if v.is_ca}
                self.bytes = sum(c.weight for c in self._by_der.values())
                if self._is_full(certificate):
                    self._by_der, self.bytes = {}, 0
            self._by_der[der] = certificate
            self.bytes += certificate.weight
        return certificate

    def _is_full(self, certificate: Certificate) -> bool:
        return len(self._by_der) >= self._limit or self.bytes + certificate.weight > self._max_bytes


@dataclass(slots=True)
class EndpointProber:
    """Probes endpoints with one dialler and one resolver."""

    dialler: Dialler
    resolver: Resolver
    certificates: CertificateCache
    deep: bool = False
    page_fetcher: PageFetcher | None = None
    clock: Clock = system_clock

    async def probe(
        self,
        target: Target,
        fixed: tuple[str, ...] = (),
        known: str = "",
        paths: tuple[str, ...] | None = None,
        pages: str = "",
    ) -> Evidence:
        """Probe all addresses of an endpoint. Never raises for the behaviour of a server.

        Args:
            fixed: Addresses that the administrator set for the endpoint; DNS is not queried.
            known: Keys of address evidence whose leaf is known to cover the host.
            paths: Paths to visit over HTTP and HTTPS in addition to the home page; None if no page
                is expected.
            pages: What its pages contained in the last scan.
        """
        at = self.clock()
        firsts: dict[str, FirstPage] = {}
        try:
            resolution = await self._resolve(target, fixed)
            firsts = self._first_pages(target, paths, resolution.addresses)
            # The common case needs no task per address.
            if len(resolution.addresses) == 1:
                addresses: tuple[AddressEvidence, ...] = (
                    await self._guarded(target, resolution.addresses[0], known, firsts),
                )
            else:
                addresses = tuple(
                    await asyncio.gather(
                        *[self._guarded(target, a, known, firsts) for a in resolution.addresses]
                    )
                )
            # None: no visit was possible; empty: no page is expected under this name.
            visits: tuple[Visit, ...] | None = None
            known_pages = KnownPages.of(pages)
            if self.page_fetcher is not None and target.protocol == "https":
                visits = ()
                if paths is not None:
                    fetcher = self.page_fetcher
                    made = await self._visits(
                        fetcher, target, addresses, paths, firsts, known_pages
                    )
                    visits = made or None
            return Evidence(
                target, at, resolution, addresses, visits=visits, pages=known_pages.text()
            )
        except BaseException as error:
            if not is_internal(error):
                raise
            # An internal error becomes a separate finding; other endpoints go on.
            log_internal_error(_log, "the probe of an endpoint")
            return Evidence(target, at, Resolution("ok"), (), error=INTERNAL_ERROR)
        finally:
            for first in firsts.values():
                first.release()

    async def _resolve(self, target: Target, fixed: tuple[str, ...]) -> Resolution:
        # Fixed addresses come first: the administrator knows servers that DNS does not show.
        if fixed:
            return Resolution("fixed", fixed)
        if target.is_address:
            return Resolution("fixed", (target.host,))
        return await self.resolver.resolve(target.host, target.port)

    def _first_pages(
        self, target: Target, paths: tuple[str, ...] | None, addresses: tuple[str, ...]
    ) -> dict[str, FirstPage]:
        """Return the offers to request pages on the connections of the probe, by address."""
        fetcher = self.page_fetcher
        if fetcher is None or target.protocol != "https" or paths is None:
            return {}
        return {a: fetcher.first_page(target, a) for a in addresses}

    async def _visits(
        self,
        page_fetcher: PageFetcher,
        target: Target,
        addresses: tuple[AddressEvidence, ...],
        paths: tuple[str, ...],
        firsts: Mapping[str, FirstPage],
        pages: KnownPages,
    ) -> tuple[Visit, ...]:
        """Visit the pages of all addresses.

        HTTPS is visited if a browser may complete the handshake. The certificate is judged
        separately.
        """
        routable = [
            a for a in addresses if a.failure is None or a.failure.kind is not FailureKind.NO_ROUTE
        ]
        results = await asyncio.gather(
            *[
                page_fetcher.visit(
                    target,
                    a.address,
                    paths,
                    secure=_opens_in_a_browser(a),
                    first=firsts.get(a.address),
                    pages=pages,
                )
                for a in routable
            ],
            return_exceptions=True,
        )
        visits: list[Visit] = []
        for address, result in zip(routable, results, strict=True):
            if isinstance(result, BaseException):
                # An internal error during a visit must not discard the TLS evidence.
                visits.append(page_fetcher.failed(target, address.address, result))
            else:
                visits += result
        return tuple(visits)

    async def _guarded(
        self, target: Target, address: str, known: str, firsts: Mapping[str, FirstPage]
    ) -> AddressEvidence:
        """Probe one address. An internal error must not discard what the others served."""
        try:
            return await self._address(target, address, known, firsts.get(address))
        # Any error: its finding is scanner-error, and the evidence of other addresses stays.
        except BaseException as error:
            if not is_internal(error):
                raise
            log_internal_error(_log, "the probe of an address")
            failure = Failure("local", FailureKind.LOCAL, INTERNAL_ERROR)
            return AddressEvidence(address, failure=failure)

    async def _address(
        self, target: Target, address: str, known: str, page: FirstPage | None
    ) -> AddressEvidence:
        server_name = None if target.is_address else target.host
        request = DialRequest(
            address,
            target.port,
            target.protocol,
            server_name,
            second_profile=SECOND_PROFILE,
            host=target.host,
        )
        first = await self._first(request, page)
        result, browser_failure = await accepted_offer(self.dialler, request, first)
        evidence = AddressEvidence(
            address=address,
            chain=result.chain,
            tls_version=result.tls_version,
            cipher=result.cipher,
            group=result.group,
            alpn=result.alpn,
            ocsp=result.ocsp,
            failure=_client_certificate(result),
            probes=result.probes,
            browser_failure=browser_failure,
            offer=result.profile,
            signature=result.signature,
            client_certificate=result.client_certificate,
            post_quantum=True if result.group == POST_QUANTUM_GROUP else None,
        )
        # Further handshakes use the offer that the server accepted.
        request = replace(request, profile=result.profile, second_profile="")
        if not result.chain or result.failure is not None:
            return evidence
        # The same evidence was judged before, and its leaf covers the name.
        if known and not self.deep and evidence.key() in known:
            return evidence
        if server_name is not None and not certificate_covers(
            self.certificates.parse(result.chain[0]), server_name
        ):
            # If the same leaf is served without SNI, it may be the default certificate of the
            # server.
            plain = await self.dialler.dial(replace(request, server_name=None))
            evidence = replace(evidence, without_sni=plain.chain[0] if plain.chain else None)
        if self.deep:
            evidence = await self._deep(request, evidence)
        return evidence

    async def _first(self, request: DialRequest, page: FirstPage | None) -> DialResult:
        """Dial with the offer of a browser, and request the page on the same connection."""
        if page is None:
            return await self.dialler.dial(request)
        result = None
        with_page = replace(request, page=page.exchange)
        try:
            result = await self.dialler.dial(with_page)
        finally:
            # A page behind another offer is not that of a browser.
            same = result is not None and result.profile == request.profile
            page.dialled(result if same else None)
        # Further handshakes share the time limit.
        request.deadline = with_page.deadline
        return result

    async def _deep(self, request: DialRequest, evidence: AddressEvidence) -> AddressEvidence:
        """Add the certificate of the other key type, older TLS, and post-quantum key exchange."""
        # An RSA client and an EC client may get different certificates from one server.
        kind = self.certificates.parse(evidence.chain[0]).key_type
        other = "rsa" if kind == "EC" else "ec"
        results = await asyncio.gather(
            *[
                self.dialler.dial(replace(request, profile=profile))
                for profile in (other, "tls1.0", "tls1.1", "post-quantum")
            ]
        )
        # Browsers removed both versions in 2020, and RFC 8996 deprecates them. A server that still
        # offers them works for all visitors, so only a deep scan asks.
        legacy = tuple(r.tls_version for r in results[1:3] if r.failure is None and r.tls_version)
        # Only a completed handshake proves that the server has the key of this certificate.
        chain = results[0].chain if results[0].failure is None else ()
        post_quantum = evidence.post_quantum or _post_quantum(results[3])
        return replace(evidence, other_chain=chain, legacy=legacy, post_quantum=post_quantum)


def _opens_in_a_browser(address: AddressEvidence) -> bool:
    """Return whether the handshake of a browser succeeds there, or may succeed."""
    refused = address.browser_failure
    if address.failure is not None or refused is None:
        return address.failure is None
    return (
        address.offer == "forensic"
        and refused.kind in _MAY_PASS
        and address.cipher in BROWSER_CIPHER_NAMES
    )


def _post_quantum(result: DialResult) -> bool | None:
    """Return whether a server accepted the offer of post-quantum key exchange only."""
    if result.failure is None:
        # TLS 1.2 may have used a suite without a group.
        return result.group == POST_QUANTUM_GROUP
    return False if result.failure.kind in _REFUSALS else None


def _client_certificate(result: DialResult) -> Failure | None:
    """Return the failure of a probe, with a clear reason if a client certificate was missing.

    Only the missing client certificate ended the handshake, so the chain is valid evidence.
    """
    failure = result.failure
    if (
        failure is not None
        and result.client_certificate
        and failure.alert in _CLIENT_CERTIFICATE_ALERTS
    ):
        return replace(failure, reason="the server wants a client certificate")
    return failure
