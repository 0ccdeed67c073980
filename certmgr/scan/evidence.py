"""The evidence of one scanned endpoint, as plain values. Nothing here is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from certmgr.scan.visits import Visit
from inventory.targets import Target


class FailureKind(StrEnum):
    """The reason why a probe ended without a certificate that a handshake proved."""

    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # a router reported it (ICMP)
    NO_ROUTE = "no-route"  # this machine has no route for the address family
    NOT_TLS = "not-tls"
    STARTTLS = "starttls"  # the server does not offer STARTTLS, or breaks its protocol
    STARTTLS_UNKNOWN = "starttls-unknown"  # the server refused us before TLS could be requested
    ALERT = "alert"  # the server sent a TLS alert
    TLS = "tls"  # the handshake failed in another way
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"  # a certificate that the TLS library cannot parse
    STAPLE = "staple"  # a stapled OCSP response that the TLS library cannot parse
    EMPTY_RECORD = "empty-record"  # the TLS library ends the connection, and Chrome does not
    LOCAL = "local"  # a problem of this machine: no file descriptor left, a bug


# The text of evidence about a bug in certmgr. Its details are in the log.
INTERNAL_ERROR = "an internal error of certmgr"
# Kinds that a second probe may not meet again, so they are retried once.
TRANSIENT = frozenset(
    {
        FailureKind.REFUSED,
        FailureKind.RESET,
        FailureKind.CLOSED,
        FailureKind.TIMEOUT,
        FailureKind.UNREACHABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a probe failed.

    Attributes:
        layer: dns, connect, tls, starttls, http, timeout or local.
        reason: A printable text.
        alert: The number of the TLS alert (RFC 8446 6).
        answered: Whether the server sent something after the connection was established.
        accepted: Whether the connection was established.
        late: Whether the server had accepted the offer before (with a HelloRetryRequest, or with
            its certificate).
    """

    layer: str
    kind: FailureKind
    reason: str
    alert: int | None = None
    answered: bool = False
    accepted: bool = False
    late: bool = False


@dataclass(frozen=True, slots=True)
class AddressEvidence:
    """What one address served, what was negotiated, or why the probe failed.

    ``chain`` may be present alongside a failure: a server that requires a client certificate sends
    its chain first.

    Attributes:
        chain: The certificates as served (DER, leaf first).
        probes: The number of connections that were tried.
        browser_failure: Why a browser's offer fails, if only another offer succeeded; else None.
        offer: The profile of the offer that the server accepted (certmgr/scan/tls_offers.py).
        signature: The signature scheme of the server, if the offer was forensic.
        client_certificate: The server requested a client certificate.
        without_sni: The leaf that is served without SNI; None if it was not checked.
        other_chain: The chain of the other key type (``--deep``).
        legacy: TLS versions below 1.2 that the server also offers (``--deep``).
        post_quantum: Whether the server offers post-quantum key exchange; None if it was not
            checked (``--deep``) and another one was negotiated.
    """

    address: str
    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    ocsp: bytes | None = None
    failure: Failure | None = None
    probes: int = 1
    browser_failure: Failure | None = None
    offer: str = "browser"
    signature: str | None = None
    client_certificate: bool = False
    without_sni: bytes | None = None
    other_chain: tuple[bytes, ...] = ()
    legacy: tuple[str, ...] = ()
    post_quantum: bool | None = None

    def key(self) -> str:
        """Return a key that is equal for two probes with byte-for-byte equal results.

        Use it only for probes without a failure, a request without SNI, or ``--deep``.
        """
        digest = blake2b(digest_size=10)
        for der in self.chain:
            digest.update(der)
        facts = (
            self.address,
            self.tls_version,
            self.cipher,
            self.group,
            self.alpn,
            self.ocsp,
            self.client_certificate,
        )
        digest.update(repr(facts).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Resolution:
    """The result of a DNS resolution.

    Attributes:
        status: ok, nxdomain, nodata, servfail, timeout, or fixed (DNS was not queried).
        refused: (address, reason) for the addresses that are not visited.
        partial: One address family did not answer, for this reason. There may be more addresses.
    """

    status: str
    addresses: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    partial: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All evidence of one endpoint.

    Attributes:
        error: An internal error of the scanner.
        visits: What a visitor meets over HTTP and HTTPS. None if it was not checked; empty if no
            page is expected there.
        pages: What its pages contain, for the next scan (certmgr/scan/known_pages.py).
    """

    target: Target
    at: datetime
    resolution: Resolution
    addresses: tuple[AddressEvidence, ...] = field(default=())
    error: str | None = None
    visits: tuple[Visit, ...] | None = None
    pages: str = ""
