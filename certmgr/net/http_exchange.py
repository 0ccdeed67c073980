"""One HTTP/1.1 exchange over bytes: a GET request, and its answer within bounds.

No sockets. h11 implements the protocol (RFC 9112).
"""

from __future__ import annotations

import zlib

import h11

MAX_BODY = 1_048_576  # before and after decompression
MAX_HEADERS = 65_536
MAX_RAW = 4 * MAX_BODY  # of all bytes, including the framing of chunks
MAX_PIECES = 20_000  # chunks: even a small one costs time
MAX_INTERIM = 8  # 1xx answers before the real one
_GZIP = ("gzip", "x-gzip")


class HttpExchange:
    """An HTTP exchange without a connection.

    Send :attr:`request`, pass all received bytes to :meth:`feed`, and report the end of the
    connection with :meth:`end`.

    Attributes:
        status: The status code; None until the answer begins.
        headers: Names in lower case, values as text.
        body: At most the allowed number of bytes, after decompression.
        truncated: The body is incomplete.
        error: Why the answer is not valid HTTP; else empty.
    """

    def __init__(
        self, host: str, path: str, headers: tuple[tuple[str, str], ...], max_body: int = MAX_BODY
    ) -> None:
        """Prepare the request.

        Args:
            host: The Host header, with the port if it is not the default one.
            path: The path with its query, percent-encoded.
            max_body: The number of body bytes to keep; 0 reads only the headers.
        """
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
        # One request per connection, so that the end of the connection ends the answer.
        sent = [("Host", host), *headers, ("Connection", "close")]
        request = self._http.send(h11.Request(method="GET", target=path, headers=sent)) or b""
        self.request = request + (self._http.send(h11.EndOfMessage()) or b"")
        self._max = max_body
        # Framing may cost more than the body, but it is bounded too.
        self._max_raw = MAX_RAW if max_body <= MAX_BODY else max_body + MAX_RAW
        self._raw = self._encoded = self._interim = self._pieces = 0
        self._inflate: zlib._Decompress | None = None
        self._body = bytearray()
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.truncated = False
        self.error = ""

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        return bytes(self._body)

    def header(self, name: str) -> str | None:
        """Return the first value of a header.

        RFC 6797 8.1 and browsers also use the first of several values.
        """
        return next((v for n, v in self.headers if n == name), None)

    def release(self) -> None:
        """Free what only reading needs. No more bytes may be fed."""
        del self._http
        self._inflate = None

    def feed(self, data: bytes) -> bool:
        """Process received bytes.

        Returns True if no more bytes are needed: the answer is complete, exceeds the bounds, or is
        not HTTP.
        """
        self._raw += len(data)
        if self._raw > self._max_raw:
            self.truncated = True
            return True
        try:
            self._http.receive_data(data)
            return self._events()
        except h11.RemoteProtocolError as error:
            self._broken(error)
            return True

    def end(self) -> bool:
        """Process the end of the connection.

        Returns False if the server had not answered at all.
        """
        # No byte arrived, so the caller reports a closed connection instead of an HTTP error.
        if self.status is None and not self.error and not self._raw:
            return False
        try:
            self._http.receive_data(b"")
            self._events()
        except h11.RemoteProtocolError as error:
            self._broken(error)
        return True

    def _broken(self, error: Exception) -> None:
        """Record a protocol error.

        If the headers were read, the body read so far stays valid; else there is no answer.
        """
        if self.status is None:
            self.error = f"not an HTTP answer: {error}"[:200]
        else:
            self.truncated = True

    def _events(self) -> bool:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return False
            if isinstance(event, h11.InformationalResponse):
                self._interim += 1
                # A hostile server could send interim answers without end.
                if self._interim > MAX_INTERIM:
                    self.error = "too many 1xx answers"
                    return True
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                self.headers = [(n.decode("ascii"), v.decode("latin-1")) for n, v in event.headers]
                self._choose_decoding()
                # Only the headers are needed, or the body cannot be decoded.
                if self.error or self._max == 0:
                    return True
            elif isinstance(event, h11.Data):
                if self._data(bytes(event.data)):
                    return True
            else:  # EndOfMessage, ConnectionClosed
                return True

    def _choose_decoding(self) -> None:
        coding = (self.header("content-encoding") or "").strip().lower()
        if coding in _GZIP or coding == "deflate":
            # 47: zlib or gzip, detected by the header of the data.
            self._inflate = zlib.decompressobj(47)
        # Only gzip is requested. A body in another encoding cannot be read.
        elif coding not in ("", "identity"):
            self.error = f"an encoding that was not requested ({coding[:40]})"

    def _data(self, data: bytes) -> bool:
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            self.truncated = True
            return True
        self._encoded += len(data)
        over = self._encoded > self._max
        if over:
            data = data[: len(data) - (self._encoded - self._max)]
        if self._inflate is not None:
            try:
                data = self._decompressed(data)
            except zlib.error:
                self.error = "a body that cannot be decompressed"
                return True
        room = self._max - len(self._body)
        self._body += data[:room]
        self.truncated = over or len(data) > room
        return self.truncated

    def _decompressed(self, data: bytes) -> bytes:
        """Decompress data, up to one byte more than the limit allows.

        A decompression bomb is thus detected without its memory.
        """
        assert self._inflate is not None
        room = self._max - len(self._body) + 1
        try:
            return self._inflate.decompress(data, room)
        except zlib.error:
            # The stream was valid so far, so a missing header is not the cause.
            if self._body or self._inflate.unused_data:
                raise
            # Some servers send "deflate" without a zlib header.
            self._inflate = zlib.decompressobj(-15)
            return self._inflate.decompress(data, room)
