"""Situations of HTTP/2: servers that speak nothing else, and servers that only break it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from OpenSSL import SSL

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import Site, Talk, page, reset_at_request, tls
from tests.certmgr.browser.situations import Group

GROUP = Group("http2")

_BOTH = (b"h2", b"http/1.1")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame (RFC 9113 4.1)."""
    size = len(payload).to_bytes(3, "big")
    return size + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


# The static table of HPACK: 8 is ":status 200", 31 is "content-type".
_HTML = b"\x88\x5f\x09text/html"
_BODY = b"<!doctype html><title>Welcome</title><h1>Welcome</h1>"


def _page_frames(
    stream: int,
    headers: bytes = _HTML,
    before: bytes = b"",
    after: bytes = b"",
    body: bytes = _BODY,
) -> bytes:
    return before + frame(1, 4, stream, headers) + frame(0, 1, stream, body) + after


def http2(answer: Callable[[int], bytes] = _page_frames, settings: bytes = b"") -> Talk:
    """Speak HTTP/2 (RFC 9113): the same frames for every request, by its stream."""

    def talk(connection: SSL.Connection, site: Site) -> None:
        if connection.get_alpn_proto_negotiated() != b"h2":
            return
        data = b""

        def read(size: int) -> bytes:
            nonlocal data
            while len(data) < size:
                data += connection.recv(65536)
            part, data = data[:size], data[size:]
            return part

        read(24)
        connection.sendall(frame(4, 0, 0, settings))
        while True:
            head = read(9)
            read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            if kind == 4 and not flags & 1:
                connection.sendall(frame(4, 1, 0))
            elif kind == 1:
                connection.sendall(answer(stream))

    return talk


def _only(name: str, talk: Talk, *, relative: bool = True, **options: Any) -> None:
    """Add a server that speaks HTTP/2 only."""
    GROUP.add(
        f"only-{name}",
        lambda host: tls(leaf(host), talk=talk, alpn=(b"h2",), **options),
        relative=relative,
    )


