"""Situations of answers: the syntax of status lines, headers, lengths, chunks and encodings.

As in ``answers.py``, each answer is served over HTTPS, and over plain HTTP with a field for a
password.
"""

from __future__ import annotations

import gzip
import zlib

from tests.certmgr.browser.answers import (
    BROTLI,
    CHUNKED,
    FORM,
    HTML,
    LENGTH,
    ZSTD,
    chunks,
    ok,
)
from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import raw, serves
from tests.certmgr.browser.situations import Group

GROUP = Group("syntax")
FORMS = Group("syntax-forms")
_ORDINARY = frozenset({"start-without-blank", "length-hexadecimal", "chunked-size-plus"})
_GZIP = gzip.compress(FORM, mtime=0)
_SIZE = len(FORM)


def _start(line: bytes) -> bytes:
    return ok(HTML, start=line)


def _length(value: bytes) -> bytes:
    return ok(HTML, b"Content-Length:" + value + b"\r\n")


def _transfer(value: bytes, body: bytes | None = None) -> bytes:
    return ok(
        HTML, b"Transfer-Encoding:" + value + b"\r\n", body=chunks(FORM) if body is None else body
    )


def _chunked(body: bytes) -> bytes:
    return ok(HTML, CHUNKED, body=body)


def _encoded(value: bytes, body: bytes) -> bytes:
    return ok(HTML, b"Content-Encoding:" + value + b"\r\n", body=body)


def _repeated(count: int) -> bytes:
    body = FORM
    for _ in range(count):
        body = gzip.compress(body, mtime=0)
    return body


# A member with a name, a comment and a check of its head (RFC 1952 2.3).
_HEAD = b"\x1f\x8b\x08\x1a\0\0\0\0\0\xff" + b"page.html\0comment\0"
_RAW = zlib.compress(FORM, wbits=-15)
_TAIL = _GZIP[-8:]
_NAMED = _HEAD + (zlib.crc32(_HEAD) & 0xFFFF).to_bytes(2, "little") + _RAW + _TAIL
# A frame whose window has 16 megabytes (RFC 8878 3.1.1.1.2).
_LARGE_WINDOW = b"\x28\xb5\x2f\xfd\x00\x70" + ((_SIZE << 3) | 1).to_bytes(3, "little") + FORM
_FRAME_TO_SKIP = b"\x50\x2a\x4d\x18\x03\0\0\0abc"

