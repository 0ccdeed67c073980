"""Find out what a server accepts that does not complete the handshake with a browser's offer.

A browser sends one offer. If the server accepts only another one, browsers show an error page. So
the result of another offer is evidence about the server, and never replaces that of the browser's
offer without a trace.
"""

from __future__ import annotations

from dataclasses import replace

from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import Failure, FailureKind

# The offer of the second connection to a server that accepts the first one and stays silent.
SECOND_PROFILE = "compact"
_MAY_ACCEPT_MORE = frozenset(
    {FailureKind.ALERT, FailureKind.TLS, FailureKind.CLOSED, FailureKind.RESET}
)
# Alerts that another offer cannot change: problems of the client certificate, unrecognized_name,
# certificate_required (RFC 8446 6.2).
_FINAL_ALERTS = frozenset({42, 43, 44, 45, 46, 48, 49, 112, 116})
_NO_APPLICATION_PROTOCOL = 120


async def accepted_offer(
    dialler: Dialler, request: DialRequest, first: DialResult
) -> tuple[DialResult, Failure | None]:
    """Return the best result for an address after the first dial.

    Args:
        request: The browser's offer.
        first: Its result.

    Returns:
        The result, and the failure of the browser's offer if only another offer succeeded.
    """
    failure = first.failure
    if failure is None:
        # The server answered only the smaller offer of the second connection.
        if first.profile != request.profile:
            return await _compare(dialler, request, first)
        return first, None
    # The raw Certificate message still shows the other certificates of the chain.
    if failure.kind is FailureKind.MALFORMED:
        forensic = await dialler.dial(replace(request, profile="forensic", second_profile=""))
        return (first if not forensic.chain else replace(first, chain=forensic.chain)), None
    if (
        # After a time-out no other offer is made: the second connection of the dial sent the
        # compact one.
        failure.kind not in _MAY_ACCEPT_MORE
        or failure.alert in _FINAL_ALERTS
        or first.client_certificate
    ):
        return first, None
    # The server refuses the protocols of a browser (RFC 7301 3.2). Without ALPN it may go on.
    alpn = () if failure.alert == _NO_APPLICATION_PROTOCOL else request.alpn
    tolerant = await dialler.dial(
        replace(request, profile="forensic", second_profile="", alpn=alpn)
    )
    if tolerant.failure is None:
        return await _compare(dialler, request, tolerant)
    # Both failed, but the tolerant offer revealed the certificate.
    if tolerant.chain and not first.chain:
        return (
            replace(first, chain=tolerant.chain, client_certificate=tolerant.client_certificate),
            None,
        )
    return replace(first, probes=first.probes + tolerant.probes), None


async def _compare(
    dialler: Dialler, request: DialRequest, other: DialResult
) -> tuple[DialResult, Failure | None]:
    """Repeat the browser's offer after another offer succeeded.

    The first failure may have been an accident: two resets, and then an answer to any offer. If
    the browser's offer fails again, the compact one shows whether its size is the reason.
    """
    # The server answers, so the comparison gets a separate time limit, which both offers share.
    again = replace(request, second_profile="", deadline=None)
    repeated = await dialler.dial(again)
    if repeated.failure is None:
        return replace(repeated, probes=repeated.probes + other.probes), None
    if other.profile != "compact":
        compact = await dialler.dial(replace(again, profile="compact"))
        if compact.failure is None:
            other = compact
    return replace(other, probes=repeated.probes + other.probes), repeated.failure
