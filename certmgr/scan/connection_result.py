"""What one connection of a dial gives, from the state of its protocols."""

from __future__ import annotations

from certmgr.net.http_exchange import Exchange
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import Failure
from certmgr.scan.openssl import Handshake

# Stands for a response that the TLS library could not parse. The checks of a staple cannot
# parse it either.
UNREADABLE_STAPLE = b"unreadable"


def result_of(
    request: DialRequest,
    profile: str,
    tls: Handshake | None,
    exchange: Exchange | None,
    failure: Failure | None,
) -> DialResult:
    """Return the result of a connection.

    Args:
        request: What was asked for.
        profile: The TLS profile of the connection.
        tls: Its handshake; None without TLS, or if TLS was not reached.
        exchange: Its HTTP exchange.
        failure: Why it failed; None for a success.
    """
    # A visit repeats no certificate that the probe of the address has.
    if tls is None or request.exchange is not None:
        kept = tls.chain() if tls is not None and request.keep_chain else ()
        return DialResult(
            chain=kept,
            failure=failure,
            exchange=exchange,
            client_certificate=tls is not None and tls.client_certificate_asked(),
            profile=profile,
        )
    if failure is not None:
        return DialResult(
            chain=tls.chain(),
            failure=failure,
            client_certificate=tls.client_certificate_asked(),
            profile=profile,
        )
    version, cipher, group, alpn = tls.negotiated()
    return DialResult(
        chain=tls.chain(),
        tls_version=version,
        cipher=cipher,
        group=group,
        alpn=alpn,
        ocsp=tls.ocsp() if request.staple else UNREADABLE_STAPLE,
        client_certificate=tls.client_certificate_asked(),
        profile=profile,
        signature=tls.signature(),
        exchange=exchange,
    )
