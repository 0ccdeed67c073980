"""Why a connection failed: from its state, and an error of the system, of TLS or of a dialogue.

connection.py drives the connection.
"""

from __future__ import annotations

import errno
import os

from certmgr.scan import handshake_reasons
from certmgr.scan.evidence import Failure, FailureKind
from certmgr.scan.openssl import Handshake
from inventory.protocols import (
    Dialogue,
    DialogueFailed,
    ServerClosed,
    StartTlsUndetermined,
)
from inventory.text import printable

NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
)
_KINDS = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.ECONNRESET: FailureKind.RESET,
    errno.EPIPE: FailureKind.RESET,
    errno.ETIMEDOUT: FailureKind.TIMEOUT,
    errno.EHOSTUNREACH: FailureKind.UNREACHABLE,
    errno.ENETDOWN: FailureKind.UNREACHABLE,
    errno.EHOSTDOWN: FailureKind.UNREACHABLE,
}
TOO_LARGE = "a message of its handshake is larger than browsers accept"
NOT_TEXT = "the server sent bytes that are neither TLS nor text"
_LAYERS = {"connect": "connect", "starttls": "starttls", "exchange": "http"}
_TIMEOUTS = {
    "connect": "no answer to the connection attempt",
    "starttls": "the STARTTLS dialogue did not complete in time",
    "exchange": "the HTTP response did not complete in time",
}


def from_errno(code: int, state: str, *, answered: bool, sent: bool = False) -> Failure:
    """Return the failure for an error of the system.

    Args:
        code: The errno.
        state: The state of the connection.
        answered: Whether the server sent anything.
        sent: Whether this machine had a route, and the error is an answer to its packet.
    """
    if sent and code == errno.ENETUNREACH:
        # A router on the way has no route to the server (ICMP, RFC 792); this machine has one.
        kind = FailureKind.UNREACHABLE
    else:
        kind = FailureKind.NO_ROUTE if code in NO_ROUTE else _KINDS.get(code, FailureKind.LOCAL)
    layer = _LAYERS.get(state, "tls")
    # A problem of this machine must not be reported as a problem of the server.
    if kind in (FailureKind.NO_ROUTE, FailureKind.LOCAL):
        layer = "local"
    elif kind is FailureKind.TIMEOUT:
        layer = "timeout"
    return Failure(layer, kind, os.strerror(code), answered=answered)


def from_tls(tls: Handshake) -> Failure:
    """Return the failure of a handshake that OpenSSL ended."""
    # An alert is the reason of the server itself, so it counts before what OpenSSL makes of it.
    if (alert := tls.alert) is not None:
        reason = f"{handshake_reasons.ALERT}: {handshake_reasons.alert_name(alert)}"
        return Failure("tls", FailureKind.ALERT, reason, alert=alert, answered=True, late=tls.late)
    kind, reason = FailureKind.TLS, handshake_reasons.of_words(tls.error)
    if tls.too_large:
        # OpenSSL and Chrome have the same limit for the certificates of a server: 100 KB.
        reason = TOO_LARGE
    elif tls.empty_record:
        kind, reason = FailureKind.EMPTY_RECORD, handshake_reasons.EMPTY_RECORD
    elif tls.unreadable_staple:
        kind = FailureKind.STAPLE
    elif tls.not_tls:
        kind, reason = FailureKind.NOT_TLS, handshake_reasons.BROKEN
    elif tls.malformed:
        kind, reason = FailureKind.MALFORMED, handshake_reasons.MALFORMED
    return Failure("tls", kind, reason, answered=True, late=tls.late)


def from_first_bytes(first: bytes) -> Failure | None:
    """Return the failure of a server whose first bytes are not TLS; None if they may be."""
    # RFC 8446 5.1: a TLS record begins with its type (20-23) and the major version 3.
    if first[0] in (20, 21, 22, 23) and first[1:2] in (b"", b"\x03"):
        return None
    line = first.lstrip(b"\r\n").partition(b"\n")[0].strip()
    reason = NOT_TEXT
    # Of another protocol, the first line names it. The bytes of a binary one help no reader.
    if line and line[:60].isascii() and line[:60].decode("ascii").isprintable():
        reason = f"the server sent: {printable(line.decode('latin-1'), 60)}"
    return Failure("tls", FailureKind.NOT_TLS, reason, answered=True)


def from_dialogue(failed: DialogueFailed) -> Failure:
    """Return the failure of a STARTTLS dialogue."""
    unknown = isinstance(failed, StartTlsUndetermined)
    kind = FailureKind.STARTTLS_UNKNOWN if unknown else FailureKind.STARTTLS
    return Failure("starttls", kind, str(failed), answered=True)


def of_closed_dialogue(dialogue: Dialogue) -> Failure | None:
    """Return what a dialogue makes of a closed connection, or None if it has no explanation.

    For example, a mail server may close it because it does not accept our name.
    """
    try:
        dialogue.throw(ServerClosed())
    except DialogueFailed as failed:
        return from_dialogue(failed)
    except ServerClosed:
        return None
    return None


def without_answer(tls: Handshake | None) -> Failure:
    """Return the failure of a request that got no answer: the connection ended, or TLS failed."""
    reason = "the server closed the connection without an answer"
    if tls is None or not tls.error_codes:
        return Failure("http", FailureKind.CLOSED, reason, answered=True)
    if tls.empty_record:
        reason = handshake_reasons.EMPTY_RECORD
        return Failure("http", FailureKind.EMPTY_RECORD, reason, answered=True)
    kind = FailureKind.TLS if tls.alert is None else FailureKind.ALERT
    return Failure("http", kind, reason, tls.alert, answered=True)


def closed(state: str, *, answered: bool) -> Failure:
    """Return the failure of a handshake or dialogue that the server ended."""
    layer = "starttls" if state == "starttls" else "tls"
    reason = "the server closed the connection in the handshake"
    return Failure(layer, FailureKind.CLOSED, reason, answered=answered)


def too_much(state: str, limit: int) -> Failure:
    """Return the failure of a connection with more bytes than its state needs."""
    if state == "exchange":
        reason = f"more than {limit} bytes of TLS records without content"
        return Failure("http", FailureKind.TOO_LARGE, reason, answered=True)
    layer = "starttls" if state == "starttls" else "tls"
    reason = f"more than {limit} bytes in the handshake"
    return Failure(layer, FailureKind.TOO_LARGE, reason, answered=True)


def timed_out(state: str, *, answered: bool) -> Failure:
    """Return the failure of a connection whose time is over."""
    reason = _TIMEOUTS.get(state, "the TLS handshake did not complete in time")
    accepted = state != "connect"
    return Failure("timeout", FailureKind.TIMEOUT, reason, answered=answered, accepted=accepted)
