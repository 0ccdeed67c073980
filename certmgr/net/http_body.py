"""The body of an HTTP answer: decompressed, and bounded before and after that. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

MAX_BODY = 1_048_576  # before and after decompression
MAX_PIECES = 20_000  # chunks or frames: even a small one costs time
# As in Chromium. Servers use one, and proxies perhaps two.
MAX_CODINGS = 10
# An element of Content-Encoding that Chromium accepts. It does not have to be a token.
_CODING = re.compile(r"""[^;="\t ]*""")
# The name and the comment of a file may have any length (RFC 1952 2.3.1).
MAX_GZIP_HEADER = 65_536
_GZIP = frozenset({"gzip", "x-gzip"})
# Browsers decode these too, but offer them over HTTPS only. No request of certmgr offers them.
NOT_OFFERED = frozenset({"br", "zstd"})
# What follows raw deflate is read as the checksum of zlib, which has this number of bytes.
_CHECKSUM = 4


class _Inflater:
    """One gzip or deflate decoder."""

    def __init__(self, coding: str) -> None:
        self._gzip = coding in _GZIP
        # Raw deflate for gzip: zlib's own mode for it refuses a wrong checksum.
        self._inflate = zlib.decompressobj(-15 if self._gzip else 15)
        self._header = b""
        self._any = self._raw = False

    def decode(self, data: bytes, room: int) -> bytes:
        """Decompress data, up to ``room`` bytes.

        Browsers ignore what follows the compressed data, such as the checksum of gzip.

        Raises:
            zlib.error: The data is not valid.
        """
        if self._gzip:
            self._header += data
            end = _gzip_header_end(self._header)
            if end is None:
                return b""
            data, self._header, self._gzip = self._header[end:], b"", False
            self._any = True  # no other format can follow this header
        try:
            result = self._inflate.decompress(data, room)
        except zlib.error:
            # The stream was valid so far, so a missing header is not the cause.
            if self._any:
                raise
            # Some servers send "deflate" without a zlib header.
            self._inflate = zlib.decompressobj(-15)
            self._raw = True
            result = self._inflate.decompress(data, room)
        if self._raw and len(self._inflate.unused_data) >= _CHECKSUM:
            raise zlib.error("a wrong checksum")
        self._any |= bool(result)
        return result


def _gzip_header_end(data: bytes) -> int | None:
    """Return where the compressed data begins (RFC 1952 2.3); None if more bytes are needed.

    Raises:
        zlib.error: The header is not valid.
    """
    if data[:3] != b"\x1f\x8b\x08"[: len(data)] or len(data) > MAX_GZIP_HEADER + 65_536:
        raise zlib.error("not a gzip header")
    if len(data) < 10:
        return None
    flags, position = data[3], 10
    if flags & 4:
        position += 2 + int.from_bytes(data[position : position + 2], "little")
    for flag in (8, 16):  # file name and comment, each with a NUL at its end
        if flags & flag:
            end = data.find(b"\0", position)
            if end < 0:
                return None
            position = end + 1
    position += 2 if flags & 2 else 0
    return position if position <= len(data) else None


def has_invalid_coding(codings: Sequence[str]) -> bool:
    """Return whether browsers show an error because of the form of a Content-Encoding."""
    return not all(_CODING.fullmatch(c) for c in codings)


class BodyReader:
    """Collects a body piece by piece.

    Attributes:
        truncated: Whether the body has more bytes than the limit.
        problem: Why the body cannot be decoded; else empty.
    """

    def __init__(self, codings: Sequence[str], limit: int) -> None:
        """Prepare the decoders.

        Args:
            codings: The values of Content-Encoding, in their order.
            limit: The number of bytes to keep.
        """
        self.truncated = False
        self.problem = ""
        self._limit = limit
        self._pieces = self._encoded = 0
        self._body = bytearray()
        self._decoders: list[_Inflater] = []
        known = [c.lower() for c in codings]
        if any(c in NOT_OFFERED for c in known):
            name = next(c for c in known if c in NOT_OFFERED)
            self.problem = f"an encoding that was not requested ({name})"
        # Browsers show the bytes as they are if one of the names is empty or not a known encoding.
        # Servers send the charset, or "none", in this header.
        elif all(c in _GZIP or c == "deflate" for c in known) and len(known) <= MAX_CODINGS:
            # The header names the codings in the order in which they were applied (RFC 9110 8.4).
            self._decoders = [_Inflater(c) for c in reversed(known)]

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        return bytes(self._body)

    def feed(self, data: bytes) -> bool:
        """Add encoded data. Returns True if no more bytes are needed."""
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            self.truncated = True
            return True
        self._encoded += len(data)
        over = self._encoded > self._limit
        if over:
            data = data[: len(data) - (self._encoded - self._limit)]
        # One byte more than the limit shows a decompression bomb without its memory.
        room = self._limit - len(self._body) + 1
        try:
            for decoder in self._decoders:
                data = decoder.decode(data, room)
        except zlib.error:
            self.problem = "a body that cannot be decompressed"
            return True
        self.truncated = over or len(data) >= room
        self._body += data[: room - 1]
        return self.truncated
