"""Lists over plain HTTP: bounded in size and time, without internal addresses and redirects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_network

import pytest

from certmgr.net.addresses import Network
from certmgr.net.dns import DnsClient
from certmgr.net.downloads import parse_target
from certmgr.revocation.fetch import AT_ONCE, CrlFetcher
from tests.campaign import UNREACHED
from tests.certmgr.net.server import serving
from tests.certmgr.revocation.files import Files

LOOPBACK = (ip_network("127.0.0.0/8"),)


def fetcher(
    resolver: str = "127.0.0.1:1",
    allowed: Sequence[Network] = LOOPBACK,
    limit: int = 1_000_000,
    seconds: float = 60.0,
    timeout: float = UNREACHED,
) -> CrlFetcher:
    """``timeout``: of the resolver. ``seconds``: of the fetch."""
    return CrlFetcher(
        DnsClient((resolver,), timeout=timeout, tries=1), allowed, limit=limit, seconds=seconds
    )


@contextmanager
def raw(answer: bytes, then: bytes = b"", *, pause: float = 0.02) -> Iterator[int]:
    """Send ``answer`` to each client, and after it ``then`` again and again. Yields the port."""
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while True:
            try:
                conn, _ = server.accept()
            except OSError:
                return
            with conn, suppress(OSError):
                conn.recv(4096)
                conn.sendall(answer)
                while then and not stop.wait(pause):
                    conn.sendall(then)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        stop.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_file_is_fetched_by_name_from_the_checked_address(files: Files) -> None:
    files.publish(b"list", "a.crl")
    with serving({("crl.example", "A"): ["127.0.0.1"]}) as names:
        got = fetcher(names.address).fetch(files.url("a.crl", "crl.example"))
    assert (got.body, got.problem) == (b"list", "")
    assert files.requests(at_least=1) == ["a.crl"]
    assert files.hosts() == [f"crl.example:{files.port}"]


def test_internal_address_is_not_contacted(files: Files) -> None:
    """As a literal, and as the answer of a stranger's DNS."""
    files.publish(b"list", "a.crl")
    with serving({("crl.example", "A"): ["127.0.0.1"]}) as names:
        strict = fetcher(names.address, ())
        for host in ("127.0.0.1", "crl.example", "[::ffff:127.0.0.1]"):
            got = strict.fetch(files.url("a.crl", host))
            assert got.body == b""
            assert "not visited" in got.problem
        assert (
            "169.254.169.254 is not visited"
            in strict.fetch("http://169.254.169.254/latest/meta-data/").problem
        )
    assert files.requests() == []


@pytest.mark.parametrize(
    "url",
    [
        "https://crl.example/a",
        "ftp://crl.example/a",
        "file:///etc/passwd",
        "http:///a",
        "http://u:p@crl.example/a",
        "http://crl.example:0/a",
        "http://crl.example:99999/a",
        "http://exa mple/a",
        f"http://crl.example/{'a' * 3000}",
        "",
    ],
)
def test_url_that_is_not_plain_http_is_refused(url: str) -> None:
    assert parse_target(url) is None
    assert fetcher().fetch(url).problem


def test_control_characters_do_not_reach_the_request() -> None:
    place = parse_target("http://crl.example/a\x0b b\u00e9?q=\x7f")
    assert place is not None
    assert place.path.isascii()
    assert not any(c <= " " or c == "\x7f" for c in place.path)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("redirect", "HTTP 301"),
        ("missing", "HTTP 404"),
        ("empty", "HTTP 204"),
        ("closed", "without an answer"),
    ],
)
def test_status_other_than_200_is_a_problem(files: Files, name: str, problem: str) -> None:
    assert problem in fetcher().fetch(files.url(name)).problem
    assert files.requests(at_least=1) == [name]


def test_file_larger_than_the_limit_is_refused(files: Files) -> None:
    files.publish(b"x" * 5000, "a.crl")
    files.publish(b"x" * 4999, "b.crl")
    small = fetcher(limit=4999)
    assert "larger" in small.fetch(files.url("a.crl")).problem
    assert len(small.fetch(files.url("b.crl")).body) == 4999


def test_large_list_is_fetched_whole(files: Files) -> None:
    files.publish(bytes(20_000_000), "a.crl")
    assert len(fetcher(limit=32_000_000).fetch(files.url("a.crl")).body) == 20_000_000


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "headers", "chunks", "interim answers"],
)
def test_slow_response_is_cut_off_at_the_deadline(head: bytes, drip: bytes) -> None:
    """A client whose time-out counts from each byte would wait for ever."""
    with raw(head, drip) as port:
        got = fetcher(limit=50_000_000, seconds=0.5).fetch(f"http://127.0.0.1:{port}/a.crl")
    assert got.body == b""
    assert "0.5 seconds" in got.problem or "too many 1xx answers" in got.problem


def test_truncated_response_is_a_problem() -> None:
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") as port:
        assert "incomplete" in fetcher().fetch(f"http://127.0.0.1:{port}/a").problem


def test_unreachable_server_and_unknown_name_are_problems() -> None:
    with serving({("silent.example", "A"): "SILENT"}) as names:
        one = fetcher(names.address)
        assert "connection failed" in one.fetch("http://127.0.0.1:1/a").problem
        assert "NXDOMAIN" in one.fetch("http://nowhere.example/a").problem
        assert (
            "in time"
            in fetcher(names.address, timeout=0.4).fetch("http://silent.example/a").problem
        )


def test_few_fetches_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Counting(CrlFetcher):
        def fetch(self, url: str):  # type: ignore[no-untyped-def]
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                return super().fetch(url)
            finally:
                with lock:
                    running -= 1

    urls = [f"https://not.asked/{i}" for i in range(50)]
    got = dict(Counting(DnsClient(), ()).each(urls))
    assert sorted(got) == sorted(urls)
    assert most <= AT_ONCE
