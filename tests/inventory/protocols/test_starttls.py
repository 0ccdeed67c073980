"""What holds for every dialogue: the registry, and servers that are hostile or speak something
else.
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_targets
from inventory.protocols import MAX_DIALOGUE, MAX_LINES, STARTTLS, DialogueFailed
from inventory.targets import Target
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.tls_servers import Stack, serve
from tests.clock import clock
from tests.inventory.protocols.dialogues import (
    CLIENT,
    assert_refused,
    assert_started,
    converse,
)

GARBAGE = {
    "zeros": b"\x00" * 64,
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "lines": b"\xff\xfe\r\n" * 20,
}
# A valid beginning per protocol, so that what follows is read as more of it.
BEGINNINGS = {
    "smtp": b"220-hello\r\n",
    "lmtp": b"220-hello\r\n",
    "imap": b"* OK\r\n",
    "pop3": b"+OK\r\n",
    "managesieve": b'"STARTTLS"\r\n',
    "ftp": b"220-hello\r\n",
    "ldap": b"\x30\x84\x00\x00\x3f\xff",
    "nntp": b"200-hello\r\n",
    "xmpp": b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "xmpp-server": b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' version='1'>",
    "postgres": b"",
    "mysql": b"\xff\x3f\x00\x00",
}
FLOODS = {
    "digits": b"2" * 1000,
    "megabyte line": b"x" * 100_000,
    "lines": b"220-x\r\n" * 100,
    "untagged": b"* OK x\r\n" * 100,
    "capabilities": b'"X" "y"\r\n' * 100,
    "elements": b"<a><b/></a>" * 100,
    "open elements": b"<a>" * 300,
    "zeros": b"\0" * 1000,
}


@pytest.fixture(scope="session")
def garbage(
    root: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], EndpointReport]:
    """Return a function from protocol and kind of garbage to the report about that server.

    All are scanned in one run, since some wait for an answer until the time-out.
    """
    with Stack() as opened:
        ports = {kind: serve(opened, _greeting(data)) for kind, data in GARBAGE.items()}
        targets = {
            (protocol, kind): Target(f"{kind}.example.test", port, protocol)
            for kind, port in ports.items()
            for protocol in STARTTLS
        }
        overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets.values()}
        reports = scan_targets(
            loopback_settings(root, tmp_path_factory.mktemp("garbage")),
            ScanOptions(overrides=overrides, timeout=1.5),
            list(targets.values()),
            clock=clock,
        )
    by_target = {r.target: r for r in reports}
    return lambda protocol, kind: by_target[targets[protocol, kind]]


def _greeting(data: bytes) -> servers.ConnectionHandler:
    """Return a server that sends data immediately, and nothing more."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(data)
        servers.silent(sock)

    return talk


@pytest.mark.parametrize("protocol", sorted(STARTTLS))
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_starttls_or_a_timeout(
    garbage: Callable[[str, str], EndpointReport],
    protocol: str,
    kind: str,
) -> None:
    result = {f.code for f in garbage(protocol, kind).findings}
    assert result
    assert result <= {"starttls-missing", "connection-timeout"}


# Replies of servers without fault that speak in lines.
IN_LINES: dict[str, tuple[bytes, ...]] = {
    "smtp": (b"220-a\r\n220 b\r\n", b"250-c\r\n250 STARTTLS\r\n", b"220 go\r\n"),
    "lmtp": (b"220 a\r\n", b"250-c\r\n250-STARTTLS\r\n250 X\r\n", b"220 go\r\n"),
    "imap": (b"* OK a\r\n", b"* CAPABILITY IMAP4\r\nc1 OK go\r\n"),
    "pop3": (b"+OK a\r\n", b"+OK go\r\n"),
    "managesieve": (b'"SIEVE" "a"\r\n"STARTTLS"\r\nOK\r\n', b"OK\r\n"),
    "ftp": (b"220-a\r\n220 b\r\n", b"234 go\r\n"),
    "nntp": (b"200 a\r\n", b"382 go\r\n"),
}


@pytest.mark.parametrize("protocol", IN_LINES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b"\n\r"], ids=repr)
def test_lines_may_end_as_odd_servers_end_them(protocol: str, end: bytes) -> None:
    assert_started(protocol, *[r.replace(b"\r\n", end) for r in IN_LINES[protocol]])


@pytest.mark.parametrize("protocol", IN_LINES)
def test_bytes_after_the_consent_never_reach_tls(protocol: str) -> None:
    """Someone on the way may have added them, since they came without TLS."""
    *before, consent = IN_LINES[protocol]
    conversation = converse(protocol, *before, consent + b"\x16\x03\x03\x00\x02xx 250 injected\r\n")
    assert conversation.started
    assert conversation.sent[-1] == b""


@pytest.mark.parametrize("protocol", sorted(STARTTLS))
def test_alert_of_a_server_that_speaks_tls_at_once_is_named(protocol: str) -> None:
    for alert in (b"\x15\x03\x01\x00\x02\x02\x16", b"\x15\x03\x03\x00\x02\x02\x46"):
        assert_refused(protocol, alert, reason="speaks TLS from the first byte")


@pytest.mark.parametrize("protocol", sorted(STARTTLS))
@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("begun", [False, True], ids=["at once", "after a beginning"])
def test_flood_ends_after_a_bounded_number_of_bytes(protocol: str, flood: str, begun: bool) -> None:
    dialogue = STARTTLS[protocol].dialogue(CLIENT)
    next(dialogue)
    fed = 0
    with pytest.raises((DialogueFailed, StopIteration)):
        for data in itertools.chain(
            [BEGINNINGS[protocol]] if begun else [], itertools.repeat(FLOODS[flood])
        ):
            if data:
                fed += len(data)
                dialogue.send(data)
            assert fed <= MAX_DIALOGUE + len(data)


@pytest.mark.parametrize("protocol", sorted(set(STARTTLS) - {"postgres"}))
def test_drip_of_line_ends_ends_after_a_bounded_number_of_bytes(protocol: str) -> None:
    """Each byte could complete a line or an element, which costs the most."""
    for drip in (b"\n", b">", b" "):
        dialogue = STARTTLS[protocol].dialogue(CLIENT)
        next(dialogue)
        with pytest.raises((DialogueFailed, StopIteration)):
            for data in itertools.chain([BEGINNINGS[protocol]], itertools.repeat(drip)):
                assert dialogue.send(data) is not None
    assert MAX_LINES < MAX_DIALOGUE


def _endless(data: bytes, pause: float) -> servers.ConnectionHandler:
    """Return a server that sends a beginning, and then goes on without end."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(data)
        while True:
            sock.sendall(b"x" if pause else b"x" * 65_536)
            time.sleep(pause)

    return talk


def test_endless_servers_of_every_protocol_end_with_the_scan(
    root: Authority, tmp_path: Path, opened: Stack
) -> None:
    """They send without end, fast or one byte at a time, so the return shows the deadline."""
    targets = []
    for protocol, pause in itertools.product(STARTTLS, (0, 0.2)):
        port = serve(opened, _endless(BEGINNINGS[protocol], pause))
        targets.append(Target(f"{'slow' if pause else 'fast'}.example.test", port, protocol))
    overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets}
    options = ScanOptions(overrides=overrides, timeout=1.5)
    reports = scan_targets(loopback_settings(root, tmp_path), options, targets, clock=clock)
    assert len(reports) == len(targets)
    for report in reports:
        codes = {f.code for f in report.findings}
        assert codes
        assert codes <= {"starttls-missing", "connection-timeout", "not-tls"}, report.target
