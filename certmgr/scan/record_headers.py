"""What browsers check in the headers of TLS records, and OpenSSL does not. Pure.

Headers are not encrypted, so that this costs almost nothing.

- A record of TLS 1.3 holds at most 16,384 bytes, with its padding (RFC 8446 5.4). OpenSSL accepts
  more padding.
- After the handshake of TLS 1.3, change_cipher_spec is an error (RFC 8446 5). OpenSSL ignores it.
- Once a server of TLS 1.2 has begun a new handshake, Chrome accepts no data before its end. OpenSSL
  reads it.
"""

from __future__ import annotations

# Words of OpenSSL. handshake_reasons.py has our phrases for them.
TOO_LONG = "data length too long"
UNEXPECTED = "unexpected record"

_CHANGE_CIPHER, _HANDSHAKE, _DATA = 20, 22, 23
# The content, one byte for its type, and the tag of the cipher.
_MAX_RECORD_13 = 16_384 + 1 + 16


class RecordHeaders:
    """Reads the headers of the records of a server.

    Attributes:
        established: The TLS version after the handshake, such as 0x0304; 0 before its end.
        problem: Why a browser refuses the next record; else empty.
    """

    __slots__ = ("_expected", "_head", "_left", "established", "problem")

    def __init__(self) -> None:
        self._head, self._left = b"", 0
        self.established, self.problem = 0, ""
        # What a new handshake of TLS 1.2 has to send next: nothing (there is none),
        # change_cipher_spec, or its last message.
        self._expected = 0

    def feed(self, data: bytes) -> bytes:
        """Process received bytes, and return those before a record that browsers refuse."""
        # One loop without further calls for ordinary records: this runs in each handshake.
        data, passed = self._head + data, len(self._head)
        position, size = self._left, len(data)
        while position + 5 <= size:
            kind, length = data[position], data[position + 3] << 8 | data[position + 4]
            if kind != _DATA or length > _MAX_RECORD_13 or self._expected:
                self.problem = self._problem(kind, length)
                if self.problem:
                    return data[passed:position]
            position += 5 + length
        self._head = data[position:]
        self._left = max(0, position - size)
        return data[passed:] if passed else data

    def _problem(self, kind: int, length: int) -> str:
        # Before the end of a handshake, only TLS 1.3 has records of this type.
        if kind == _DATA and length > _MAX_RECORD_13 and self.established in (0, 0x0304):
            return TOO_LONG
        if self.established == 0x0304:
            return UNEXPECTED if kind == _CHANGE_CIPHER else ""
        if not self.established:
            return ""
        if kind == _DATA:
            return UNEXPECTED if self._expected else ""
        if kind == _HANDSHAKE and not self._expected:
            self._expected = _CHANGE_CIPHER
        elif kind == self._expected:
            self._expected = _HANDSHAKE if kind == _CHANGE_CIPHER else 0
        return ""
