"""Connections: TCP, STARTTLS, TLS and one HTTP exchange with one address.

Many connections run at once inside one asyncio loop. Their sockets live in a separate epoll object,
which the loop watches as a single file. One wake-up therefore serves hundreds of sockets, and no
Protocol or Task is created per socket. On systems without epoll, the loop watches each socket.

rate_limits.py decides how many connections one address gets, and how fast. A transient failure is
retried once within the same deadline. If an address is silent, the second connection starts while
the first one still waits.
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
SWEEP_INTERVAL = 0.05
# A silent address gets its second connection after this fraction of its time.
SECOND_PROBE_AT = 0.6
SECOND_PROBE_DELAY = 0.4
# If an address accepts connections but stays silent for this many names, it counts as unreachable
# for the rest of the run.
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
    """Limits of a dialler, in seconds and counts.

    Attributes:
        timeout: The total time for one address.
        connect_timeout: The time for the TCP connection; None uses ``timeout``.
        in_flight: The number of connections at once, over all addresses.
        per_address: The number of connections at once per address; 0 means no limit.
        rate: The number of new connections per second and address; 0 means no limit.
    """

    timeout: float = 10.0
    connect_timeout: float | None = None
    in_flight: int = 500
    per_address: int = 8
    rate: float = 20.0


@dataclass(slots=True)
class DialResult:
    """The result of one dial.

    If ``failure`` is None, the handshake was completed, so the server holds the key of the leaf.

    Attributes:
        chain: The served certificates as DER, leaf first.
        client_certificate: Whether the server requested a client certificate.
        probes: The number of connections that were tried.
        exchange: The HTTP exchange, if the request asked for one.
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
    exchange: HttpExchange | None = None


