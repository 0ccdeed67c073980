"""What the protocols share: their record, the client, the two ways to fail, and a reader with
limits.

A dialogue is a generator. It yields the bytes to send (or b"" to wait), and receives the bytes that
arrived. When TLS may begin it returns the bytes that precede the ClientHello, usually none. Bytes
of the server after its last reply are dropped, because they were sent without TLS.

The server is hostile: a reply has at most :data:`MAX_REPLY` bytes, and a dialogue at most
:data:`MAX_LINES` lines and :data:`MAX_DIALOGUE` bytes. The dialler limits its time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

from inventory.text import printable

# A greeting and the list of capabilities usually have less than 2 KB together. Some servers send
# banners of many lines.
MAX_REPLY = 16_384
MAX_LINES = 200
MAX_DIALOGUE = 65_536
TOO_LARGE = "a reply exceeds the size limit"
NOT_OFFERED = "the server does not offer STARTTLS"
SPEAKS_TLS = "the server speaks TLS from the first byte there; the protocol of the target is tls"
_ALERT = b"\x15\x03"  # the beginning of a TLS record with an alert
Dialogue = Generator[bytes, bytes, bytes]


class DialogueFailed(Exception):
    """TLS does not begin. The message is printable and may contain the reply of the server."""


class StartTlsRefused(DialogueFailed):
    """The server does not offer TLS, refuses to start it, or speaks another protocol."""


class StartTlsUndetermined(DialogueFailed):
    """The server refused this client before TLS could be requested.

    It may offer TLS to other clients: it is overloaded, it blocks our address, or it does not
    accept the name of this machine.
    """


class ServerClosed(Exception):
    """The server closed the connection. The dialler throws it into a dialogue, which may explain
    it with a :class:`DialogueFailed`.
    """


@dataclass(frozen=True, slots=True)
class DialogueClient:
    """How the client introduces itself.

    Attributes:
        host: The name of the endpoint, in A-labels, or its address.
        ehlo_name: The name of this machine for EHLO and LHLO: a full name, or an address literal
            such as ``[192.0.2.1]`` (RFC 5321 4.1.3).
    """

    host: str = "localhost"
    ehlo_name: str = "[127.0.0.1]"


# For callers that drive a dialogue without a connection.
LOCAL_CLIENT = DialogueClient()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTlsProtocol:
    """A protocol that starts TLS after a dialogue.

    Attributes:
        name: The name in a target, as in ``mail.example.com/smtp``.
        ports: Its ports; a target without a port gets the first one.
        dialogue: The dialogue before TLS.
        start: How TLS begins, with its source, for docs/targets.md.
        other_names: Other names of the protocol, with the port that each implies.
        tls_names: Names of the same service with TLS from the first byte, with their ports.
        tls_ports: Further ports of the service with TLS from the first byte: port -> what it is.
    """

    name: str
    ports: tuple[int, ...]
    dialogue: Callable[[DialogueClient], Dialogue]
    start: str
    other_names: Mapping[str, int] = field(default_factory=dict)
    tls_names: Mapping[str, int] = field(default_factory=dict)
    tls_ports: Mapping[int, str] = field(default_factory=dict)


def server_reply(reply: bytes) -> str:
    """Return the reason of a failure that consists of the server's reply."""
    return "the server replied: " + printable(reply.decode("utf-8", "replace"), 120)


class DialogueReader:
    """Reads what the server sends, and collects what to send, within the limits."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._unsent = b""
        self._received = 0
        self._lines = 0

    def send(self, data: bytes) -> None:
        """Send data before the next read."""
        self._unsent += data

    def _fill(self) -> Generator[bytes, bytes, None]:
        """Send what is waiting, and read what arrives next.

        Raises:
            StartTlsRefused: The server sent too many bytes, or speaks TLS already.
        """
        unsent, self._unsent = self._unsent, b""
        data = yield unsent
        # It took the first command for a ClientHello, as the ports of ldaps and xmpps do.
        if not self._received and data.startswith(_ALERT):
            raise StartTlsRefused(SPEAKS_TLS)
        self._received += len(data)
        self._buffer += data
        if self._received > MAX_DIALOGUE:
            raise StartTlsRefused(TOO_LARGE)

    def line(self) -> Generator[bytes, bytes, bytes]:
        """Read the next line, and return it without its line end.

        Raises:
            StartTlsRefused: The line is too long, or there were too many.
        """
        # Something to send always precedes the reply to it.
        if self._unsent:
            yield from self._fill()
        # Bytes are not searched again, since a hostile server could send a long line byte by byte.
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_REPLY:
                raise StartTlsRefused(TOO_LARGE)
            yield from self._fill()
        self._lines += 1
        if end > MAX_REPLY or self._lines > MAX_LINES:
            raise StartTlsRefused(TOO_LARGE)
        # Some servers end lines with LF CR.
        line = bytes(self._buffer[:end]).strip(b"\r")
        del self._buffer[: end + 1]
        return line

    def exactly(self, size: int) -> Generator[bytes, bytes, bytes]:
        """Read a number of bytes.

        Raises:
            StartTlsRefused: The number is above the limit of a reply.
        """
        if size > MAX_REPLY:
            raise StartTlsRefused(TOO_LARGE)
        if self._unsent:
            yield from self._fill()
        while len(self._buffer) < size:
            yield from self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def has_more(self) -> bool:
        """Return whether bytes have arrived that were not read."""
        return bool(self._buffer)

    def chunk(self) -> Generator[bytes, bytes, bytes]:
        """Read what has arrived: at least one byte, at most :data:`MAX_DIALOGUE`."""
        if self._unsent or not self._buffer:
            yield from self._fill()
        while not self._buffer:
            yield from self._fill()
        data = bytes(self._buffer)
        self._buffer.clear()
        return data
