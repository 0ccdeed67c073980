"""The frames of HTTP/2 (RFC 9113) as Chromium reads them. Pure.

Chromium ignores much that RFC 9113 calls an error, and servers send it. The h2 library refuses it,
even with its checks off, so that sites which open in every browser would be faults.
tests/certmgr/browser/http2.py asks the installed Chromium about each rule here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

MAX_FRAME = 16_384  # SETTINGS_MAX_FRAME_SIZE, which Chrome does not raise
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
_HEAD = 9
# The length, type and flags of a frame if its bytes are "HTTP/1.1".
_HTTP1 = b"HTTP/"
# Message ids: notifiers/wording/values.py lists them, certmgr/checks/broken_pages.py the errors.
HTTP2_PROTOCOL = "HTTP/2 frames or headers that break the protocol"
HTTP2_FRAME_SIZE = "an HTTP/2 frame with a wrong size"
HTTP2_COMPRESSION = "HTTP/2 headers that cannot be decompressed"
HTTP2_FLOW_CONTROL = "an HTTP/2 window of an impossible size"
HTTP2_REFUSED = "a refusal of the request (HTTP/2)"


class FrameKind(IntEnum):
    """The types of frames that are more than ignored."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9
    ALTSVC = 10
    PRIORITY_UPDATE = 16


_KNOWN = frozenset(FrameKind)
_SIZES = {FrameKind.PRIORITY: 5, FrameKind.RST_STREAM: 4, FrameKind.PING: 8}
_SIZES[FrameKind.WINDOW_UPDATE] = 4
# These belong to the connection (stream 0), or to a stream.
_OF_CONNECTION = frozenset({FrameKind.SETTINGS, FrameKind.PING, FrameKind.GOAWAY})
_OF_STREAM = frozenset(
    {
        FrameKind.DATA,
        FrameKind.HEADERS,
        FrameKind.PRIORITY,
        FrameKind.RST_STREAM,
        FrameKind.CONTINUATION,
    }
)
# Flags. END_STREAM is also ACK, by the type of the frame.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20
_BOOLEAN_SETTINGS = frozenset({8, 9})  # ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES
_INITIAL_WINDOW = 4


class Http2Error(Exception):
    """Bytes that Chromium answers with an error page. The text completes "it answers with"."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame without its padding and priority."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame to send."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


@dataclass(slots=True)
class FrameReader:
    """Splits bytes into frames.

    Attributes:
        stream: The only stream that the client opened.
    """

    stream: int
    _buffer: bytearray = field(default_factory=bytearray)
    _block: bool = False  # whether only a CONTINUATION may follow

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the complete frames so far.

        Raises:
            Http2Error: After the valid frames before it.
        """
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            head = bytes(self._buffer[:_HEAD])
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            stream = int.from_bytes(head[5:], "big") & MAX_WINDOW
            self._check(head, size, kind, stream)
            if len(self._buffer) < _HEAD + size:
                return
            payload = bytes(self._buffer[_HEAD : _HEAD + size])
            del self._buffer[: _HEAD + size]
            if kind in (FrameKind.HEADERS, FrameKind.CONTINUATION):
                self._block = not flags & END_HEADERS
            yield Frame(kind, flags, stream, _content(kind, flags, payload))

    def _check(self, head: bytes, size: int, kind: int, stream: int) -> None:
        """Check the head of a frame, before its payload is there."""
        if head.startswith(_HTTP1):
            raise Http2Error(HTTP2_PROTOCOL)
        # A block of headers must not be interrupted (RFC 9113 6.10).
        if self._block != (kind == FrameKind.CONTINUATION):
            raise Http2Error(HTTP2_PROTOCOL)
        if kind not in _KNOWN and stream and (stream % 2 == 0 or stream > self.stream):
            raise Http2Error(HTTP2_PROTOCOL)
        if (kind in _OF_CONNECTION and stream) or (kind in _OF_STREAM and not stream):
            raise Http2Error(HTTP2_PROTOCOL)
        # No Chrome since version 106 accepts a pushed stream; PRIORITY_UPDATE is for servers only.
        if kind in (FrameKind.PUSH_PROMISE, FrameKind.PRIORITY_UPDATE):
            raise Http2Error(HTTP2_PROTOCOL)
        if size > MAX_FRAME:
            raise Http2Error(HTTP2_FRAME_SIZE)
        if kind in _SIZES and size != _SIZES[FrameKind(kind)]:
            raise Http2Error(HTTP2_FRAME_SIZE)
        if kind == FrameKind.SETTINGS and (size % 6 or (head[4] & ACK and size)):
            raise Http2Error(HTTP2_FRAME_SIZE)


def _content(kind: int, flags: int, payload: bytes) -> bytes:
    """Return the payload without padding and priority.

    Raises:
        Http2Error: It is too short.
    """
    if kind in (FrameKind.DATA, FrameKind.HEADERS) and flags & _PADDED:
        if not payload or payload[0] >= len(payload):
            raise Http2Error(HTTP2_PROTOCOL)
        payload = payload[1 : len(payload) - payload[0]]
    if kind == FrameKind.HEADERS and flags & _PRIORITY:
        if len(payload) < 5:
            raise Http2Error(HTTP2_FRAME_SIZE)
        payload = payload[5:]
    # An error of GOAWAY has a stream and a code. ALTSVC begins with the length of an origin.
    if kind == FrameKind.GOAWAY and len(payload) < 8:
        raise Http2Error(HTTP2_PROTOCOL)
    if kind == FrameKind.ALTSVC and (
        len(payload) < 2 or int.from_bytes(payload[:2], "big") > len(payload) - 2
    ):
        raise Http2Error(HTTP2_PROTOCOL)
    return payload


def window_of_settings(payload: bytes) -> int | None:
    """Return the window of new streams that a SETTINGS frame sets; None if it sets none.

    Chromium ignores settings with an impossible value, except for those that are on or off.

    Raises:
        Http2Error: Chromium refuses a value.
    """
    window = None
    for position in range(0, len(payload), 6):
        name = int.from_bytes(payload[position : position + 2], "big")
        value = int.from_bytes(payload[position + 2 : position + 6], "big")
        if name in _BOOLEAN_SETTINGS and value > 1:
            raise Http2Error(HTTP2_PROTOCOL)
        if name == _INITIAL_WINDOW and value <= MAX_WINDOW:
            window = value
    return window
