"""One HTTP/2 exchange over bytes, for servers that speak no HTTP/1. No sockets.

h2 implements the protocol (RFC 9113) and limits its header blocks.
"""

from __future__ import annotations

import re

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import (
    FrameDataMissingError,
    FrameTooLargeError,
    H2Error,
    InvalidBodyLengthError,
)
from h2.settings import SettingCodes

from certmgr.net.http1 import MAX_HEADERS, Head, InvalidAnswerError, check_single_headers
from certmgr.net.http_body import MAX_BODY, MAX_PIECES, BodyReader
from certmgr.net.http_exchange import MAX_INTERIM, MAX_RAW

# The first stream of a client (RFC 9113 5.1.1).
_STREAM = 1
_STATUS = re.compile("[0-9]{3}")
_NOT_IN_VALUES = frozenset("\0\r\n")
_REFUSED = frozenset({ErrorCodes.REFUSED_STREAM, ErrorCodes.NO_ERROR})
# Message ids: notifiers/wording/values.py lists them, certmgr/checks/broken_pages.py the errors.
HTTP2_PROTOCOL = "HTTP/2 frames or headers that break the protocol"
HTTP2_FRAME_SIZE = "an HTTP/2 frame with a wrong size"
HTTP2_COMPRESSION = "HTTP/2 headers that cannot be decompressed"
HTTP2_REFUSED = "a refusal of the request (HTTP/2)"
# Bytes of frames without a part of the body: settings, headers, and what h2 ignores silently.
MAX_FRAMING = 2 * MAX_HEADERS
_WINDOW = 4 * MAX_BODY  # more than is read, so that the server never waits for a window update


def _valid(headers: list[tuple[str, str]]) -> bool:
    """Return whether Chromium reads these headers of an answer (RFC 9113 8.2 and 8.3)."""
    regular = False
    for name, value in headers:
        if name.startswith(":"):
            # Pseudo-headers come first, and an answer has only one.
            if regular or name != ":status":
                return False
        else:
            regular = True
        if name != name.lower() or name == "transfer-encoding" or set(value) & _NOT_IN_VALUES:
            return False
    return True


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
        # h2 checks headers by the letter of RFC 9113; _valid() refuses only what Chromium refuses.
        # Latin-1 decodes any byte, so that no value raises an error.
        self._http = H2Connection(
            H2Configuration(
                client_side=True, header_encoding="latin-1", validate_inbound_headers=False
            )
        )
        self._http.initiate_connection()
        self._http.update_settings(
            {
                # Chrome accepts no pushed streams since version 106, and they would cost memory.
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
            }
        )
        # The setting is that of streams. The connection has a separate window (RFC 9113 6.9.2).
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
        self._raw = self._content = self._events = self._interim = 0
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
        except InvalidBodyLengthError:
            # Browsers show such a page. h2 discards what it has read of it.
            self._broken()
            return True
        except (FrameTooLargeError, FrameDataMissingError):
            self._broken(HTTP2_FRAME_SIZE)
            return True
        except (H2Error, ValueError, UnicodeError) as error:
            # hpack has an error for header blocks, which h2 passes on as its cause.
            compressed = type(error.__cause__).__module__.startswith("hpack")
            self._broken(HTTP2_COMPRESSION if compressed else HTTP2_PROTOCOL)
            return True
        self._events += len(events)
        for event in events:
            if self._event(event):
                return True
        # A hostile server could send small frames without end: each costs time.
        if self._events > MAX_PIECES or self._raw - self._content > MAX_FRAMING:
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

    def _broken(self, why: str = "") -> None:
        """Record an error. The body that was read before stays valid.

        Args:
            why: What a browser shows an error page for; empty if the connection only ended.
        """
        if self.status is not None:
            self.incomplete = True
        elif why:
            self.invalid = why
        else:
            self.error = "HTTP/2 frames that cannot be read"

    def _event(self, event: Event) -> bool:
        if isinstance(event, InformationalResponseReceived):
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.error = "too many 1xx answers"
                return True
        elif isinstance(event, ResponseReceived):
            return self._begin([(str(n), str(v)) for n, v in event.headers or ()])
        elif isinstance(event, DataReceived) and self._reader is not None:
            self._content += len(event.data or b"")
            if self._reader.feed(event.data or b""):
                self.truncated, self.error = self._reader.truncated, self._reader.problem
                return True
        elif isinstance(event, StreamEnded):
            self._ended = True
            return True
        elif isinstance(event, StreamReset | ConnectionTerminated):
            refused = event.error_code in _REFUSED
            # With this code, browsers ask again with HTTP/1.1.
            again = event.error_code == ErrorCodes.HTTP_1_1_REQUIRED
            self._broken("" if again else HTTP2_REFUSED if refused else HTTP2_PROTOCOL)
            return True
        return False

    def _begin(self, headers: list[tuple[str, str]]) -> bool:
        status = next((v for n, v in headers if n == ":status"), "")
        if not _STATUS.fullmatch(status) or not _valid(headers):
            self.invalid = HTTP2_PROTOCOL
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
