"""Odd HTTP answers with a password form, as servers and scripts send them.

tests/certmgr/scan/test_odd_answers.py asks Chromium and certmgr about each.
"""

from __future__ import annotations

import gzip
import zlib

FORM = b"<!doctype html><title>t</title><form><input type=password></form>"
_SIZE = b"%d" % len(FORM)
_GZIP = gzip.compress(FORM, mtime=0)
OTHER = b"/other"


def answer(*headers: bytes, status: bytes = b"HTTP/1.1 200 OK", body: bytes = FORM) -> bytes:
    """Return an answer with the type of HTML and these headers."""
    lines = [status, b"Content-Type: text/html", *headers, b"", body]
    return b"\r\n".join(lines)


def typed(*values: bytes, body: bytes = FORM) -> bytes:
    """Return an answer with these Content-Type headers."""
    lines = [b"HTTP/1.1 200 OK", *[b"Content-Type: " + v for v in values], b"", body]
    return b"\r\n".join(lines)


def coded(coding: bytes, body: bytes = FORM) -> bytes:
    return answer(b"Content-Encoding: " + coding, body=body)


def chunk(data: bytes = FORM, size: bytes = b"%x" % len(FORM)) -> bytes:
    return b"%s\r\n%s\r\n0\r\n\r\n" % (size, data)