@dataclass(slots=True)
class DialRequest:
    """One connection to make.

    Attributes:
        protocol: A STARTTLS protocol, ``https`` or another TLS protocol, or ``http`` for TCP
            without TLS.
        server_name: The name for SNI; None sends no SNI.
        profile: The TLS profile; see :func:`certmgr.scan.openssl.context`.
        deadline: Loop time. None starts the total time when the first connection starts.
        timeout: The total time in seconds; None uses that of the limits.
        exchange: Creates the HTTP exchange once the connection is established.
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

    __slots__ = ("connections", "failure", "future", "probes", "request", "second_at", "started")

    def __init__(self, request: DialRequest, future: asyncio.Future[DialResult]) -> None:
        self.request, self.future = request, future
        self.connections: list[_Connection] = []
        self.failure: DialResult | None = None
        self.probes = 0
        self.started = False
        self.second_at = float("inf")


class _Connection:
    """One socket of a dial, with the state of its protocols."""

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
    """A dialler for many connections at once.

    Start connections with :meth:`dial`, and end with :meth:`close`. Not thread-safe.
    """

    def __init__(self, limits: DialLimits, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.limits = limits
        self.active = 0
        # (address, port) -> a failure before TLS that a second probe confirmed. It applies to every
        # endpoint there, so that thousands of names on one server do not wait for it one by one.
        self.unreachable: dict[tuple[str, int], Failure] = {}
        self._rate_limiter = AddressRateLimiter(
            limits.per_address, limits.rate, self.loop, self._start, self._admit
        )
        self._ready: deque[_Dial] = deque()
        self._silent: dict[tuple[str, int], set[str | None]] = {}
        self._responsive: set[tuple[str, int]] = set()
        self._connections: dict[int, _Connection] = {}
        self._poller = select.epoll() if hasattr(select, "epoll") else None
        if self._poller is not None:
            self.loop.add_reader(self._poller.fileno(), self._drain)
        self._sweep_handle = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def close(self) -> None:
        """Close all connections and stop watching them."""
        self._sweep_handle.cancel()
        for connection in list(self._connections.values()):
            self._drop(connection)
        if self._poller is not None:
            self.loop.remove_reader(self._poller.fileno())
            self._poller.close()

    def dial(self, request: DialRequest) -> asyncio.Future[DialResult]:
        """Dial one address. The future never fails: a failure is part of the result."""
        dial = _Dial(request, self.loop.create_future())
        self._admit(dial)
        return dial.future

    # -- admission: first the total limit, then the limit of the address

    def _admit(self, dial: _Dial) -> None:
        if dial.future.done():
            return
        failure = self.unreachable.get((dial.request.address, dial.request.port))
        if failure is not None:
            # Two probes confirmed this failure in the run: report it without a connection.
            self._settle(dial, DialResult(failure=failure, probes=2))
        elif self.active >= self.limits.in_flight:
            # The process-wide limit is reached: _settle admits waiting dials.
            self._ready.append(dial)
        else:
            self._rate_limiter.enter(dial, dial.request.address)

    # -- one connection

    def _start(self, dial: _Dial) -> None:
        now = self.loop.time()
        request = dial.request
        if not dial.started:
            dial.started = True
            if request.deadline is None:
                request.deadline = now + (request.timeout or self.limits.timeout)
            # The deadline starts here and not in dial(): the wait for a free slot does not count.
            dial.second_at = now + SECOND_PROBE_AT * (request.deadline - now)
        assert request.deadline is not None
        if now >= request.deadline:
            self._rate_limiter.leave(request.address)
            self._fail(
                dial, None, Failure("timeout", FailureKind.TIMEOUT, "the time limit was reached")
            )
            return
        dial.probes += 1
        family = socket.AF_INET6 if ":" in request.address else socket.AF_INET
        try:
            sock = socket.socket(
                family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
        except OSError as error:
            self._rate_limiter.leave(request.address)
            # A machine without IPv6 is not a fault of the server, so it has a separate kind.
            kind = FailureKind.NO_ROUTE if error.errno in _NO_ROUTE else FailureKind.LOCAL
            self._fail(dial, None, Failure("local", kind, os.strerror(error.errno or 0)))
            return
        error_code = sock.connect_ex((request.address, request.port))
        connect_timeout = self.limits.connect_timeout
        connect_by = (
            request.deadline
            if connect_timeout is None
            else min(request.deadline, now + connect_timeout)
        )
        connection = _Connection(dial, sock, connect_by)
        dial.connections.append(connection)
        self.active += 1
        if error_code not in _IN_PROGRESS:
            self._fail(dial, connection, self._from_errno(error_code, connection))
            return
        self._connections[sock.fileno()] = connection
        self._watch(sock)

    def _watch(self, sock: socket.socket) -> None:
        fd = sock.fileno()
        if self._poller is not None:
            # Edge-triggered: each socket is registered once, and every event is read until it would
            # block.
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
        # At most 256 events per call, so that other callbacks of the loop are not delayed.
        for fd, _ in self._poller.poll(0, 256):
            connection = connections.get(fd)
            if connection is not None:
                self._advance(connection)

    def _advance(self, connection: _Connection) -> None:
        """Advance one connection as far as the received bytes allow.

        An error affects this connection alone.
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
        except Exception as error:  # a bug in certmgr ends this probe and no other
            reason = printable(f"{type(error).__name__}: {error}", 200)
            self._fail(connection.dial, connection, Failure("local", FailureKind.LOCAL, reason))

    def _connected(self, connection: _Connection) -> None:
        request = connection.dial.request
        if request.protocol == "http":
            self._begin_exchange(connection)
            return
        # A protocol without a dialogue starts TLS immediately.
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
        # The limit applies to TLS alone, not to the STARTTLS dialogue before it.
        connection.received, connection.first = 0, b""
        connection.tls = openssl.Handshake(
            request.profile,
            # With an exchange no ALPN is offered: the exchange speaks HTTP/1.1 only.
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
        """Record with the first received byte that this address answers for at least one name."""
        # Bounded memory. Beyond the limit an address may be recorded as unreachable too early.
        if len(self._responsive) < 100_000:
            self._responsive.add((connection.dial.request.address, connection.dial.request.port))

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
                self._http_step(connection, data)
                continue
            # A hostile server could send handshake bytes without end.
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
                self._starttls_step(connection, data)
            elif connection.state == "after":
                self._after_handshake(connection, data)
            else:
                self._tls_step(connection, data)
            # Without epoll the loop is level-triggered and calls again if more bytes are waiting.
            if len(data) < 4096 and self._poller is None:
                return

    def _starttls_step(self, connection: _Connection, data: bytes) -> None:
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

    def _tls_step(self, connection: _Connection, data: bytes) -> None:
        tls = connection.tls
        assert tls is not None
        if len(connection.first) < 2:
            connection.first += data[:64]
            # RFC 8446 5.1: a TLS record begins with its type (20-23) and the major version 3.
            if connection.first[0] not in (20, 21, 22, 23) or connection.first[1:2] not in (
                b"",
                b"\x03",
            ):
                received = printable(connection.first.decode("latin-1").splitlines()[0], 60)
                self._fail(
                    connection.dial,
                    connection,
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
                self._send(connection, outgoing)  # the alert, so that the server can log the reason
            self._fail(connection.dial, connection, self._from_tls(connection, tls))
            return
        if outgoing:
            self._send(connection, outgoing)
        if state == openssl.DONE:
            if connection.dial.request.exchange is not None:
                self._begin_exchange(connection)
            elif (
                tls.client_certificate_asked()
                and tls.connection.get_protocol_version_name() == "TLSv1.3"
            ):
                # A TLS 1.3 server rejects a missing client certificate only after the handshake
                # (RFC 8446 4.4.2.4), so the connection waits up to one second for its alert.
                connection.state = "after"
                connection.connect_by = min(
                    self.loop.time() + 1.0, connection.dial.request.deadline or 0.0
                )
                self._after_handshake(connection, b"")
            else:
                self._succeed(connection)

    def _after_handshake(self, connection: _Connection, data: bytes) -> None:
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
            self._http_step(connection, b"")

    def _http_step(self, connection: _Connection, data: bytes) -> None:
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
        """Handle a connection that the server closed."""
        if connection.state == "exchange":
            assert connection.exchange is not None
            # HTTP/1.0 and "Connection: close" end a body by closing the connection (RFC 9112 6.3).
            if connection.exchange.end():
                self._succeed(connection)
                return
            reason = "the server closed the connection without an answer"
            alert = connection.tls.alert if connection.tls is not None else None
            self._fail(
                connection.dial,
                connection,
                Failure("http", FailureKind.CLOSED, reason, alert, answered=True),
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
        # A problem of this machine must not be reported as a problem of the server.
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
        # A visit does not repeat the certificate: the probe of the address has it.
        if tls is None or connection.dial.request.exchange is not None:
            return DialResult(failure=failure, exchange=connection.exchange)
        chain = tls.chain()
        client_certificate_asked = tls.client_certificate_asked()
        if failure is not None:
            return DialResult(
                chain=chain, failure=failure, client_certificate=client_certificate_asked
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
        )

    def _succeed(self, connection: _Connection) -> None:
        result = self._collect(connection, None)
        self._drop(connection)
        self._settle(connection.dial, result)

    def _fail(self, dial: _Dial, connection: _Connection | None, failure: Failure) -> None:
        """End one connection after a failure.

        The dial ends if the failure is final, if it was retried already, or if no time is left.
        """
        if dial.future.done():
            return
        result = DialResult(failure=failure)
        if connection is not None:
            result = self._collect(connection, failure)
            self._drop(connection)
        dial.failure = result
        if dial.connections:
            return  # the other connection is still in progress
        transient = failure.kind in TRANSIENT
        now = self.loop.time()
        if (
            transient
            and dial.probes < 2
            and dial.request.deadline is not None
            and now + SECOND_PROBE_DELAY < dial.request.deadline
        ):
            dial.second_at = float("inf")
            self.loop.call_later(SECOND_PROBE_DELAY, self._admit, dial)
            return
        if (
            transient
            and not failure.answered
            # Only failures before the first answer apply to other names at this address.
            and failure.layer in ("connect", "timeout")
            and dial.probes >= 2
        ):
            self._mark_unreachable(dial.request, failure)
        self._settle(dial, result)

    def _settle(self, dial: _Dial, result: DialResult) -> None:
        # The first connection with a result ends the other one.
        for other in list(dial.connections):
            self._drop(other)
        if not dial.future.done():
            result.probes = max(result.probes, dial.probes)
            dial.future.set_result(result)
        # Connections ended, so waiting dials may start.
        while self._ready and self.active < self.limits.in_flight:
            self._admit(self._ready.popleft())

    def _mark_unreachable(self, request: DialRequest, failure: Failure) -> None:
        """Record a confirmed failure before TLS for all endpoints at that address and port.

        An address that accepts and stays silent may be silent for one name only (a reverse proxy
        whose backend is down). It counts as unreachable only if several names got no answer and no
        name got one.
        """
        key = (request.address, request.port)
        if failure.accepted:
            silent = self._silent.setdefault(key, set())
            silent.add(request.server_name)
            # Too few names were silent, or another name was answered: this name alone has a
            # problem.
            if key in self._responsive or len(silent) < SILENT_NAMES:
                return
        self.unreachable.setdefault(key, failure)

    def _open_second(self, dial: _Dial, first: _Connection) -> None:
        """Open a second connection alongside the silent first one.

        If the address allows no further connection, the second one replaces the first. It does not
        queue.
        """
        if not self._rate_limiter.enter_second(dial.request.address):
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
            self._rate_limiter.leave(connection.dial.request.address)

    def _sweep(self) -> None:
        """Enforce deadlines, and open the second connection to silent addresses."""
        now = self.loop.time()
        for connection in list(self._connections.values()):
            dial = connection.dial
            if connection.state == "done":
                continue
            deadline = dial.request.deadline or 0.0
            # Both states have a shorter limit than the dial as a whole.
            if connection.state in ("connect", "after"):
                deadline = min(deadline, connection.connect_by)
            if now >= deadline:
                # No alert within the limit: the server accepts clients without a certificate.
                if connection.state == "after":
                    self._succeed(connection)
                else:
                    self._fail(dial, connection, self._timeout_failure(connection))
            elif now >= dial.second_at and dial.probes < 2 and len(dial.connections) == 1:
                dial.second_at = float("inf")
                self._open_second(dial, connection)
        self._sweep_handle = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def _timeout_failure(self, connection: _Connection) -> Failure:
        reasons = {
            "connect": "no answer to the connection attempt",
            "starttls": "the STARTTLS dialogue did not complete in time",
            "exchange": "the HTTP response did not complete in time",
        }
        reason = reasons.get(connection.state, "the TLS handshake did not complete in time")
        accepted = connection.state != "connect"
        return Failure(
            "timeout",
            FailureKind.TIMEOUT,
            reason,
            answered=connection.received > 0,
            accepted=accepted,
        )
