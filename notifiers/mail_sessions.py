"""Sessions with mail servers in which each reply has a deadline and a size.

The time limits of imaplib and smtplib count from each read, and neither bounds a reply as a whole:
a server that sends one byte at a time, lines without end, or a literal of gigabytes would hold a
session for ever, or take all memory.
"""

from __future__ import annotations

import errno
import imaplib
import logging
import smtplib
import socket
from time import monotonic

from notifiers.tls_sockets import BoundedTls

_log = logging.getLogger(__name__)

MAX_LINE = 1_000_000  # as in imaplib; those of smtplib are shorter
MAX_IMAP_REPLY = 2_000_000  # in addition to the mail that was asked for
MAX_SMTP_REPLY = 65_536


class BoundedReplies:
    """The received bytes of a session.

    Each reply has a deadline and a number of bytes. Both begin again with :meth:`begin`.
    """

    def __init__(self, sock: socket.socket, seconds: float, size: int) -> None:
        """Read from a socket.

        Args:
            sock: A connected socket.
            seconds: The time for a reply.
            size: The number of bytes of a reply.
        """
        self.sock, self._seconds, self._size = sock, seconds, size
        self._buffer = bytearray()
        self.begin()

    def begin(self) -> None:
        """Start the limits of the next reply."""
        self._end, self._left = monotonic() + self._seconds, self._size

    def readline(self, limit: int = MAX_LINE) -> bytes:
        """Return a line with its end, at most ``limit`` bytes of it; less at the end of the stream.

        Raises:
            OSError: The limit of time or size was reached, or the connection failed.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched, limit)) < 0:
            searched = len(self._buffer)
            if searched >= limit or not self._receive():
                return self._take(limit)
        return self._take(end + 1)

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes; fewer at the end of the stream.

        Raises:
            OSError: As :meth:`readline`.
        """
        # The size of a literal is known before its bytes.
        if size - len(self._buffer) > self._left:
            raise self._too_large()
        while len(self._buffer) < size and self._receive():
            pass
        return self._take(size)

    def close(self) -> None:
        """Release the bytes. The socket belongs to the session."""
        self._buffer.clear()

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _receive(self) -> bool:
        """Receive bytes. Returns False at the end of the stream."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError(errno.ETIMEDOUT, "the server did not answer in time")
        before = self.sock.gettimeout()
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65_536)
        finally:
            # Commands are sent with the time limit of the session.
            self.sock.settimeout(before)
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large()
        self._buffer += data
        return bool(data)

    def _too_large(self) -> OSError:
        return OSError(errno.EMSGSIZE, "the server sends too many bytes")


class _BoundedImap(imaplib.IMAP4):
    """An IMAP client whose replies are bounded."""

    seconds = 30.0
    size = MAX_IMAP_REPLY
    _replies: BoundedReplies | None = None

    def readline(self) -> bytes:
        """Return a line of a reply."""
        line = self._bounded().readline(MAX_LINE)
        if len(line) >= MAX_LINE:
            raise OSError(errno.EMSGSIZE, "the server sends too many bytes")
        return line

    def read(self, size: int) -> bytes:
        """Return the bytes of a literal."""
        return self._bounded().read(size)

    def send(self, data: bytes) -> None:  # type: ignore[override]
        """Send a command, whose reply has new limits."""
        # imaplib keeps what no command asked for until the end of the session.
        self.untagged_responses.clear()
        super().send(data)
        self._bounded().begin()

    def _bounded(self) -> BoundedReplies:
        # STARTTLS replaces the socket. What came before it in clear is dropped.
        if self._replies is None or self._replies.sock is not self.sock:
            self._replies = BoundedReplies(self.sock, self.seconds, self.size)
        return self._replies


class _BoundedImapTls(_BoundedImap, imaplib.IMAP4_SSL):
    """The same, with TLS from the start."""


def connect_imap(
    host: str, port: int, seconds: float, context: BoundedTls, *, starttls: bool, size: int
) -> imaplib.IMAP4:
    """Connect to a mailbox, with TLS.

    Args:
        host: The name of the server, which its certificate must have.
        port: Its port.
        seconds: The time for the connection, and for each reply.
        context: The TLS context.
        starttls: Whether TLS begins with a command.
        size: Bytes of the largest literal that is asked for.

    Raises:
        OSError, imaplib.IMAP4.error: The server cannot be used.
    """

    _log.debug("connecting to the mailbox at %s:%d", host, port)

    # The greeting is read by the constructor, so that the limits belong to the class.
    class Plain(_BoundedImap):
        pass

    class Secure(_BoundedImapTls):
        pass

    for made in (Plain, Secure):
        made.seconds, made.size = seconds, size + MAX_IMAP_REPLY
    if not starttls:
        return Secure(host, port, ssl_context=context, timeout=seconds)
    client = Plain(host, port, timeout=seconds)
    try:
        client.starttls(context)
        # Answers that came in clear are those of anyone on the way. A later command would take them
        # for its own, such as a mail for a FETCH.
        client.untagged_responses.clear()
    except BaseException:
        client.shutdown()
        raise
    return client


class _BoundedSmtp(smtplib.SMTP):
    """An SMTP client whose replies are bounded."""

    sock: socket.socket | None
    file: BoundedReplies | None

    def getreply(self) -> tuple[int, bytes]:
        """Return the next reply, within the time limit of the session."""
        if self.sock is not None and self.file is None:
            # smtplib sets it to None with STARTTLS: what came in clear after it is dropped.
            self.file = BoundedReplies(self.sock, float(self.timeout), MAX_SMTP_REPLY)
        elif self.file is not None:
            self.file.begin()
        return super().getreply()


class _BoundedSmtpTls(_BoundedSmtp, smtplib.SMTP_SSL):
    """The same, with TLS from the start."""


def connect_smtp(
    host: str, port: int, seconds: float, context: BoundedTls, *, starttls: bool
) -> smtplib.SMTP:
    """Connect to a mail server. TLS begins at once, or is left to the caller.

    Args:
        host: The name of the server, which its certificate must have.
        port: Its port.
        seconds: The time for the connection, and for each reply.
        context: The TLS context.
        starttls: Whether TLS begins with a command of the caller.

    Raises:
        OSError, smtplib.SMTPException: The server cannot be used.
    """
    _log.debug("connecting to the mail server %s:%d", host, port)
    if starttls:
        return _BoundedSmtp(host, port, timeout=seconds)
    return _BoundedSmtpTls(host, port, timeout=seconds, context=context)
