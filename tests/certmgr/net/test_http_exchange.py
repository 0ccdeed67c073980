"""Answers that cost much time to parse, read without a connection."""

from __future__ import annotations

import struct

import pytest

from certmgr.net.http1 import parse_head
from certmgr.net.http2_exchange import MAX_FRAMING, Http2Exchange
from tests.fuzz.limits import cpu_limit

SETTINGS, ALTSVC, RST_STREAM, WINDOW_UPDATE, UNKNOWN = 4, 10, 3, 8, 99
PIECE = 16_384


def frame(kind: int, payload: bytes, stream: int = 0, flags: int = 0) -> bytes:
    """Return an HTTP/2 frame (RFC 9113 4.1)."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


# h2 ignores the first three without an event.
FLOODS = {
    "alternative-services-without-an-origin": frame(ALTSVC, b"\0\0h"),
    "alternative-services-of-an-unknown-stream": frame(ALTSVC, b"\0\0h", stream=3),
    "resets-of-a-stream-that-was-not-opened": frame(RST_STREAM, bytes(4), stream=3),
    "large-settings": frame(SETTINGS, b"\0\x03\0\0\0\x01" * 2000),
    "window-updates": frame(WINDOW_UPDATE, b"\0\0\0\x01"),
    "unknown-frames": frame(UNKNOWN, b""),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_of_frames_without_a_body_ends_at_its_limit(kind: str) -> None:
    exchange = Http2Exchange("shop.example", "/", ())
    exchange.feed(frame(SETTINGS, b""))
    flood = FLOODS[kind] * (PIECE // len(FLOODS[kind]))
    fed = 0
    while not exchange.feed(flood):
        fed += len(flood)
    assert fed <= MAX_FRAMING
    assert exchange.status is None and exchange.error


def test_time_for_a_folded_value_grows_with_its_length() -> None:
    """Each line was appended to a copy of the value so far, which took the square of the time."""
    lines = 700_000  # more than an answer may have, to tell the two apart
    raw = b"HTTP/1.1 200 OK\r\nX-Long: a" + b"\n b" * lines + b"\r\n\r\n"
    with cpu_limit():
        head = parse_head(raw)
    assert head.headers == (("x-long", "a" + " b" * lines),)
