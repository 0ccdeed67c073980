"""One HTTP/1.1 exchange over bytes: a GET, and its answer within bounds.

No sockets; h11 reads the protocol (RFC 9112).
"""

from __future__ import annotations

import zlib

import h11

MAX_BODY = 1_048_576  # before and after decompression
MAX_HEADERS = 65_536
MAX_RAW = 4 * MAX_BODY  # of everything, the framing of chunks included
MAX_PIECES = 20_000  # chunks: each costs time, however small
MAX_INTERIM = 8  # 1xx answers before the real one
_GZIP = ("gzip", "x-gzip")


class HttpExchange:
    """:attr:`request` is what to send; hand every byte that comes to :meth:`feed`, and the end of
    the connection to :meth:`end`.

    Afterwards ``status`` and ``headers`` (names in lower case, values as text) stand for the
    answer, ``body`` for at most 1 MB of it after decompression, ``truncated`` says that there was
    more, and ``error`` that it was no HTTP.
    """

    def __init__(
        self, host: str, path: str, headers: tuple[tuple[str, str], ...], max_body: int = MAX_BODY
    ) -> None:
        """``host``: for the Host header, with the port where it is not the usual one.

        ``path``: with its query, percent-encoded.
        """
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS)
        sent = [("Host", host), *headers, ("Connection", "close")]
        request = self._http.send(h11.Request(method="GET", target=path, headers=sent)) or b""
        self.request = request + (self._http.send(h11.EndOfMessage()) or b"")
        self._max = max_body
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
        return bytes(self._body)

    def header(self, name: str) -> str | None:
        """The first value of a header, as RFC 6797 8.1 and browsers take it where there are
        several.
        """
        return next((v for n, v in self.headers if n == name), None)

    def release(self) -> None:
        """Nothing more comes: what only reading needs is given back."""
        del self._http
        self._inflate = None

    def feed(self, data: bytes) -> bool:
        """True when nothing more is wanted: the answer is whole, larger than the bounds, or no
        HTTP.
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
        """The server closed the connection. False where it had not answered at all."""
        if self.status is None and not self.error and not self._raw:
            return False
        try:
            self._http.receive_data(b"")
            self._events()
        except h11.RemoteProtocolError as error:
            self._broken(error)
        return True

    def _broken(self, error: Exception) -> None:
        """A body that ends too soon leaves what was read; anything before that is no answer."""
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
                if self._interim > MAX_INTERIM:
                    self.error = "answers of the kind 1xx without end"
                    return True
            elif isinstance(event, h11.Response):
                self.status = event.status_code
                self.headers = [(n.decode("ascii"), v.decode("latin-1")) for n, v in event.headers]
                self._choose_decoding()
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
            self._inflate = zlib.decompressobj(47)
        elif coding not in ("", "identity"):
            self.error = f"an encoding that was not asked for ({coding[:40]})"

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
        """At most one byte more than there is room for, so that a bomb shows and stays small."""
        assert self._inflate is not None
        room = self._max - len(self._body) + 1
        try:
            return self._inflate.decompress(data, room)
        except zlib.error:
            if self._body or self._inflate.unused_data:
                raise
            # "deflate" without a zlib header, which some servers send.
            self._inflate = zlib.decompressobj(-15)
            return self._inflate.decompress(data, room)
