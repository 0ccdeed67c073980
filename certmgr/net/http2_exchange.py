"""One HTTP/2 exchange over bytes, as Chromium reads its answers. No sockets.

http2_frames.py reads the frames, and hpack decompresses the headers (RFC 7541).
"""

from __future__ import annotations

import re
from dataclasses import replace

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from certmgr.net.http1 import MAX_HEADERS, Head, InvalidAnswerError, check_single_headers
from certmgr.net.http2_frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HTTP2_COMPRESSION,
    HTTP2_FLOW_CONTROL,
    HTTP2_PROTOCOL,
    HTTP2_REFUSED,
    MAX_WINDOW,
    Frame,
    FrameKind,
    FrameReader,
    Http2Error,
    frame,
    window_of_settings,
)
from certmgr.net.http_body import MAX_BODY, MAX_PIECES, BodyReader, has_invalid_coding
from certmgr.net.http_exchange import INVALID_ENCODING, MAX_INTERIM, MAX_RAW, REDIRECTS

_STREAM = 1  # the first stream of a client (RFC 9113 5.1.1)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# As Chrome sends them: HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE.
# The windows exceed what is read, so that the server never waits for an update.
_TABLE_SIZE = 65_536
_SETTINGS = ((1, _TABLE_SIZE), (2, 0), (4, 6_291_456), (6, MAX_HEADERS))
_MORE_WINDOW = 15_663_105
# base::StringToInt of Chromium
_STATUS = re.compile(rb"[+-]?[0-9]{1,9}")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_NOT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_ERROR, _REFUSED_STREAM, _HTTP_1_1_REQUIRED = 0, 7, 13
# Bytes of frames without a part of the body: settings, headers, and what is ignored.
MAX_FRAMING = 2 * MAX_HEADERS
# Fields of all blocks of headers. One byte of a block can stand for a long field of the table.
MAX_FIELDS = 20_000
AGAIN_WITH_HTTP1 = "a demand for HTTP/1.1"


