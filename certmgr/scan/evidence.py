"""Everything that a scan saw of an endpoint, as values. Nothing here is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

from certmgr.scan.visits import Visit
from inventory.targets import Target


class FailureKind(StrEnum):
    """Why a look at an address ended without a certificate that was proved by a handshake."""

    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # a router said so
    NO_ROUTE = "no-route"  # this machine has no way to the address family
    NOT_TLS = "not-tls"
    STARTTLS = "starttls"  # the server does not offer STARTTLS, or breaks its protocol
    ALERT = "alert"  # the server sent a TLS alert
    TLS = "tls"  # the handshake broke in another way
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"  # a certificate that the TLS library cannot parse
    LOCAL = "local"  # our own fault: no file descriptor left, a bug


# Kinds that a second look may not see again.
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
    """``layer``: dns, connect, tls, starttls, timeout or local.

    ``reason``: words, printable. ``alert``: the TLS alert number.
    """

    layer: str
    kind: FailureKind
    reason: str
    alert: int | None = None
    answered: bool = False  # the server sent something after the connection stood
    accepted: bool = False  # the connection stood


@dataclass(frozen=True, slots=True)
class AddressEvidence:
    """One address: the chain as served (DER, leaf first), what was negotiated, or why nothing was.

    ``chain`` may be present beside a failure (a server that insists on a client certificate).
    ``without_sni``: the leaf that is served when no name is asked for, None when it was not looked
    at. ``other_chain``: the chain of the other key type (``--deep``). ``legacy``: TLS versions
    below 1.2 that are offered too (``--deep``). ``looks``: how often it was tried.
    """

    address: str
    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    ocsp: bytes | None = None
    failure: Failure | None = None
    looks: int = 1
    legacy_needed: bool = False  # a browser's offer was refused, an older one was accepted
    client_certificate: bool = False  # the server asked for one
    without_sni: bytes | None = None
    other_chain: tuple[bytes, ...] = ()
    legacy: tuple[str, ...] = ()

    def key(self) -> str:
        """Equal for two looks that saw the same, byte for byte.

        Only for looks without failure, SNI question or deep look.
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
    """What DNS answered.

    ``status``: ok, nxdomain, nodata, servfail, timeout, fixed (not asked). ``refused``: addresses
    not visited.
    """

    status: str
    addresses: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    partial: str = ""  # one family did not answer: there may be more addresses


@dataclass(frozen=True, slots=True)
class Evidence:
    """``visits``: what a visitor meets over HTTP and HTTPS; None when it was not asked, empty when
    no page is expected there.
    """

    target: Target
    at: datetime
    resolution: Resolution
    addresses: tuple[AddressEvidence, ...] = field(default=())
    error: str | None = None  # our own fault
    visits: tuple[Visit, ...] | None = None
