"""TLS connections whose operations end, whatever the peer sends.

A read of the ssl module goes on inside of OpenSSL as long as records arrive: a server that sends
session tickets without end would hold it for ever. No signal reaches Python in that time, so not
even the time budget of ``certmgr run`` would end it. Here TLS runs over memory BIOs, and OpenSSL
gets a bounded number of bytes at a time.
"""

from __future__ import annotations

import errno
import socket
import ssl
import sys
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# What OpenSSL gets at a time, and what one read may receive without any content: a record has
# 16 KB, and a handshake with a large chain about 100 KB.
_PIECE, MAX_SILENT_BYTES = 16_384, 262_144
_T = TypeVar("_T")


class BoundedTlsSocket(socket.socket):
    """A client's TLS connection. Each operation has one deadline and a number of bytes.

    The time limit of the socket is that of a whole operation, and not of each record.
    """

    def __init__(
        self,
        connection: socket.socket,
        context: ssl.SSLContext,
        server_hostname: str | None,
        end: float = float("inf"),
    ) -> None:
        """Take over a connected socket, and complete the handshake.

        Args:
            connection: The socket, which is detached.
            context: The TLS configuration.
            server_hostname: The name that the certificate must have.
            end: When all operations end, as a value of the monotonic clock.

        Raises:
            OSError: The handshake failed; ssl.SSLError is one.
        """
        seconds = connection.gettimeout()
        super().__init__(
            connection.family, connection.type, connection.proto, fileno=connection.detach()
        )
        self.settimeout(seconds)
        self._end = end
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname=server_hostname
            )
            self._run(self._tls.do_handshake)
        except BaseException:
            self.close()
            raise

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive content; empty at the end of the connection."""
        try:
            return self._run(lambda: self._tls.read(bufsize))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            # Many servers end without close_notify, and the ssl module hides it as well.
            return b""

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive content into a buffer, as the files of :meth:`makefile` do."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Send all of the content, and return its size."""
        content = memoryview(data).cast("B")
        if content:
            self._run(lambda: self._tls.write(content))
        return len(content)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Send all of the content."""
        self.send(data)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the certificate of the server, as ``ssl.SSLSocket`` does."""
        return self._tls.getpeercert(binary_form)

    def version(self) -> str | None:
        """Return the TLS version."""
        return self._tls.version()

    def _run(self, step: Callable[[], _T]) -> _T:
        """Repeat a step of OpenSSL, and carry its bytes, until it has a result."""
        seconds, received = self.gettimeout(), 0
        end = self._end if seconds is None else min(self._end, monotonic() + seconds)
        try:
            while True:
                try:
                    result = step()
                except ssl.SSLWantReadError:
                    self._flush(end)
                else:
                    self._flush(end)
                    return result
                self._limit(end)
                data = super().recv(_PIECE)
                received += len(data)
                if received > MAX_SILENT_BYTES:
                    raise OSError(errno.EMSGSIZE, "the server sends too many bytes")
                if data:
                    self._incoming.write(data)
                else:
                    # Without the end, OpenSSL would ask for more bytes again and again.
                    self._incoming.write_eof()
        finally:
            self.settimeout(seconds)

    def _flush(self, end: float) -> None:
        if self._outgoing.pending:
            self._limit(end)
            super().sendall(self._outgoing.read())

    def _limit(self, end: float) -> None:
        if end == float("inf"):
            return
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "the server did not answer in time")
        self.settimeout(left)


class BoundedTls(ssl.SSLContext):
    """The TLS configuration of a client, whose connections are bounded.

    Attributes:
        end: When all operations of its connections end, as a value of the monotonic clock.
    """

    end: float = float("inf")

    def __new__(cls) -> Self:
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def wrap_socket(self, sock: socket.socket, *_: Any, **options: Any) -> Any:
        """Complete a handshake as a client, and return the connection."""
        return BoundedTlsSocket(sock, self, options.get("server_hostname"), self.end)


def system_trust(*, verify: bool = True) -> BoundedTls:
    """Return a configuration with the roots of the system.

    Args:
        verify: Whether the certificate of the server must be trusted.
    """
    context = BoundedTls()
    if sys.version_info >= (3, 13):  # as ssl.create_default_context does
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
