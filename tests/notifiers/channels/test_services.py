"""The extended mail service of apprise, at real mail servers."""

from __future__ import annotations

import contextlib
import socket

import pytest

from certmgr.demo.servers import Server
from notifiers.channels import Channel, OutgoingMessage
from notifiers.channels.services import RecordingMail
from notifiers.channels.smtp import SmtpFailure, SmtpReply, SmtpStage
from tests.campaign import PATIENCE
from tests.servers.mail import PASSWORD, MailServer

TO = "ada@example.com"


def failures(url: str) -> dict[str, SmtpFailure]:
    """Send a mail, and return what the service recorded."""
    message = OutgoingMessage(TO, "subject", "text", "<p>text</p>")
    service = Channel("mail", url, timeout=PATIENCE, connect_timeout=PATIENCE).service(message)
    assert isinstance(service, RecordingMail)
    accepted = service.send("<p>text</p>", title="subject", body_format="html")
    assert accepted is not bool(service.failures)
    return service.failures


def test_accepted_mail_has_no_failure(server: MailServer) -> None:
    assert failures(server.url) == {}
    assert [r.to for r in server.received] == [TO]


@pytest.mark.parametrize(
    ("stage", "answer", "expected"),
    [
        (
            "rcpt",
            "550 5.1.1 No such user here",
            SmtpFailure(SmtpStage.RECIPIENT, SmtpReply(550, "5.1.1", "No such user here")),
        ),
        (
            "rcpt",
            "450-4.2.0 Greylisted\r\n450 4.2.0 come back later",
            SmtpFailure(
                SmtpStage.RECIPIENT, SmtpReply(450, "4.2.0", "Greylisted 4.2.0 come back later")
            ),
        ),
        (
            "rcpt",
            "421 Too many connections",
            SmtpFailure(SmtpStage.RECIPIENT, SmtpReply(421, "", "Too many connections")),
        ),
        (
            "data",
            "554 5.7.1 Looks like spam",
            SmtpFailure(SmtpStage.MESSAGE, SmtpReply(554, "5.7.1", "Looks like spam")),
        ),
    ],
)
def test_reply_of_the_server_comes_back_as_a_value(
    server: MailServer, stage: str, answer: str, expected: SmtpFailure
) -> None:
    server.answers = lambda at, to: answer if at == stage else None
    assert failures(server.url) == {TO: expected}


def test_dropped_connection_has_no_reply(server: MailServer) -> None:
    server.answers = lambda at, to: "drop" if at == "data" else None
    failure = failures(server.url)[TO]
    assert (failure.stage, failure.reply, failure.timed_out) == (SmtpStage.MESSAGE, None, False)
    assert failure.problem


def test_refused_login_is_a_reply_before_any_recipient(server: MailServer) -> None:
    failure = failures(server.url.replace(PASSWORD, "wrong"))[TO]
    assert failure.stage is SmtpStage.SESSION
    assert failure.reply is not None
    assert (failure.reply.code, failure.reply.status) == (535, "5.7.8")


def test_greeting_that_refuses_is_a_reply_before_any_recipient() -> None:
    def refuse(connection: socket.socket) -> None:
        connection.sendall(b"554 5.3.2 not accepting mail\r\n")

    with contextlib.closing(Server(refuse)) as closed:
        url = f"mailtos://u:p@localhost:{closed.port}?smtp=localhost&from=a@b.example"
        found = failures(url)
    reply = SmtpReply(554, "5.3.2", "not accepting mail")
    assert found == {TO: SmtpFailure(SmtpStage.SESSION, reply)}


def test_server_without_starttls_gets_no_password() -> None:
    """The session ends before the login."""
    seen: list[bytes] = []

    def plain(connection: socket.socket) -> None:
        connection.sendall(b"220 ready\r\n")
        while data := connection.recv(1000):
            seen.append(data)
            connection.sendall(b"250 OK\r\n")

    with contextlib.closing(Server(plain)) as server:
        url = f"mailtos://u:p@localhost:{server.port}?smtp=localhost&from=a@b.example"
        failure = failures(url)[TO]
    assert (failure.stage, failure.reply) == (SmtpStage.SESSION, None)
    assert not any(b"AUTH" in data or b"MAIL" in data for data in seen)
