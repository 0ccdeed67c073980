"""What browsers check in the first messages of a server, and OpenSSL does not. Pure.

- An extension that was not offered ends the handshake (RFC 8446 4.2). OpenSSL ignores those that it
  does not know. Later messages of TLS 1.3 are encrypted, so only the ServerHello is read here.
- A version that was not offered is a separate error in Chromium. OpenSSL reports it like any other.
- A server of TLS 1.2 that returns the session id of a new session answers as if it knew it.
- The warning no_renegotiation has no meaning before a ServerHello. OpenSSL takes it for an error.
"""

from __future__ import annotations

# Words of OpenSSL, as far as it has some. handshake_reasons.py has our phrases for them.
UNSOLICITED = "unsolicited extension"
OTHER_VERSION = "unsupported protocol"
ECHOED_SESSION = "server echoed invalid session id"

UNEXPECTED = "unexpected message"

_ALERT, _HANDSHAKE, _CHANGE_CIPHER = 21, 22, 20
_HELLO_REQUEST, _SERVER_HELLO = 0, 2
_NO_RENEGOTIATION = bytes([1, 100])
# RFC 8446 4.1.3: this random value makes a ServerHello a HelloRetryRequest.
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_POINT_FORMATS, _EXTENDED_MASTER_SECRET, _SUPPORTED_VERSIONS = 11, 23, 43
_UNCOMPRESSED = 0  # the point format that all support (RFC 8422 5.1.2)
_VERSIONS = frozenset({b"\x03\x03", b"\x03\x04"})
# Extensions that OpenSSL knows, and refuses itself if they were not offered.
_KNOWN = frozenset(
    {0, 1, 5, 10, 11, 12, 13, 14, 16, 18, 19, 20, 21, 22, 23, 27, 35, 41, 42, 43, 44, 45, 47, 49}
    | {50, 51, 13172, 0xFE0D, 0xFF01}
)
# A ServerHello has about 120 bytes, or 1,200 with a post-quantum key share. OpenSSL alone judges a
# longer one.
_MAX_MESSAGE = 8_192
_MAX_RECORD = 16_384 + 2_048


class ServerHelloReader:
    """Reads the records of a server up to the end of its ServerHello.

    Attributes:
        session: The session id of the ClientHello.
        done: Whether the next records are of no interest.
        problem: Why a browser refuses the ServerHello; else empty.
    """

    __slots__ = ("_data", "_message", "done", "problem", "session")

    def __init__(self) -> None:
        self._data = self._message = self.session = b""
        self.done, self.problem = False, ""

    def feed(self, data: bytes) -> bytes:
        """Process received bytes, and return those that OpenSSL is to read."""
        if self.done:
            return data
        self._data += data
        passed = b""
        while not self.done and len(self._data) >= 5:
            kind, size = self._data[0], int.from_bytes(self._data[3:5], "big")
            if kind not in (_ALERT, _HANDSHAKE, _CHANGE_CIPHER) or size > _MAX_RECORD:
                self.done = True
                break
            if len(self._data) < 5 + size:
                return passed
            record, self._data = self._data[: 5 + size], self._data[5 + size :]
            if kind == _ALERT and record[5:] == _NO_RENEGOTIATION:
                continue
            passed += record
            if kind == _HANDSHAKE:
                self._add(record[5:])
        if self.done:
            passed, self._data = passed + self._data, b""
        return passed

    def _add(self, content: bytes) -> None:
        """Add the content of a record to the message, and judge a complete one."""
        self._message += content
        if len(self._message) < 4:
            return
        size = 4 + int.from_bytes(self._message[1:4], "big")
        if self._message[0] != _SERVER_HELLO or size > _MAX_MESSAGE:
            self.problem = UNEXPECTED if self._message[0] == _HELLO_REQUEST else ""
            self.done = True
        elif len(self._message) >= size:
            body = self._message[4:size]
            self.problem = hello_problem(body, self.session)
            self._message = b""
            # After a HelloRetryRequest, another ServerHello follows.
            self.done = bool(self.problem) or body[2:34] != _RETRY


def hello_problem(body: bytes, session: bytes) -> str:
    """Return why a browser refuses a ServerHello although OpenSSL may not; else an empty text.

    Args:
        body: The message without its type and length (RFC 8446 4.1.3).
        session: The session id of the ClientHello.
    """
    if len(body) < 35:
        return ""
    # One loop without further objects: this runs in each handshake.
    position = 35 + body[34] + 3  # the session id, whose length varies; the suite; the compression
    end = min(len(body), position + 2 + int.from_bytes(body[position : position + 2], "big"))
    position += 2
    version, unsolicited = b"", False
    while position + 4 <= end:
        kind = body[position] << 8 | body[position + 1]
        content = position + 4
        position = content + (body[position + 2] << 8 | body[position + 3])
        if kind == _SUPPORTED_VERSIONS:
            version = body[content:position]
        # OpenSSL ignores what these two contain.
        elif kind == _EXTENDED_MASTER_SECRET:
            unsolicited |= position > content
        elif kind == _POINT_FORMATS:
            unsolicited |= _UNCOMPRESSED not in body[content + 1 : position]
        elif kind not in _KNOWN:
            unsolicited = True
    if len(version) == 2 and version not in _VERSIONS:
        return OTHER_VERSION
    if not version and session and body[35 : 35 + body[34]] == session:
        return ECHOED_SESSION
    return UNSOLICITED if unsolicited else ""
