"""The HTTP client: no peer moves its deadline, exceeds a limit, or leads it to internal hosts."""

from __future__ import annotations

import gzip
import itertools
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from ipaddress import ip_network

import pytest
import trustme

from certmgr.net.http_client import HttpAnswer, HttpClient, HttpLimits, public_trust
from certmgr.net.http_stream import AddressPolicy, HttpError, HttpProblem, system_addresses
from tests.campaign import PATIENCE, UNREACHED
from tests.certmgr.net.kept import kept_alive
from tests.certmgr.net.scripted import scripted

OK = b"HTTP/1.1 200 OK\r\n"
LOOPBACK = AddressPolicy((ip_network("127.0.0.0/8"),))
STEPS = 40


def steps() -> Callable[[], float]:
    """Return a timer that advances by a second whenever it is read."""
    count = itertools.count()
    return lambda: float(next(count))


def client(
    policy: AddressPolicy = LOOPBACK,
    *,
    limit: int = 10_000,
    redirects: int = 5,
    counted: bool = False,
    trust: ssl.SSLContext | None = None,
    resolve: Callable[[str], Sequence[str]] | None = None,
) -> HttpClient:
    """``counted``: the deadline is a number of waits instead of seconds."""
    return HttpClient(
        policy=policy,
        limits=HttpLimits(STEPS if counted else UNREACHED, limit, redirects),
        trust=trust,
        schemes=("http", "https"),
        resolve=resolve or system_addresses,
        timer=steps() if counted else time.monotonic,
    )


def problem(http: HttpClient, url: str) -> HttpProblem:
    with http, pytest.raises(HttpError) as caught:
        http.get(url)
    return caught.value.problem


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def test_answer_is_returned_with_its_status_headers_and_body() -> None:
    with scripted(answer(b"text", "X-Name: value", status="404 No")) as server, client() as http:
        got = http.get(server.url)
    assert (got.status, got.body, got.headers["x-name"]) == (404, b"text", "value")
    assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (OK + b"X-Header: ", b"a"),
        (OK, b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"Content-Length: 9000\r\n\r\n", b"x"),
        (OK + b"\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"),
    ],
    ids=[
        "header",
        "headers",
        "interim answers",
        "body",
        "body without length",
        "chunk size",
        "chunk extension",
        "chunks",
        "trailers",
    ],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_dripping_peer_does_not_move_the_deadline(head: bytes, drip: bytes, secure: bool) -> None:
    """Each byte restarts the time-out of other clients; here every wait counts."""
    ca = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    ca.configure_trust(client_side)
    with scripted(head, drip, trust=server_side if secure else None) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost") if secure else server.url
        assert problem(client(counted=True, trust=client_side), url) is HttpProblem.TIMEOUT


def test_silent_peer_does_not_move_the_deadline() -> None:
    with scripted(OK, b"x", pause=20) as server:
        http = HttpClient(policy=LOOPBACK, limits=HttpLimits(0.3), schemes=("http",))
        assert problem(http, server.url) is HttpProblem.TIMEOUT


def test_dripping_tls_handshake_does_not_move_the_deadline() -> None:
    """The header of a record of 16 KB, and then its bytes one by one."""
    with scripted(b"\x16\x03\x03\x40\x00", b"\x02", at_once=True) as server:
        url = server.url.replace("http:", "https:")
        assert problem(client(counted=True), url) is HttpProblem.TIMEOUT
        assert server.ended.wait(PATIENCE)


def test_silent_resolver_does_not_move_the_deadline() -> None:
    never = threading.Event()

    def resolve(host: str) -> Sequence[str]:
        never.wait(PATIENCE)
        return ()

    http = HttpClient(policy=LOOPBACK, limits=HttpLimits(0.2), resolve=resolve)
    assert problem(http, "https://ca.example/") is HttpProblem.TIMEOUT
    never.set()


@pytest.mark.parametrize(
    ("head", "flood"),
    [
        (OK + b"X-Header: ", b"a" * 10_000),
        (OK, b"X-A: b\r\n" * 1000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 500),
        (OK + b"\r\n", b"x" * 5_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3000\r\n" + b"x" * 0x3000 + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n" * 1000),
    ],
    ids=["header", "headers", "interim answers", "body", "chunks", "extension", "trailers"],
)
def test_endless_answer_ends_with_a_limit_of_bytes(head: bytes, flood: bytes) -> None:
    with scripted(head, flood, pause=0) as server:
        got = problem(client(), server.url)
        assert server.ended.wait(PATIENCE)
    assert got in (HttpProblem.TOO_LARGE, HttpProblem.PROTOCOL)
    # What the kernel buffers on both sides comes on top.
    assert server.sent < 12_000_000


def _bomb(times: int) -> bytes:
    data = bytes(30_000_000)
    for _ in range(times):
        data = gzip.compress(data, 9)
    return data


