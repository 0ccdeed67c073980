"""Lists over plain http: bounded in size and time, never from inside, never by a redirect."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from pathlib import Path

import pytest

from certmgr.dns.ask import Asker
from certmgr.revocation.fetch import AT_ONCE, Fetcher
from certmgr.scan.download import place_of
from certmgr.scan.guard import Network
from tests.certmgr.dns.server import serving
from tests.certmgr.revocation.lists import asked, files

LOOPBACK = (ip_network("127.0.0.0/8"),)


def fetcher(
    resolver: str = "127.0.0.1:1", allowed: Sequence[Network] = LOOPBACK, limit: int = 1_000_000, seconds: float = 5.0
) -> Fetcher:
    return Fetcher(Asker((resolver,), timeout=0.4, tries=1), allowed, limit=limit, seconds=seconds)


@contextmanager
def raw(answer: bytes, then: bytes = b"", *, pause: float = 0.02) -> Iterator[int]:
    """A server that sends ``answer``, and after it ``then`` again and again."""
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


def test_a_file_is_had_by_its_name_from_the_address_that_was_checked(tmp_path: Path) -> None:
    with files(tmp_path, {"a.crl": b"list"}) as (port, _), serving({("crl.example", "A"): ["127.0.0.1"]}) as names:
        got = fetcher(names.address).fetch(f"http://crl.example:{port}/a.crl")
    assert (got.body, got.problem) == (b"list", "")
    assert (tmp_path / "access.log").read_text().split() == [f"crl.example:{port}", "/a.crl"]


def test_an_internal_address_is_not_asked(tmp_path: Path) -> None:
    """As a literal, and as what a stranger's DNS says."""
    with files(tmp_path, {"a.crl": b"list"}) as (port, _), serving({("crl.example", "A"): ["127.0.0.1"]}) as names:
        strict = fetcher(names.address, ())
        for url in (
            f"http://127.0.0.1:{port}/a.crl",
            f"http://crl.example:{port}/a.crl",
            f"http://[::ffff:127.0.0.1]:{port}/a.crl",
        ):
            got = strict.fetch(url)
            assert got.body == b""
            assert "not asked" in got.problem
        assert "169.254.169.254 is not asked" in strict.fetch("http://169.254.169.254/latest/meta-data/").problem
    assert asked(tmp_path) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://crl.example/a", "ftp://crl.example/a", "file:///etc/passwd", "http:///a", "http://u:p@crl.example/a", "http://crl.example:0/a",
        "http://crl.example:99999/a", "http://exa mple/a", f"http://crl.example/{'a' * 3000}", "",
    ],
)  # fmt: skip
def test_what_is_no_plain_http_is_not_asked(url: str) -> None:
    assert place_of(url) is None
    assert fetcher().fetch(url).problem


def test_control_characters_do_not_reach_the_request() -> None:
    place = place_of("http://crl.example/a\x0b b\u00e9?q=\x7f")
    assert place is not None
    assert place.path.isascii()
    assert not any(c <= " " or c == "\x7f" for c in place.path)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("return 301 http://127.0.0.1/b.crl;", "HTTP 301"),
        ("return 404;", "HTTP 404"),
        ("return 204;", "HTTP 204"),
        ("return 444;", "without an answer"),
    ],
)
def test_only_a_200_is_an_answer(tmp_path: Path, location: str, problem: str) -> None:
    with files(tmp_path, extra=f"location /a.crl {{ {location} }}") as (port, _):
        assert problem in fetcher().fetch(f"http://127.0.0.1:{port}/a.crl").problem
    assert asked(tmp_path) == ["/a.crl"]


def test_a_file_beyond_the_limit_is_none(tmp_path: Path) -> None:
    with files(tmp_path, {"a.crl": b"x" * 5000, "b.crl": b"x" * 4999}) as (port, _):
        one = fetcher(limit=4999)
        assert "larger" in one.fetch(f"http://127.0.0.1:{port}/a.crl").problem
        assert len(one.fetch(f"http://127.0.0.1:{port}/b.crl").body) == 4999


def test_a_large_list_comes_whole(tmp_path: Path) -> None:
    with files(tmp_path, {"a.crl": bytes(20_000_000)}) as (port, _):
        assert len(fetcher(limit=32_000_000, seconds=60).fetch(f"http://127.0.0.1:{port}/a.crl").body) == 20_000_000


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
def test_a_drip_is_cut_at_the_deadline(head: bytes, drip: bytes) -> None:
    """A byte at a time would hold a client whose time-out counts from each byte for ever."""
    with raw(head, drip) as port:
        got = fetcher(limit=50_000_000, seconds=0.5).fetch(f"http://127.0.0.1:{port}/a.crl")
    assert got.body == b""
    assert "0.5 seconds" in got.problem or "without end" in got.problem


def test_an_answer_that_ends_too_soon_is_none() -> None:
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort") as port:
        assert "ended too soon" in fetcher().fetch(f"http://127.0.0.1:{port}/a").problem


def test_nobody_there_and_no_such_name() -> None:
    with serving({("silent.example", "A"): "SILENT"}) as names:
        one = fetcher(names.address)
        assert "connection failed" in one.fetch("http://127.0.0.1:1/a").problem
        assert "NXDOMAIN" in one.fetch("http://nowhere.example/a").problem
        assert "in time" in one.fetch("http://silent.example/a").problem


def test_no_more_than_a_few_are_under_way() -> None:
    running, most, lock = 0, 0, threading.Lock()

    class Counting(Fetcher):
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
    got = dict(Counting(Asker(), ()).each(urls))
    assert sorted(got) == sorted(urls)
    assert most <= AT_ONCE