def _header(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


_STATUS = _header(b":status", b"103")
_GO_AWAY_LATER = frame(7, 0, 0, b"\x7f\xff\xff\xff" + bytes(4))
# Answers to a request
ODD: dict[str, Callable[[int], bytes]] = {
    "name-in-capitals": lambda s: _page_frames(s, _HTML + _header(b"X-Name", b"1")),
    "line-feed-in-value": lambda s: _page_frames(s, _HTML + _header(b"x-name", b"a\nb")),
    "without-status": lambda s: _page_frames(s, _HTML[1:]),
    "status-word": lambda s: _page_frames(s, _header(b":status", b"abc")),
    "status-after-headers": lambda s: _page_frames(s, _HTML[1:] + _HTML[:1]),
    "transfer-encoding": lambda s: _page_frames(s, _HTML + _header(b"transfer-encoding", b"x")),
    "connection-header": lambda s: _page_frames(s, _HTML + _header(b"connection", b"close")),
    "hpack-garbage": lambda s: _page_frames(s, b"\xff" * 6),
    "go-away": lambda s: frame(7, 0, 0, bytes(7) + b"\1"),
    "go-away-without-error": lambda s: frame(7, 0, 0, bytes(8)),
    "stream-refused": lambda s: frame(3, 0, s, b"\0\0\0\7"),
    "stream-reset": lambda s: frame(3, 0, s, b"\0\0\0\2"),
    "push-promise": lambda s: _page_frames(s, before=frame(5, 4, s, b"\0\0\0\2\x82\x87\x84")),
    "data-without-stream": lambda s: _page_frames(s, before=frame(0, 0, 0, b"x")),
    "interim-103": lambda s: _page_frames(s, before=frame(1, 4, s, _STATUS)),
    "unknown-frame": lambda s: _page_frames(s, before=frame(0xBB, 0, s, b"x")),
    # A server that goes away completes the streams that it names (RFC 9113 6.8).
    "go-away-then-page": lambda s: _page_frames(s, before=_GO_AWAY_LATER),
    "go-away-after-page": lambda s: _page_frames(s, after=_GO_AWAY_LATER),
    "go-away-with-error-then-page": lambda s: _page_frames(
        s, before=frame(7, 0, 0, b"\x7f\xff\xff\xff\0\0\0\2")
    ),
    "go-away-of-seven-bytes": lambda s: _page_frames(s, before=frame(7, 0, 0, bytes(7))),
    "reset-after-page": lambda s: _page_frames(s, after=frame(3, 0, s, bytes(4))),
    "reset-in-page": lambda s: (
        frame(1, 4, s, _HTML) + frame(0, 0, s, _BODY) + frame(3, 0, s, b"\0\0\0\2")
    ),
    "reset-without-error-in-page": lambda s: (
        frame(1, 4, s, _HTML) + frame(0, 0, s, _BODY) + frame(3, 0, s, bytes(4))
    ),
    "reset-of-five-bytes": lambda s: frame(3, 0, s, bytes(5)),
    "reset-cancel": lambda s: frame(3, 0, s, b"\0\0\0\x08"),
    "reset-enhance-your-calm": lambda s: frame(3, 0, s, b"\0\0\0\x0b"),
    "reset-inadequate-security": lambda s: frame(3, 0, s, b"\0\0\0\x0c"),
    "go-away-inadequate-security": lambda s: frame(7, 0, 0, bytes(7) + b"\x0c"),
    "continuation": lambda s: (
        frame(1, 0, s, _HTML[:4]) + frame(9, 0, s, _HTML[4:8]) + _end(s, _HTML[8:])
    ),
    "continuation-interrupted": lambda s: (
        frame(1, 0, s, _HTML[:4]) + frame(6, 0, 0, bytes(8)) + _end(s, _HTML[4:])
    ),
    "continuation-without-headers": lambda s: frame(9, 4, s, _HTML),
    "continuation-of-another-stream": lambda s: frame(1, 0, s, _HTML[:4]) + _end(s + 2, _HTML[4:]),
    "continuations-empty-500": lambda s: (
        frame(1, 0, s, _HTML[:4]) + frame(9, 0, s) * 500 + _end(s, _HTML[4:])
    ),
    "headers-end-the-stream": lambda s: frame(1, 5, s, _HTML),
    "headers-padded": lambda s: frame(1, 12, s, b"\5" + _HTML + bytes(5)) + frame(0, 1, s, _BODY),
    "headers-padded-too-much": lambda s: frame(1, 12, s, b"\xff" + _HTML) + frame(0, 1, s, _BODY),
    "headers-with-priority": lambda s: frame(1, 0x24, s, bytes(5) + _HTML) + frame(0, 1, s, _BODY),
    "headers-depend-on-themselves": lambda s: (
        frame(1, 0x24, s, s.to_bytes(4, "big") + b"\0" + _HTML) + frame(0, 1, s, _BODY)
    ),
    "headers-of-stream-2": lambda s: frame(1, 4, 2, _HTML) + _page_frames(s),
    "headers-of-stream-0": lambda s: frame(1, 4, 0, _HTML) + _page_frames(s),
    "data-padded": lambda s: frame(1, 4, s, _HTML) + frame(0, 9, s, b"\3" + _BODY + bytes(3)),
    "data-before-headers": lambda s: _page_frames(s, before=frame(0, 0, s, b"x")),
    "data-after-end": lambda s: _page_frames(s, after=frame(0, 1, s, b"x")),
    "data-of-another-stream": lambda s: _page_frames(s, before=frame(0, 0, s + 20, b"x")),
    "data-empty-300": lambda s: (
        frame(1, 4, s, _HTML) + frame(0, 0, s) * 300 + frame(0, 1, s, _BODY)
    ),
    "data-of-20-kilobytes": lambda s: _page_frames(s, body=_BODY + b" " * 20_000),
    "trailers": lambda s: (
        frame(1, 4, s, _HTML) + frame(0, 0, s, _BODY) + frame(1, 5, s, _header(b"x-a", b"1"))
    ),
    "trailers-that-do-not-end": lambda s: (
        frame(1, 4, s, _HTML)
        + frame(0, 0, s, _BODY)
        + frame(1, 4, s, _header(b"x-a", b"1"))
        + frame(0, 1, s)
    ),
    "trailers-with-status": lambda s: (
        frame(1, 4, s, _HTML) + frame(0, 0, s, _BODY) + frame(1, 5, s, b"\x88")
    ),
    "window-update-zero": lambda s: _page_frames(s, before=frame(8, 0, 0, bytes(4))),
    "window-update-zero-of-stream": lambda s: _page_frames(s, before=frame(8, 0, s, bytes(4))),
    "window-update-too-large": lambda s: _page_frames(
        s, before=frame(8, 0, 0, b"\x7f\xff\xff\xff") * 2
    ),
    "window-update-too-large-of-stream": lambda s: _page_frames(
        s, before=frame(8, 0, s, b"\x7f\xff\xff\xff") * 2
    ),
    "window-update-of-five-bytes": lambda s: _page_frames(s, before=frame(8, 0, 0, bytes(5))),
    "ping": lambda s: _page_frames(s, before=frame(6, 0, 0, bytes(8))),
    "ping-of-seven-bytes": lambda s: _page_frames(s, before=frame(6, 0, 0, bytes(7))),
    "ping-of-stream": lambda s: _page_frames(s, before=frame(6, 0, s, bytes(8))),
    "ping-answer-unasked": lambda s: _page_frames(s, before=frame(6, 1, 0, bytes(8))),
    "priority": lambda s: _page_frames(s, before=frame(2, 0, s, bytes(5))),
    "priority-of-four-bytes": lambda s: _page_frames(s, before=frame(2, 0, s, bytes(4))),
    "priority-of-itself": lambda s: _page_frames(
        s, before=frame(2, 0, s, s.to_bytes(4, "big") + b"\0")
    ),
    "priority-update": lambda s: _page_frames(s, before=frame(16, 0, 0, bytes(4) + b"u=1")),
    "origin-frame": lambda s: _page_frames(s, before=frame(12, 0, 0, b"\0\x0ehttps://a.test")),
    "alternative-service": lambda s: _page_frames(
        s, before=frame(10, 0, s, b"\0\0" + b'h3=":443"')
    ),
    "alternative-service-malformed": lambda s: _page_frames(s, before=frame(10, 0, s, b"\xff")),
    "settings-again": lambda s: _page_frames(s, before=frame(4, 0, 0, b"\0\3\0\0\0\1")),
    "settings-1000-times": lambda s: _page_frames(s, before=frame(4, 0, 0, b"\0\3\0\0\0\1") * 1000),
    "settings-of-stream": lambda s: _page_frames(s, before=frame(4, 0, s)),
    "settings-answer-with-content": lambda s: _page_frames(s, before=frame(4, 1, 0, bytes(6))),
    "settings-answer-unasked": lambda s: _page_frames(s, before=frame(4, 1, 0)),
    "frame-of-17-kilobytes": lambda s: _page_frames(s, before=frame(0xBB, 0, s, bytes(17_000))),
    "length-too-large": lambda s: _page_frames(s, _HTML + _header(b"content-length", b"9999")),
    "length-too-small": lambda s: _page_frames(s, _HTML + _header(b"content-length", b"5")),
    "length-word": lambda s: _page_frames(s, _HTML + _header(b"content-length", b"abc")),
    "length-twice-different": lambda s: _page_frames(
        s, _HTML + _header(b"content-length", b"53") + _header(b"content-length", b"5")
    ),
    "status-twice": lambda s: _page_frames(s, b"\x88" + _HTML),
    "status-twice-different": lambda s: _page_frames(s, b"\x8d" + _HTML),
    "status-600": lambda s: _page_frames(s, _header(b":status", b"600") + _HTML[1:]),
    "status-99": lambda s: _page_frames(s, _header(b":status", b"99") + _HTML[1:]),
    "status-2000": lambda s: _page_frames(s, _header(b":status", b"2000") + _HTML[1:]),
    "status-421": lambda s: _page_frames(s, _header(b":status", b"421") + _HTML[1:]),
    "status-101": lambda s: _page_frames(s, before=frame(1, 4, s, _header(b":status", b"101"))),
    "status-empty": lambda s: _page_frames(s, _header(b":status", b"") + _HTML[1:]),
    "status-with-plus": lambda s: _page_frames(s, _header(b":status", b"+20") + _HTML[1:]),
    "pseudo-unknown": lambda s: _page_frames(s, b"\x88" + _header(b":color", b"red") + _HTML[1:]),
    "name-empty": lambda s: _page_frames(s, _HTML + _header(b"", b"1")),
    "name-with-blank": lambda s: _page_frames(s, _HTML + _header(b"x name", b"1")),
    "name-with-colon": lambda s: _page_frames(s, _HTML + _header(b"x:name", b"1")),
    "name-not-ascii": lambda s: _page_frames(s, _HTML + _header("x-ä".encode(), b"1")),
    "value-not-ascii": lambda s: _page_frames(s, _HTML + _header(b"x-a", "Gärten".encode())),
    "value-with-tab": lambda s: _page_frames(s, _HTML + _header(b"x-a", b"a\tb")),
    "value-with-control": lambda s: _page_frames(s, _HTML + _header(b"x-a", b"a\x01b")),
    "value-with-zero": lambda s: _page_frames(s, _HTML + _header(b"x-a", b"a\0b")),
    "value-with-blanks-around": lambda s: _page_frames(s, _HTML + _header(b"x-a", b" a ")),
    "keep-alive-header": lambda s: _page_frames(s, _HTML + _header(b"keep-alive", b"timeout=5")),
    "upgrade-header": lambda s: _page_frames(s, _HTML + _header(b"upgrade", b"h2")),
    "te-header": lambda s: _page_frames(s, _HTML + _header(b"te", b"gzip")),
    "host-header": lambda s: _page_frames(s, _HTML + _header(b"host", b"x.test")),
    "headers-of-100-kilobytes": lambda s: _large_headers(s, 100),
    "headers-of-300-kilobytes": lambda s: _large_headers(s, 300),
    "hpack-table-resized": lambda s: _page_frames(s, b"\x20" + _HTML),
    "hpack-table-resized-late": lambda s: _page_frames(s, _HTML + b"\x20"),
    "hpack-table-too-large": lambda s: _page_frames(s, b"\x3f\xe1\xff\x7f" + _HTML),
    "hpack-index-unknown": lambda s: _page_frames(s, _HTML + b"\xff\x00"),
    "unknown-frame-of-stream-2": lambda s: _page_frames(s, before=frame(0xBB, 0, 2, b"x")),
    "unknown-frame-of-stream-5": lambda s: _page_frames(s, before=frame(0xBB, 0, s + 4, b"x")),
    "unknown-frame-of-stream-0": lambda s: _page_frames(s, before=frame(0xBB, 0, 0, b"x")),
    "status-negative": lambda s: _page_frames(s, _header(b":status", b"-5") + _HTML[1:]),
    "status-with-blank": lambda s: _page_frames(s, _header(b":status", b" 200") + _HTML[1:]),
    "status-reason": lambda s: _page_frames(s, _header(b":status", b"200 OK") + _HTML[1:]),
    "pseudo-unknown-late": lambda s: _page_frames(s, _HTML + _header(b":color", b"red")),
    "value-with-delete": lambda s: _page_frames(s, _HTML + _header(b"x-a", b"a\x7fb")),
    "name-with-parenthesis": lambda s: _page_frames(s, _HTML + _header(b"x(a", b"1")),
    "location-twice-different": lambda s: _page_frames(
        s, _header(b":status", b"302") + _header(b"location", b"/a") + _header(b"location", b"/b")
    ),
    "headers-empty": lambda s: frame(1, 4, s) + _page_frames(s),
    "headers-twice": lambda s: _page_frames(s, before=frame(1, 4, s, _HTML)),
    "interim-100": lambda s: _page_frames(s, before=frame(1, 4, s, _header(b":status", b"100"))),
    "interim-103-ends": lambda s: frame(1, 5, s, _STATUS),
    "interim-103-with-data": lambda s: frame(1, 4, s, _STATUS) + frame(0, 1, s, _BODY),
    "gzip-but-plain": lambda s: _page_frames(s, _HTML + _header(b"content-encoding", b"gzip")),
    "status-404-empty": lambda s: frame(1, 5, s, b"\x8d"),
    "status-500-empty": lambda s: frame(1, 5, s, b"\x8e"),
    "http-1-answer": lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "preface-of-client": lambda s: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _page_frames(s),
}


def _end(stream: int, block: bytes) -> bytes:
    return frame(9, 4, stream, block) + frame(0, 1, stream, _BODY)


def _large_headers(stream: int, count: int) -> bytes:
    """Return a page whose headers have a number of kilobytes, in CONTINUATION frames."""
    one = b"\0\x03x-a\x7f" + b"\x81\x07" + b"y" * 1024
    return (
        frame(1, 0, stream, _HTML)
        + b"".join(frame(9, 0, stream, one) for _ in range(count))
        + frame(9, 4, stream)
        + frame(0, 1, stream, _BODY)
    )


_only("page", http2(), relative=False)
_only("page-version-1.2", http2(), highest=SSL.TLS1_2_VERSION)
for _name, _frames in ODD.items():
    _only(_name, http2(_frames), relative=not _name.endswith(("-then-page", "interrupted")))
for _name, _settings in {
    "of-five-bytes": bytes(5),
    "push-2": b"\0\2\0\0\0\2",
    "push-1": b"\0\2\0\0\0\1",
    "window-too-large": b"\0\4\xff\xff\xff\xff",
    "window-zero": b"\0\4\0\0\0\0",
    "frame-size-too-small": b"\0\5\0\0\0\1",
    "frame-size-too-large": b"\0\5\xff\xff\xff\xff",
    "streams-0": b"\0\3\0\0\0\0",
    "unknown": b"\xfa\xfa\1\2\3\4",
    "table-0": b"\0\1\0\0\0\0",
    "list-of-10-bytes": b"\0\6\0\0\0\x0a",
    "connect-protocol-2": b"\0\x08\0\0\0\2",
    "no-priorities-2": b"\0\x09\0\0\0\2",
}.items():
    _only(f"settings-{_name}", http2(settings=_settings))


# Servers that also speak HTTP/1.1, but every browser chooses HTTP/2
def _both(name: str, talk: Talk, *, relative: bool = False) -> None:
    """Add a server that serves a page over HTTP/1.1, and talks otherwise over HTTP/2."""
    answer = page()

    def choose(connection: SSL.Connection, site: Site) -> None:
        if connection.get_alpn_proto_negotiated() == b"h2":
            talk(connection, site)
        elif connection.recv(65536):
            connection.sendall(answer(site, "/"))
            connection.shutdown()

    GROUP.add(
        f"also-{name}",
        lambda host: tls(leaf(host), talk=choose, alpn=_BOTH),
        relative=relative,
    )


def _close(connection: SSL.Connection, site: Site) -> None:
    connection.shutdown()
    _drain(connection)


def _drain(connection: SSL.Connection) -> None:
    """Read to the end: closing with unread bytes would reset the connection."""
    with suppress(SSL.Error):
        while connection.recv(65536):
            pass


def _write(data: bytes) -> Talk:
    def talk(connection: SSL.Connection, site: Site) -> None:
        connection.recv(65536)
        connection.sendall(data)
        connection.shutdown()
        _drain(connection)

    return talk


_both("page", http2())
_both("closes", _close)
_both("closes-after-settings", _write(frame(4, 0, 0)))
_both("resets", reset_at_request)
_both("garbage", _write(bytes(range(256))))
_both("speaks-http-1", _write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
_both("goes-away", http2(ODD["go-away"]))
_both("refuses-stream", http2(ODD["stream-refused"]))
_both("wants-http-1", http2(lambda s: frame(3, 0, s, b"\0\0\0\x0d")))
_both("goes-away-to-http-1", http2(lambda s: frame(7, 0, 0, bytes(7) + b"\x0d")))
_both("name-in-capitals", http2(ODD["name-in-capitals"]), relative=True)
_both("transfer-encoding", http2(ODD["transfer-encoding"]), relative=True)
_both("hpack-garbage", http2(ODD["hpack-garbage"]), relative=True)
_both("frame-too-large", http2(ODD["frame-of-17-kilobytes"]), relative=True)
_both("status-421", http2(ODD["status-421"]), relative=True)
_both(
    "redirect-to-itself",
    http2(lambda s: frame(1, 5, s, _header(b":status", b"302") + _header(b"location", b"/"))),
    relative=True,
)
