"""The proxy that injects faults between an ACME client and its CA."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests
from acme import errors
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from inventory.clock import system_clock
from tests.servers import faults
from tests.servers.acme_client import challenge, connect, csr, key_of, leaf, register
from tests.servers.faults import Rule
from tests.servers.faulty import Proxy, faulty
from tests.servers.pebble import Pebble, pebble
from tests.servers.pebble import real_clock as pebbles_clock
from tests.servers.sessions import session


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """A pebble that accepts every challenge without validation."""
    with pebble(tmp_path_factory.mktemp("pebble"), always_valid=True) as ca:
        yield ca


@pytest.fixture
def proxy(valid: Pebble, tmp_path: Path) -> Iterator[Proxy]:
    with faulty(tmp_path, valid.directory, valid.ca_file) as made:
        yield made


def tls(proxy: Proxy) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", int(proxy.base.rpartition(":")[2])))
    return ssl.create_default_context(cafile=str(proxy.ca_file)).wrap_socket(
        plain, server_hostname="localhost"
    )


@pebbles_clock
def test_proxy_forwards_a_complete_order_and_records_it(proxy: Proxy, valid: Pebble) -> None:
    acme = connect(proxy.directory, proxy.ca_file)
    account = register(acme)
    order = acme.new_order(csr("a.example.test"))
    for authorization in order.authorizations:
        chosen = challenge(authorization, "http-01")
        acme.answer_challenge(chosen, chosen.response(acme.net.key))
    finished = acme.poll_and_finalize(order)
    assert leaf(finished)
    assert account.startswith(proxy.base) and finished.uri.startswith(proxy.base)
    assert len(valid.orders(account, key_of(acme))) == 1
    recorded = proxy.to("/order-plz", "POST")
    assert [s.payload["identifiers"] for s in recorded] == [
        [{"type": "dns", "value": "a.example.test"}]
    ]
    assert recorded[0].protected["url"] == f"{proxy.base}/order-plz"
    assert recorded[0].status == 201 and recorded[0].at < proxy.requests[-1].at


@pebbles_clock
def test_proxy_refuses_by_number_method_and_path(proxy: Proxy) -> None:
    before = system_clock().replace(microsecond=0)
    proxy.rules = [
        Rule(faults.problem(503), "/dir", "GET", nth=(1, 3)),
        Rule(faults.rate_limited(120), "/nonce-plz", "HEAD"),
        Rule(faults.rate_limited(120, as_date=True), "/nonce-plz", "GET"),
        Rule(faults.answer(200, "\x1b[31m{", "application/json"), "/escape"),
    ]
    after = system_clock()
    with session(proxy.ca_file) as http:
        assert [http.get(proxy.directory).status_code for _ in range(4)] == [503, 200, 503, 200]
        limited = http.head(f"{proxy.base}/nonce-plz")
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "120")
        dated = http.get(f"{proxy.base}/nonce-plz")
        begun = parsedate_to_datetime(dated.headers["Retry-After"]) - timedelta(seconds=120)
        assert before <= begun <= after
        assert dated.json()["type"] == "urn:ietf:params:acme:error:rateLimited"
        assert http.get(f"{proxy.base}/escape").content == b"\x1b[31m{"
    assert [r.fired for r in proxy.rules] == [2, 1, 1, 1]


@pebbles_clock
def test_proxy_refuses_with_a_nonce_and_with_a_reproducible_probability(
    proxy: Proxy, valid: Pebble, tmp_path: Path
) -> None:
    def run(seed: int) -> list[int]:
        with faulty(
            tmp_path,
            valid.directory,
            valid.ca_file,
            [Rule(faults.problem(500), chance=0.5)],
            seed=seed,
        ) as made:
            return [session(made.ca_file).get(made.directory).status_code for _ in range(12)]

    assert run(1) == run(1) != run(2)
    proxy.rules = [Rule(faults.rate_limited(5), "/sign-me-up", nth=1)]
    with session(proxy.ca_file) as http:
        refused = http.post(f"{proxy.base}/sign-me-up", data="{}")
        assert refused.status_code == 429 and refused.headers["Replay-Nonce"]


@pebbles_clock
def test_proxy_breaks_connections(proxy: Proxy) -> None:
    proxy.rules = [
        Rule(faults.truncated(), "/dir", nth=1),
        Rule(faults.reset(), "/dir", nth=2),
        Rule(faults.mistyped(), "/dir", nth=3),
        Rule(faults.delayed(0.5), "/dir", nth=4),
        Rule(faults.dropped(), "/sign-me-up", nth=1),
    ]
    with session(proxy.ca_file) as http:
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
            http.get(proxy.directory)
        with tls(proxy) as secure:
            secure.sendall(b"GET /dir HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with socket.socket(fileno=secure.detach()) as raw, pytest.raises(ConnectionResetError):
                while raw.recv(4096):  # Python's TLS module reports RST as the end of the stream.
                    pass
        assert http.get(proxy.directory).headers["Content-Type"] == "text/html"
        begun = time.monotonic()
        assert "newOrder" in http.get(proxy.directory).json()
        assert time.monotonic() - begun >= 0.5
    key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    acme = connect(proxy.directory, proxy.ca_file, key)
    with pytest.raises(requests.ConnectionError):
        register(acme)
    with pytest.raises(errors.ConflictError):  # The CA has created the account anyway.
        register(acme)


@pebbles_clock
def test_proxy_sends_slow_and_huge_responses(proxy: Proxy) -> None:
    proxy.rules = [
        Rule(faults.dripping(0.05), "/body"),
        Rule(faults.dripping(0.05, headers=True), "/head"),
        Rule(faults.huge(), "/huge"),
        Rule(faults.huge(3_000_000, chunked=True), "/chunked"),
        Rule(faults.huge(3_000_000, zipped=True), "/zipped"),
    ]
    with session(proxy.ca_file) as http:
        begun = time.monotonic()
        with http.get(f"{proxy.base}/body", stream=True, timeout=30) as dripping:
            assert dripping.raw.read(10) == b" " * 10
        assert time.monotonic() - begun > 0.4, (
            "each byte arrives within the timeout, and the body does not"
        )
        with http.get(f"{proxy.base}/huge", stream=True) as answer:
            assert answer.headers["Content-Length"] == "50000000"
            assert sum(len(part) for part in answer.iter_content(1 << 20)) == 50_000_000
        assert len(http.get(f"{proxy.base}/chunked").json()["filling"]) > 2_999_000
        zipped = http.get(f"{proxy.base}/zipped")
        assert int(zipped.headers["Content-Length"]) < 50_000 and len(zipped.content) == 3_000_000
        with tls(proxy) as raw:
            raw.sendall(b"GET /head HTTP/1.1\r\nHost: localhost\r\n\r\n")
            raw.settimeout(30)
            received = b"".join(raw.recv(100) for _ in range(6))
            assert (
                received.startswith(b"HTTP/1.1 200 OK\r\nX-Drip: ") and b"\r\n\r\n" not in received
            )
