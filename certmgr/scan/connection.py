"""One connection of a dial: TCP, STARTTLS, TLS and one HTTP exchange, as a state machine.

dial.py opens the socket, reports its events and enforces the deadlines.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Protocol

from certmgr.net.http_exchange import Exchange
from certmgr.net.own_name import ehlo_literal
from certmgr.scan import connection_failures as failures
from certmgr.scan import openssl
from certmgr.scan.connection_result import result_of
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import INTERNAL_ERROR, Failure, FailureKind
from inventory.errors import log_internal_error
from inventory.protocols import STARTTLS, Dialogue, DialogueClient, DialogueFailed

_log = logging.getLogger(__name__)

# Bytes per call of recv. A TLS record without content has at least 6 bytes, or 22 if it is
# encrypted, so that this also bounds the records between two checks of the deadline.
MAX_READ = 16_384
# After so many bytes, the connections of other servers get their turn.
MAX_PER_TURN = 4 * MAX_READ
# OpenSSL limits the certificates to 100 KB. This one bounds what no limit of a message covers, such
# as small records without end.
MAX_HANDSHAKE_BYTES = 524_288
# An ordinary handshake has 5 KB. Few connections at once may have more, since OpenSSL keeps the
# certificates several times.
LARGE_HANDSHAKE = 32_768
# Records after the handshake that carry no application data: tickets, key updates, warnings,
# renegotiation. An ordinary server sends less than 20 KB of them.
MAX_SILENT_BYTES = 131_072
# Small records have more framing than content. So many bytes of framing are allowed per byte of
# content.
MAX_FRAMING = 8
MAX_UNSENT = 131_072


class ConnectionOwner(Protocol):
    """What a connection needs of the dial that it belongs to."""

    request: DialRequest
    profile: str
    level_triggered: bool

    def extend(self) -> None:
        """Give the page after a handshake the time of a dial."""

    @property
    def ehlo_name(self) -> str:
        """The name of this machine for mail servers; empty: its address on the connection."""

    def now(self) -> float:
        """Return the time of the loop."""

    def answered(self) -> None:
        """Record that the server sent its first byte."""

    def ended(self, connection: Connection, result: DialResult) -> None:
        """Close the connection and use its result."""

    def grew(self, connection: Connection) -> None:
        """Record that a handshake takes much memory."""

    def resume(self, connection: Connection) -> None:
        """Advance the connection again after the turns of others."""


class Connection:
    """One socket of a dial, with the state of its protocols.

    Attributes:
        state: connect, starttls, tls, after (waits for an alert after the handshake), exchange,
            or done.
        profile: The TLS profile that it offers.
        connect_by: The deadline of the states connect and after, in loop time.
        received: How many bytes the server sent in this state.
        content: How many bytes of application data the server sent.
        silent: How many bytes it sent after the handshake that carried none.
    """

    # Thousands of connections exist at once, so none has a dictionary.
    __slots__ = (
        "_owner",
        "connect_by",
        "content",
        "dialogue",
        "exchange",
        "first",
        "profile",
        "received",
        "request",
        "silent",
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
        self.received = self.content = self.silent = 0
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
                    self.fail(failures.from_errno(code, self.state, answered=False, sent=True))
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
        self._finish(None)

    def fail(self, failure: Failure) -> None:
        """End with a failure."""
        self._finish(failure)

    def _finish(self, failure: Failure | None) -> None:
        page_failure = None
        if self.is_complete:
            failure, page_failure = None, failure
        result = result_of(self.request, self.profile, self.tls, self.exchange, failure)
        result.page_failure = page_failure
        self._owner.ended(self, result)

    def _connected(self) -> None:
        request = self.request
        if request.protocol == "http":
            assert request.exchange is not None
            self._begin_exchange(request.exchange)
            return
        # A protocol without a dialogue starts TLS immediately.
        protocol = STARTTLS.get(request.protocol)
        if protocol is None:
            self._begin_tls()
            # What a server sent before the ClientHello causes no further event (edge-triggered).
            self._receive()
            return
        self.state = "starttls"
        host = request.host or request.server_name or request.address
        ehlo_name = self._owner.ehlo_name or ehlo_literal(self.sock)
        self.dialogue = protocol.dialogue(DialogueClient(host, ehlo_name))
        self._send(next(self.dialogue))
        self._receive()

    def _begin_tls(self) -> None:
        request = self.request
        self.state = "tls"
        # The limit applies to TLS alone, not to the STARTTLS dialogue before it.
        self.received, self.first = 0, b""
        self.tls = openssl.Handshake(
            self.profile,
            request.offered_alpn,
            request.server_name,
            staple=request.staple,
            as_browser=request.protocol == "https",
        )
        self.tls.step()
        self._send(self.tls.outgoing())

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
        """Read what has arrived: a bounded number of bytes per turn, up to the deadline."""
        if self.unsent:
            self._send(b"")
        turn = 0
        while self.state != "done":
            if turn >= MAX_PER_TURN:
                self._owner.resume(self)
                return
            if turn and self.request.is_late(self._owner.now()):
                self.fail(self.timeout_failure())
                return
            try:
                data = self.sock.recv(MAX_READ)
            except BlockingIOError:
                return
            if not data:
                self._ended()
                return
            turn += len(data)
            self._received(data)
            # A server that asks for answers (key updates, frames of HTTP/2) and does not read them.
            if len(self.unsent) > MAX_UNSENT and self.state != "done":
                self.fail(failures.too_much(self.state, MAX_UNSENT))
            # Without epoll the loop is level-triggered and calls again if more bytes are waiting.
            if len(data) < 4096 and self._owner.level_triggered:
                return

    def _received(self, data: bytes) -> None:
        """Process bytes in the state that the connection has."""
        if not self.received and self.state in ("tls", "exchange"):
            self._owner.answered()
        large = self.received > LARGE_HANDSHAKE
        self.received += len(data)
        if self.state == "exchange":
            self._http_step(data)
            return
        if not large and self.received > LARGE_HANDSHAKE:
            self._owner.grew(self)  # never ends this one, but an earlier one
        # A hostile server could send handshake bytes without end.
        if self.received > MAX_HANDSHAKE_BYTES:
            self.fail(failures.too_much(self.state, MAX_HANDSHAKE_BYTES))
        elif self.state == "starttls":
            self._starttls_step(data)
        elif self.state == "after":
            self._after_handshake(data)
        else:
            self._tls_step(data)

    def _starttls_step(self, data: bytes) -> None:
        assert self.dialogue is not None
        try:
            self._send(self.dialogue.send(data))
        except StopIteration as ended:
            self._send(ended.value)
            self._begin_tls()
        except DialogueFailed as failed:
            self.fail(failures.from_dialogue(failed))

    def _tls_step(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        if len(self.first) < 2:
            self.first += data[:64]
            if (failure := failures.from_first_bytes(self.first)) is not None:
                self.fail(failure)
                return
        tls.feed(data)
        state = tls.step()
        outgoing = tls.outgoing()
        if state == openssl.FAILED:
            if outgoing:
                self._send(outgoing)  # the alert, so that the server can log the reason
            self.fail(failures.from_tls(tls))
            return
        if outgoing:
            self._send(outgoing)
        if state == openssl.DONE:
            if self.request.exchange is not None:
                self._begin_exchange(self.request.exchange)
            elif (
                tls.client_certificate_asked()
                and tls.connection.get_protocol_version_name() == "TLSv1.3"
            ):
                # A TLS 1.3 server rejects a missing client certificate only after the handshake
                # (RFC 8446 4.4.2.4), so the connection waits up to one second for its alert.
                self.state = "after"
                self.connect_by = min(self._owner.now() + 1.0, self.request.deadline or 0.0)
                self._after_handshake(b"")
            elif self.request.page is not None and not tls.client_certificate_asked():
                self._begin_exchange(self.request.page)
            else:
                self.succeed()

    def _after_handshake(self, data: bytes) -> None:
        tls = self.tls
        assert tls is not None
        if data:
            tls.feed(data)
            self.silent += len(data)
        state = tls.read_after()
        if state == openssl.FAILED and tls.alert is not None:
            self.fail(failures.from_tls(tls))
        # A server that accepts the client may talk on, and never refuse it.
        elif state != openssl.WANT or self.silent > MAX_SILENT_BYTES:
            self.succeed()
        elif out := tls.outgoing():
            self._send(out)

    def _begin_exchange(self, make: Callable[[str | None], Exchange | None]) -> None:
        selected = self.tls.negotiated()[3] if self.tls is not None else None
        exchange = make(selected)
        if exchange is None:
            self.succeed()
            return
        self.state = "exchange"
        self.exchange = exchange
        if self.request.exchange is None:
            self._owner.extend()
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
            self.silent += len(data)
            data, ended = tls.read()
            self.silent -= len(data)
            self.content += len(data)
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
        elif self.silent > MAX_SILENT_BYTES + MAX_FRAMING * self.content:
            self.fail(failures.too_much(self.state, MAX_SILENT_BYTES))

    def _ended(self) -> None:
        """Handle a connection that the server closed."""
        if self.state == "exchange":
            assert self.exchange is not None
            # HTTP/1.0 and "Connection: close" end a body by closing the connection (RFC 9112 6.3).
            if self.exchange.end():
                self.succeed()
                return
            self.fail(failures.without_answer(self.tls))
        elif self.state == "after":
            self.succeed()
        elif (failure := self._explained_by_dialogue()) is not None:
            self.fail(failure)
        else:
            self.fail(failures.closed(self.state, answered=self.received > 0))

    def _explained_by_dialogue(self) -> Failure | None:
        if self.state != "starttls" or not self.received:
            return None
        assert self.dialogue is not None
        return failures.of_closed_dialogue(self.dialogue)

    @property
    def is_complete(self) -> bool:
        """Whether the dial is a success already, and only its page is not there yet."""
        return self.exchange is not None and self.request.exchange is None

    def errno_failure(self, code: int) -> Failure:
        """Return the failure for an error of the system."""
        failure = failures.from_errno(code, self.state, answered=self.received > 0)
        if failure.kind is FailureKind.RESET:
            return self._explained_by_dialogue() or failure
        return failure

    def timeout_failure(self) -> Failure:
        """Return the failure of a connection whose time is over."""
        return failures.timed_out(self.state, answered=self.received > 0)
