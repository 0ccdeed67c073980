"""Probe one endpoint and return its :class:`Evidence`.

Every address is probed. A further handshake happens only if it gives new information. Without SNI:
if the certificate does not cover the name. With older TLS: if a browser's offer was refused. For
the raw Certificate message: if the TLS library could not parse it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from certmgr.scan.dial import Dialler, DialRequest, DialResult
from certmgr.scan.evidence import AddressEvidence, Evidence, Failure, FailureKind, Resolution
from certmgr.scan.page_fetcher import PageFetcher
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import Visit
from certmgr.x509.names import certificate_covers
from inventory.certificates import Certificate, parse
from inventory.clock import Clock, system_clock
from inventory.targets import Target

_TRY_LEGACY = frozenset({FailureKind.ALERT, FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET})
# Alerts that an older TLS offer cannot change: problems of the client certificate,
# unrecognized_name, certificate_required (RFC 8446 6.2).
_FINAL_ALERTS = frozenset({42, 43, 44, 45, 46, 48, 49, 112, 116})
_CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49, 116})


class CertificateCache:
    """A bounded cache of parsed certificates by their bytes.

    Thousands of endpoints share a few intermediates.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._by_der: dict[bytes, Certificate] = {}

    def parse(self, der: bytes) -> Certificate:
        """Return the parsed certificate, from the cache if possible."""
        certificate = self._by_der.get(der)
        if certificate is None:
            certificate = parse(der)
            if len(self._by_der) >= self._limit:
                # A leaf occurs once, an issuer often. A full cache therefore drops its leaves
                # first, and everything only if it is full of issuers.
                self._by_der = {k: v for k, v in self._by_der.items() if v.is_ca}
                if len(self._by_der) >= self._limit:
                    self._by_der = {}
            self._by_der[der] = certificate
        return certificate


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
    ) -> Evidence:
        """Probe all addresses of an endpoint. Never raises for the behaviour of a server.

        Args:
            fixed: Addresses that the administrator set for the endpoint; DNS is not queried.
            known: Keys of address evidence whose leaf is known to cover the host.
            paths: Paths to visit over HTTP and HTTPS in addition to the home page; None if no page
                is expected.
        """
        at = self.clock()
        try:
            # Fixed addresses come first: the administrator knows servers that DNS does not show.
            if fixed:
                resolution = Resolution("fixed", fixed)
            elif target.is_address:
                resolution = Resolution("fixed", (target.host,))
            else:
                resolution = await self.resolver.resolve(target.host, target.port)
            # The common case needs no task per address.
            if len(resolution.addresses) == 1:
                addresses: tuple[AddressEvidence, ...] = (
                    await self._address(target, resolution.addresses[0], known),
                )
            else:
                addresses = tuple(
                    await asyncio.gather(
                        *[self._address(target, a, known) for a in resolution.addresses]
                    )
                )
            visits = None
            if self.page_fetcher is not None and target.protocol == "https":
                # None: no visit was possible; empty: no page is expected under this name.
                visits = (
                    ()
                    if paths is None
                    else (await self._visits(self.page_fetcher, target, addresses, paths) or None)
                )
            return Evidence(target, at, resolution, addresses, visits=visits)
        except (
            Exception
        ) as error:  # an internal error becomes a separate finding, and other endpoints go on
            return Evidence(
                target, at, Resolution("ok"), (), error=f"{type(error).__name__}: {error}"[:300]
            )

    async def _visits(
        self,
        page_fetcher: PageFetcher,
        target: Target,
        addresses: tuple[AddressEvidence, ...],
        paths: tuple[str, ...],
    ) -> tuple[Visit, ...]:
        """Visit the pages of all addresses.

        HTTPS is visited if a browser would complete the handshake. The certificate is judged
        separately.
        """
        routable = [
            a for a in addresses if a.failure is None or a.failure.kind is not FailureKind.NO_ROUTE
        ]
        results = await asyncio.gather(
            *[
                page_fetcher.visit(
                    target, a.address, paths, secure=a.failure is None and not a.legacy_needed
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

    async def _address(self, target: Target, address: str, known: str) -> AddressEvidence:
        server_name = None if target.is_address else target.host
        request = DialRequest(address, target.port, target.protocol, server_name)
        result = await self.dialler.dial(request)
        legacy_needed = False
        if result.failure is not None:
            result, legacy_needed = await self._retry(request, result)
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
            legacy_needed=legacy_needed,
            client_certificate=result.client_certificate,
        )
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

    async def _retry(self, request: DialRequest, first: DialResult) -> tuple[DialResult, bool]:
        """Retry a failed handshake with another offer.

        Returns:
            The result, and whether an older offer was needed.
        """
        failure = first.failure
        assert failure is not None
        # The raw Certificate message still shows the other certificates of the chain.
        if failure.kind is FailureKind.MALFORMED:
            forensic = await self.dialler.dial(replace(request, profile="forensic"))
            return (first if not forensic.chain else replace(first, chain=forensic.chain)), False
        if (
            failure.kind not in _TRY_LEGACY
            or failure.alert in _FINAL_ALERTS
            or first.client_certificate
        ):
            return first, False
        older = await self.dialler.dial(replace(request, profile="forensic"))
        if older.failure is None:
            return older, True
        # Both failed, but the older offer revealed the certificate.
        if older.chain and not first.chain:
            return (
                replace(first, chain=older.chain, client_certificate=older.client_certificate),
                False,
            )
        return replace(first, probes=first.probes + older.probes), False

    async def _deep(self, request: DialRequest, evidence: AddressEvidence) -> AddressEvidence:
        """Add the certificate of the other key type, and older TLS versions (``--deep``)."""
        # An RSA client and an EC client may get different certificates from one server.
        kind = self.certificates.parse(evidence.chain[0]).key_type
        other = "rsa" if kind == "EC" else "ec"
        results = await asyncio.gather(
            *[
                self.dialler.dial(replace(request, profile=profile))
                for profile in (other, "tls1.0", "tls1.1")
            ]
        )
        legacy = tuple(r.tls_version for r in results[1:] if r.failure is None and r.tls_version)
        chain = results[0].chain if results[0].failure is None else ()
        return replace(evidence, other_chain=chain, legacy=legacy)


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