def chunked(body: bytes, coding: bytes = b"chunked", status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return answer(b"Transfer-Encoding: " + coding, status=status, body=body)


def sized(*lengths: bytes) -> bytes:
    return answer(*[b"Content-Length: " + length for length in lengths])


def redirect(*locations: bytes, status: bytes = b"HTTP/1.1 302 Found") -> bytes:
    return answer(*[b"Location: " + v for v in locations], status=status)


def xhtml(body: bytes, head: bytes = b"", kind: bytes = b"application/xhtml+xml") -> bytes:
    page = b'%s<html xmlns="http://www.w3.org/1999/xhtml"><body>%s</body></html>' % (head, body)
    return typed(kind, body=page)


def html(body: bytes) -> bytes:
    return answer(body=b"<!doctype html><title>t</title>" + body)


def _raw_deflate() -> bytes:
    compressor = zlib.compressobj(9, 8, -15)
    return compressor.compress(FORM) + compressor.flush()


_X = b"<input type='password'/>"
_F = b"<input type=password>"
_STRICT = (
    b"<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0 Strict//EN'"
    b" 'http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd'>"
)
_SHADOW = b"<template shadowrootmode=%s>%s</template>"
STATUS_LINES = [
    *(b"HTTP/1 200 OK", b"HTTP/2 200 OK", b"HTTP/2.0 200 OK", b"HTTP/0.9 200 OK", b"HTTP/1.2 200"),
    *(b"HTTP/1.10 200 OK", b"HTTP/11.1 200 OK", b"HTTP 200 OK", b"HTTP", b"HTTPS/1.1 200 OK"),
    *(b"HTTPXX", b"http/1.1 200 ok", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 OK", b"HTTP/1.1 200OK"),
    *(b"HTTP/1.1\t200\tOK", b"HTTP/1.1  200 OK", b" HTTP/1.1 200 OK", b"abcdHTTP/1.1 200 OK"),
    *(b"abcdeHTTP/1.1 200 OK", b"\r\nHTTP/1.1 200 OK", b"\r\n\r\nHTTP/1.1 200 OK"),
    *(b"\r\n\r\n\r\nHTTP/1.1 200 OK", b"\nHTTP/1.1 200 OK", b"\n\n\n\nHTTP/1.1 200 OK"),
    *(b"\xef\xbb\xbfHTTP/1.1 200 OK", b"HTTP/1.1 600 X", b"HTTP/1.1 999 X", b"HTTP/1.1 1000 X"),
    *(b"HTTP/1.1 0 X", b"HTTP/1.1 20 X", b"HTTP/1.1 2000 X", b"HTTP/1.1 99999999999999 X"),
    *(b"HTTP/1.1 -1 X", b"HTTP/1.1 200.1 X", b"HTTP/1.1 0200 X", b"HTTP/1.1 300 X"),
    *(
        b"HTTP/1.1 306 X",
        b"HTTP/1.1 404 X",
        b"HTTP/1.1 401 X",
        b"HTTP/1.1 407 X",
        b"HTTP/1.1 101 X",
    ),
    *(b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 199 X\r\n\r\nHTTP/1.1 200 OK"),
    *(b"HTTP/1.1 103 X\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 200 O\0K"),
    *(b"HTTP/1.1 200 \xe4\xff", b"HTTP/1.1 204 X", b"HTTP/1.1 304 X", b"HTTP/1.1 206 X"),
]
HEADER_LINES = [
    *(b"X Odd: 1", b"garbage", b"X : 1", b"X\t: 1", b": x", b"X: a\0b", b"X\0: a"),
    *(b"X: a\x01\x7fb", b"X: \xe4\xff", b"X: a\r\n b", b" X: y", b"<b>Warning</b>: mysql failed"),
    *(b"PHP Warning:  foo in /x.php on line 3", b"Connection: keep-alive", b"Upgrade: h2c"),
    *(b"Content-Disposition: inline; filename=x", b"Content-Disposition: filename=x"),
    *(b"Content-Disposition: attachment", b"Content-Disposition: form-data"),
    *(b"Content-Disposition:", b"Content-Disposition: inline\r\nContent-Disposition: attachment"),
    *(b"Location: /a\r\nLocation: /b", b"Location: /a\r\nLocation: /a"),
]
TYPES = [
    *((b"text/plain", b"text/html"), (b"text/html", b"text/plain"), (b"text/plain, text/html",)),
    *((b"text/html, text/plain",), (b"*/*",), (b"html",), (b";charset=utf-8",), (b"text",)),
    *((b"text/html,",), (b"text/html charset=utf-8",), (b"text / html",), (b"text/plain",), ()),
    *((b"unknown/unknown",), (b"application/unknown",), (b"application/octet-stream",)),
    (b"text/html\r\n ; charset=utf-8",),
]
CODINGS: list[tuple[bytes, bytes]] = [
    *((b"utf-8", FORM), (b"none", FORM), (b"", FORM), (b"identity", FORM), (b"8bit", FORM)),
    *(
        (b"gzip", _GZIP),
        (b"GZIP", _GZIP),
        (b"x-gzip", _GZIP),
        (b"gzip, gzip", gzip.compress(_GZIP, mtime=0)),
    ),
    *((b"gzip, utf-8", _GZIP), (b"identity, gzip", _GZIP), (b"utf-8", _GZIP)),
    (b"gzip", FORM),
    *((b"deflate", zlib.compress(FORM)), (b"deflate", _raw_deflate()), (b"deflate", _GZIP)),
    *((b"gzip", zlib.compress(FORM)), (b"gzip", _GZIP + b"garbage"), (b"gzip", _GZIP[:-6])),
    *((b"gzip", _GZIP[:-6] + b"abcdef"), (b"gzip", gzip.compress(b"<p>x", mtime=0) + _GZIP)),
    *(
        (b"br", FORM),
        (b"zstd", FORM),
        (b"gzip\r\nContent-Encoding: gzip", gzip.compress(_GZIP, mtime=0)),
    ),
]
CHUNKED = [
    chunked(chunk(), coding)
    for coding in (
        *(b"chunked", b"chunked, chunked", b"Chunked", b"gzip, chunked", b"chunked, identity"),
        *(b'"chunked"', b"xchunked", b"chunked\r\nTransfer-Encoding: chunked"),
        *(b"chunked\r\nContent-Length: 5", b"chunked\r\nContent-Length: 5\r\nContent-Length: 6"),
    )
]
CHUNKED += [
    *(chunked(FORM, b"identity"), chunked(FORM, b"gzip"), chunked(FORM)),
    *(chunked(chunk(), status=b"HTTP/1.0 200 OK"), chunked(chunk(), status=b"HTTP/1 200 OK")),
    *[
        chunked(chunk(size=size))
        for size in (
            *(b"0x41", b"+41", b"-41", b"41   ", b"  41", b"41;a=b", b"41 ;a=b", b"000041"),
            *(b"0" * 40 + b"41", b"\r\n41", b"41\t", b"41g", b"FFFFFFFF", b"4b"),
        )
    ],
    chunked(b"%x\n%s\n0\n\n" % (len(FORM), FORM)),
    chunked(b"%x\r\n%s\r\n" % (len(FORM), FORM)),
    chunked(b"%x\r\n%s\r\n0\r\nX: y\r\nbad line\r\n\r\n" % (len(FORM), FORM)),
]
LENGTHS: list[tuple[bytes, ...]] = [
    *((b"abc",), (b"-1",), (b"+5",), (b"",), (b"0x41",), (b"65 bytes",), (b"5 bytes",), (b"1.5",)),
    *((b"99999999999999999999999",), (b"1000",), (b"5",), (b"0",), (_SIZE, _SIZE), (b"5", b"6")),
    *(
        (_SIZE + b", " + _SIZE,),
        (b"5, " + _SIZE,),
        (b"abc", b"5"),
        (b"abc", b"abd"),
        (b"00" + _SIZE,),
    ),
]
LOCATIONS: list[tuple[bytes, ...]] = [
    *((OTHER, b"/plain"), (OTHER, OTHER), (OTHER + b", /plain",), (b"",), (b"", OTHER), (b"#x",)),
    *((b"data:text/html,x",), (b"http://",), (b"http://x.test:99999/",), (b"http://x.test:25/",)),
    *((b"other",), (b"\r\n /other",), (b'"/other"',), (b"HTTP:other",), (b"http:/other",)),
    *((b"//HOST/other",), (b"///HOST/other",), (b"HTTP://HOST/other",), (b"\\other",)),
    *((b"http:\\\\HOST\\other",), (b"http://u:p@HOST/other",), (b"/o\tther",), (b"/other#x",)),
]
PAGES = [
    *(xhtml(_X), xhtml(b"<INPUT type='password'/>"), xhtml(b"<p>x" + _X), xhtml(b"<p>x</b>" + _X)),
    *(xhtml(b"<![CDATA[" + _X + b"]]>"), xhtml(b"&nbsp;" + _X, _STRICT), xhtml(b"&nbsp;" + _X)),
    *(xhtml(b"&nbsp;" + _X, b"<!DOCTYPE html>"), xhtml(b"<noscript>" + _X + b"</noscript>")),
    *(xhtml(b"<script src='a.js'/>" + _X), xhtml(b"<textarea/>" + _X), xhtml(b"<title/>" + _X)),
    *(xhtml(b"<template>" + _X + b"</template>"), xhtml(b"<script><!--" + _X + b"--></script>")),
    *(xhtml(b"\xe4\xff" + _X), xhtml(b"\xe4" + _X, kind=b"application/xhtml+xml; charset=latin1")),
    *(xhtml(b"\xe4" + _X, b"<?xml version='1.0' encoding='iso-8859-1'?>"), xhtml(_X, b"\n<?xml?>")),
    *(xhtml(_X, kind=b"text/xml"), xhtml(_X, kind=b"application/xml"), xhtml(_X + b"</p>")),
    xhtml(b"<svg xmlns='http://www.w3.org/2000/svg'>" + _X + b"</svg>"),
    xhtml(b"<div><template shadowrootmode='open'>" + _X + b"</template></div>"),
    xhtml(b"&f;", b"<!DOCTYPE html [<!ENTITY f \"<input type='password'/>\">]>"),
    typed(b"application/xhtml+xml", body=b"<html><body>" + _X + b"</body></html>"),
    typed(
        body=b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>" + _X + b"</html>"
    ),
    html(b"<div>" + _SHADOW % (b"open", _F) + b"</div>"),
    html(b"<div>" + _SHADOW % (b"OPEN", _F) + b"</div>"),
    html(b"<div>" + _SHADOW % (b"x", _F) + b"</div>"),
    html(b"<div><template shadowroot=open>" + _F + b"</template></div>"),
    html(b"<div>" + _SHADOW % (b"open", b"<p>" + _SHADOW % (b"open", _F) + b"</p>") + b"</div>"),
    html(b"<template><div>" + _SHADOW % (b"open", _F) + b"</div></template>"),
    html(b"<div>" + _SHADOW % (b"open", b"x") + _SHADOW % (b"open", _F) + b"</div>"),
    html(b"<a>" + _SHADOW % (b"open", _F) + b"</a>"),
    html(b"<my-box>" + _SHADOW % (b"open", _F) + b"</my-box>"),
    html(b"<iframe srcdoc='" + _F + b"'></iframe>"),
    html(b"<iframe srcdoc='<iframe srcdoc=\"" + _F + b"\"></iframe>'></iframe>"),
    html(b"<svg><iframe srcdoc='" + _F + b"'></iframe></svg>"),
    html(b"<svg>" + _F + b"</svg>"),
    html(b"<svg><foreignObject>" + _F + b"</foreignObject></svg>"),
    html(b"<iframe srcdoc='<noscript>" + _F + b"</noscript>'></iframe>"),
]


def answers() -> dict[str, bytes]:
    """Return all answers by a text that shows what is odd."""
    heads = [answer(status=line) for line in STATUS_LINES]
    heads += [answer(line) for line in HEADER_LINES]
    heads += [
        b"HTTP/1.1 200 OK\r\n" + first + b"\r\nContent-Type: text/html\r\n\r\n" + FORM
        for first in (b"garbage", b" folded: x", b"X: y")
    ]
    heads += [
        answer().replace(b"\r\n", b"\n"),
        answer().replace(b"\r\n", b"\r\r\n"),
        answer().replace(b"\r\n", b"\r"),
        b"HTTP/1.1 200 OK\r\nContent-Type : text/html\r\n\r\n" + FORM,
        b"HTTP/1.1 200 OK\r\nX: y\r\n Content-Type: text/html\r\n\r\nx" + FORM,
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html",
        b"HTTP/1.1 200 OK",
        FORM,
        b"ICY 200 OK\r\nContent-Type: text/html\r\n\r\n" + FORM,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n\r\n" + FORM,
    ]
    bodies = [coded(*c) for c in CODINGS] + CHUNKED + [sized(*v) for v in LENGTHS]
    others = [redirect(*v) for v in LOCATIONS]
    others += [redirect(OTHER, status=b"HTTP/1.1 %d X" % n) for n in (300, 301, 303, 305, 308, 201)]
    others += [typed(*v) for v in TYPES] + PAGES
    return {f"{n} {a[:150]!r}": a for n, a in enumerate([*heads, *bodies, *others])}
