"""Why TLS with another machine failed, in fixed phrases. Pure.

The words of the TLS library are for programmers, and change with its versions. They are read in one
place: here, for what certmgr fetches; certmgr/scan/handshake_reasons.py has those of a scan.
"""

from __future__ import annotations

# Error codes of X509_verify_cert (openssl/x509_vfy.h).
_CERTIFICATES = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it is self-signed",
    19: "its root is not trusted here",
    20: "its issuer was not sent, or is not trusted here",
    21: "its issuer was not sent, or is not trusted here",
    23: "it was revoked",
    26: "it is not for servers",
    62: "it is for another name",
    64: "it is for another address",
    66: "its key is too weak",
    67: "its key is too weak",
    68: "its signature is too weak",
}
_NOT_TLS = ("HTTP_REQUEST", "PACKET_LENGTH", "RECORD_LAYER_FAILURE", "WRONG_VERSION_NUMBER")
_OTHER_VERSION = ("UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION")


def of_certificate(code: int | None) -> str:
    """Return why the certificate of a server is refused, from the code of OpenSSL."""
    return _CERTIFICATES.get(code or 0, "it breaks a rule of its CA")


def of_handshake(reason: str | None) -> str:
    """Return why TLS failed, from the reason of :class:`ssl.SSLError`."""
    reason = reason or ""
    before, alert, name = reason.partition("ALERT_")
    if alert:
        # The names of the alerts are those of RFC 8446 6.
        return f"the server refuses it with the TLS alert {name.lower()}"
    if any(word in before for word in _NOT_TLS):
        return "the server does not answer in TLS"
    if before in _OTHER_VERSION:
        return "the server speaks a TLS version that certmgr does not accept"
    return "the answer of the server breaks the TLS protocol"
