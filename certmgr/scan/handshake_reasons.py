"""Why a handshake failed, in fixed phrases. Pure.

The words of the TLS library are for programmers, and it has several for one cause. So each phrase
is derived from the number of the alert, or from one of the library's words, as soon as a handshake
has failed: nothing else sees the words. The phrases are translated (notifiers/wording/values.py).
"""

from __future__ import annotations

ALERT = "the server refuses it with a TLS alert"
WRONG_SIGNATURE = "the server does not have the key of its certificate, or its answer was changed"
OTHER_VERSION = "the server speaks a TLS version that current programs do not accept"
DOWNGRADED = "a device before the server changes the connection to an older TLS version"
UNREADABLE = "the server sends TLS records that cannot be decrypted"
EMPTY_RECORD = "the server sends an empty TLS record, which is not allowed and which Chrome ignores"
BROKEN = "the answer of the server breaks the TLS protocol"
MALFORMED = "a certificate that the server sends cannot be read"

# What the library states of a ServerHello with a version that it does not know.
_OTHER_VERSION_WORDS = frozenset(
    {"unsupported protocol", "wrong ssl version", "wrong version number"}
)
# What it states if a server with TLS 1.3 reads an offer of an older version (RFC 8446 4.1.3).
_DOWNGRADE_WORDS = "inappropriate fallback"
_BAD_SIGNATURE, _BAD_RECORD = "bad signature", "bad record mac"
# RFC 8446 6 and RFC 5246 7.2.
_ALERT_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(number: int) -> str:
    """Return the number of an alert, with its name if it has one."""
    name = _ALERT_NAMES.get(number)
    return f"{number} ({name})" if name else str(number)


def of_words(words: str) -> str:
    """Return the phrase for the words of the TLS library, of which one or more form a text."""
    if words == _DOWNGRADE_WORDS:
        return DOWNGRADED
    if words in _OTHER_VERSION_WORDS:
        return OTHER_VERSION
    if _BAD_SIGNATURE in words:
        return WRONG_SIGNATURE
    return UNREADABLE if _BAD_RECORD in words else BROKEN
