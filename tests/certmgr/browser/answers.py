"""Situations of answers: HTTP as servers write it, over HTTPS and over plain HTTP.

Over plain HTTP each answer has a form with a field for a password: if Chromium shows the field,
certmgr must find it, however odd the answer is.
"""

from __future__ import annotations

import gzip
import zlib

from tests.certmgr.browser.pki import leaf
from tests.certmgr.browser.serving import page, raw, serves
from tests.certmgr.browser.situations import Group

GROUP = Group("answers")
FORMS = Group("forms")

FORM = b"<!doctype html><title>Login</title><form><input type=password name=pw></form>"
_SIZE = str(len(FORM)).encode()
HTML = b"Content-Type: text/html\r\n"
LENGTH = b"Content-Length: " + _SIZE + b"\r\n"


def ok(*headers: bytes, body: bytes = FORM, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return start + b"\r\n" + b"".join(headers) + b"\r\n" + body


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + end


CHUNKED = b"Transfer-Encoding: chunked\r\n"
_GZIPPED = gzip.compress(FORM, mtime=0)

# A stream with one uncompressed block, and an empty last one (RFC 7932 9.2).
BROTLI = ((len(FORM) - 1) << 4 | 1 << 20).to_bytes(3, "little") + FORM + b"\x03"
# A frame with one raw block (RFC 8878 3.1.1).
ZSTD = (
    b"\x28\xb5\x2f\xfd\x20"
    + bytes([len(FORM)])
    + ((len(FORM) << 3) | 1).to_bytes(3, "little")
    + FORM
)


def _empty(status: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    """An error without a page: browsers show their own."""
    return ok(HTML, *headers, body=body, start=b"HTTP/1.1 " + status)


def _charset(name: str, body: bytes) -> bytes:
    return ok(f"Content-Type: text/html; charset={name}\r\n".encode(), body=body)


ANSWERS: dict[str, bytes] = {
    "ordinary": ok(HTML, LENGTH),
    "no-length": ok(HTML),
    "no-type": ok(LENGTH),
    "chunked": ok(HTML, CHUNKED, body=chunks(FORM[:20], FORM[20:])),
    "status-without-reason": ok(HTML, start=b"HTTP/1.1 200"),
    "version-1": ok(HTML, start=b"HTTP/1 200 OK"),
    "version-1.0": ok(HTML, start=b"HTTP/1.0 200 OK"),
    "version-1.2": ok(HTML, start=b"HTTP/1.2 200 OK"),
    "version-2.0": ok(HTML, start=b"HTTP/2.0 200 OK"),
    "version-lower-case": ok(HTML, start=b"http/1.1 200 OK"),
    "version-0.9": FORM,
    "icy": ok(HTML, start=b"ICY 200 OK"),
    "empty-line-first": b"\r\n" + ok(HTML),
    "line-feeds-only": ok(HTML).replace(b"\r\n", b"\n"),
    "blanks-first": b"  " + ok(HTML),
    "status-600": ok(HTML, start=b"HTTP/1.1 600 Odd"),
    "status-999": ok(HTML, start=b"HTTP/1.1 999 Odd"),
    "status-99": ok(HTML, start=b"HTTP/1.1 99 Odd"),
    "status-000": ok(HTML, start=b"HTTP/1.1 000 Odd"),
    "status-word": ok(HTML, start=b"HTTP/1.1 abc Odd"),
    "status-missing": ok(HTML, start=b"HTTP/1.1"),
    "status-2000": ok(HTML, start=b"HTTP/1.1 2000 Odd"),
    "status-404": ok(HTML, start=b"HTTP/1.1 404 Not Found"),
    "status-500": ok(HTML, start=b"HTTP/1.1 500 Internal Server Error"),
    "status-502": ok(HTML, start=b"HTTP/1.1 502 Bad Gateway"),
    "status-503": ok(HTML, start=b"HTTP/1.1 503 Service Unavailable"),
    "status-403": ok(HTML, start=b"HTTP/1.1 403 Forbidden"),
    "status-401": ok(HTML, start=b"HTTP/1.1 401 Unauthorized"),
    "status-300": ok(HTML, start=b"HTTP/1.1 300 Multiple Choices"),
    "status-304": ok(HTML, start=b"HTTP/1.1 304 Not Modified"),
    "status-302-without-location": ok(HTML, start=b"HTTP/1.1 302 Found"),
    "empty-404": _empty(b"404 Not Found", b"Content-Length: 0\r\n"),
    "empty-404-without-length": _empty(b"404 Not Found"),
    "empty-404-chunked": ok(HTML, CHUNKED, body=b"0\r\n\r\n", start=b"HTTP/1.1 404 Not Found"),
    "empty-404-gzip": _empty(
        b"404 Not Found", b"Content-Encoding: gzip\r\n", body=gzip.compress(b"", mtime=0)
    ),
    "empty-404-plain-text": _empty(b"404 Not Found", b"Content-Type: text/plain\r\n"),
    "empty-404-json": _empty(b"404 Not Found", b"Content-Type: application/json\r\n"),
    "empty-404-image": _empty(b"404 Not Found", b"Content-Type: image/png\r\n"),
    "empty-404-without-type": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "empty-404-download": _empty(b"404 Not Found", b"Content-Disposition: attachment\r\n"),
    "empty-404-line": _empty(b"404 Not Found", body=b"\r\n"),
    "empty-404-blank": _empty(b"404 Not Found", body=b" "),
    "empty-404-comment": _empty(b"404 Not Found", body=b"<!-- x -->"),
    "empty-404-byte-order-mark": _empty(b"404 Not Found", body=b"\xef\xbb\xbf"),
    "empty-404-cut": _empty(b"404 Not Found", b"Content-Length: 9\r\n"),
    "error-404-download": ok(
        HTML, b"Content-Disposition: attachment\r\n", start=b"HTTP/1.1 404 Not Found"
    ),
    "error-404-octet-stream": ok(
        b"Content-Type: application/octet-stream\r\n", start=b"HTTP/1.1 404 Not Found"
    ),
    "error-500-zip": ok(b"Content-Type: application/zip\r\n", start=b"HTTP/1.1 500 Odd"),
    "error-404-json": ok(
        b"Content-Type: application/json\r\n", start=b"HTTP/1.1 404 Not Found", body=b"{}"
    ),
    "error-404-problem-json": ok(
        b"Content-Type: application/problem+json\r\n", start=b"HTTP/1.1 404 Not Found"
    ),
    "error-404-grpc": ok(b"Content-Type: application/grpc\r\n", start=b"HTTP/1.1 404 Odd"),
    "error-404-protobuf": ok(
        b"Content-Type: application/x-protobuf\r\n", start=b"HTTP/1.1 404 Odd"
    ),
    "error-404-soap": ok(b"Content-Type: application/soap+xml\r\n", start=b"HTTP/1.1 404 Odd"),
    "error-404-form": ok(
        b"Content-Type: application/x-www-form-urlencoded\r\n", start=b"HTTP/1.1 404 Odd"
    ),
    "error-404-empty-type": ok(b"Content-Type:\r\n", start=b"HTTP/1.1 404 Odd", body=b"\0\1"),
    "error-404-atom": ok(
        b"Content-Type: application/atom+xml\r\n", start=b"HTTP/1.1 404 Odd", body=b"<a/>"
    ),
    "error-404-rss": ok(
        b"Content-Type: application/rss+xml\r\n", start=b"HTTP/1.1 404 Odd", body=b"<a/>"
    ),
    "error-404-manifest": ok(
        b"Content-Type: application/manifest+json\r\n", start=b"HTTP/1.1 404 Odd", body=b"{}"
    ),
    "error-404-csv": ok(b"Content-Type: text/csv\r\n", start=b"HTTP/1.1 404 Odd"),
    "error-404-binary": ok(
        b"Content-Type: text/plain\r\n", start=b"HTTP/1.1 404 Odd", body=b"\0\1\2"
    ),
    "error-404-font": ok(b"Content-Type: font/woff2\r\n", start=b"HTTP/1.1 404 Odd"),
    "error-404-image": ok(b"Content-Type: image/png\r\n", start=b"HTTP/1.1 404 Odd"),
    "error-404-xhtml": ok(
        b"Content-Type: application/xhtml+xml\r\n", start=b"HTTP/1.1 404 Odd", body=b"<a/>"
    ),
    "error-410-octet-stream": ok(
        b"Content-Type: application/octet-stream\r\n", start=b"HTTP/1.1 410 Gone", body=b"a"
    ),
    "empty-400": _empty(b"400 Bad Request", b"Content-Length: 0\r\n"),
    "empty-401": _empty(b"401 Unauthorized", b"Content-Length: 0\r\n"),
    "empty-405": _empty(b"405 Method Not Allowed", b"Content-Length: 0\r\n"),
    "empty-410": _empty(b"410 Gone", b"Content-Length: 0\r\n"),
    "empty-418": _empty(b"418 Teapot", b"Content-Length: 0\r\n"),
    "empty-500": _empty(b"500 Internal Server Error", b"Content-Length: 0\r\n"),
    "empty-500-without-length": _empty(b"500 Internal Server Error"),
    "empty-502": _empty(b"502 Bad Gateway", b"Content-Length: 0\r\n"),
    "empty-504": _empty(b"504 Gateway Timeout", b"Content-Length: 0\r\n"),
    "empty-599": _empty(b"599 Odd", b"Content-Length: 0\r\n"),
    "empty-600": _empty(b"600 Odd", b"Content-Length: 0\r\n"),
    "empty-399": _empty(b"399 Odd", b"Content-Length: 0\r\n"),
    "empty-302-without-location": _empty(b"302 Found", b"Content-Length: 0\r\n"),
    "empty-201": _empty(b"201 Created", b"Content-Length: 0\r\n"),
    "encoding-br-but-plain": ok(HTML, b"Content-Encoding: br\r\n"),
    "encoding-br": ok(HTML, b"Content-Encoding: br\r\n", body=BROTLI),
    "encoding-br-cut": ok(HTML, b"Content-Encoding: br\r\n", body=BROTLI[:-5]),
    "encoding-br-and-gzip": ok(
        HTML, b"Content-Encoding: br, gzip\r\n", body=gzip.compress(BROTLI, mtime=0)
    ),
    "encoding-zstd-but-plain": ok(HTML, b"Content-Encoding: zstd\r\n"),
    "encoding-zstd": ok(HTML, b"Content-Encoding: zstd\r\n", body=ZSTD),
    "encoding-dcb": ok(HTML, b"Content-Encoding: dcb\r\n"),
    "encoding-compress": ok(HTML, b"Content-Encoding: compress\r\n"),
    "encoding-gzip-two-members": ok(
        HTML,
        b"Content-Encoding: gzip\r\n",
        body=gzip.compress(FORM[:30], mtime=0) + gzip.compress(FORM[30:], mtime=0),
    ),
    "encoding-gzip-then-garbage": ok(
        HTML, b"Content-Encoding: gzip\r\n", body=_GZIPPED + b"garbage"
    ),
    "encoding-gzip-empty": ok(HTML, b"Content-Encoding: gzip\r\n", body=b""),
    "encoding-gzip-capitals": ok(HTML, b"Content-Encoding: GZIP\r\n", body=_GZIPPED),
    "encoding-two-headers": ok(
        HTML,
        b"Content-Encoding: deflate\r\nContent-Encoding: gzip\r\n",
        body=gzip.compress(zlib.compress(FORM), mtime=0),
    ),
    "chunk-size-capitals": ok(HTML, CHUNKED, body=b"%X\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)),
    "chunk-size-prefix": ok(HTML, CHUNKED, body=b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)),
    "chunk-line-feeds-only": ok(HTML, CHUNKED, body=b"%x\n%s\n0\n\n" % (len(FORM), FORM)),
    "chunk-without-line-end": ok(HTML, CHUNKED, body=b"%x\r\n%s0\r\n\r\n" % (len(FORM), FORM)),
    "chunk-of-one-byte-each": ok(
        HTML, CHUNKED, body=chunks(*(FORM[n : n + 1] for n in range(len(FORM))))
    ),
    "trailer-of-30-kilobytes": ok(
        HTML, CHUNKED, body=chunks(FORM, end=b"0\r\nX-A: " + b"b" * 30_000 + b"\r\n\r\n")
    ),
    "trailer-without-end": ok(HTML, CHUNKED, body=chunks(FORM, end=b"0\r\nX-A: b\r\n")),
    "charset-utf-16-in-header": _charset("utf-16le", FORM.decode().encode("utf-16-le")),
    "charset-utf-16-but-ascii": _charset("utf-16", FORM),
    "charset-utf-7": _charset("utf-7", FORM.decode().replace("<", "+ADw-").encode()),
    "charset-replacement": _charset("iso-2022-kr", FORM),
    "charset-hz": _charset("hz-gb-2312", FORM),
    "charset-x-user-defined": _charset("x-user-defined", FORM),
    "charset-iso-2022-jp": _charset("iso-2022-jp", b"\x1b$B" + FORM + b"\x1b(B" + FORM),
    "charset-shift-jis-swallows-quote": _charset(
        "shift_jis", b"<!doctype html><p title='\x81'><input type=password name='x'>"
    ),
    "charset-gb18030": _charset("gb18030", FORM),
    "charset-ebcdic": _charset("cp037", FORM.decode().encode("cp037")),
    "charset-utf-32": _charset("utf-32", FORM.decode().encode("utf-32-le")),
    "charset-quoted": _charset('"utf-16le"', FORM.decode().encode("utf-16-le")),
    "charset-unknown": _charset("klingon", FORM),
    "charset-meta-utf-16": ok(b"Content-Type: text/html\r\n", body=b"<meta charset=utf-16>" + FORM),
    "charset-meta-late": ok(
        b"Content-Type: text/html\r\n",
        body=b"<!--" + b"x" * 1100 + b"--><meta charset=iso-2022-kr>" + FORM,
    ),
    "charset-mark-against-header": ok(
        b"Content-Type: text/html; charset=utf-8\r\n",
        body=b"\xfe\xff" + FORM.decode().encode("utf-16-be"),
    ),
    "type-svg": ok(
        b"Content-Type: image/svg+xml\r\n",
        body=b'<svg xmlns="http://www.w3.org/2000/svg"><foreignObject>'
        b'<input xmlns="http://www.w3.org/1999/xhtml" type="password"/></foreignObject></svg>',
    ),
    "type-xml": ok(
        b"Content-Type: text/xml\r\n",
        body=b'<a><input xmlns="http://www.w3.org/1999/xhtml" type="password"/></a>',
    ),
    "type-atom": ok(
        b"Content-Type: application/atom+xml\r\n",
        body=b'<a><input xmlns="http://www.w3.org/1999/xhtml" type="password"/></a>',
    ),
    "type-xhtml-malformed": ok(
        b"Content-Type: application/xhtml+xml\r\n",
        body=b'<html xmlns="http://www.w3.org/1999/xhtml"><body><input type="password"/><br>',
    ),
    "type-json": ok(b"Content-Type: application/json\r\n"),
    "type-javascript": ok(b"Content-Type: text/javascript\r\n"),
    "type-html-in-capitals": ok(b"Content-Type: TEXT/HTML\r\n"),
    "type-html-with-comma": ok(b"Content-Type: text/html, text/plain\r\n"),
    "type-html-with-semicolon-first": ok(b"Content-Type: ;text/html\r\n"),
    "type-html-with-comment": ok(b"Content-Type: text/html(x)\r\n"),
    "type-html-without-sniffing": ok(HTML, b"X-Content-Type-Options: nosniff\r\n"),
    "type-none-without-sniffing": ok(b"X-Content-Type-Options: nosniff\r\n"),
    "interim-103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(HTML),
    "interim-102-many": b"HTTP/1.1 102 Processing\r\n\r\n" * 30 + ok(HTML),
    "interim-100": b"HTTP/1.1 100 Continue\r\n\r\n" + ok(HTML),
    "header-name-with-blank": ok(HTML, b"X Powered By: PHP\r\n"),
    "header-blank-before-colon": ok(b"Content-Type : text/html\r\n", LENGTH),
    "header-without-colon": ok(HTML, b"just a line\r\n"),
    "header-empty-name": ok(HTML, b": nothing\r\n"),
    "header-folded": ok(b"Content-Type:\r\n text/html\r\n"),
    "header-utf8": ok(HTML, "X-Name: Gärten\r\n".encode()),
    "header-latin1": ok(HTML, b"X-Name: G\xe4rten\r\n"),
    "header-control-character": ok(HTML, b"X-Name: a\x01b\r\n"),
    "header-zero-byte": ok(HTML, b"X-Name: a\x00b\r\n"),
    "header-carriage-return": ok(HTML, b"X-Name: a\rb\r\n"),
    "headers-of-20-kilobytes": ok(HTML, b"X-Long: " + b"x" * 20_000 + b"\r\n"),
    "headers-of-300-kilobytes": ok(HTML, b"X-Long: " + b"x" * 300_000 + b"\r\n"),
    "headers-of-200-kilobytes": ok(HTML, b"X-Long: " + b"x" * 200_000 + b"\r\n"),
    "headers-of-300-kilobytes-in-lines": ok(HTML, *(b"X-%05d: y\r\n" % n for n in range(25_000))),
    "headers-of-300-kilobytes-without-end": b"HTTP/1.1 200 OK\r\n" + b"X-Long: y\r\n" * 30_000,
    "five-hundred-headers": ok(HTML, *(b"X-%d: y\r\n" % n for n in range(500))),
    "length-word": ok(HTML, b"Content-Length: abc\r\n"),
    "length-negative": ok(HTML, b"Content-Length: -1\r\n"),
    "length-plus": ok(HTML, b"Content-Length: +" + _SIZE + b"\r\n"),
    "length-empty": ok(HTML, b"Content-Length:\r\n"),
    "length-twice-same": ok(HTML, LENGTH, LENGTH),
    "length-twice-different": ok(HTML, LENGTH, b"Content-Length: 5\r\n"),
    "length-list": ok(HTML, b"Content-Length: " + _SIZE + b", " + _SIZE + b"\r\n"),
    "length-too-large": ok(HTML, b"Content-Length: 9999\r\n"),
    "length-too-small": ok(HTML, b"Content-Length: 20\r\n"),
    "length-minus-zero": ok(HTML, b"Content-Length: -0\r\n"),
    "length-zero": ok(HTML, b"Content-Length: 0\r\n"),
    "length-and-chunked": ok(HTML, b"Content-Length: 5\r\n", CHUNKED, body=chunks(FORM)),
    "chunked-twice": ok(HTML, b"Transfer-Encoding: chunked, chunked\r\n", body=chunks(FORM)),
    "chunked-two-headers": ok(HTML, CHUNKED, CHUNKED, body=chunks(FORM)),
    "chunked-capitals": ok(HTML, b"Transfer-Encoding: Chunked\r\n", body=chunks(FORM)),
    "chunked-and-identity": ok(HTML, b"Transfer-Encoding: identity\r\n"),
    "chunked-but-plain": ok(HTML, CHUNKED),
    "chunk-extension": ok(HTML, CHUNKED, body=b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)),
    "chunk-size-with-blanks": ok(
        HTML, CHUNKED, body=b"%x  \r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)
    ),
    "chunk-size-with-zeros": ok(
        HTML, CHUNKED, body=b"0000%x\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM)
    ),
    "chunks-without-end": ok(HTML, CHUNKED, body=chunks(FORM, end=b"")),
    "chunks-with-trailer": ok(HTML, CHUNKED, body=chunks(FORM, end=b"0\r\nX-A: b\r\n\r\n")),
    "encoding-gzip": ok(HTML, b"Content-Encoding: gzip\r\n", body=_GZIPPED),
    "encoding-x-gzip": ok(HTML, b"Content-Encoding: x-gzip\r\n", body=_GZIPPED),
    "encoding-deflate": ok(HTML, b"Content-Encoding: deflate\r\n", body=zlib.compress(FORM)),
    "encoding-deflate-raw": ok(
        HTML, b"Content-Encoding: deflate\r\n", body=zlib.compress(FORM, wbits=-15)
    ),
    "encoding-gzip-truncated": ok(HTML, b"Content-Encoding: gzip\r\n", body=_GZIPPED[:-8]),
    "encoding-gzip-but-plain": ok(HTML, b"Content-Encoding: gzip\r\n"),
    "encoding-twice": ok(
        HTML, b"Content-Encoding: gzip, gzip\r\n", body=gzip.compress(_GZIPPED, mtime=0)
    ),
    "encoding-utf-8": ok(HTML, b"Content-Encoding: utf-8\r\n"),
    "encoding-identity": ok(HTML, b"Content-Encoding: identity\r\n"),
    "encoding-none": ok(HTML, b"Content-Encoding: none\r\n"),
    "encoding-unknown": ok(HTML, b"Content-Encoding: zebra\r\n"),
    "type-with-charset-twice": ok(b"Content-Type: text/html; charset=utf-8; charset=x\r\n"),
    "type-twice": ok(b"Content-Type: text/plain\r\n", HTML),
    "type-xhtml": ok(
        b"Content-Type: application/xhtml+xml\r\n",
        body=b'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body>'
        b'<input type="password"/></body></html>',
    ),
    "type-xhtml-with-capitals": ok(
        b"Content-Type: application/xhtml+xml\r\n",
        body=b'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>x</title></head><body>'
        b'<INPUT type="password"/></body></html>',
    ),
    "type-plain-text": ok(b"Content-Type: text/plain\r\n"),
    "type-plain-text-html-inside": ok(b"Content-Type: text/plain; charset=utf-8\r\n"),
    "type-unknown-without-sniffing": ok(
        b"Content-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n"
    ),
    "type-wildcard": ok(b"Content-Type: */*\r\n"),
    "type-without-slash": ok(b"Content-Type: html\r\n"),
    "type-empty": ok(b"Content-Type:\r\n"),
    "body-utf-16": ok(
        b"Content-Type: text/html\r\n", body=b"\xff\xfe" + FORM.decode().encode("utf-16-le")
    ),
    "body-utf-8-mark": ok(HTML, body=b"\xef\xbb\xbf" + FORM),
    "no-body": ok(HTML, body=b""),
    "nothing": b"",
    "half-a-status-line": b"HTT",
    "one-letter": b"x",
    "status-line-only": b"HTTP/1.1 200 OK",
    "binary": bytes(range(256)),
    "other-protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
}

# Bodies in which Chromium shows a field, or does not.
BODIES: dict[str, str] = {
    "shadow-root": "<div><template shadowrootmode=open><input type=password></template></div>",
    "closed-shadow-root": "<p>x</p><div><template shadowrootmode=open><p>x</p></template></div>",
    "template": "<template><input type=password></template>",
    "srcdoc": "<iframe srcdoc='<input type=password>'></iframe>",
    "srcdoc-escaped": "<iframe srcdoc='&lt;input type=&quot;password&quot;&gt;'></iframe>",
    "comment": "<!-- <input type=password> -->",
    "script-text": "<script>var x = '<input type=password>';</script>",
    "noscript": "<noscript><input type=password></noscript>",
    "textarea": "<textarea><input type=password></textarea>",
    "capitals": "<INPUT TYPE=PASSWORD>",
    "blank-in-type": "<input type=' password'>",
    "entity-in-type": "<input type='pass&#119;ord'>",
    "slash-before-attribute": "<input/type=password>",
    "first-of-two-types": "<input type=password type=text>",
    "second-of-two-types": "<input type=text type=password>",
    "unclosed-tag": "<input type=password",
    "in-table": "<table><input type=password></table>",
    "in-svg": "<svg><input type=password></svg>",
    "in-svg-foreign-object": "<svg><foreignObject><input type=password></foreignObject></svg>",
    "in-math": "<math><input type=password></math>",
    "in-select": "<select><input type=password></select>",
    "in-title": "<title><input type=password></title>",
    "in-plaintext": "<plaintext><input type=password>",
    "in-frameset": "<frameset><frame><input type=password></frameset>",
    "in-dialog": "<dialog><input type=password></dialog>",
    "disabled": "<input type=password disabled>",
    "in-math-mi": "<math><mi><input type=password></mi></math>",
    "in-math-annotation": "<math><annotation-xml encoding='text/html'><input type=password></math>",
    "in-math-annotation-of-svg": "<math><annotation-xml encoding=x><input type=password></math>",
    "shadow-root-of-custom-element": "<x-y><template shadowrootmode=open>"
    "<input type=password></template></x-y>",
    "shadow-root-of-reserved-name": "<font-face><template shadowrootmode=open>"
    "<input type=password></template></font-face>",
}
# A browser writes no document for these: a download, no answer at all, or no change of the page.
_NO_PAGE = frozenset({"status-304"})
# Whether Chromium shows what came before an error depends on how the bytes arrive.
_NO_FORM = frozenset({"chunk-without-line-end"})


for _name, _data in ANSWERS.items():
    if _name in _NO_PAGE:
        continue
    GROUP.add(
        _name,
        serves(raw(_data)),
    )
    if _name in _NO_FORM:
        continue
    FORMS.add(
        _name,
        leaf,
        answer=raw(_data),
        scheme="http",
    )
for _name, _body in BODIES.items():
    FORMS.add(
        f"body-{_name}",
        leaf,
        answer=page("<!doctype html><title>x</title>" + _body),
        scheme="http",
    )
