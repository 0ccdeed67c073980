"""The request of preflight to the web server of a client, which may be hostile."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

from certmgr.acme.preflight.http_probe import ProbeResult, probe
from certmgr.net.addresses import Network
from tests.campaign import PATIENCE
from tests.certmgr.net.scripted import count_waits, scripted

LOOPBACK = (ip_network("127.0.0.0/8"),)


def ask(
    port: int, allowed: Sequence[Network] = LOOPBACK, *, ports: Sequence[int] = (), **hosts: str
) -> ProbeResult:
    return probe(
        "shop.test",
        "127.0.0.1",
        "token",
        "token.print",
        port=port,
        resolve=lambda host: [hosts[host.partition(".")[0]]],
        allowed=allowed,
        ports=(80, 443, port, *ports),
    )


def answer(status: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["header", "headers", "interim answers", "chunk size"],
)
def test_dripping_web_server_is_given_up(
    monkeypatch: pytest.MonkeyPatch, head: bytes, drip: bytes
) -> None:
    count_waits(monkeypatch, "certmgr.acme.preflight.http_probe", 0.25)
    with scripted(head, drip) as server:
        got = ask(server.port)
    assert got.state == "failed"
    assert "did not complete within 10 seconds" in got.message


def test_deadline_covers_all_redirects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten redirects, each of which takes most of the time."""
    count_waits(monkeypatch, "certmgr.acme.preflight.http_probe", 1)
    with scripted(answer("302 Found\r\nLocation: /again")) as server:
        got = ask(server.port)
    assert (got.state, len(server.requests) < 5) == ("failed", True)


def test_long_body_is_cut() -> None:
    with scripted(answer("200 OK", b"x" * 100_000)) as server:
        got = ask(server.port)
    assert (got.state, got.message.startswith("another text: 'xxx")) == ("other", True)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"token.print\r\n \n", "ok"),
        (b"\ntoken.print", "other"),
        (b"\xef\xbb\xbftoken.print", "other"),
        (b"token.print<!-- cached -->", "other"),
    ],
)
def test_only_white_space_behind_the_text_is_ignored(body: bytes, state: str) -> None:
    with scripted(answer("200 OK", body)) as server:
        got = ask(server.port)
    assert got.state == state and ("other characters" in got.message) is (state == "other")


def test_endless_body_is_cut() -> None:
    with scripted(b"HTTP/1.1 200 OK\r\n\r\ntoken.print", b"x" * 1000) as server:
        assert ask(server.port).state == "other"
        assert server.ended.wait(PATIENCE)


def test_right_text_is_ok_also_behind_redirects() -> None:
    with scripted(answer("200 OK", b"token.print\n")) as last:
        location = f"Location: http://other.test:{last.port}/x"
        with scripted(answer(f"302 Found\r\n{location}")) as first:
            assert ask(first.port, ports=(last.port,), other="127.0.0.1").state == "ok"
    assert b"Host: other.test" in last.requests[0]


def test_redirect_to_an_internal_address_is_refused() -> None:
    with scripted(answer("200 OK", b"secret")) as inside:
        location = f"http://inner.test:{inside.port}/"
        with scripted(answer(f"302 Found\r\nLocation: {location}")) as first:
            got = ask(
                first.port,
                (ip_network("127.0.0.1/32"),),
                ports=(inside.port,),
                inner="127.0.0.2",
            )
        assert got.state == "refused", got
        assert "loopback" in got.message
    assert inside.requests == []


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://shop.test:8080/x", "the port 8080"),
        ("https://shop.test:8443/x", "the port 8443"),
        ("http://www.shop.test:1/", "the port 1;"),
        ("http://127.0.0.1/", "the address 127.0.0.1"),
        ("http://[::1]/", "the address ::1"),
        ("http://shop.test:99999/", "invalid URL"),
        ("ftp://shop.test/", "ftp:"),
    ],
)
def test_redirect_that_a_ca_does_not_follow_is_no_answer(location: str, message: str) -> None:
    with scripted(answer(f"302 Found\r\nLocation: {location}")) as first:
        got = ask(first.port, www="127.0.0.1")
    assert got.state == "other" and message in got.message, got
    assert len(first.requests) == 1


def test_redirect_loop_ends() -> None:
    with scripted(answer("302 Found\r\nLocation: /again")) as server:
        assert "more than 10 redirects" in ask(server.port).message
    assert len(server.requests) == 11