def _opening(host: str, path: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """Return what a client sends first: its settings and the request."""
    pseudo = [(":method", "GET"), (":authority", host), (":scheme", "https"), (":path", path)]
    # Values are bytes of Latin-1, as in HTTP/1.1.
    fields = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in (*pseudo, *headers)
    ]
    block: bytes = Encoder().encode(fields)
    settings = b"".join(n.to_bytes(2, "big") + v.to_bytes(4, "big") for n, v in _SETTINGS)
    return b"".join(
        (
            _PREFACE,
            frame(FrameKind.SETTINGS, 0, 0, settings),
            frame(FrameKind.WINDOW_UPDATE, 0, 0, _MORE_WINDOW.to_bytes(4, "big")),
            # The path and the cookies are limited, so that the block fits one frame.
            frame(FrameKind.HEADERS, END_HEADERS | END_STREAM, _STREAM, block),
        )
    )


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
        self.request = _opening(host, path, headers)
        self._max = max_body
        self._raw = self._content = self._frames = self._interim = self._fields = 0
        self._reader = FrameReader(_STREAM)
        self._decoder = Decoder(max_header_list_size=MAX_HEADERS)
        self._decoder.max_allowed_table_size = _TABLE_SIZE
        self._answer = b""
        self._block = bytearray()
        self._block_flags = self._block_stream = 0
        self._windows = {0: DEFAULT_WINDOW, _STREAM: DEFAULT_WINDOW}
        self._body: BodyReader | None = None
        self._kept = b""
        self._ended = False
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.truncated = self.incomplete = False
        self.invalid = self.error = ""

    @property
    def body(self) -> bytes:
        """The body so far, after decompression."""
        return self._body.body if self._body is not None else self._kept

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((v for n, v in self.headers if n == name), None)

    def outgoing(self) -> bytes:
        """Return acknowledgements that the server waits for."""
        answer, self._answer = self._answer, b""
        return answer

    def release(self) -> None:
        """Free what only reading needs. No more bytes may be fed."""
        self._kept, self._body = self.body, None
        del self._decoder, self._reader

    def feed(self, data: bytes) -> bool:
        """Process received bytes. Returns True if no more bytes are needed."""
        self._raw += len(data)
        if self._raw > MAX_RAW:
            self.truncated = True
            return True
        try:
            for received in self._reader.feed(data):
                self._frames += 1
                # A hostile server could send small frames without end: each costs time.
                if self._frames > MAX_PIECES:
                    self._broken()
                    return True
                if self._frame(received):
                    return True
        except Http2Error as error:
            self._broken(str(error))
            return True
        if self._raw - self._content > MAX_FRAMING:
            self._broken()
            return True
        return False

    def end(self) -> bool:
        """Process the end of the connection. Returns False if there was no answer at all."""
        if self.status is None and not self._interim:
            return False
        if not self._ended:
            self._broken()
        return True

    def _broken(self, why: str = "") -> None:
        """Record an error. Browsers show what was read of a page before it.

        Args:
            why: What a browser shows an error page for; empty if the connection only ended.
        """
        if self.status is not None:
            self.incomplete = True
        elif why:
            self.invalid = why
        else:
            self.error = "HTTP/2 frames that cannot be read"

    def _frame(self, received: Frame) -> bool:
        """Process one frame. Returns True if no more bytes are needed."""
        match received.kind:
            case FrameKind.HEADERS | FrameKind.CONTINUATION:
                return self._headers(received)
            case FrameKind.DATA if received.stream == _STREAM:
                return self._data(received)
            case FrameKind.RST_STREAM if received.stream == _STREAM:
                return self._reset(int.from_bytes(received.payload, "big"))
            case FrameKind.GOAWAY:
                # The server completes the streams up to the one that it names (RFC 9113 6.8).
                if int.from_bytes(received.payload[:4], "big") & MAX_WINDOW < _STREAM:
                    return self._reset(int.from_bytes(received.payload[4:8], "big"))
            case FrameKind.SETTINGS:
                self._settings(received)
            case FrameKind.PING:
                if received.flags & ACK:
                    raise Http2Error(HTTP2_PROTOCOL)
                self._answer += frame(FrameKind.PING, ACK, 0, received.payload)
            case FrameKind.WINDOW_UPDATE:
                self._window(received.stream, int.from_bytes(received.payload, "big") & MAX_WINDOW)
        return False

    def _settings(self, received: Frame) -> None:
        if received.flags & ACK:
            return
        window = window_of_settings(received.payload)
        if window is not None:
            self._windows[_STREAM] = window
        self._answer += frame(FrameKind.SETTINGS, ACK, 0)

    def _window(self, stream: int, more: int) -> None:
        """Enlarge a window of the request, which has no content: only errors matter."""
        if stream not in self._windows:
            return
        self._windows[stream] += more
        if more == 0 or self._windows[stream] > MAX_WINDOW:
            raise Http2Error(HTTP2_FLOW_CONTROL if stream else HTTP2_PROTOCOL)

    def _reset(self, code: int) -> bool:
        if code == _HTTP_1_1_REQUIRED and self.status is None:
            self.error = AGAIN_WITH_HTTP1
        elif code in (_NO_ERROR, _REFUSED_STREAM):
            self._broken(HTTP2_REFUSED)
        else:
            self._broken(HTTP2_PROTOCOL)
        return True

    def _data(self, received: Frame) -> bool:
        if self._body is None:
            raise Http2Error(HTTP2_PROTOCOL)
        self._content += len(received.payload)
        if received.payload and self._body.feed(received.payload):
            self.truncated, self.error = self._body.truncated, self._body.problem
            return True
        self._ended = bool(received.flags & END_STREAM)
        return self._ended

    def _headers(self, received: Frame) -> bool:
        if received.kind == FrameKind.HEADERS:
            self._block_flags, self._block_stream = received.flags, received.stream
        elif received.stream != self._block_stream:
            raise Http2Error(HTTP2_PROTOCOL)
        self._block += received.payload
        if len(self._block) > MAX_HEADERS:
            raise Http2Error(HTTP2_PROTOCOL)
        if not received.flags & END_HEADERS:
            return False
        block, self._block = bytes(self._block), bytearray()
        try:
            # Every block changes the table of the decoder, whatever its stream.
            fields = [(bytes(n), bytes(v)) for n, v in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise Http2Error(HTTP2_PROTOCOL) from None
        except (HPACKError, ValueError, IndexError):
            raise Http2Error(HTTP2_COMPRESSION) from None
        self._fields += len(fields)
        if self._fields > MAX_FIELDS:
            self._broken()
            return True
        if self._block_stream != _STREAM:
            return False
        # Headers after the body are trailers, which browsers do not use.
        if self.status is None and self._begin(fields):
            return True
        self._ended = bool(self._block_flags & END_STREAM)
        return self._ended

    def _begin(self, fields: list[tuple[bytes, bytes]]) -> bool:
        statuses = [value for name, value in fields if name == b":status"]
        if len(statuses) != 1 or not _STATUS.fullmatch(statuses[0]) or not _valid(fields):
            raise Http2Error(HTTP2_PROTOCOL)
        if 100 <= int(statuses[0]) < 200:
            if self._block_flags & END_STREAM:
                raise Http2Error(HTTP2_PROTOCOL)
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.error = "too many 1xx answers"
            return bool(self.error)
        # Chromium reads the number as in the status line of HTTP/1.1: without one it is 200.
        self.status = int(statuses[0]) if statuses[0].isdigit() else 200
        self.headers = [
            (name.decode("ascii"), value.strip(b" \t").decode("latin-1"))
            for name, value in fields
            if not name.startswith(b":")
        ]
        head = Head(self.status, False, tuple(self.headers))
        # Frames have lengths, so browsers ignore that of the header.
        single = replace(head, headers=tuple(h for h in head.headers if h[0] != "content-length"))
        try:
            check_single_headers(single)
        except InvalidAnswerError as error:
            self.invalid = str(error)
            return True
        codings = head.values("content-encoding")
        if self.status not in REDIRECTS and has_invalid_coding(codings):
            self.invalid = INVALID_ENCODING
            return True
        self._body = BodyReader(codings, self._max)
        self.error = self._body.problem
        return bool(self.error) or self._max == 0


def _valid(fields: list[tuple[bytes, bytes]]) -> bool:
    """Return whether Chromium reads these headers of an answer (RFC 9113 8.2 and 8.3)."""
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            # Pseudo-headers come first.
            if regular:
                return False
        elif not _NAME.fullmatch(name) or name == b"transfer-encoding":
            return False
        else:
            regular = True
        if _NOT_IN_VALUES.search(value):
            return False
    return True
