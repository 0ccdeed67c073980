"""The listening solvers among strangers that send nothing, too slowly, too much or too often."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import cycle

import pytest
from OpenSSL import SSL

from certmgr.acme.challenges import listener
from certmgr.acme.challenges.interface import WELL_KNOWN, ChallengeProof
from certmgr.acme.challenges.listener import MAX_BYTES, MAX_CONNECTIONS, source_of
from certmgr.acme.challenges.solvers.standalone import Standalone
from certmgr.acme.challenges.solvers.tls_alpn import ACME_IDENTIFIER, ALPN, TlsAlpn
from inventory.errors import CertmgrError
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.clock import clock
from tests.servers.ports import free_port

PROOF = ChallengeProof("shop.test", "token-1", "token-1.thumb")
HELLO = bytes.fromhex("1603010200010001fc0303")  # the start of a ClientHello


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30, source_address=(source, 0))


@contextmanager
def silent(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that send ``first``, and nothing more."""
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connect(port))) for _ in range(count)]
        for one in opened:
            one.sendall(first)
        yield opened


def fetch(port: int, path: str = WELL_KNOWN + "token-1", source: str = "127.0.0.2") -> bytes:
    made = HTTPConnection("127.0.0.1", port, 30, source_address=(source, 0))
    with closing(made) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else b""


def handshake(port: int, source: str = "127.0.0.2") -> set[str]:
    """Return the extensions of the certificate that a CA would get."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([ALPN])
    with closing(connect(port, source)) as raw:
        raw.settimeout(None)
        tls = SSL.Connection(context, raw)
        tls.set_tlsext_host_name(b"shop.test")
        tls.set_connect_state()
        tls.do_handshake()
        leaf = tls.get_peer_certificate()
        assert leaf is not None
        return {e.oid.dotted_string for e in leaf.to_cryptography().extensions}


@pytest.fixture
def http() -> Iterator[int]:
    solver = Standalone("127.0.0.1", free_port())
    solver.present([PROOF])
    yield solver.port
    solver.clean([PROOF])


@pytest.fixture
def alpn() -> Iterator[int]:
    solver = TlsAlpn("127.0.0.1", free_port(), clock)
    solver.present([PROOF])
    yield solver.port
    solver.clean([PROOF])


@pytest.mark.parametrize("count", [50, MAX_CONNECTIONS + 20])
def test_ca_gets_its_answer_among_connections_that_send_nothing(http: int, count: int) -> None:
    with silent(http, count), silent(http, 20, b"GET /.well-known/acme-ch"):
        assert fetch(http) == b"token-1.thumb"


@pytest.mark.parametrize("first", [b"", HELLO, b"GET / HTTP/1.1\r\n\r\n"])
def test_ca_completes_its_handshake_among_connections_that_send_nothing(
    alpn: int, first: bytes
) -> None:
    with silent(alpn, MAX_CONNECTIONS + 20, first):
        assert ACME_IDENTIFIER in handshake(alpn)


def test_requests_through_a_proxy_are_answered_when_all_connections_are_taken(http: int) -> None:
    """Behind a web server every client has its address: the oldest connection gives way."""
    with silent(http, MAX_CONNECTIONS + 20):
        assert fetch(http, source="127.0.0.1") == b"token-1.thumb"


@pytest.mark.parametrize("kind", ["http", "alpn"])
def test_connection_that_drips_bytes_ends(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It would send for ever: that it ends at all shows the limit of time."""
    monkeypatch.setattr(listener, "SECONDS", 0.3)
    port: int = request.getfixturevalue(kind)
    drops = cycle([b"G", b"E"]) if kind == "http" else cycle([HELLO[:1], HELLO[1:2]])
    with closing(connect(port)) as sock, pytest.raises(OSError):
        pause = threading.Event()
        while True:
            sock.sendall(next(drops) if kind == "http" else b"\x00")
            pause.wait(0.01)


@pytest.mark.parametrize("kind", ["http", "alpn"])
def test_connection_that_sends_too_much_ends(request: pytest.FixtureRequest, kind: str) -> None:
    port: int = request.getfixturevalue(kind)
    # A line of a header without an end, and records that are fragments of one message.
    begin = b"GET / HTTP/1.1\r\nX: " if kind == "http" else b""
    more = b"x" * 1000 if kind == "http" else bytes.fromhex("1603010040") + b"\x01" + b"\xff" * 63
    with closing(connect(port)) as sock, pytest.raises(OSError):
        sock.sendall(begin)
        while True:
            sock.sendall(more)


def test_flood_of_handshakes_does_not_keep_the_ca_out(alpn: int) -> None:
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            try:
                handshake(alpn, "127.0.0.1")
            except (SSL.Error, OSError):
                continue

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            assert ACME_IDENTIFIER in handshake(alpn)
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "request_",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST " + WELL_KNOWN.encode() + b"token-1"
        b" HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n",
        b"GET /etc/passwd HTTP/1.0\r\n\r\n",
        b"x" * (MAX_BYTES + 1),
    ],
)
def test_other_requests_are_refused(http: int, request_: bytes) -> None:
    with closing(connect(http)) as sock:
        sock.sendall(request_)
        answer = sock.recv(4096)
    assert answer.startswith(b"HTTP/1.1 4") and b"thumb" not in answer
    assert fetch(http) == b"token-1.thumb"


def test_visitor_without_the_protocol_of_the_challenge_gets_an_alert(alpn: int) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_alpn_protos([b"h2"])
    with closing(connect(alpn)) as raw:
        raw.settimeout(None)
        tls = SSL.Connection(context, raw)
        tls.set_tlsext_host_name(b"shop.test")
        tls.set_connect_state()
        with pytest.raises(SSL.Error, match="no application protocol"):
            tls.do_handshake()


@pytest.mark.parametrize("solver", [Standalone, lambda a, p: TlsAlpn(a, p, clock)])
def test_port_is_free_again_after_the_last_answer(solver: Callable[[str, int], Standalone]) -> None:
    port = free_port()
    for _ in range(2):
        made = solver("127.0.0.1", port)
        made.present([PROOF])
        with silent(port, 3):
            made.clean([PROOF])
        with pytest.raises(OSError):
            connect(port)


def test_taken_port_is_reported(http: int) -> None:
    for solver in (Standalone("127.0.0.1", http), TlsAlpn("127.0.0.1", http, clock)):
        with pytest.raises(CertmgrError, match=f"cannot listen on port {http}"):
            solver.present([PROOF])
        solver.clean([PROOF])


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3::4", 1, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        (None, ""),
    ],
)
def test_source_is_an_address_or_a_network(peer: object, source: str) -> None:
    assert source_of(peer) == source


@pytest.mark.parametrize("solver", ["web", "alpn"])
def test_order_completes_among_strangers(env: AcmeEnvironment, solver: str) -> None:
    """Connections that send nothing, and one that drips, are opened as soon as the port is open."""
    settings = env.settings.acme.solvers[solver]
    stack = ExitStack()

    def strangers(step: str) -> None:
        if step == "answer":
            stack.enter_context(silent(settings.port, 50))
            stack.enter_context(silent(settings.port, 1, b"GET /.well-known/"))

    env.given = {"checkpoint": strangers}
    with stack:
        done = env.order(env.lineage("1001", ["shop.test"], solver=solver))
    assert done.state == "issued", done
