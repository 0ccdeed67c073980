"""Why a name server and this machine do not agree on a signature (TSIG, RFC 8945 5.2). Pure."""

from __future__ import annotations

import dns.message
import dns.tsig

# The request is signed with the key that the configuration names, so each reason has one remedy.
_REMEDIES: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (dns.tsig.PeerBadKey, dns.message.UnknownTSIGKey),
        "it does not know the TSIG key by this name and algorithm (BADKEY)",
        "Compare tsig_name and tsig_algorithm with the key of the server.",
    ),
    (
        (dns.tsig.PeerBadSignature,),
        "the secret of the TSIG key is another one there (BADSIG)",
        "Compare tsig_secret with the key of the server.",
    ),
    (
        (dns.tsig.PeerBadTime, dns.tsig.BadTime),
        "the clocks of both machines differ by minutes (BADTIME)",
        "Synchronise both clocks (NTP); the TSIG key may be right.",
    ),
    (
        (dns.tsig.PeerBadTruncation,),
        "it refuses the length of the signature (BADTRUNC)",
        "Set tsig_algorithm to the algorithm of its key, without a shorter length.",
    ),
    (
        (dns.tsig.BadSignature, dns.tsig.BadKey, dns.tsig.BadAlgorithm, dns.tsig.PeerError),
        "the signature of its answer does not match the TSIG key",
        "Check its address: another server may have answered.",
    ),
)


def tsig_failure(error: Exception) -> tuple[str, str] | None:
    """Return the reason and what to do; None for an error that is not about a signature."""
    for kinds, reason, action in _REMEDIES:
        if isinstance(error, kinds):
            return reason, action
    return None
