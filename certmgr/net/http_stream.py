"""Connections of the HTTP client: to checked addresses, within one deadline and a number of bytes.

The network backend of httpcore (:class:`GuardedBackend`). httpcore's timeouts count from each read,
so that a peer that sends one byte at a time never meets them. Here every step (resolution,
connection, TLS handshake, each read and write) asks the :class:`Budget` of the request. TLS runs
over memory BIOs: OpenSSL gets a bounded number of bytes at a time, so that a flood of TLS messages
without data ends as well.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from select import POLLIN, poll
from typing import Any

import httpcore

from certmgr.net import tls_errors
from certmgr.net.addresses import Network, refusal
from inventory.text import printable

CONNECT_SECONDS = 10.0  # per address, so that one silent address leaves time for the next
# A download tries one address after the other. Each may take the whole time limit.
MAX_ADDRESSES = 8
_PIECE = 65_536

Resolve = Callable[[str], Sequence[str]]


class HttpProblem(StrEnum):
    """Why a request has no answer."""

    URL = "url"  # not a URL that may be requested
    INTERNAL = "internal"  # an internal address, which was not contacted
    NAME = "name"  # the host name does not resolve
    CONNECTION = "connection"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"  # not HTTP, or headers beyond the limit
    TOO_LARGE = "too-large"
    INCOMPLETE = "incomplete"  # the connection ended too early
    REDIRECTS = "redirects"  # too many


class HttpError(Exception):
    """A request without an answer. The text completes "the request failed: "."""

    def __init__(self, problem: HttpProblem, message: str) -> None:
        super().__init__(message)
        self.problem, self.message = problem, message


class Budget:
    """What one request may use, over all of its redirects.

    Attributes:
        steps: Waits for the peer so far.
        ended: Whether the peer ended the connection.
    """

    def __init__(self, seconds: float, received: int, timer: Callable[[], float]) -> None:
        """Start the deadline.

        Args:
            seconds: The time until the deadline.
            received: The number of bytes that may be received, framing and TLS included.
            timer: A monotonic timer in seconds.
        """
        self._seconds, self._timer = seconds, timer
        self._end, self._left = timer() + seconds, received
        self.steps, self.ended = 0, False

    def remaining(self) -> float:
        """Return the seconds left.

        Raises:
            HttpError: The deadline has passed.
        """
        self.steps += 1
        left = self._end - self._timer()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> HttpError:
        """Return the error of a passed deadline."""
        return HttpError(
            HttpProblem.TIMEOUT, f"it did not complete within {self._seconds:g} seconds"
        )

    def receive(self, count: int) -> None:
        """Count received bytes; 0 is the end of the connection.

        Raises:
            HttpError: They are more than the request may receive.
        """
        self.ended |= not count
        self._left -= count
        if self._left < 0:
            raise HttpError(HttpProblem.TOO_LARGE, "the server sends too many bytes")


# A connection outlives its request in the pool, so the budget belongs to the calling thread.
_budget: ContextVar[Budget] = ContextVar("budget")


@contextlib.contextmanager
def within_budget(budget: Budget) -> Iterator[None]:
    """Let the connections that this thread uses spend ``budget``."""
    token = _budget.set(budget)
    try:
        yield
    finally:
        _budget.reset(token)


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """The addresses that a client may contact.

    Attributes:
        allowed: Networks that may be reached although they are internal.
        internal: Whether all internal addresses may be reached.
        internal_hosts: Hosts that may have internal addresses: those that the configuration names.
            A redirect to another host does not inherit this.
        sources: Local addresses from which to connect, at most one per IP version.
    """

    allowed: tuple[Network, ...] = ()
    internal: bool = False
    internal_hosts: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()

    def source_for(self, address: str) -> tuple[str, int] | None:
        """Return the local address and port from which to connect; None: the system's choice."""
        found = next((s for s in self.sources if (":" in s) == (":" in address)), None)
        return None if found is None else (found, 0)

    def refusal(self, host: str, address: str) -> str | None:
        """Return why an address of a host is not contacted; None if it may be."""
        if self.internal or host.lower() in self.internal_hosts:
            return None
        return refusal(address, self.allowed)


