"""One connection of a dial: TCP, STARTTLS, TLS and one HTTP exchange, as a state machine.

dial.py opens the socket, reports its events and enforces the deadlines.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import Protocol

from certmgr.net.http_exchange import Exchange
from certmgr.net.own_name import ehlo_literal
from certmgr.scan import openssl, tls_offers
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import INTERNAL_ERROR, Failure, FailureKind
from certmgr.scan.starttls import (
    DIALOGUES,
    Dialogue,
    DialogueClient,
    DialogueFailed,
    ServerClosed,
    StartTlsUndetermined,
)
from inventory.errors import log_internal_error
from inventory.text import printable

_log = logging.getLogger(__name__)

MAX_HANDSHAKE_BYTES = 524_288

NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
)
_ERRNO_KINDS = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.ECONNRESET: FailureKind.RESET,
    errno.EPIPE: FailureKind.RESET,
    errno.ETIMEDOUT: FailureKind.TIMEOUT,
    errno.EHOSTUNREACH: FailureKind.UNREACHABLE,
    errno.ENETDOWN: FailureKind.UNREACHABLE,
    errno.EHOSTDOWN: FailureKind.UNREACHABLE,
}


class ConnectionOwner(Protocol):
    """What a connection needs of the dial that it belongs to."""

    request: DialRequest
    profile: str
    level_triggered: bool

    @property
    def ehlo_name(self) -> str:
        """The name of this machine for mail servers; empty: its address on the connection."""

    def now(self) -> float:
        """Return the time of the loop."""

    def answered(self) -> None:
        """Record that the server sent its first byte."""

    def ended(self, connection: Connection, result: DialResult) -> None:
        """Close the connection and use its result."""


class Connection:
    """One socket of a dial, with the state of its protocols.

    Attributes:
        state: connect, starttls, tls, after (waits for an alert after the handshake), exchange,
            or done.
        profile: The TLS profile that it offers.
        connect_by: The deadline of the states connect and after, in loop time.
        received: How many bytes the server sent in this state.
    """

    __slots__ = (
        "_owner",
        "connect_by",
        "dialogue",
        "exchange",
        "first",
        "profile",
        "received",
        "request",
        "sock",
        "state",
        "tls",
        "unsent",
    )

    def __init__(self, owner: ConnectionOwner, sock: socket.socket, connect_by: float) -> None:
        self._owner, self.request, self.profile = owner, owner.request, owner.profile
        self.sock, self.connect_by = sock, connect_by
        self.state = "connect"
        self.tls: openssl.Handshake | None = None
        self.dialogue: Dialogue | None = None
        self.exchange: Exchange | None = None
        self.received = 0
        self.first = b""
        self.unsent = b""

    def advance(self) -> None:
        """Advance as far as the received bytes allow.

        An error affects this connection alone.
        """
        try:
            if self.state == "connect":
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self.fail(self.errno_failure(code))
                    return
                self._connected()
                return
            self._receive()
        except OSError as error:
            self.fail(self.errno_failure(error.errno or 0))
        except Exception:  # a bug in certmgr ends this probe and no other
            log_internal_error(_log, "a probe")
            self.fail(Failure("local", FailureKind.LOCAL, INTERNAL_ERROR))

    def close(self) -> None:
        """Close the socket and release what belongs to it."""
        self.state = "done"
        self.sock.close()
        if self.exchange is not None:
            self.exchange.release()
        if self.tls is not None:
            self.tls.close()

    def succeed(self) -> None:
        """End with a success."""
        self._owner.ended(self, self._result(None))

    def fail(self, failure: Failure) -> None:
        """End with a failure."""
        self._owner.ended(self, self._result(failure))

    def _connected(self) -> None:
        request = self.request
        if request.protocol == "http":
            self._begin_exchange()
            return
        # A protocol without a dialogue starts TLS immediately.
        dialogue = DIALOGUES.get(request.protocol)
        if dialogue is None:
            self._begin_tls()
            # What a server sent before the ClientHello causes no further event (edge-triggered).
            self._receive()
            return
        self.state = "starttls"
        host = request.host or request.server_name or request.address
        ehlo_name = self._owner.ehlo_name or ehlo_literal(self.sock)
        self.dialogue = dialogue(DialogueClient(host, ehlo_name))
        self._send(next(self.dialogue))
        self._receive()

    def _begin_tls(self) -> None:
        request = self.request
        self.state = "tls"
        # The limit applies to TLS alone, not to the STARTTLS dialogue before it.
        self.received, self.first = 0, b""
        self.tls = openssl.Handshake(self.profile, self._alpn(), request.server_name)
        self.tls.step()
        self._send(self.tls.outgoing())

    def _alpn(self) -> tuple[bytes, ...]:
        request = self.request
        if request.alpn is not None:
            return request.alpn
        # A probe offers what a browser offers. An exchange offers nothing that it cannot speak.
        web = request.protocol == "https" and request.exchange is None
        return tls_offers.BROWSER_ALPN if web else ()

    def _send(self, data: bytes) -> None:
        if self.unsent:
            data, self.unsent = self.unsent + data, b""
        if not data:
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent = data[sent:]

    def _receive(self) -> None:
        if self.unsent:
            self._send(b"")
        while self.state != "done":
            try:
                data = self.sock.recv(openssl.MAX_FLIGHT)
            except BlockingIOError:
                return
            if not data:
                self._ended()
                return
            if not self.received and self.state in ("tls", "exchange"):
                self._owner.answered()
            self.received += len(data)
            if self.state == "exchange":
                self._http_step(data)
                continue
            # A hostile server could send handshake bytes without end.
            if self.received > MAX_HANDSHAKE_BYTES:
                failure = Failure(
                    "tls",
                    FailureKind.TOO_LARGE,
                    f"more than {MAX_HANDSHAKE_BYTES} bytes in the handshake",
                    answered=True,
                )
                self.fail(failure)
                return
            if self.state == "starttls":
                self._starttls_step(data)
            elif self.state == "after":
                self._after_handshake(data)
            else:
                self._tls_step(data)
            # Without epoll the loop is level-triggered and calls again if more bytes are waiting.
            if len(data) < 4096 and self._owner.level_triggered:
                return

    def _starttls_step(self, data: bytes) -> None:
        assert self.dialogue is not None
        try:
            self._send(self.dialogue.send(data))
        except StopIteration as ended:
            self._send(ended.value)
            self._begin_tls()
        except DialogueFailed as failed:
            self.fail(_from_dialogue(failed))

    def _tls_step(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        if len(self.first) < 2:
            self.first += data[:64]
            # RFC 8446 5.1: a TLS record begins with its type (20-23) and the major version 3.
            if self.first[0] not in (20, 21, 22, 23) or self.first[1:2] not in (
                b"",
                b"\x03",
            ):
                received = printable(self.first.decode("latin-1").splitlines()[0], 60)
                self.fail(
                    Failure(
                        "tls", FailureKind.NOT_TLS, f"the server sent: {received}", answered=True
                    ),
                )
                return
        tls.feed(data)
        state = tls.step()
        outgoing = tls.outgoing()
        if state == openssl.FAILED:
            if outgoing:
                self._send(outgoing)  # the alert, so that the server can log the reason
            self.fail(self._tls_failure(tls))
            return
        if outgoing:
            self._send(outgoing)
        if state == openssl.DONE:
            if self.request.exchange is not None:
                self._begin_exchange()
            elif (
                tls.client_certificate_asked()
                and tls.connection.get_protocol_version_name() == "TLSv1.3"
            ):
                # A TLS 1.3 server rejects a missing client certificate only after the handshake
                # (RFC 8446 4.4.2.4), so the connection waits up to one second for its alert.
                self.state = "after"
                self.connect_by = min(self._owner.now() + 1.0, self.request.deadline or 0.0)
                self._after_handshake(b"")
            else:
                self.succeed()

    def _after_handshake(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        if data:
            tls.feed(data)
        state = tls.read_after()
        if state == openssl.FAILED and tls.alert is not None:
            self.fail(self._tls_failure(tls))
        elif state != openssl.WANT:
            self.succeed()

    # -- one HTTP exchange

    def _begin_exchange(self) -> None:
        make = self.request.exchange
        assert make is not None
        self.state = "exchange"
        selected = self.tls.negotiated()[3] if self.tls is not None else None
        exchange = self.exchange = make(selected)
        if self.tls is None:
            self._send(exchange.request)
            self._receive()
        else:
            self.tls.write(exchange.request)
            self._send(self.tls.outgoing())
            self._http_step(b"")

    def _http_step(self, data: bytes) -> None:
        exchange, tls, ended = self.exchange, self.tls, False
        assert exchange is not None
        if tls is not None:
            if data:
                tls.feed(data)
            data, ended = tls.read()
            if out := tls.outgoing():
                self._send(out)
        complete = bool(data) and exchange.feed(data)
        if tls is not None and (answer := exchange.outgoing()):
            tls.write(answer)
            self._send(tls.outgoing())
        if complete:
            self.succeed()
        elif ended:
            self._ended()

    def _ended(self) -> None:
        """Handle a connection that the server closed."""
        if self.state == "exchange":
            assert self.exchange is not None
            # HTTP/1.0 and "Connection: close" end a body by closing the connection (RFC 9112 6.3).
            if self.exchange.end():
                self.succeed()
                return
            reason = "the server closed the connection without an answer"
            alert = self.tls.alert if self.tls is not None else None
            self.fail(
                Failure("http", FailureKind.CLOSED, reason, alert, answered=True),
            )
            return
        if self.state == "after":
            self.succeed()
            return
        if (failure := self._explained_by_dialogue()) is not None:
            self.fail(failure)
            return
        answered = self.received > 0
        layer = "starttls" if self.state == "starttls" else "tls"
        failure = Failure(
            layer,
            FailureKind.CLOSED,
            "the server closed the connection in the handshake",
            answered=answered,
        )
        self.fail(failure)

    def _explained_by_dialogue(self) -> Failure | None:
        """Return what the dialogue makes of a closed connection, or None if it has no explanation.

        For example, a mail server may close it because it does not accept our name.
        """
        if self.state != "starttls" or not self.received:
            return None
        assert self.dialogue is not None
        try:
            self.dialogue.throw(ServerClosed())
        except DialogueFailed as failed:
            return _from_dialogue(failed)
        except ServerClosed:
            return None
        return None

    # -- results

    def errno_failure(self, code: int) -> Failure:
        kind = (
            FailureKind.NO_ROUTE if code in NO_ROUTE else _ERRNO_KINDS.get(code, FailureKind.LOCAL)
        )
        if kind is FailureKind.RESET and (explained := self._explained_by_dialogue()) is not None:
            return explained
        layer = {"connect": "connect", "starttls": "starttls", "exchange": "http"}.get(
            self.state, "tls"
        )
        # A problem of this machine must not be reported as a problem of the server.
        if kind in (FailureKind.NO_ROUTE, FailureKind.LOCAL):
            layer = "local"
        elif kind is FailureKind.TIMEOUT:
            layer = "timeout"
        return Failure(layer, kind, os.strerror(code), answered=self.received > 0)

    def _tls_failure(self, tls: openssl.Handshake) -> Failure:
        reason = printable(tls.error, 200) or "the handshake failed"
        if (alert := tls.alert) is not None:
            return Failure("tls", FailureKind.ALERT, reason, alert=alert, answered=True)
        kind = FailureKind.TLS
        if tls.too_large:
            kind = FailureKind.TOO_LARGE
        elif tls.not_tls:
            kind = FailureKind.NOT_TLS
        elif tls.malformed:
            kind = FailureKind.MALFORMED
        return Failure("tls", kind, reason, answered=True)

    def _result(self, failure: Failure | None) -> DialResult:
        tls = self.tls
        # A visit does not repeat the certificate: the probe of the address has it.
        if tls is None or self.request.exchange is not None:
            return DialResult(failure=failure, exchange=self.exchange, profile=self.profile)
        chain = tls.chain()
        client_certificate_asked = tls.client_certificate_asked()
        if failure is not None:
            return DialResult(
                chain=chain,
                failure=failure,
                client_certificate=client_certificate_asked,
                profile=self.profile,
            )
        version, cipher, group, alpn = tls.negotiated()
        return DialResult(
            chain=chain,
            tls_version=version,
            cipher=cipher,
            group=group,
            alpn=alpn,
            ocsp=tls.ocsp(),
            client_certificate=client_certificate_asked,
            profile=self.profile,
            signature=tls.signature(),
        )

    def timeout_failure(self) -> Failure:
        reasons = {
            "connect": "no answer to the connection attempt",
            "starttls": "the STARTTLS dialogue did not complete in time",
            "exchange": "the HTTP response did not complete in time",
        }
        reason = reasons.get(self.state, "the TLS handshake did not complete in time")
        accepted = self.state != "connect"
        return Failure(
            "timeout",
            FailureKind.TIMEOUT,
            reason,
            answered=self.received > 0,
            accepted=accepted,
        )


def _from_dialogue(failed: DialogueFailed) -> Failure:
    unknown = isinstance(failed, StartTlsUndetermined)
    kind = FailureKind.STARTTLS_UNKNOWN if unknown else FailureKind.STARTTLS
    return Failure("starttls", kind, str(failed), answered=True)
