"""One HTTP/2 exchange over bytes, for servers that speak no HTTP/1. No sockets.

h2 implements the protocol (RFC 9113) and limits its header blocks.
"""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from certmgr.net.http1 import MAX_HEADERS, Head, InvalidAnswerError, check_single_headers
from certmgr.net.http_body import MAX_BODY, MAX_PIECES, BodyReader
from certmgr.net.http_exchange import MAX_INTERIM, MAX_RAW

_STREAM = 1
_WINDOW = 4 * MAX_BODY  # more than is read, so that the server never waits for a window update


class Http2Exchange:
    """An HTTP/2 exchange without a connection (:class:`certmgr.net.http_exchange.Exchange`)."""

    def __init__(
        self, host: str, path: str, headers: tuple[tuple[str, str], ...], max_body: int = MAX_BODY
    ) -> None:
        """Prepare the request.

        Args:
            host: The authority, with the port if it is not the default one.
            path: The path with its query, percent-encoded.
            max_body: The number of body bytes to keep; 0 reads only the headers.
        """
        self._http = H2Connection(
            H2Configuration(
                client_side=True, header_encoding="latin-1", validate_inbound_headers=False
            )
        )
        self._http.initiate_connection()
        self._http.update_settings(
            {
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
            }
        )
        self._http.increment_flow_control_window(_WINDOW)
        pseudo = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
        ]
        self._http.send_headers(
            _STREAM, [*pseudo, *[(n.lower(), v) for n, v in headers]], end_stream=True
        )
        self.request = self._http.data_to_send()
        self._max = max_body
        self._raw = self._events = self._interim = 0
        self._reader: BodyReader | None = None
        self._kept = b""
        self._ended = False
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.truncated = self.incomplete = False
        self.invalid = self.error = ""

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        return self._reader.body if self._reader is not None else self._kept

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((v for n, v in self.headers if n == name), None)

    def outgoing(self) -> bytes:
        """Return acknowledgements that the server waits for."""
        return self._http.data_to_send()

    def release(self) -> None:
        """Free what only reading needs. No more bytes may be fed."""
        self._kept, self._reader = self.body, None
        del self._http

    def feed(self, data: bytes) -> bool:
        """Process received bytes. Returns True if no more bytes are needed."""
        self._raw += len(data)
        if self._raw > MAX_RAW:
            self.truncated = True
            return True
        try:
            events = self._http.receive_data(data)
        except (H2Error, ValueError, UnicodeError):
            self._broken()
            return True
        self._events += len(events)
        for event in events:
            if self._event(event):
                return True
        # A hostile server could send small frames without end: each costs time.
        if self._events > MAX_PIECES:
            self._broken()
            return True
        return False

    def end(self) -> bool:
        """Process the end of the connection. Returns False if there was no answer at all."""
        if not self._raw:
            return False
        if not self._ended:
            self._broken()
        return True

    def _broken(self) -> None:
        """Record a protocol error. The body that was read before stays valid."""
        if self.status is None:
            self.error = "HTTP/2 frames that cannot be read"
        else:
            self.incomplete = True

    def _event(self, event: Event) -> bool:
        if isinstance(event, InformationalResponseReceived):
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.error = "too many 1xx answers"
                return True
        elif isinstance(event, ResponseReceived):
            return self._begin([(str(n), str(v)) for n, v in event.headers or ()])
        elif isinstance(event, DataReceived) and self._reader is not None:
            if self._reader.feed(event.data or b""):
                self.truncated, self.error = self._reader.truncated, self._reader.problem
                return True
        elif isinstance(event, StreamEnded):
            self._ended = True
            return True
        elif isinstance(event, StreamReset | ConnectionTerminated):
            self._broken()
            return True
        return False

    def _begin(self, headers: list[tuple[str, str]]) -> bool:
        status = next((v for n, v in headers if n == ":status"), "")
        if not (status.isascii() and status.isdigit() and len(status) == 3):
            self.error = "HTTP/2 headers without a status"
            return True
        self.status = int(status)
        self.headers = [(n.lower(), v.strip()) for n, v in headers if not n.startswith(":")]
        head = Head(self.status, False, tuple(self.headers))
        try:
            check_single_headers(head)
        except InvalidAnswerError as error:
            self.invalid = str(error)
            return True
        self._reader = BodyReader(head.values("content-encoding"), self._max)
        self.error = self._reader.problem
        return bool(self.error) or self._max == 0