def system_addresses(host: str) -> list[str]:
    """Resolve a name as the system does, with its hosts file; empty if it does not resolve."""
    try:
        results = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in results]


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to addresses that the policy permits.

    A name is resolved once per connection, and the connection goes to the address that was checked:
    a second lookup could return another one.
    """

    def __init__(self, policy: AddressPolicy, resolve: Resolve = system_addresses) -> None:
        self._policy, self._resolve = policy, resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first permitted address of a host that answers.

        Raises:
            HttpError: No address is permitted, or none answers in time.
        """
        budget = _budget.get()
        addresses = self._addresses(host, budget)[:MAX_ADDRESSES]
        if not addresses:
            raise HttpError(HttpProblem.NAME, f"the name {printable(host, 100)} does not resolve")
        refused, failed = "", ""
        for address in addresses:
            why = self._policy.refusal(host, address)
            if why is not None:
                refused = f"{address} is not visited: {why}"
                continue
            try:
                connection = socket.create_connection(
                    (address, port),
                    min(budget.remaining(), CONNECT_SECONDS),
                    self._policy.source_for(address),
                )
            except OSError as error:
                failed = _shown(error)
                continue
            # Otherwise small writes, such as TLS records, wait for the acknowledgement of the last
            # one.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return PlainStream(connection)
        budget.remaining()
        # An address that failed was permitted, so the refused ones are not the reason.
        if failed:
            raise HttpError(HttpProblem.CONNECTION, failed)
        raise HttpError(HttpProblem.INTERNAL, refused)

    def _addresses(self, host: str, budget: Budget) -> Sequence[str]:
        """Resolve a name in another thread, since the system's resolver has no deadline."""
        found: list[Sequence[str]] = []
        # A daemon: a resolver that hangs must not keep the program from ending.
        thread = threading.Thread(target=lambda: found.append(self._resolve(host)), daemon=True)
        thread.start()
        thread.join(budget.remaining())
        if not found:
            raise budget.expired()
        return found[0]


class PlainStream(httpcore.NetworkStream):
    """A connection without TLS."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive up to ``max_bytes``; empty at the end of the connection."""
        return _receive(self._socket, max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        _send(self._socket, buffer)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Complete a TLS handshake.

        Raises:
            HttpError: The handshake failed, or the certificate is not trusted.
        """
        try:
            return TlsStream(self._socket, ssl_context, server_hostname)
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return whether the idle connection has bytes, or ended."""
        return _extra_info(self._socket, info)


class TlsStream(httpcore.NetworkStream):
    """A connection with TLS over memory BIOs."""

    def __init__(
        self, connection: socket.socket, context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        self._socket = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._run(self._tls.do_handshake)

    def _run(self, step: Callable[[], Any]) -> Any:
        """Repeat a step of OpenSSL, and carry its bytes, until it has a result."""
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = _receive(self._socket, _PIECE)
                if data:
                    self._incoming.write(data)
                else:
                    # Without the end, OpenSSL would ask for more bytes again and again.
                    self._incoming.write_eof()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                if step == self._tls.do_handshake:
                    raise HttpError(HttpProblem.TLS, "the server ended the TLS handshake") from None
                # Many servers end without close_notify. Whether the answer is complete shows in its
                # length or its chunks.
                return b""
            except ssl.SSLCertVerificationError as error:
                shown = tls_errors.of_certificate(error.verify_code)
                raise HttpError(
                    HttpProblem.TLS, f"its TLS certificate cannot be verified: {shown}"
                ) from None
            except (ssl.SSLError, ValueError) as error:
                shown = tls_errors.of_handshake(getattr(error, "reason", None))
                raise HttpError(HttpProblem.TLS, f"TLS failed: {shown}") from None

    def _flush(self) -> None:
        if self._outgoing.pending:
            _send(self._socket, self._outgoing.read())

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Receive up to ``max_bytes``; empty at the end of the connection."""
        data: bytes = self._run(lambda: self._tls.read(max_bytes))
        if not data:
            # After close_notify the TCP connection may stay open, so the end is counted here as
            # well.
            _budget.get().receive(0)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all bytes."""
        if buffer:
            self._run(lambda: self._tls.write(buffer))

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """Return whether the idle connection has bytes, or ended."""
        return self._tls if info == "ssl_object" else _extra_info(self._socket, info)


def _receive(connection: socket.socket, count: int) -> bytes:
    budget = _budget.get()
    connection.settimeout(budget.remaining())
    try:
        data = connection.recv(count)
    except TimeoutError:
        raise budget.expired() from None
    except OSError as error:
        raise HttpError(HttpProblem.CONNECTION, _shown(error)) from None
    budget.receive(len(data))
    return data


def _send(connection: socket.socket, data: bytes) -> None:
    budget = _budget.get()
    # sendall has one deadline for all bytes (Python 3.5 and later).
    connection.settimeout(budget.remaining())
    try:
        connection.sendall(data)
    except TimeoutError:
        raise budget.expired() from None
    except OSError as error:
        # httpcore reads on after this: a server may refuse a request before it has read all of it.
        raise httpcore.WriteError(_shown(error)) from None


def _shown(error: OSError) -> str:
    return printable(f"the connection failed: {error.strerror or 'it was closed'}", 150)


def _extra_info(connection: socket.socket, info: str) -> Any:
    if info == "is_readable":
        # The pool asks this before it uses a connection again: a server that is idle sends nothing.
        # A connection that has ended counts as readable, so that the pool discards it.
        if connection.fileno() < 0:
            return True
        waiting = poll()
        waiting.register(connection, POLLIN)
        return bool(waiting.poll(0))
    return connection if info == "socket" else None
