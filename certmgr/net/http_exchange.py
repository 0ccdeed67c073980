"""One HTTP exchange over bytes: a GET request, and its answer within bounds.

No sockets. The answer is read as a browser reads it (:mod:`certmgr.net.http1`).
"""

from __future__ import annotations

from typing import Protocol

from certmgr.net.http1 import (
    LARGE_HEADERS,
    MAX_HEADERS,
    NUL_IN_HEADERS,
    ChunkDecoder,
    Head,
    InvalidAnswerError,
    body_length,
    head_end,
    is_chunked,
    parse_head,
    status_line_at,
)
from certmgr.net.http_body import MAX_BODY, NOT_OFFERED, BodyReader, has_invalid_coding

MAX_RAW = 4 * MAX_BODY  # of all bytes, including the framing of chunks
MAX_INTERIM = 64  # 1xx answers before the real one
NOT_HTTP = "something that is not HTTP"
NOT_OFFERED_ENCODING = "an encoding that browsers do not offer without TLS (br or zstd)"
INVALID_ENCODING = "a Content-Encoding that is not a list of names"
TRUNCATED_HEADERS = "headers that end too early"
INTERIM_ONLY = "a status below 200, and nothing after it"
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Exchange(Protocol):
    """An exchange in any version of HTTP. A dialler carries its bytes.

    Attributes:
        request: The first bytes to send.
        status: The status code; None until the answer begins.
        headers: Names in lower case, values as text.
        truncated: The body exceeds the bounds.
        incomplete: The connection ended before the end of the body.
        invalid: Why a browser shows an error instead of the answer; else empty.
        error: Why the answer cannot be read, although a browser may; else empty.
    """

    request: bytes
    status: int | None
    headers: list[tuple[str, str]]
    truncated: bool
    incomplete: bool
    invalid: str
    error: str

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        ...

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        ...

    def feed(self, data: bytes) -> bool:
        """Process received bytes. Returns True if no more bytes are needed."""
        ...

    def outgoing(self) -> bytes:
        """Return further bytes to send; empty if there are none."""
        ...

    def end(self) -> bool:
        """Process the end of the connection. Returns False if there was no answer at all."""
        ...

    def release(self) -> None:
        """Free what only reading needs. No more bytes may be fed."""
        ...