@pytest.mark.parametrize("times", [1, 2], ids=["gzip", "gzip in gzip"])
def test_decompression_bomb_is_refused(times: int) -> None:
    body = _bomb(times)
    coding = ", ".join(["gzip"] * times)
    with scripted(answer(body, f"Content-Encoding: {coding}")) as server:
        http = client(limit=100_000)
        tracemalloc.start()
        got = problem(http, server.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert got is HttpProblem.TOO_LARGE
    assert peak < 5_000_000


def test_small_compressed_body_is_read() -> None:
    with (
        scripted(answer(gzip.compress(b"text"), "Content-Encoding: gzip")) as server,
        client() as http,
    ):
        assert http.get(server.url).body == b"text"


def test_body_up_to_the_limit_is_read() -> None:
    with scripted(answer(b"x" * 100)) as server, client(limit=100) as http:
        assert len(http.get(server.url).body) == 100
    with scripted(answer(b"x" * 101)) as server:
        assert problem(client(limit=100), server.url) is HttpProblem.TOO_LARGE


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", HttpProblem.INCOMPLETE),
        (OK + b"X-A: b", HttpProblem.INCOMPLETE),
        (OK + b"Content-Length: 100\r\n\r\nshort", HttpProblem.INCOMPLETE),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", HttpProblem.INCOMPLETE),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", HttpProblem.PROTOCOL),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", HttpProblem.PROTOCOL),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nab", HttpProblem.PROTOCOL),
        (OK + b"Content-Encoding: br\r\n\r\nab", HttpProblem.PROTOCOL),
        (OK + b"Content-Encoding: gzip\r\n\r\nab", HttpProblem.PROTOCOL),
    ],
)
def test_broken_answer_is_an_error_of_its_kind(sent: bytes, expected: HttpProblem) -> None:
    with scripted(sent) as server:
        assert problem(client(), server.url) is expected


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)
def test_name_with_an_internal_address_is_not_contacted(address: str) -> None:
    with scripted(answer(b"secret")) as server:
        http = client(AddressPolicy(), resolve=lambda _: [address])
        url = f"http://public.example:{server.port}/"
        assert problem(http, url) is HttpProblem.INTERNAL
        literal = f"[{address}]" if ":" in address else address
        assert (
            problem(client(AddressPolicy()), f"http://{literal}:{server.port}/")
            is HttpProblem.INTERNAL
        )
    assert server.requests == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_other_spellings_of_loopback_are_not_contacted(host: str) -> None:
    with scripted(answer(b"secret")) as server:
        got = problem(client(AddressPolicy()), f"http://{host}:{server.port}/")
    assert got in (HttpProblem.INTERNAL, HttpProblem.NAME, HttpProblem.URL)
    assert server.requests == []


def test_name_that_changes_its_address_is_checked_at_each_connection() -> None:
    """DNS rebinding: the first answer is public, each later one is loopback."""
    answers = iter([["127.0.0.1"], ["10.9.9.9"], ["10.9.9.9"]])
    policy = AddressPolicy((ip_network("127.0.0.0/8"),))
    with scripted(answer(b"", "Location: /next", status="302 Found")) as server:
        http = client(policy, resolve=lambda _: next(answers))
        url = f"http://changing.example:{server.port}/"
        assert problem(http, url) is HttpProblem.INTERNAL
    assert len(server.requests) == 1


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost", "[::1]", "inside.example"])
def test_redirect_to_an_internal_address_is_not_followed(target: str) -> None:
    """The first host may be internal because the configuration names it; the second may not."""
    with scripted(answer(b"secret")) as inside:
        location = f"Location: http://{target}:{inside.port}/latest/meta-data/"
        with scripted(answer(b"", location, status="301 Moved")) as outside:
            http = client(
                AddressPolicy(internal_hosts=frozenset({"monitor.example"})),
                resolve=lambda host: ["127.0.0.1"],
            )
            got = problem(http, f"http://monitor.example:{outside.port}/")
    assert got is HttpProblem.INTERNAL
    assert inside.requests == []
    assert len(outside.requests) == 1


def test_permitted_redirect_is_followed() -> None:
    with scripted(answer(b"text")) as second:
        location = f"Location: {second.url}"
        with (
            scripted(answer(b"", location, status="307 Moved")) as first,
            client(redirects=1) as http,
        ):
            got: HttpAnswer = http.get(first.url)
    assert (got.url, got.body) == (second.url, b"text")


def test_redirect_loop_ends() -> None:
    with scripted(answer(b"", "Location: /again", status="302 Found")) as server:
        assert problem(client(redirects=3), server.url) is HttpProblem.REDIRECTS
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "http://[::1",
        "http://h:99999/",
        "http://127.0.0.1:0/",
    ],
)
def test_redirect_to_another_kind_of_url_is_refused(location: str) -> None:
    with scripted(answer(b"", f"Location: {location}", status="302 Found")) as server:
        assert problem(client(), server.url) is HttpProblem.URL


def test_redirect_from_https_to_http_needs_permission() -> None:
    http = HttpClient(policy=LOOPBACK, limits=HttpLimits(redirects=1))
    assert problem(http, "http://127.0.0.1/") is HttpProblem.URL


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(answer(b"proxy")) as proxy, scripted(answer(b"origin")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with client() as http:
            assert http.get(server.url).body == b"origin"
    assert proxy.requests == []


def test_certificate_is_verified_with_the_name() -> None:
    ca = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("ca.example").configure_cert(server_side)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)
    with scripted(answer(b"text"), trust=server_side) as server:

        def at(host: str, trust: ssl.SSLContext) -> HttpProblem | bytes:
            http = client(trust=trust, resolve=lambda _: ["127.0.0.1"])
            try:
                with http:
                    return http.get(f"https://{host}:{server.port}/").body
            except HttpError as error:
                assert "certificate" in error.message
                return error.problem

        assert at("ca.example", trusting) == b"text"
        assert at("other.example", trusting) is HttpProblem.TLS
        assert at("ca.example", public_trust()) is HttpProblem.TLS


def test_kept_connection_is_used_again_with_a_new_deadline() -> None:
    with kept_alive() as server:
        http = HttpClient(
            policy=LOOPBACK,
            limits=HttpLimits(STEPS),
            schemes=("http",),
            connections=2,
            timer=steps(),
        )
        with http:
            assert [http.get(server.url).body for _ in range(30)] == [b"ok"] * 30
    assert server.connections == 1
