"""Connections: TCP, STARTTLS, TLS and one HTTP exchange with one address, many at once, inside an
asyncio loop.

The sockets live in an epoll object of their own, which the loop watches as a single file: one
wake-up serves hundreds of sockets, and no Protocol or Task is made for one. Elsewhere than on Linux
the loop watches each socket.

How many connections one address gets, and how fast, is decided in politeness.py. A transient
failure is tried a second time (a silent address while the first connection still waits), within the
same deadline.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from certmgr.net.http_exchange import HttpExchange
from certmgr.scan import openssl
from certmgr.scan.evidence import TRANSIENT, Failure, FailureKind
from certmgr.scan.rate_limits import AddressRateLimiter
from certmgr.scan.starttls import DIALOGUES, Dialogue, StartTlsRefused
from inventory.text import printable

MAX_HANDSHAKE_BYTES = 524_288
SWEEP = 0.05
# A silent address gets its second connection after this part of its time.
SECOND_LOOK_AT = 0.6
SECOND_LOOK_DELAY = 0.4
# So many names that an accepting address is silent for make it dead for the rest of a run.
SILENT_NAMES = 5

_IN_PROGRESS = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})
_NO_ROUTE = frozenset(
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


@dataclass(frozen=True, slots=True)
class DialLimits:
    """Seconds, and counts.

    ``timeout`` is the whole time for one address; 0 in ``rate`` or ``per_address`` means no limit.
    """

    timeout: float = 10.0
    connect_timeout: float | None = None
    in_flight: int = 500
    per_address: int = 8
    rate: float = 20.0


@dataclass(slots=True)
class DialResult:
    """What one dial gave.

    ``failure`` None: the handshake was completed, so the server holds the leaf's key.
    """

    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    alpn: str | None = None
    ocsp: bytes | None = None
    client_certificate: bool = False
    failure: Failure | None = None
    looks: int = 1
    exchange: HttpExchange | None = None


@dataclass(slots=True)
class DialRequest:
    """``deadline``: loop time; None starts the whole time (``timeout``, else that of the limits)
    when the first connection starts.

    ``exchange``: makes what is asked over HTTP once the connection stands. Protocol ``http`` is TCP
    without TLS.
    """

    address: str
    port: int
    protocol: str
    server_name: str | None
    profile: str = "browser"
    deadline: float | None = None
    timeout: float | None = None
    exchange: Callable[[], HttpExchange] | None = None


class _Dial:
    """One request with its one or two connections."""

    __slots__ = ("connections", "failure", "future", "looks", "request", "second_at", "started")

    def __init__(self, request: DialRequest, future: asyncio.Future[DialResult]) -> None:
        self.request, self.future = request, future
        self.connections: list[_Connection] = []
        self.failure: DialResult | None = None
        self.looks = 0
        self.started = False
        self.second_at = float("inf")


class _Connection:
    __slots__ = (
        "connect_by",
        "dial",
        "dialogue",
        "exchange",
        "first",
        "received",
        "sock",
        "state",
        "tls",
        "unsent",
    )

    def __init__(self, dial: _Dial, sock: socket.socket, connect_by: float) -> None:
        self.dial, self.sock, self.connect_by = dial, sock, connect_by
        self.state = "connect"
        self.tls: openssl.Handshake | None = None
        self.dialogue: Dialogue | None = None
        self.exchange: HttpExchange | None = None
        self.received = 0
        self.first = b""
        self.unsent = b""


class Dialler:
    """Start with :meth:`dial`; end with :meth:`close`. Not for several threads."""

    def __init__(self, limits: DialLimits, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.limits = limits
        self.active = 0
        # (address, port) -> a failure before TLS that a second look confirmed: it holds for every
        # endpoint there.
        self.dead: dict[tuple[str, int], Failure] = {}
        self._politeness = AddressRateLimiter(
            limits.per_address, limits.rate, self.loop, self._start, self._admit
        )
        self._ready: deque[_Dial] = deque()
        self._silent: dict[tuple[str, int], set[str | None]] = {}
        self._alive: set[tuple[str, int]] = set()
        self._connections: dict[int, _Connection] = {}
        self._poller = select.epoll() if hasattr(select, "epoll") else None
        if self._poller is not None:
            self.loop.add_reader(self._poller.fileno(), self._drain)
        self._sweep_handle = self.loop.call_later(SWEEP, self._sweep)

    def close(self) -> None:
        self._sweep_handle.cancel()
        for connection in list(self._connections.values()):
            self._drop(connection)
        if self._poller is not None:
            self.loop.remove_reader(self._poller.fileno())
            self._poller.close()

    def dial(self, request: DialRequest) -> asyncio.Future[DialResult]:
        """Never raises and never fails: a failure is in the result."""
        dial = _Dial(request, self.loop.create_future())
        self._admit(dial)
        return dial.future

    # -- admission: the whole, then the address

    def _admit(self, dial: _Dial) -> None:
        if dial.future.done():
            return
        known = self.dead.get((dial.request.address, dial.request.port))
        if known is not None:
            self._settle(dial, DialResult(failure=known, looks=2))
        elif self.active >= self.limits.in_flight:
            self._ready.append(dial)
        else:
            self._politeness.enter(dial, dial.request.address)

    # -- one connection

    def _start(self, dial: _Dial) -> None:
        now = self.loop.time()
        request = dial.request
        if not dial.started:
            dial.started = True
            if request.deadline is None:
                request.deadline = now + (request.timeout or self.limits.timeout)
            dial.second_at = now + SECOND_LOOK_AT * (request.deadline - now)
        assert request.deadline is not None
        if now >= request.deadline:
            self._politeness.leave(request.address)
            self._fail(
                dial, None, Failure("timeout", FailureKind.TIMEOUT, "no time was left for it")
            )
            return
        dial.looks += 1
        family = socket.AF_INET6 if ":" in request.address else socket.AF_INET
        try:
            sock = socket.socket(
                family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        except OSError as error:
            self._politeness.leave(request.address)
            kind = FailureKind.NO_ROUTE if error.errno in _NO_ROUTE else FailureKind.LOCAL
            self._fail(dial, None, Failure("local", kind, os.strerror(error.errno or 0)))
            return
        code = sock.connect_ex((request.address, request.port))
        connect_timeout = self.limits.connect_timeout
        connect_by = (
            request.deadline
            if connect_timeout is None
            else min(request.deadline, now + connect_timeout)
        )
        connection = _Connection(dial, sock, connect_by)
        dial.connections.append(connection)
        self.active += 1
        if code not in _IN_PROGRESS:
            self._fail(dial, connection, self._from_errno(code, connection))
            return
        self._connections[sock.fileno()] = connection
        self._watch(sock)

    def _watch(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        if self._poller is not None:
            self._poller.register(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        else:
            self.loop.add_writer(fd, self._ready_without_epoll, fd, True)

    def _ready_without_epoll(self, fd: int, writable: bool) -> None:
        if writable:
            self.loop.remove_writer(fd)
            self.loop.add_reader(fd, self._ready_without_epoll, fd, False)
        if (connection := self._connections.get(fd)) is not None:
            self._advance(connection)

    def _drain(self) -> None:
        assert self._poller is not None
        connections = self._connections
        for fd, _ in self._poller.poll(0, 256):
            connection = connections.get(fd)
            if connection is not None:
                self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """Moves one connection as far as its bytes reach.

        Whatever goes wrong concerns this connection alone.
        """
        try:
            if connection.state == "connect":
                code = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self._fail(connection.dial, connection, self._from_errno(code, connection))
                    return
                self._connected(connection)
                return
            self._receive(connection)
        except OSError as error:
            self._fail(connection.dial, connection, self._from_errno(error.errno or 0, connection))
        except Exception as error:  # a bug of ours ends this look and no other
            reason = printable(f"{type(error).__name__}: {error}", 200)
            self._fail(connection.dial, connection, Failure("local", FailureKind.LOCAL, reason))

    def _connected(self, connection: _Connection) -> None:
        request = connection.dial.request
        if request.protocol == "http":
            self._begin_exchange(connection)
            return
        dialogue = DIALOGUES.get(request.protocol)
        if dialogue is None:
            self._begin_tls(connection)
            return
        connection.state = "starttls"
        connection.dialogue = dialogue()
        self._send(connection, next(connection.dialogue))
        self._receive(connection)

    def _begin_tls(self, connection: _Connection) -> None:
        request = connection.dial.request
        connection.state = "tls"
        connection.received, connection.first = 0, b""
        connection.tls = openssl.Handshake(
            request.profile,
            request.protocol == "https" and request.exchange is None,
            request.server_name,
        )
        connection.tls.step()
        self._send(connection, connection.tls.outgoing())

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.unsent:
            data, connection.unsent = connection.unsent + data, b""
        if not data:
            return
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            connection.unsent = data[sent:]

    def _answered(self, connection: _Connection) -> None:
        """The first byte: this address speaks, for some name at least."""
        if len(self._alive) < 100_000:
            self._alive.add((connection.dial.request.address, connection.dial.request.port))

    def _receive(self, connection: _Connection) -> None:
        if connection.unsent:
            self._send(connection, b"")
        while connection.state != "done":
            try:
                data = connection.sock.recv(openssl.MAX_FLIGHT)
            except BlockingIOError:
                return
            if not data:
                self._ended(connection)
                return
            if not connection.received and connection.state in ("tls", "exchange"):
                self._answered(connection)
            connection.received += len(data)
            if connection.state == "exchange":
                self._converse_http(connection, data)
                continue
            if connection.received > MAX_HANDSHAKE_BYTES:
                failure = Failure(
                    "tls",
                    FailureKind.TOO_LARGE,
                    f"more than {MAX_HANDSHAKE_BYTES} bytes in the handshake",
                    answered=True,
                )
                self._fail(connection.dial, connection, failure)
                return
            if connection.state == "starttls":
                self._converse(connection, data)
            elif connection.state == "after":
                self._after(connection, data)
            else:
                self._shake(connection, data)
            if len(data) < 4096 and self._poller is None:
                return

    def _converse(self, connection: _Connection, data: bytes) -> None:
        assert connection.dialogue is not None
        try:
            self._send(connection, connection.dialogue.send(data))
        except StopIteration:
            self._begin_tls(connection)
        except StartTlsRefused as refused:
            self._fail(
                connection.dial,
                connection,
                Failure("starttls", FailureKind.STARTTLS, str(refused), answered=True),
            )

    def _shake(self, connection: _Connection, data: bytes) -> None:
        tls = connection.tls
        assert tls is not None
        if len(connection.first) < 2:
            connection.first += data[:64]
            # A TLS record begins with its type (20-23) and the major version 3.
            if connection.first[0] not in (20, 21, 22, 23) or connection.first[1:2] not in (
                b"",
                b"\x03",
            ):
                said = printable(connection.first.decode("latin-1").splitlines()[0], 60)
                self._fail(
                    connection.dial,
                    connection,
                    Failure("tls", FailureKind.NOT_TLS, f"the server said: {said}", answered=True),
                )
                return
        tls.feed(data)
        state = tls.step()
        out = tls.outgoing()
        if state == openssl.FAILED:
            if out:
                self._send(connection, out)  # the alert, so that the server's log says why
            self._fail(connection.dial, connection, self._from_tls(connection, tls))
            return
        if out:
            self._send(connection, out)
        if state == openssl.DONE:
            if connection.dial.request.exchange is not None:
                self._begin_exchange(connection)
            elif (
                tls.client_certificate_asked()
                and tls.connection.get_protocol_version_name() == "TLSv1.3"
            ):
                # A TLS 1.3 server says only after the handshake that it insists on a client
                # certificate.
                connection.state = "after"
                connection.connect_by = min(
                    self.loop.time() + 1.0, connection.dial.request.deadline or 0.0
                )
                self._after(connection, b"")
            else:
                self._succeed(connection)

    def _after(self, connection: _Connection, data: bytes) -> None:
        tls = connection.tls
        assert tls is not None
        if data:
            tls.feed(data)
        state = tls.read_after()
        if state == openssl.FAILED and tls.alert is not None:
            self._fail(connection.dial, connection, self._from_tls(connection, tls))
        elif state != openssl.WANT:
            self._succeed(connection)

    # -- one HTTP exchange

    def _begin_exchange(self, connection: _Connection) -> None:
        make = connection.dial.request.exchange
        assert make is not None
        connection.state = "exchange"
        exchange = connection.exchange = make()
        if connection.tls is None:
            self._send(connection, exchange.request)
            self._receive(connection)
        else:
            connection.tls.write(exchange.request)
            self._send(connection, connection.tls.outgoing())
            self._converse_http(connection, b"")

    def _converse_http(self, connection: _Connection, data: bytes) -> None:
        exchange, tls, ended = connection.exchange, connection.tls, False
        assert exchange is not None
        if tls is not None:
            if data:
                tls.feed(data)
            data, ended = tls.read()
            if out := tls.outgoing():
                self._send(connection, out)
        if data and exchange.feed(data):
            self._succeed(connection)
        elif ended:
            self._ended(connection)

    def _ended(self, connection: _Connection) -> None:
        """The server closed the connection."""
        if connection.state == "exchange":
            assert connection.exchange is not None
            if connection.exchange.end():
                self._succeed(connection)
                return
            words = "the server closed the connection without an answer"
            alert = connection.tls.alert if connection.tls is not None else None
            self._fail(
                connection.dial,
                connection,
                Failure("http", FailureKind.CLOSED, words, alert, answered=True),
            )
            return
        if connection.state == "after":
            self._succeed(connection)
            return
        answered = connection.received > 0
        layer = "starttls" if connection.state == "starttls" else "tls"
        failure = Failure(
            layer,
            FailureKind.CLOSED,
            "the server closed the connection in the handshake",
            answered=answered,
        )
        self._fail(connection.dial, connection, failure)

    # -- results

    def _from_errno(self, code: int, connection: _Connection) -> Failure:
        kind = (
            FailureKind.NO_ROUTE if code in _NO_ROUTE else _ERRNO_KINDS.get(code, FailureKind.LOCAL)
        )
        layer = {"connect": "connect", "starttls": "starttls", "exchange": "http"}.get(
            connection.state, "tls"
        )
        if kind in (FailureKind.NO_ROUTE, FailureKind.LOCAL):
            layer = "local"
        elif kind is FailureKind.TIMEOUT:
            layer = "timeout"
        return Failure(layer, kind, os.strerror(code), answered=connection.received > 0)

    def _from_tls(self, connection: _Connection, tls: openssl.Handshake) -> Failure:
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

    def _collect(self, connection: _Connection, failure: Failure | None) -> DialResult:
        tls = connection.tls
        if tls is None or connection.dial.request.exchange is not None:
            return DialResult(failure=failure, exchange=connection.exchange)
        chain = tls.chain()
        asked = tls.client_certificate_asked()
        if failure is not None:
            return DialResult(chain=chain, failure=failure, client_certificate=asked)
        version, cipher, group, alpn = tls.negotiated()
        return DialResult(
            chain=chain,
            tls_version=version,
            cipher=cipher,
            group=group,
            alpn=alpn,
            ocsp=tls.ocsp(),
            client_certificate=asked,
        )

    def _succeed(self, connection: _Connection) -> None:
        result = self._collect(connection, None)
        self._drop(connection)
        self._settle(connection.dial, result)

    def _fail(self, dial: _Dial, connection: _Connection | None, failure: Failure) -> None:
        """Ends one connection; the dial ends when a second look is not due, was taken, or has no
        time left.
        """
        if dial.future.done():
            return
        result = DialResult(failure=failure)
        if connection is not None:
            result = self._collect(connection, failure)
            self._drop(connection)
        dial.failure = result
        if dial.connections:
            return  # the other one still tries
        transient = failure.kind in TRANSIENT
        now = self.loop.time()
        if (
            transient
            and dial.looks < 2
            and dial.request.deadline is not None
            and now + SECOND_LOOK_DELAY < dial.request.deadline
        ):
            dial.second_at = float("inf")
            self.loop.call_later(SECOND_LOOK_DELAY, self._admit, dial)
            return
        if (
            transient
            and not failure.answered
            and failure.layer in ("connect", "timeout")
            and dial.looks >= 2
        ):
            self._bury(dial.request, failure)
        self._settle(dial, result)

    def _settle(self, dial: _Dial, result: DialResult) -> None:
        for other in list(dial.connections):
            self._drop(other)
        if not dial.future.done():
            result.looks = max(result.looks, dial.looks)
            dial.future.set_result(result)
        while self._ready and self.active < self.limits.in_flight:
            self._admit(self._ready.popleft())

    def _bury(self, request: DialRequest, failure: Failure) -> None:
        """A confirmed failure before TLS holds for every endpoint of that address and port in this
        run.

        An address that accepts and stays silent may be silent for one name only (a router with a
        dead backend): it counts as dead when several names, and none that was answered, were met
        with silence.
        """
        key = (request.address, request.port)
        if failure.accepted:
            silent = self._silent.setdefault(key, set())
            silent.add(request.server_name)
            if key in self._alive or len(silent) < SILENT_NAMES:
                return
        self.dead.setdefault(key, failure)

    def _second(self, dial: _Dial, first: _Connection) -> None:
        """A second connection beside the silent first one; in its place where the address allows no
        further one. It does not queue.
        """
        if not self._politeness.second(dial.request.address):
            self._drop(first, keep_place=True)
        self._start(dial)

    def _drop(self, connection: _Connection, keep_place: bool = False) -> None:
        if connection.state == "done":
            return
        connection.state = "done"
        self.active -= 1
        fd = connection.sock.fileno()
        self._connections.pop(fd, None)
        if self._poller is None and fd >= 0:
            self.loop.remove_reader(fd)
            self.loop.remove_writer(fd)
        connection.sock.close()  # closing removes it from the epoll object
        if connection.exchange is not None:
            connection.exchange.release()
        if connection.tls is not None:
            connection.tls.close()
        connection.dial.connections.remove(connection)
        if not keep_place:
            self._politeness.leave(connection.dial.request.address)

    def _sweep(self) -> None:
        """Deadlines, and the second connection to silent addresses."""
        now = self.loop.time()
        for connection in list(self._connections.values()):
            dial = connection.dial
            if connection.state == "done":
                continue
            deadline = dial.request.deadline or 0.0
            if connection.state in ("connect", "after"):
                deadline = min(deadline, connection.connect_by)
            if now >= deadline:
                if connection.state == "after":
                    self._succeed(connection)
                else:
                    self._fail(dial, connection, self._silence(connection))
            elif now >= dial.second_at and dial.looks < 2 and len(dial.connections) == 1:
                dial.second_at = float("inf")
                self._second(dial, connection)
        self._sweep_handle = self.loop.call_later(SWEEP, self._sweep)

    def _silence(self, connection: _Connection) -> Failure:
        words = {
            "connect": "no answer to the connection",
            "starttls": "no end to the STARTTLS dialogue",
            "exchange": "no end to the HTTP answer",
        }
        reason = words.get(connection.state, "no end to the TLS handshake")
        accepted = connection.state != "connect"
        return Failure(
            "timeout",
            FailureKind.TIMEOUT,
            reason,
            answered=connection.received > 0,
            accepted=accepted,
        )