class HttpExchange:
    """An HTTP/1.1 exchange without a connection (:class:`Exchange`)."""

    def __init__(
        self,
        host: str,
        path: str,
        headers: tuple[tuple[str, str], ...],
        max_body: int = MAX_BODY,
        *,
        secure: bool = False,
        usual_port: bool = False,
    ) -> None:
        """Prepare the request.

        Args:
            host: The Host header, with the port if it is not the default one.
            path: The path with its query, percent-encoded.
            max_body: The number of body bytes to keep; 0 reads only the headers.
            secure: Whether TLS protects the exchange.
            usual_port: Whether the port is that of http://. Without a status line, browsers show
                what comes from that port as the page (HTTP/0.9).
        """
        # One request per connection, so that the end of the connection ends the answer.
        sent = [("Host", host), *headers, ("Connection", "close")]
        lines = [f"GET {path} HTTP/1.1", *[f"{name}: {value}" for name, value in sent]]
        self.request = "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")
        self._max, self._secure, self._usual_port = max_body, secure, usual_port
        # Framing may cost more than the body, but it is bounded too.
        self._max_raw = MAX_RAW if max_body <= MAX_BODY else max_body + MAX_RAW
        self._raw = self._interim = 0
        self._buffer = bytearray()
        self._start: int | None = None
        self._searched = 0
        self._chunks: ChunkDecoder | None = None
        self._left: int | None = None
        self._reader: BodyReader | None = None
        self._kept = b""
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.truncated = self.incomplete = False
        self.invalid = self.error = ""

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        return self._reader.body if self._reader is not None else self._kept

    def header(self, name: str) -> str | None:
        """Return the first value of a header.

        RFC 6797 8.1 and browsers also use the first of several values.
        """
        return next((v for n, v in self.headers if n == name), None)

    def outgoing(self) -> bytes:
        """Return nothing: the request is complete."""
        return b""

    def release(self) -> None:
        """Free what only reading needs. No more bytes may be fed."""
        self._kept, self._reader = self.body, None
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bool:
        """Process received bytes.

        Returns True if no more bytes are needed: the answer is complete, exceeds the bounds, or is
        not HTTP.
        """
        self._raw += len(data)
        if self._raw > self._max_raw:
            self.truncated = True
            return True
        if self.status is not None:
            return self._body(data)
        self._buffer += data
        return self._head(ended=False)

    def end(self) -> bool:
        """Process the end of the connection.

        Returns False if the server had not answered at all.
        """
        # No byte arrived, so the caller reports a closed connection instead of an HTTP error.
        if not self._raw:
            return False
        if self.status is None and not self.invalid and not self.error:
            self._head(ended=True)
        elif self._chunks is not None:
            self.incomplete = not self._chunks.ended
        elif self._left is not None:
            self.incomplete = self._left > 0
        return True

    def _head(self, *, ended: bool) -> bool:
        """Read the headers, and after interim answers those of the real answer."""
        while True:
            if self._start is None:
                self._start = status_line_at(self._buffer)
            if self._start is None and not ended:
                return False
            if self._start is None and self._secure:
                # Too few bytes to know whether it is HTTP.
                after_interim = self._interim and not self._buffer
                self.invalid = INTERIM_ONLY if after_interim else TRUNCATED_HEADERS
                return True
            if self._start is None or self._start < 0:
                return self._without_status()
            end = head_end(self._buffer, max(self._start, self._searched))
            # An empty line may have begun with the last bytes. Bytes are not searched again, since
            # a hostile server could send them one by one.
            self._searched = max(0, len(self._buffer) - 2)
            if end is None and len(self._buffer) - self._start > MAX_HEADERS:
                self.invalid = LARGE_HEADERS
                return True
            if end is None and not ended:
                return False
            if end is None and self._secure:
                # Over TLS, browsers do not accept headers that were cut off.
                self.invalid = TRUNCATED_HEADERS
                return True
            end = len(self._buffer) if end is None else end
            try:
                if 0 in self._buffer[: self._start]:
                    raise InvalidAnswerError(NUL_IN_HEADERS)
                head = parse_head(bytes(self._buffer[self._start : end]))
            except InvalidAnswerError as error:
                self.invalid = str(error)
                return True
            rest = bytes(self._buffer[end:])
            self._buffer = bytearray()
            if head.status // 100 != 1:
                return self._begin(head, rest)
            self._interim += 1
            # A hostile server could send interim answers without end.
            if self._interim > MAX_INTERIM:
                self.error = "too many 1xx answers"
                return True
            self._buffer, self._start, self._searched = bytearray(rest), None, 0
            if not rest:
                return False

    def _without_status(self) -> bool:
        """Read an answer without a status line, as Chromium reads it."""
        data = bytes(self._buffer)
        radio = data[:3].lower() == b"icy"  # Shoutcast, which browsers accept on any port
        if self._secure or self._interim or not (self._usual_port or radio):
            self.invalid = NOT_HTTP
            return True
        return self._begin(Head(200, False, ()), data)

    def _begin(self, head: Head, rest: bytes) -> bool:
        self.status, self.headers = head.status, list(head.headers)
        codings = head.values("content-encoding")
        # A browser offers these encodings over HTTPS only, and refuses others than it offered.
        redirects = head.status in REDIRECTS
        if not self._secure and not redirects and any(c.lower() in NOT_OFFERED for c in codings):
            self.invalid = NOT_OFFERED_ENCODING
            return True
        if not redirects and has_invalid_coding(codings):
            self.invalid = INVALID_ENCODING
            return True
        self._reader = BodyReader(codings, self._max)
        self.error = self._reader.problem
        self._left = body_length(head)
        if is_chunked(head):
            self._chunks, self._left = ChunkDecoder(), None
        # Only the headers are needed, or there is no body, or it cannot be decoded.
        if self.error or self._max == 0 or self._left == 0:
            return True
        return self._body(rest) if rest else False

    def _body(self, data: bytes) -> bool:
        assert self._reader is not None
        if self._chunks is not None:
            pieces = self._chunks.feed(data)
        else:
            data = data if self._left is None else data[: self._left]
            self._left = None if self._left is None else self._left - len(data)
            pieces = [data]
        for piece in pieces:
            if self._reader.feed(piece):
                self.truncated, self.error = self._reader.truncated, self._reader.problem
                return True
        # Browsers show what came before the fault, so the page is incomplete and not an error.
        if self._chunks is not None and self._chunks.problem:
            self.incomplete = True
            return True
        return self._chunks.ended if self._chunks is not None else self._left == 0
