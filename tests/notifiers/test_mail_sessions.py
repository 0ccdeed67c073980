"""Mail servers that drip or flood: each reply of a session has a deadline and a size."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import trustme

from certmgr.demo.servers import Server
from notifiers import mail_sessions
from notifiers.mail_sessions import connect_imap, connect_smtp
from notifiers.tls_sockets import BoundedTls
from tests.campaign import PATIENCE
from tests.certmgr.net.scripted import scripted

GREETING = b"* OK\r\n"
IMAP_FLOODS = {
    "line": (b"* OK ", b"x" * 50_000),
    "untagged-answers": (GREETING, b"* CAPABILITY IMAP4rev1\r\n" * 2000),
    "literal": (GREETING, b"* 1 FETCH (BODY[] {2000000000}\r\n" + b"x" * 50_000),
    "literal-in-pieces": (GREETING, b"* 1 FETCH (BODY[] {50000}\r\n" + b"x" * 50_000 + b")\r\n"),
}
SMTP_FLOODS = {
    "greeting": (b"220-", b"x" * 500 + b"\r\n220-"),
    "line": (b"220 ", b"x" * 50_000),
    "reply": (b"220 mail.test\r\n", b"250-" + b"X" * 500 + b"\r\n"),
}
DRIPS = {"imap": b"* OK", "smtp": b"220-"}


@pytest.fixture
def server_tls() -> Iterator[tuple[ssl.SSLContext, BoundedTls]]:
    """The TLS contexts of a server and of its client."""
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), BoundedTls()
    ca.issue_cert("localhost").configure_cert(server)
    ca.configure_trust(client)
    yield server, client


@pytest.mark.parametrize("flood", IMAP_FLOODS)
@pytest.mark.parametrize("starttls", [True, False])
def test_endless_answer_of_a_mailbox_ends_at_its_size(
    server_tls: tuple[ssl.SSLContext, BoundedTls], flood: str, starttls: bool
) -> None:
    answer, then = IMAP_FLOODS[flood]
    trust, context = server_tls
    with (
        scripted(answer, then, trust=None if starttls else trust, at_once=True) as server,
        # A server without end: that the call ends shows the limit.
        pytest.raises(OSError, match="too many bytes"),
    ):
        connect_imap("localhost", server.port, PATIENCE, context, starttls=starttls, size=1000)


@pytest.mark.parametrize("flood", SMTP_FLOODS)
@pytest.mark.parametrize("starttls", [True, False])
def test_endless_reply_of_a_mail_server_ends_at_its_size(
    server_tls: tuple[ssl.SSLContext, BoundedTls], flood: str, starttls: bool
) -> None:
    answer, then = SMTP_FLOODS[flood]
    trust, context = server_tls
    with (
        scripted(answer, then, trust=None if starttls else trust, at_once=True) as server,
        pytest.raises(smtplib.SMTPException, match=r"too many bytes|Line too long"),
    ):
        session = connect_smtp("localhost", server.port, PATIENCE, context, starttls=starttls)
        session.ehlo()


@pytest.mark.parametrize("protocol", DRIPS)
def test_dripping_mail_server_does_not_move_the_deadline_of_a_reply(
    monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    context = BoundedTls()
    steps = iter(range(1_000_000))
    # Each wait counts as a second, so that the test waits for none.
    monkeypatch.setattr(mail_sessions, "monotonic", lambda: float(next(steps)))
    imap = partial(connect_imap, size=1000)
    connect: Callable[..., object] = imap if protocol == "imap" else connect_smtp
    with (
        scripted(DRIPS[protocol], b"-", at_once=True) as server,
        pytest.raises((OSError, smtplib.SMTPException), match="did not answer in time"),
    ):
        connect("localhost", server.port, 30.0, context, starttls=True)


def test_reply_within_the_limits_is_read_whole(
    server_tls: tuple[ssl.SSLContext, BoundedTls],
) -> None:
    reply = b"220 mail.test\r\n250-mail.test\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
    with scripted(reply, at_once=True) as server:
        session = connect_smtp("localhost", server.port, PATIENCE, server_tls[1], starttls=True)
        code, text = session.ehlo()
        session.close()
    assert (code, text) == (250, b"mail.test\nSIZE 1000\n8BITMIME")
    assert session.has_extn("8bitmime")


@pytest.mark.parametrize("late", [False, True], ids=["before TLS", "after the answer to STARTTLS"])
def test_answers_that_came_in_clear_are_no_answers_of_the_session(
    server_tls: tuple[ssl.SSLContext, BoundedTls], late: bool
) -> None:
    trust, context = server_tls
    injected = b"* SEARCH 9\r\n* 9 FETCH (BODY[] {6}\r\nforged)\r\n"

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"* OK\r\n")
        while line := sock.recv(4096):
            tag, command = line.split()[:2]
            if command == b"STARTTLS":
                answer = tag + b" OK begin\r\n"
                sock.sendall(answer + injected if late else injected + answer)
                sock = trust.wrap_socket(sock, server_side=True)
            elif command == b"CAPABILITY":
                answer = b"* CAPABILITY IMAP4rev1 STARTTLS\r\n" + tag + b" OK done\r\n"
                sock.sendall(answer)
            else:
                sock.sendall(tag + b" OK done\r\n")

    server = Server(talk)
    try:
        session = connect_imap(
            "localhost", server.port, PATIENCE, context, starttls=True, size=1000
        )
        assert not session.untagged_responses
        session.state = "SELECTED"
        assert session.search(None, "ALL") == ("OK", [None])
        assert session.fetch("9", "(BODY[])") == ("OK", [None])
        session.shutdown()
    finally:
        server.close()


def test_answers_that_no_command_asked_for_are_kept_for_one_command(
    server_tls: tuple[ssl.SSLContext, BoundedTls],
) -> None:
    trust, context = server_tls

    def talk(sock: socket.socket) -> None:
        stream = trust.wrap_socket(sock, server_side=True)
        stream.sendall(b"* OK\r\n")
        while line := stream.recv(4096):
            tag, command = line.split()[:2]
            kind = (
                b"CAPABILITY IMAP4rev1" if command == b"CAPABILITY" else b"XUNASKED " + b"x" * 9000
            )
            stream.sendall(b"* " + kind + b"\r\n" + tag + b" OK done\r\n")

    server = Server(talk)
    try:
        session = connect_imap(
            "localhost", server.port, PATIENCE, context, starttls=False, size=1000
        )
        for _ in range(20):
            session.noop()
        kept = session.untagged_responses
        session.shutdown()
    finally:
        server.close()
    assert {kind: len(found) for kind, found in kept.items()} == {"XUNASKED": 1}