ANSWERS: dict[str, bytes] = {
    # The status line
    "start-two-blanks": _start(b"HTTP/1.1  200 OK"),
    "start-tab": _start(b"HTTP/1.1\t200 OK"),
    "start-tab-after-status": _start(b"HTTP/1.1 200\tOK"),
    "start-without-blank": _start(b"HTTP/1.1200 OK"),
    "start-status-joined": _start(b"HTTP/1.1 200OK"),
    "start-version-of-three": _start(b"HTTP/1.1.1 200 OK"),
    "start-version-11": _start(b"HTTP/11 200 OK"),
    "start-version-empty": _start(b"HTTP/ 200 OK"),
    "start-version-word": _start(b"HTTP/x.y 200 OK"),
    "start-version-negative": _start(b"HTTP/-1.1 200 OK"),
    "start-version-3": _start(b"HTTP/3 200 OK"),
    "start-version-0.9": _start(b"HTTP/0.9 200 OK"),
    "start-without-slash": _start(b"HTTP 200 OK"),
    "start-https": _start(b"HTTPS/1.1 200 OK"),
    "start-rtsp": _start(b"RTSP/1.0 200 OK"),
    "start-sip": _start(b"SIP/2.0 200 OK"),
    "start-status-plus": _start(b"HTTP/1.1 +200 OK"),
    "start-status-zeros": _start(b"HTTP/1.1 0200 OK"),
    "start-status-of-two": _start(b"HTTP/1.1 2 00 OK"),
    "start-status-decimal": _start(b"HTTP/1.1 200.0 OK"),
    "start-status-dash": _start(b"HTTP/1.1 200-OK"),
    "start-status-1000": _start(b"HTTP/1.1 1000 OK"),
    "start-status-10": _start(b"HTTP/1.1 10 OK"),
    "start-status-huge": _start(b"HTTP/1.1 99999999999999999999 OK"),
    "start-reason-latin1": _start(b"HTTP/1.1 200 \xd6K"),
    "start-reason-zero-byte": _start(b"HTTP/1.1 200 O\0K"),
    "start-reason-long": _start(b"HTTP/1.1 200 " + b"x" * 20_000),
    "start-carriage-returns": _start(b"HTTP/1.1 200 OK\r\r"),
    "start-after-byte-order-mark": b"\xef\xbb\xbf" + _start(b"HTTP/1.1 200 OK"),
    "start-after-two-empty-lines": b"\r\n\r\n" + _start(b"HTTP/1.1 200 OK"),
    "start-after-four-line-feeds": b"\n\n\n\n" + _start(b"HTTP/1.1 200 OK"),
    "start-after-five-line-feeds": b"\n\n\n\n\n" + _start(b"HTTP/1.1 200 OK"),
    "start-after-letters": b"abcd" + _start(b"HTTP/1.1 200 OK"),
    "start-after-five-letters": b"abcde" + _start(b"HTTP/1.1 200 OK"),
    "start-after-part": b"HT" + _start(b"HTTP/1.1 200 OK"),
    "start-after-zero-bytes": bytes(3) + _start(b"HTTP/1.1 200 OK"),
    "start-twice": b"HTTP/1.1 200 OK\r\n" + _start(b"HTTP/1.1 404 Not Found"),
    "start-mixed-case": _start(b"hTtP/1.1 200 OK"),
    # Headers
    "headers-none": b"HTTP/1.1 200 OK\r\n\r\n" + FORM,
    "headers-carriage-returns-only": ok(HTML).replace(b"\r\n", b"\r"),
    "headers-first-folded": ok(b" folded\r\n", HTML),
    "headers-folded-with-tab": ok(b"Content-Type:\r\n\ttext/html\r\n"),
    "headers-folded-twice": ok(b"Content-Type: text\r\n /html\r\n ; charset=utf-8\r\n"),
    "headers-end-with-blank": b"HTTP/1.1 200 OK\r\n" + HTML + b" \r\n\r\n" + FORM,
    "headers-end-feed-carriage": b"HTTP/1.1 200 OK\r\n" + HTML + b"\n" + FORM,
    "headers-end-carriage-twice": b"HTTP/1.1 200 OK\r\n" + HTML + b"\r\r\n\r\n" + FORM,
    "headers-tab-before-colon": ok(b"Content-Type\t: text/html\r\n"),
    "headers-name-with-zero-byte": ok(HTML, b"X\0Y: a\r\n"),
    "headers-name-not-ascii": ok(HTML, b"X-\xe4: a\r\n"),
    "headers-name-quoted": ok(HTML, b'"X": a\r\n'),
    "headers-name-long": ok(HTML, b"X" * 9000 + b": a\r\n"),
    "headers-colon-twice": ok(HTML, b"X:: a\r\n"),
    "headers-value-of-blanks": ok(HTML, b"X:     \r\n"),
    "headers-page-in-value": ok(HTML, b"X: <html>\r\n"),
    "headers-of-request": ok(HTML, b"GET / HTTP/1.1\r\nHost: x\r\n"),
    "headers-cut": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Part",
    "headers-cut-after-line": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
    "headers-2000": ok(HTML, *(b"X-%d: y\r\n" % n for n in range(2000))),
    "headers-set-cookie-100": ok(HTML, *(b"Set-Cookie: a%d=b\r\n" % n for n in range(100))),
    # Content-Length
    "length-hexadecimal": _length(b" 0x50"),
    "length-exponent": _length(b" 1e2"),
    "length-decimal": _length(b" 76.0"),
    "length-zeros": _length(b" 000%d" % _SIZE),
    "length-huge": _length(b" 99999999999999999999999"),
    "length-largest": _length(b" 9223372036854775807"),
    "length-beyond-largest": _length(b" 9223372036854775808"),
    "length-list-different": _length(b" %d, 5" % _SIZE),
    "length-list-same-three": _length(b" %d,%d,%d" % (_SIZE, _SIZE, _SIZE)),
    "length-list-end": _length(b" %d," % _SIZE),
    "length-semicolon": _length(b" %d; x" % _SIZE),
    "length-word-after": _length(b" %d bytes" % _SIZE),
    "length-quoted": _length(b' "%d"' % _SIZE),
    "length-with-blank": _length(b" 7 6"),
    "length-tab": _length(b"\t%d\t" % _SIZE),
    "length-folded": _length(b"\r\n %d" % _SIZE),
    "length-minus": _length(b" -%d" % _SIZE),
    "length-not-ascii": _length(b" \xb2"),
    "length-twice-first-invalid": ok(HTML, b"Content-Length: x\r\n", LENGTH),
    "length-twice-zeros": ok(HTML, LENGTH, b"Content-Length: 0%d\r\n" % _SIZE),
    "length-and-chunked-twice": ok(
        HTML, LENGTH, b"Content-Length: 5\r\n", CHUNKED, body=chunks(FORM)
    ),
    "length-twice-at-1.0": ok(HTML, LENGTH, b"Content-Length: 5\r\n", start=b"HTTP/1.0 200 OK"),
    "length-and-identity": ok(HTML, LENGTH, b"Transfer-Encoding: identity\r\n"),
    "length-zero-and-page": ok(HTML, b"Content-Length: 00\r\n"),
    # Transfer-Encoding
    "transfer-gzip-and-chunked": _transfer(b" gzip, chunked"),
    "transfer-chunked-and-gzip": _transfer(b" chunked, gzip"),
    "transfer-identity-and-chunked": _transfer(b" identity, chunked"),
    "transfer-gzip": _transfer(b" gzip", _GZIP),
    "transfer-quoted": _transfer(b' "chunked"'),
    "transfer-with-parameter": _transfer(b" chunked;q=1"),
    "transfer-misspelt": _transfer(b" xchunked"),
    "transfer-with-tab": _transfer(b"\tchunked\t"),
    "transfer-with-vertical-tab": _transfer(b" \x0bchunked"),
    "transfer-with-comma": _transfer(b" chunked,"),
    "transfer-empty": _transfer(b"", FORM),
    "transfer-empty-then-chunked": ok(HTML, b"Transfer-Encoding:\r\n", CHUNKED, body=chunks(FORM)),
    "transfer-at-1.0": ok(HTML, CHUNKED, body=chunks(FORM), start=b"HTTP/1.0 200 OK"),
    "transfer-folded": ok(HTML, b"Transfer-Encoding:\r\n chunked\r\n", body=chunks(FORM)),
    "transfer-blank-before-colon": ok(HTML, b"Transfer-Encoding : chunked\r\n", body=chunks(FORM)),
    "transfer-underscore": ok(HTML, b"Transfer_Encoding: chunked\r\n", body=chunks(FORM)),
    # Chunks
    "chunked-size-plus": _chunked(b"+%x\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-minus": _chunked(b"-%x\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-empty": _chunked(b"\r\n%s\r\n0\r\n\r\n" % FORM),
    "chunked-size-blank-first": _chunked(b" %x\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-tab-after": _chunked(b"%x\t\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-word-after": _chunked(b"%x x\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-huge": _chunked(b"fffffffffffffffff\r\n%s\r\n0\r\n\r\n" % FORM),
    "chunked-size-too-large": _chunked(b"ffff\r\n%s\r\n0\r\n\r\n" % FORM),
    "chunked-size-zeros-40": _chunked(b"0" * 40 + b"%x\r\n%s\r\n0\r\n\r\n" % (_SIZE, FORM)),
    "chunked-size-underscore": _chunked(b"4_c\r\n%s\r\n0\r\n\r\n" % FORM),
    "chunked-extension-quoted": _chunked(b'%x;a="b;c"\r\n%s\r\n0\r\n\r\n' % (_SIZE, FORM)),
    "chunked-extension-long": _chunked(b"%x;a=%s\r\n%s\r\n0\r\n\r\n" % (_SIZE, b"b" * 9000, FORM)),
    "chunked-extension-very-long": _chunked(
        b"%x;a=%s\r\n%s\r\n0\r\n\r\n" % (_SIZE, b"b" * 20_000, FORM)
    ),
    "chunked-end-of-two-zeros": _chunked(chunks(FORM, end=b"00\r\n\r\n")),
    "chunked-end-with-extension": _chunked(chunks(FORM, end=b"0;a=b\r\n\r\n")),
    "chunked-end-without-line": _chunked(chunks(FORM, end=b"0\r\n")),
    "chunked-end-without-line-end": _chunked(chunks(FORM, end=b"0")),
    "chunked-end-then-more": _chunked(chunks(FORM) + b"more"),
    "chunked-end-first": _chunked(b"0\r\n\r\n" + chunks(FORM)),
    "chunked-empty-line-first": _chunked(b"\r\n" + chunks(FORM)),
    "chunked-trailer-without-colon": _chunked(chunks(FORM, end=b"0\r\nabc\r\n\r\n")),
    "chunked-trailer-of-type": _chunked(chunks(FORM, end=b"0\r\nContent-Type: text/plain\r\n\r\n")),
    "chunked-cut-in-size": _chunked(b"4"),
    "chunked-cut-in-data": _chunked(b"%x\r\n%s" % (_SIZE + 5, FORM)),
    "chunked-carriage-returns": _chunked(b"%x\r%s\r0\r\r" % (_SIZE, FORM)),
    # Content-Encoding
    "encoded-gzip-and-identity": _encoded(b" gzip, identity", _GZIP),
    "encoded-identity-and-gzip": _encoded(b" identity, gzip", _GZIP),
    "encoded-with-parameter": _encoded(b" gzip;q=1", _GZIP),
    "encoded-comma-first": _encoded(b" ,gzip", _GZIP),
    "encoded-comma-last": _encoded(b" gzip,", _GZIP),
    "encoded-quoted": _encoded(b' "gzip"', _GZIP),
    "encoded-empty": _encoded(b"", FORM),
    "encoded-unknown-and-gzip": _encoded(b" zebra, gzip", _GZIP),
    "encoded-gzip-and-unknown": _encoded(b" gzip, zebra", _GZIP),
    "encoded-gzip-five-times": _encoded(b" gzip, gzip, gzip, gzip, gzip", _repeated(5)),
    "encoded-gzip-ten-times": _encoded(b" gzip" + b", gzip" * 9, _repeated(10)),
    "encoded-gzip-with-name": _encoded(b" gzip", _NAMED),
    "encoded-gzip-wrong-sum": _encoded(b" gzip", _GZIP[:-8] + b"abcd" + _GZIP[-4:]),
    "encoded-gzip-wrong-size": _encoded(b" gzip", _GZIP[:-4] + b"abcd"),
    "encoded-gzip-wrong-method": _encoded(b" gzip", _GZIP[:2] + b"\7" + _GZIP[3:]),
    "encoded-gzip-reserved-flag": _encoded(b" gzip", _GZIP[:3] + b"\x80" + _GZIP[4:]),
    "encoded-gzip-head-only": _encoded(b" gzip", _GZIP[:10]),
    "encoded-gzip-five-bytes": _encoded(b" gzip", _GZIP[:5]),
    "encoded-gzip-but-deflate": _encoded(b" gzip", zlib.compress(FORM)),
    "encoded-gzip-zeros-after": _encoded(b" gzip", _GZIP + bytes(40)),
    "encoded-gzip-broken-inside": _encoded(b" gzip", _GZIP[:30] + b"\xff\xff" + _GZIP[32:]),
    "encoded-deflate-but-gzip": _encoded(b" deflate", _GZIP),
    "encoded-deflate-but-plain": _encoded(b" deflate", FORM),
    "encoded-deflate-cut": _encoded(b" deflate", zlib.compress(FORM)[:-9]),
    "encoded-deflate-raw-then-garbage": _encoded(b" deflate", _RAW + b"garbage"),
    "encoded-deflate-wrong-sum": _encoded(b" deflate", zlib.compress(FORM)[:-4] + b"abcd"),
    "encoded-deflate-dictionary": _encoded(b" deflate", b"\x78\xbb\0\0\0\1" + _RAW),
    "encoded-br-then-garbage": _encoded(b" br", BROTLI + b"garbage"),
    "encoded-br-empty": _encoded(b" br", b""),
    "encoded-br-of-nothing": _encoded(b" br", b"\x3b"),
    "encoded-br-capitals": _encoded(b" BR", BROTLI),
    "encoded-zstd-two-frames": _encoded(b" zstd", ZSTD + ZSTD),
    "encoded-zstd-frame-to-skip": _encoded(b" zstd", _FRAME_TO_SKIP + ZSTD),
    "encoded-zstd-large-window": _encoded(b" zstd", _LARGE_WINDOW),
    "encoded-zstd-cut": _encoded(b" zstd", ZSTD[:-5]),
    "encoded-zstd-then-garbage": _encoded(b" zstd", ZSTD + b"garbage"),
    "encoded-zstd-empty": _encoded(b" zstd", b""),
    "encoded-x-compress": _encoded(b" x-compress", FORM),
    "encoded-bzip2": _encoded(b" bzip2", FORM),
    "encoded-x-deflate": _encoded(b" x-deflate", zlib.compress(FORM)),
    "encoded-aws-chunked": _encoded(b" aws-chunked", FORM),
    "encoded-of-type": _encoded(b" text/html", FORM),
    "encoded-gzip-of-decoded-length": ok(HTML, LENGTH, b"Content-Encoding: gzip\r\n", body=_GZIP),
    "encoded-gzip-chunked": ok(
        HTML, CHUNKED, b"Content-Encoding: gzip\r\n", body=chunks(_GZIP[:15], _GZIP[15:])
    ),
    "encoded-gzip-two-headers": _encoded(b" gzip\r\nContent-Encoding: gzip", _repeated(2)),
    "encoded-gzip-two-headers-once": _encoded(b" gzip\r\nContent-Encoding: gzip", _GZIP),
    # Answers before the answer, and instead of it
    "interim-100-only": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim-103-only": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "interim-101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + ok(HTML),
    "interim-101-upgrade": b"HTTP/1.1 101 Odd\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "interim-199": b"HTTP/1.1 199 Odd\r\n\r\n" + ok(HTML),
    "interim-with-body": b"HTTP/1.1 102 Odd\r\nContent-Length: 3\r\n\r\nabc" + ok(HTML),
    "interim-without-reason": b"HTTP/1.1 100\r\n\r\n" + ok(HTML),
    "interim-then-garbage": b"HTTP/1.1 100 Continue\r\n\r\ngarbage",
    "interim-then-line-feeds": b"HTTP/1.1 100 Continue\n\n" + ok(HTML),
    "status-206": ok(HTML, start=b"HTTP/1.1 206 Partial Content"),
    "status-206-range": ok(
        HTML, b"Content-Range: bytes 5-80/900\r\n", start=b"HTTP/1.1 206 Partial Content"
    ),
    "status-226": ok(HTML, start=b"HTTP/1.1 226 IM Used"),
    "status-416": ok(HTML, start=b"HTTP/1.1 416 Range Not Satisfiable"),
    "status-407": ok(HTML, start=b"HTTP/1.1 407 Proxy Login"),
    "status-408": ok(HTML, start=b"HTTP/1.1 408 Request Timeout"),
    "status-421": ok(HTML, start=b"HTTP/1.1 421 Misdirected Request"),
    "status-425": ok(HTML, start=b"HTTP/1.1 425 Too Early"),
}

for _name, _data in ANSWERS.items():
    GROUP.add(_name, serves(raw(_data)), relative=_name not in _ORDINARY)
    FORMS.add(_name, leaf, answer=raw(_data), scheme="http", relative=_name not in _ORDINARY)
