"""Dials: many connections at once, their deadlines, their retries and their turns.

Many connections run at once inside one asyncio loop; socket_events.py reports which of them can
continue. connection.py speaks the protocols of one connection. rate_limits.py decides how many
connections one address gets, and how fast. A transient failure is retried once within the same
deadline. If an address is silent, the second connection starts while the first one still waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque

from certmgr.scan.connection import LARGE_HANDSHAKE, Connection
from certmgr.scan.connection_failures import NO_ROUTE, too_much
from certmgr.scan.dial_request import DialLimits, DialRequest, DialResult
from certmgr.scan.evidence import TRANSIENT, Failure, FailureKind
from certmgr.scan.rate_limits import AddressRateLimiter
from certmgr.scan.socket_events import SocketEvents

# One timer for all connections costs less than one per connection. A deadline is enforced late by
# at most this time.
SWEEP_INTERVAL = 0.05
# A silent address gets its second connection after this fraction of its time.
SECOND_PROBE_AT = 0.6
SECOND_PROBE_DELAY = 0.4
# If an address accepts connections but stays silent for this many names, it counts as unreachable
# for the rest of the run.
SILENT_NAMES = 5
# Connections at once whose handshake takes much memory (about 350 KB each).
MAX_LARGE = 100

_IN_PROGRESS = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})


class _Dial:
    """One request with its one or two connections."""

    __slots__ = (
        "_dialler",
        "began",
        "connections",
        "failure",
        "future",
        "level_triggered",
        "probes",
        "profile",
        "request",
        "second_at",
        "started",
    )

    def __init__(self, dialler: Dialler, request: DialRequest, level_triggered: bool) -> None:
        self._dialler, self.request, self.level_triggered = dialler, request, level_triggered
        self.future: asyncio.Future[DialResult] = dialler.loop.create_future()
        self.profile = request.profile
        self.connections: list[Connection] = []
        self.failure: DialResult | None = None
        self.probes = 0
        self.started = False
        self.began = 0.0
        self.second_at = float("inf")

    # The members of a ConnectionOwner.

    @property
    def ehlo_name(self) -> str:
        return self._dialler.ehlo_name

    def now(self) -> float:
        return self._dialler.loop.time()

    def extend(self) -> None:
        self.request.deadline = self.now() + self._dialler.time_limit(self.request)

    def answered(self) -> None:
        self._dialler.record_answer(self.request)

    def ended(self, connection: Connection, result: DialResult) -> None:
        self._dialler.end(self, connection, result)

    def grew(self, connection: Connection) -> None:
        self._dialler.grew(connection)

    def resume(self, connection: Connection) -> None:
        self._dialler.resume(connection)


class Dialler:
    """A dialler for many connections at once.

    Start connections with :meth:`dial`, and end with :meth:`close`. Not thread-safe.
    """

    def __init__(
        self,
        limits: DialLimits,
        loop: asyncio.AbstractEventLoop | None = None,
        ehlo_name: str = "",
    ) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self.limits = limits
        # The name of this machine for mail servers; empty: its address on the connection.
        self.ehlo_name = ehlo_name
        self.active = 0
        self._closed = False
        # (address, port) -> a failure before TLS that a second probe confirmed. It applies to every
        # endpoint there, so that thousands of names on one server do not wait for it one by one.
        self.unreachable: dict[tuple[str, int], Failure] = {}
        self._rate_limiter = AddressRateLimiter(
            limits.per_address, limits.rate, self.loop, self._start, self._admit, own=limits.own
        )
        self._ready: deque[_Dial] = deque()
        self._admitting = False
        self._silent: dict[tuple[str, int], set[str | None]] = {}
        self._responsive: set[tuple[str, int]] = set()
        self._connections: dict[int, tuple[_Dial, Connection]] = {}
        self._large: dict[Connection, None] = {}
        self._events = SocketEvents(self.loop, self._advance)
        self._sweep_handle = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def time_limit(self, request: DialRequest) -> float:
        """Return the total time of a request, in seconds."""
        return request.timeout or self.limits.timeout

    def close(self) -> None:
        """Close all connections, stop watching them, and cancel what waits for them."""
        self._closed = True
        self._sweep_handle.cancel()
        for dial, connection in list(self._connections.values()):
            self._drop(dial, connection)
            dial.future.cancel()
        for dial in self._ready:
            dial.future.cancel()
        self._events.close()

    def dial(self, request: DialRequest) -> asyncio.Future[DialResult]:
        """Dial one address.

        The future never fails: a failure is part of the result. It is cancelled by :meth:`close`.
        """
        dial = _Dial(self, request, level_triggered=self._events.level_triggered)
        self._admit(dial)
        return dial.future

    def _admit(self, dial: _Dial) -> None:
        if self._closed:
            # No deadline is enforced any more, so that its caller would wait for ever.
            dial.future.cancel()
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

    def _start(self, dial: _Dial) -> None:
        now = self.loop.time()
        request = dial.request
        if not dial.started:
            dial.started, dial.began = True, now
            if request.deadline is None:
                request.deadline = now + self.time_limit(request)
            # The deadline starts here and not in dial(): the wait for a free slot does not count.
            dial.second_at = now + SECOND_PROBE_AT * (request.deadline - now)
        assert request.deadline is not None
        if now >= request.deadline:
            self._rate_limiter.leave(request.address)
            failure = Failure("timeout", FailureKind.TIMEOUT, "the time limit was reached")
            self._fail(dial, DialResult(failure=failure))
            return
        dial.probes += 1
        sock = self._open_socket(dial)
        if sock is None:
            return
        error_code = sock.connect_ex((request.address, request.port))
        connect_timeout = self.limits.connect_timeout
        connect_by = (
            request.deadline
            if connect_timeout is None
            else min(request.deadline, now + connect_timeout)
        )
        connection = Connection(dial, sock, connect_by)
        dial.connections.append(connection)
        self.active += 1
        if error_code not in _IN_PROGRESS:
            connection.fail(connection.errno_failure(error_code))
            return
        self._connections[sock.fileno()] = (dial, connection)
        self._events.watch(sock)

    def _open_socket(self, dial: _Dial) -> socket.socket | None:
        """Return a socket for a dial; None if this machine has none, which ends the dial."""
        address = dial.request.address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = None
        try:
            if (6 if family == socket.AF_INET6 else 4) not in self.limits.families:
                raise OSError(errno.EAFNOSUPPORT, "")
            sock = socket.socket(
                family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            if source := self.limits.source_for(address):
                sock.bind((source, 0))
        except OSError as error:
            if sock is not None:
                sock.close()
            self._rate_limiter.leave(address)
            # A machine without IPv6 is not a fault of the server, so it has a separate kind.
            kind = FailureKind.NO_ROUTE if error.errno in NO_ROUTE else FailureKind.LOCAL
            failure = Failure("local", kind, os.strerror(error.errno or 0))
            self._fail(dial, DialResult(failure=failure))
            return None
        return sock

    def _advance(self, fd: int) -> None:
        if (known := self._connections.get(fd)) is not None:
            known[1].advance()

    def grew(self, connection: Connection) -> None:
        """Bound the memory of handshakes: of too many large ones, the first ends.

        An ordinary handshake ends within moments, so the first one is that of a server that stalls.
        """
        self._large[connection] = None
        if len(self._large) > MAX_LARGE:
            next(iter(self._large)).fail(too_much("tls", LARGE_HANDSHAKE))

    def resume(self, connection: Connection) -> None:
        """Advance a connection with more bytes to read, after the turns of the others.

        Its socket causes no further event (edge-triggered).
        """
        self.loop.call_soon(self._continue, connection)

    def _continue(self, connection: Connection) -> None:
        if connection.state != "done":
            connection.advance()

    def record_answer(self, request: DialRequest) -> None:
        """Record with the first received byte that this address answers for at least one name."""
        # Bounded memory. Beyond the limit an address may be recorded as unreachable too early.
        if len(self._responsive) < 100_000:
            self._responsive.add((request.address, request.port))

    def end(self, dial: _Dial, connection: Connection, result: DialResult) -> None:
        """Close a connection that has a result, and use the result."""
        if connection.state == "done":
            return
        self._drop(dial, connection)
        if result.failure is None:
            self._settle(dial, result)
        else:
            self._fail(dial, result)

    def _fail(self, dial: _Dial, result: DialResult) -> None:
        """Use the failure of one connection.

        The dial ends if the failure is final, if it was retried already, or if no time is left.
        """
        failure = result.failure
        if dial.future.done() or failure is None:
            return
        dial.failure = result
        if dial.connections:
            return  # the other connection is still in progress
        if failure.kind is FailureKind.STAPLE and dial.request.staple:
            # Browsers ignore such a response, and so they complete the handshake.
            dial.request.staple = False
            self._admit(dial)
            return
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
            self._drop(dial, other)
        if not dial.future.done():
            result.probes = max(result.probes, dial.probes)
            result.seconds = self.loop.time() - dial.began if dial.started else 0.0
            dial.future.set_result(result)
        self._admit_ready()

    def _admit_ready(self) -> None:
        """Start waiting dials, since connections have ended.

        One that ends at once, such as one to an unreachable address, calls this again. Only the
        outer call goes on: thousands of such dials would exceed the depth of calls.
        """
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._ready and self.active < self.limits.in_flight:
                self._admit(self._ready.popleft())
        finally:
            self._admitting = False

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

    def _open_second(self, dial: _Dial, first: Connection) -> None:
        """Open a second connection alongside the silent first one.

        If the address allows no further connection, the second one replaces the first. It does not
        queue.
        """
        # The first ClientHello may have been too large for the server or for a firewall, which
        # then discards it. A smaller one distinguishes this from a server that is down.
        if dial.request.second_profile and first.state == "tls" and not first.received:
            dial.profile = dial.request.second_profile
        if not self._rate_limiter.enter_second(dial.request.address):
            self._drop(dial, first, keep_place=True)
        self._start(dial)

    def _drop(self, dial: _Dial, connection: Connection, keep_place: bool = False) -> None:
        if connection.state == "done":
            return
        self.active -= 1
        fd = connection.sock.fileno()
        self._connections.pop(fd, None)
        self._large.pop(connection, None)
        self._events.forget(fd)
        connection.close()
        dial.connections.remove(connection)
        if not keep_place:
            self._rate_limiter.leave(dial.request.address)

    def _sweep(self) -> None:
        """Enforce deadlines, and open the second connection to silent addresses."""
        now = self.loop.time()
        for dial, connection in list(self._connections.values()):
            if connection.state == "done":
                continue
            deadline = dial.request.deadline or 0.0
            # Both states have a shorter limit than the dial as a whole.
            if connection.state in ("connect", "after"):
                deadline = min(deadline, connection.connect_by)
            if now >= deadline:
                # No alert within the limit: the server accepts clients without a certificate.
                if connection.state == "after":
                    connection.succeed()
                else:
                    connection.fail(connection.timeout_failure())
            elif connection.is_complete:
                continue
            elif now >= dial.second_at and dial.probes < 2 and len(dial.connections) == 1:
                dial.second_at = float("inf")
                self._open_second(dial, connection)
        self._sweep_handle = self.loop.call_later(SWEEP_INTERVAL, self._sweep)
