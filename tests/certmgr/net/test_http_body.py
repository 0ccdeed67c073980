"""What is read of an odd answer, without a connection."""

from __future__ import annotations

import gzip
import zlib

import pytest

from certmgr.net import http1
from certmgr.net.http_body import MAX_CODINGS, BodyReader, has_invalid_coding
from certmgr.net.http_exchange import (
    INTERIM_ONLY,
    INVALID_ENCODING,
    TRUNCATED_HEADERS,
    HttpExchange,
)

PAGE = b"<!doctype html><title>Shop</title>"
RAW = zlib.compress(PAGE, wbits=-15)
OK = b"HTTP/1.1 200 OK\r\n"


def exchanged(data: bytes) -> HttpExchange:
    """Return an exchange over TLS that read these bytes and the end of the connection."""
    exchange = HttpExchange("shop.example", "/", (), secure=True)
    if not exchange.feed(data):
        exchange.end()
    return exchange


@pytest.mark.parametrize(
    ("coding", "invalid"),
    [(c, False) for c in ("", "utf-8", "text/html", "a\x0bb", "a\x7fb")]
    + [(c, True) for c in ("gzip;q=1", '"gzip"', "a=b", "a b", "a\tb")],
)
def test_coding_that_is_not_a_name_is_an_error_in_browsers(coding: str, invalid: bool) -> None:
    assert has_invalid_coding([coding]) is invalid
    data = OK + b"Content-Encoding: " + coding.encode() + b"\r\n\r\n" + PAGE
    assert exchanged(data).invalid == (INVALID_ENCODING if invalid else "")


def test_redirect_with_an_invalid_coding_is_followed() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Encoding: a;b\r\n\r\n"
    exchange = exchanged(head)
    assert (exchange.status, exchange.invalid) == (302, "")


@pytest.mark.parametrize(("count", "decoded"), [(MAX_CODINGS, True), (MAX_CODINGS + 1, False)])
def test_number_of_codings_is_that_of_browsers(count: int, decoded: bool) -> None:
    body = PAGE
    for _ in range(count):
        body = gzip.compress(body, mtime=0)
    reader = BodyReader(["gzip"] * count, 100_000)
    reader.feed(body)
    assert reader.body == (PAGE if decoded else body)


@pytest.mark.parametrize(("codings", "decoded"), [(["gzip", ""], False), (["gzip"], True)])
def test_empty_coding_leaves_the_bytes_as_they_are(codings: list[str], decoded: bool) -> None:
    body = gzip.compress(PAGE, mtime=0)
    reader = BodyReader(codings, 100_000)
    reader.feed(body)
    assert reader.body == (PAGE if decoded else body)


@pytest.mark.parametrize(("after", "valid"), [(b"", True), (b"abc", True), (b"abcd", False)])
def test_four_bytes_after_raw_deflate_are_a_wrong_checksum(after: bytes, valid: bool) -> None:
    reader = BodyReader(["deflate"], 100_000)
    reader.feed(RAW + after)
    assert (reader.body, reader.problem == "") == (PAGE if valid else b"", valid)


@pytest.mark.parametrize(
    ("data", "invalid"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", INTERIM_ONLY),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2, INTERIM_ONLY),
        (b"HTTP/1.1 100 Continue\r\n\r\nHT", TRUNCATED_HEADERS),
        (b"HT", TRUNCATED_HEADERS),
        (b"\0\0\0" + OK + b"\r\n", http1.NUL_IN_HEADERS),
        (b"\n\n\n" + OK + b"\r\n", ""),
    ],
)
def test_answer_that_ends_too_early_or_begins_with_nul_is_an_error(
    data: bytes, invalid: str
) -> None:
    assert exchanged(data).invalid == invalid


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize(("size", "incomplete"), [(9_000, False), (20_000, True)])
def test_line_of_a_chunk_is_limited_however_it_arrives(
    size: int, incomplete: bool, step: int
) -> None:
    chunk = b"%x;a=%s\r\n%s\r\n0\r\n\r\n" % (len(PAGE), b"b" * size, PAGE)
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    exchange = HttpExchange("shop.example", "/", (), secure=True)
    for n in range(0, len(data), step):
        if exchange.feed(data[n : n + step]):
            break
    assert exchange.incomplete is incomplete
    assert exchange.body == (b"" if incomplete else PAGE)
