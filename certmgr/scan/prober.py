"""One endpoint -> :class:`Evidence`: every address, and where the first answer calls for it a
second question.

Further questions are asked only where they tell something: what is served without SNI where the
certificate does not fit, an older TLS where a browser's offer was refused, the raw Certificate
message where the TLS library could not parse it.
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
# Alerts that an older offer cannot change: certificate problems of the client, unrecognized_name,
# certificate_required.
_FINAL_ALERTS = frozenset({42, 43, 44, 45, 46, 48, 49, 112, 116})
_CLIENT_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49, 116})


class CertificateCache:
    """Parsed certificates by their bytes: thousands of endpoints share a few intermediates.

    Bounded.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._by_der: dict[bytes, Certificate] = {}

    def parse(self, der: bytes) -> Certificate:
        found = self._by_der.get(der)
        if found is None:
            found = parse(der)
            if len(self._by_der) >= self._limit:
                # Leaves are seen once, issuers often: what is kept longest is an issuer, or was
                # first.
                self._by_der = {k: v for k, v in self._by_der.items() if v.is_ca}
                if len(self._by_der) >= self._limit:
                    self._by_der = {}
            self._by_der[der] = found
        return found


@dataclass(slots=True)
class EndpointProber:
    """Looks at endpoints with one dialler and one resolver."""

    dialler: Dialler
    resolver: Resolver
    certificates: CertificateCache
    deep: bool = False
    visitor: PageFetcher | None = None
    clock: Clock = system_clock

    async def look(
        self,
        target: Target,
        fixed: tuple[str, ...] = (),
        known: str = "",
        paths: tuple[str, ...] | None = None,
    ) -> Evidence:
        """``fixed``: addresses that the administrator set for the endpoint.

        ``known``: keys of address evidence whose leaf is known to cover the host. ``paths``:
        visited over HTTP and HTTPS beside the home page; None where no page is expected. Never
        raises for what a server does.
        """
        at = self.clock()
        try:
            if fixed:
                resolution = Resolution("fixed", fixed)
            elif target.is_address:
                resolution = Resolution("fixed", (target.host,))
            else:
                resolution = await self.resolver.resolve(target.host, target.port)
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
            if self.visitor is not None and target.protocol == "https":
                # None: nothing could be asked; empty: no page is expected under this name.
                visits = (
                    ()
                    if paths is None
                    else (await self._visits(self.visitor, target, addresses, paths) or None)
                )
            return Evidence(target, at, resolution, addresses, visits=visits)
        except (
            Exception
        ) as error:  # our own fault is a finding of its own and stops no other endpoint
            return Evidence(
                target, at, Resolution("ok"), (), error=f"{type(error).__name__}: {error}"[:300]
            )

    async def _visits(
        self,
        visitor: PageFetcher,
        target: Target,
        addresses: tuple[AddressEvidence, ...],
        paths: tuple[str, ...],
    ) -> tuple[Visit, ...]:
        """HTTPS is visited where a browser would get through the handshake; the certificate is
        judged by itself.
        """
        seen = [
            a for a in addresses if a.failure is None or a.failure.kind is not FailureKind.NO_ROUTE
        ]
        found = await asyncio.gather(
            *[
                visitor.visit(
                    target, a.address, paths, secure=a.failure is None and not a.legacy_needed
                )
                for a in seen
            ],
            return_exceptions=True,
        )
        visits: list[Visit] = []
        for address, result in zip(seen, found, strict=True):
            if isinstance(result, BaseException):
                # Our own fault about a page takes nothing away from what was seen of TLS.
                visits.append(visitor.failed(target, address.address, result))
            else:
                visits += result
        return tuple(visits)

    async def _address(self, target: Target, address: str, known: str) -> AddressEvidence:
        server_name = None if target.is_address else target.host
        request = DialRequest(address, target.port, target.protocol, server_name)
        result = await self.dialler.dial(request)
        legacy_needed = False
        if result.failure is not None:
            result, legacy_needed = await self._again(request, result)
        evidence = AddressEvidence(
            address=address,
            chain=result.chain,
            tls_version=result.tls_version,
            cipher=result.cipher,
            group=result.group,
            alpn=result.alpn,
            ocsp=result.ocsp,
            failure=_client_certificate(result),
            looks=result.looks,
            legacy_needed=legacy_needed,
            client_certificate=result.client_certificate,
        )
        if not result.chain or result.failure is not None:
            return evidence
        if known and not self.deep and evidence.key() in known:
            return evidence
        if server_name is not None and not certificate_covers(
            self.certificates.parse(result.chain[0]), server_name
        ):
            plain = await self.dialler.dial(replace(request, server_name=None))
            evidence = replace(evidence, without_sni=plain.chain[0] if plain.chain else None)
        if self.deep:
            evidence = await self._deep(request, evidence)
        return evidence

    async def _again(self, request: DialRequest, first: DialResult) -> tuple[DialResult, bool]:
        """What a second handshake with another offer tells: (result, whether an older offer was
        needed).
        """
        failure = first.failure
        assert failure is not None
        if failure.kind is FailureKind.MALFORMED:
            seen = await self.dialler.dial(replace(request, profile="forensic"))
            return (first if not seen.chain else replace(first, chain=seen.chain)), False
        if (
            failure.kind not in _TRY_LEGACY
            or failure.alert in _FINAL_ALERTS
            or first.client_certificate
        ):
            return first, False
        older = await self.dialler.dial(replace(request, profile="forensic"))
        if older.failure is None:
            return older, True
        if older.chain and not first.chain:
            return (
                replace(first, chain=older.chain, client_certificate=older.client_certificate),
                False,
            )
        return replace(first, looks=first.looks + older.looks), False

    async def _deep(self, request: DialRequest, evidence: AddressEvidence) -> AddressEvidence:
        """The certificate of the other key type, and older TLS versions."""
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
    """A handshake that failed only because the server wants a client certificate keeps its chain
    and says so.
    """
    failure = result.failure
    if (
        failure is not None
        and result.client_certificate
        and failure.alert in _CLIENT_CERTIFICATE_ALERTS
    ):
        return replace(failure, reason="the server wants a client certificate")
    return failure
