"""What a dial is asked for, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certmgr.net.addresses import Network
from certmgr.net.http_exchange import Exchange
from certmgr.scan.evidence import Failure
from certmgr.scan.tls_offers import BROWSER_ALPN


@dataclass(frozen=True, slots=True)
class DialLimits:
    """Limits of a dialler, in seconds and counts.

    Attributes:
        timeout: The total time for one address.
        connect_timeout: The time for the TCP connection; None uses ``timeout``.
        in_flight: The number of connections at once, over all addresses.
        per_address: The number of connections at once per address; 0 means no limit.
        rate: The number of new connections per second and address; 0 means no limit.
        own: Our own networks, whose servers are asked faster.
        families: The IP versions that may be used.
        sources: Local addresses from which to connect, at most one per IP version.
    """

    timeout: float = 10.0
    connect_timeout: float | None = None
    in_flight: int = 500
    # Thousands of names may lie on one address, and a scan must not become a load for that machine.
    per_address: int = 8
    rate: float = 20.0
    own: tuple[Network, ...] = ()
    families: frozenset[int] = frozenset({4, 6})
    sources: tuple[str, ...] = ()

    def source_for(self, address: str) -> str | None:
        """Return the local address from which to connect to an address; None: the system's."""
        return next((s for s in self.sources if (":" in s) == (":" in address)), None)


@dataclass(slots=True)
class DialResult:
    """The result of one dial.

    If ``failure`` is None, the handshake was completed, so the server holds the key of the leaf.

    Attributes:
        chain: The served certificates as DER, leaf first.
        client_certificate: Whether the server requested a client certificate.
        probes: The number of connections that were tried.
        exchange: The HTTP exchange, if the request asked for one.
        profile: The TLS profile of the connection that gave this result.
        signature: The signature scheme of the server, if the profile records it.
        seconds: The time that the dial took, without its wait for a free slot.
        as_browser: Whether the request of the exchange had the headers and protocols of a browser.
        page_failure: Why the exchange of ``DialRequest.page`` ended without its answer.
    """

    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    ocsp: bytes | None = None
    client_certificate: bool = False
    failure: Failure | None = None
    probes: int = 1
    exchange: Exchange | None = None
    profile: str = "browser"
    signature: str | None = None
    seconds: float = 0.0
    as_browser: bool = False
    page_failure: Failure | None = None


@dataclass(slots=True)
class DialRequest:
    """One connection to make.

    Attributes:
        protocol: A STARTTLS protocol, ``https`` or another TLS protocol, or ``http`` for TCP
            without TLS.
        server_name: The name for SNI; None sends no SNI.
        profile: The TLS profile; see :func:`certmgr.scan.tls_offers.context`.
        deadline: Loop time. None starts the total time when the first connection starts.
        timeout: The total time in seconds; None uses that of the limits.
        exchange: Creates the HTTP exchange once the connection is established. Its argument is
            the protocol that ALPN selected; None if it selected none.
        second_profile: The TLS profile of the second connection, which a server gets that accepts
            the first one and stays silent; empty uses ``profile``.
        alpn: The protocols to offer by ALPN (RFC 7301); empty offers none. None offers those of a
            browser for https, unless there is an exchange.
        keep_chain: Whether the result of an exchange has the served chain too.
        host: The name that a STARTTLS dialogue asks for; empty: the server name, or the address.
        staple: Whether to ask for a stapled OCSP response. The dial sets it to False if the TLS
            library cannot parse the one that the server sends.
        page: Creates an exchange after a complete handshake, or None if there is to be none. A
            dial is a success whatever becomes of it.
    """

    address: str
    port: int
    protocol: str
    server_name: str | None
    profile: str = "browser"
    deadline: float | None = None
    timeout: float | None = None
    exchange: Callable[[str | None], Exchange] | None = None
    second_profile: str = ""
    alpn: tuple[bytes, ...] | None = None
    host: str = ""
    keep_chain: bool = False
    staple: bool = True
    page: Callable[[str | None], Exchange | None] | None = None

    @property
    def offered_alpn(self) -> tuple[bytes, ...]:
        """The protocols that the ClientHello offers."""
        if self.alpn is not None:
            return self.alpn
        # A probe offers what a browser offers. An exchange offers nothing that it cannot speak.
        web = self.protocol == "https" and self.exchange is None
        return BROWSER_ALPN if web else ()

    def is_late(self, now: float) -> bool:
        """Return whether the deadline is over, in loop time."""
        return self.deadline is not None and now >= self.deadline
