"""The syntax of HTTP/1 answers as Chromium reads it: status line, headers, chunks. Pure.

Servers and scripts send answers that RFC 9112 forbids, and browsers show their pages. The rules are
those of Chromium's HttpUtil, HttpResponseHeaders and HttpChunkedDecoder.
tests/certmgr/scan/test_odd_answers.py asks the installed Chromium about each of them. Kept parsers
(h11, llhttp) refuse most of these answers, even in their lenient modes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEADERS = 262_144  # as in Chromium (HttpStreamParser)
MAX_LINE = 16_384  # of a chunk's size with its extensions
_SLOP = 4  # bytes before the status line that browsers ignore, such as an empty line
_SURE = 8  # so many bytes show that there is no status line
# RFC 9112 2.2 allows a recipient to take a bare line feed as the end of a line.
_END = re.compile(rb"\n\r?\n")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_LWS = b" \t"
LARGE_HEADERS = f"headers of more than {MAX_HEADERS // 1024} KB"
NUL_IN_HEADERS = "a NUL byte in its headers"
TWO_LENGTHS = "two different lengths (Content-Length)"
TWO_DISPOSITIONS = "two different Content-Disposition headers"
TWO_LOCATIONS = "two different redirect targets (Location)"
# A browser cannot know which of two different values is right, so it shows an error.
_SINGLE = {
    "content-length": TWO_LENGTHS,
    "content-disposition": TWO_DISPOSITIONS,
    "location": TWO_LOCATIONS,
}


class InvalidAnswerError(Exception):
    """The answer is one for which browsers show an error. The text completes "it answers with"."""


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the headers of an answer.

    Attributes:
        status: The number, as sent. 200 if the status line has none.
        persistent: Whether the version is HTTP/1.1 or later, which can have chunks.
        headers: Names in lower case, values as Latin-1 text.
    """

    status: int
    persistent: bool
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return all values of a header that is a list."""
        return [
            part.strip(" \t")
            for header, value in self.headers
            if header == name
            for part in value.split(",")
        ]


def status_line_at(data: bytes | bytearray) -> int | None:
    """Return where the status line begins.

    Returns None if more bytes are needed, and -1 if the answer has no status line.
    """
    start = bytes(data[: _SLOP + 4]).lower().find(b"http")
    if start >= 0:
        return start
    return -1 if len(data) >= _SURE else None


def head_end(data: bytes | bytearray, start: int) -> int | None:
    """Return where the body begins; None if the headers are not complete.

    Args:
        data: The bytes so far.
        start: Where to search: no empty line ends before it.
    """
    match = _END.search(data, start)
    return match.end() if match else None


def parse_head(raw: bytes) -> Head:
    """Parse a status line and headers, whatever their form.

    Raises:
        InvalidAnswerError: Chromium refuses the answer.
    """
    if b"\0" in raw:
        raise InvalidAnswerError(NUL_IN_HEADERS)
    first, *lines = re.split(rb"[\r\n]+", raw)
    version, _, rest = first.partition(b" ")
    match = re.match(rb"(?i)http/([0-9])\.([0-9])", version)
    number = re.match(rb"[0-9]+", rest.lstrip(b" "))
    persistent = match is not None and (match[1], match[2]) >= (b"1", b"1")
    # Python refuses to convert thousands of digits (ValueError), and a hostile server can send
    # them.
    status = int(number[0][:9]) if number else 200
    head = Head(status, persistent, tuple(_headers(lines)))
    check_single_headers(head)
    return head


def check_single_headers(head: Head) -> None:
    """Check the headers that an answer may have only once.

    Raises:
        InvalidAnswerError: A header has two different values.
    """
    for name, problem in _SINGLE.items():
        # A chunked body needs no length, so the lengths are not compared.
        if name == "content-length" and is_chunked(head):
            continue
        # A list of equal lengths is valid (RFC 9110 8.6). The other two may contain a comma.
        values = (
            head.values(name)
            if name == "content-length"
            else [v for n, v in head.headers if n == name]
        )
        if len(set(values)) > 1:
            raise InvalidAnswerError(problem)


def _headers(lines: list[bytes]) -> list[tuple[str, str]]:
    """Return the headers of these lines. Lines that are not a header are ignored."""
    # A hostile server could fold one value a hundred thousand times: to add each part to the value
    # would copy it each time.
    parts: list[list[bytes]] = []
    continuable = False
    for line in lines:
        if not line:
            continue
        # Obsolete line folding (RFC 9112 5.2): the line continues the value before it.
        if line[:1] in (b" ", b"\t") and continuable:
            parts[-1].append(line.lstrip(_LWS))
            continue
        parts.append([line])
        name, colon, _ = line.partition(b":")
        continuable = bool(colon and name and name[:1] not in (b" ", b"\t"))
    found = []
    for line in (b" ".join(p) for p in parts):
        name, colon, value = line.partition(b":")
        if not colon or not name or name[:1] in (b" ", b"\t"):
            continue
        # RFC 9112 5.1 forbids blanks before the colon. Chromium removes them.
        name = name.rstrip(_LWS)
        if _TOKEN.match(name):
            found.append((name.decode("ascii").lower(), value.strip(_LWS).decode("latin-1")))
    return found


def is_chunked(head: Head) -> bool:
    """Return whether the body comes in chunks.

    HTTP/1.0 has no chunks, even if its headers name them.
    """
    return head.persistent and any(v.lower() == "chunked" for v in head.values("transfer-encoding"))


def body_length(head: Head) -> int | None:
    """Return the number of body bytes; None if the end of the connection ends the body.

    An invalid length is ignored, as browsers do.
    """
    # These have no content, whatever their headers announce (RFC 9110 15.3.5, 15.3.6, 15.4.5).
    if head.status in (204, 205, 304):
        return 0
    value = next(iter(head.values("content-length")), "")
    # Chromium reads a minus and zeros as zero.
    return int(value) if re.fullmatch(r"[0-9]{1,18}|-0{1,18}", value) else None


class ChunkDecoder:
    """Decodes a chunked body (RFC 9112 7.1).

    Attributes:
        ended: Whether the last chunk and the trailers were read.
        problem: Why the framing is not valid; else empty. The data before it is valid.
    """

    def __init__(self) -> None:
        self.ended = False
        self.problem = ""
        self._buffer = bytearray()
        self._left = self._trailer_bytes = 0
        self._after_data = self._trailers = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the chunks so far."""
        pieces: list[bytes] = []
        self._buffer += data
        position = 0
        while position < len(self._buffer) and not self.ended and not self.problem:
            if self._left:
                piece = bytes(self._buffer[position : position + self._left])
                position += len(piece)
                self._left -= len(piece)
                self._after_data = self._left == 0
                pieces.append(piece)
                continue
            end = self._buffer.find(b"\n", position)
            if end < 0:
                if len(self._buffer) - position > MAX_LINE:
                    self.problem = "an endless chunk header"
                break
            if end - position > MAX_LINE:
                self.problem = "an endless chunk header"
                break
            self._line(bytes(self._buffer[position:end]).removesuffix(b"\r"))
            position = end + 1
        del self._buffer[:position]
        return pieces

    def _line(self, line: bytes) -> None:
        if self._after_data:
            if line:
                self.problem = "a chunk that is longer than its announced size"
            self._after_data = False
        elif self._trailers:
            self._trailer_bytes += len(line) + 2
            if self._trailer_bytes > MAX_HEADERS:
                self.problem = "endless trailers"
            self.ended = not line
        else:
            # A recipient ignores extensions that it does not know (RFC 9112 7.1.1).
            size = line.partition(b";")[0].rstrip(b" ")
            # Neither a sign nor 0x. A body of more than 15 hexadecimal digits does not exist.
            if not re.fullmatch(rb"0*[0-9A-Fa-f]{1,15}", size):
                self.problem = "an invalid chunk size"
                return
            self._left = int(size, 16)
            self._trailers = self._left == 0
