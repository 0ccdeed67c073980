"""The delivery status of messages at real servers that refuse, disconnect, hang, and accept."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from apprise.dispatch import compute_deadline

from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from inventory.errors import CertmgrError, ConfigError
from inventory.names import mail_address
from notifiers.channels import (
    Channel,
    DeliveryStatus,
    OutgoingMessage,
    SendResult,
    preview,
)
from tests.campaign import PATIENCE, time_limits
from tests.clock import frozen
from tests.servers.mail import PASSWORD, Hook, MailServer, hook, mail_server
from tests.servers.ports import free_port

PATIENT = PATIENCE
"""Seconds: a time limit that no test waits for."""
SHORT = 1.0
"""Seconds: a time limit that a test waits for, if the machine is not busy."""


@pytest.fixture
def hooked(root: Authority, tmp_path: Path, trusted: None) -> Iterator[Hook]:
    with hook(root, tmp_path / "hook") as found:
        yield found


def message(to: str = "ada@example.com") -> OutgoingMessage:
    link = '<a href="https://shop.example/">https://shop.example/</a>'
    html = f'<html lang="de"><body><p>Grüße an {link}</p><ul><li>eins</li></ul></body></html>'
    subject, mark = "[CM-AAAAAA] Prüfen Sie Ihr Zertifikat", "17.0123456789abcdef0123"
    return OutgoingMessage(to, subject, "Grüße", html, mark)


def channel(port: int, timeout: float = PATIENT, connect_timeout: float = PATIENT) -> Channel:
    """Return a mail channel with invalid credentials."""
    url = f"mailtos://u:p@localhost:{port}?smtp=localhost&from=a@b.example"
    return Channel("mail", url, timeout=timeout, connect_timeout=connect_timeout)


def send(server: MailServer, to: str = "ada@example.com", silence: float = PATIENT) -> SendResult:
    """Send a message; ``silence`` is how long the server may take for an answer."""
    mail = Channel("mail", server.url, timeout=PATIENT, connect_timeout=silence)
    return mail.send(message(to))


def test_mail_arrives_with_text_html_and_marks(server: MailServer) -> None:
    assert send(server) == SendResult(DeliveryStatus.SENT)
    (got,) = server.received
    assert got.to == "ada@example.com"
    assert got.subject == "[CM-AAAAAA] Prüfen Sie Ihr Zertifikat"
    assert "https://shop.example/" in got.text, "the plain part keeps the visible address"
    assert "<li>eins</li>" in got.html
    assert got.mail["X-Certmgr-Notice"] == "17.0123456789abcdef0123"
    assert got.mail["References"] == "<certmgr.17.0123456789abcdef0123@provider.example>"
    assert got.mail["Auto-Submitted"] == "auto-generated"
    assert got.mail["X-Auto-Response-Suppress"] == "OOF, AutoReply"
    assert len(got.mail.get_all("Message-ID") or []) == 1
    assert "notices@provider.example" in got.mail["From"]


@pytest.mark.parametrize(
    ("stage", "answer", "status", "bad"),
    [
        ("rcpt", "550 5.1.1 No such user here", DeliveryStatus.PERMANENT, True),
        ("rcpt", "553 5.1.3 Bad mailbox syntax", DeliveryStatus.PERMANENT, True),
        ("rcpt", "550 5.7.1 You may not send here", DeliveryStatus.PERMANENT, False),
        ("rcpt", "450 4.2.0 Greylisted", DeliveryStatus.TEMPORARY, False),
        ("rcpt", "452 4.2.2 Mailbox full", DeliveryStatus.TEMPORARY, False),
        ("data", "451 4.3.0 Try again later", DeliveryStatus.TEMPORARY, False),
        ("data", "554 5.7.1 Looks like spam", DeliveryStatus.PERMANENT, False),
        ("data", "drop", DeliveryStatus.UNKNOWN, False),
        ("data", "hang", DeliveryStatus.UNKNOWN, False),
    ],
)
def test_answer_of_the_mail_server_decides_the_delivery_status(
    server: MailServer,
    stage: str,
    answer: str,
    status: DeliveryStatus,
    bad: bool,
) -> None:
    server.answers = lambda at, to: answer if at == stage else None
    for limit in time_limits(SHORT) if answer == "hang" else [PATIENT]:
        got = send(server, silence=limit)
        if got.status is status:  # what precedes the hanging answer came in time
            break
    assert (got.status, got.bad_address) == (status, bad), got
    assert "ada@" not in got.reason, "no address in a stored reason"
    if answer[0].isdigit():
        assert got.code == int(answer[:3])
        assert got.reason == f"the server replied {answer}"


def test_refused_recipient_does_not_stop_the_others(server: MailServer) -> None:
    server.answers = lambda at, to: "550 5.1.1 gone" if to.startswith("bob") else None
    recipients = ("ada@example.com", "bob@example.com", "eve@example.com")
    statuses = [send(server, to).status for to in recipients]
    assert statuses == [DeliveryStatus.SENT, DeliveryStatus.PERMANENT, DeliveryStatus.SENT]
    assert [r.to for r in server.received] == ["ada@example.com", "eve@example.com"]


def test_closed_port_is_temporary() -> None:
    got = channel(free_port()).send(message())
    assert (got.status, got.channel_down) == (DeliveryStatus.TEMPORARY, True)


def test_server_that_never_greets_is_temporary() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        got = channel(port, connect_timeout=0.5).send(message())
    assert (got.status, got.channel_down) == (DeliveryStatus.TEMPORARY, True), got


def test_tarpit_ends_with_the_time_limit() -> None:
    """The server sends a byte now and then, so that no time limit of the socket is reached."""
    stop, ended = threading.Event(), threading.Event()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(int(PATIENCE / 0.2)):
                connection.sendall(b"2")
                if stop.wait(0.2):
                    return
            ended.set()

    with contextlib.closing(Server(drip)) as tarpit:
        got = channel(tarpit.port, timeout=1, connect_timeout=PATIENT).send(message())
        assert not ended.is_set(), "the time limit was reached first"
        stop.set()
    assert got.status in (DeliveryStatus.UNKNOWN, DeliveryStatus.TEMPORARY)
    assert got.channel_down


def test_time_limit_of_the_configuration_is_not_cut_by_the_mail_library() -> None:
    service = channel(9).service(message())
    assert compute_deadline(service, None) is None
    assert compute_deadline(service, 1e9) == 1e9


def test_wrong_password_is_temporary_and_not_a_bad_address(server: MailServer) -> None:
    url = server.url.replace(PASSWORD, "wrong")
    mail = Channel("mail", url, timeout=PATIENT, connect_timeout=PATIENT)
    got = mail.send(message())
    assert (got.status, got.bad_address, got.channel_down) == (
        DeliveryStatus.TEMPORARY,
        False,
        True,
    ), got
    assert server.received == []


def test_untrusted_certificate_sends_nothing(
    root: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("Another Root", clock=frozen).pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with mail_server(root, tmp_path / "mail") as server:
        got = send(server)
    assert (got.status, got.channel_down) == (DeliveryStatus.TEMPORARY, True)
    assert server.received == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (200, DeliveryStatus.SENT),
        (500, DeliveryStatus.TEMPORARY),
        (429, DeliveryStatus.TEMPORARY),
        (404, DeliveryStatus.PERMANENT),
        ("hang", DeliveryStatus.UNKNOWN),
    ],
)
def test_answer_of_the_hook_decides_the_delivery_status(
    hooked: Hook, answer: int | str, status: DeliveryStatus
) -> None:
    hooked.answer = answer
    for limit in time_limits(SHORT) if answer == "hang" else [PATIENT]:
        hooked.bodies.clear()
        got = Channel("desk", hooked.url, timeout=limit, connect_timeout=PATIENT).send(message())
        if hooked.bodies:  # the request came in time
            break
    assert got.status is status, got
    assert len(hooked.bodies) == 1, "the mail library does not retry"
    assert "Grüße" in hooked.bodies[0]["message"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("option", ["", "&redirect=yes"])
def test_redirect_of_the_hook_is_a_failure_and_is_not_followed(
    hooked: Hook, code: int, option: str
) -> None:
    """A login page that answers 200 is no delivery."""
    hooked.answer, hooked.location = code, "/login"
    got = Channel("desk", hooked.url + option, timeout=PATIENT).send(message())
    assert (got.status, got.code, got.channel_down) == (DeliveryStatus.PERMANENT, code, True), got
    assert "redirects to https://localhost:" in got.reason
    assert "correct the URL of the channel" in got.reason
    assert (len(hooked.bodies), hooked.logins) == (1, 0)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("http://169.254.169.254/latest?token=abc", "redirects to http://169.254.169.254."),
        ("//[::1]:99/hook", "redirects to https://[::1]:99."),
        ("https://[::1/", "redirects to an invalid URL."),
        ("https://x\x1bz.example/", "redirects to https://x"),
    ],
)
def test_reason_names_the_host_of_a_redirect_without_its_path(
    hooked: Hook, location: str, shown: str
) -> None:
    hooked.answer, hooked.location = 307, location
    got = Channel("desk", hooked.url, timeout=PATIENT).send(message())
    assert shown in got.reason
    assert "abc" not in got.reason
    assert got.reason.isprintable()


@pytest.mark.parametrize("code", [300, 304])
def test_answer_that_has_no_other_place_is_a_failure(hooked: Hook, code: int) -> None:
    hooked.answer = code
    got = Channel("desk", hooked.url, timeout=PATIENT).send(message())
    assert (got.status, got.code) == (DeliveryStatus.PERMANENT, code)


def test_hook_that_is_not_there_is_temporary(trusted: None) -> None:
    desk = Channel("desk", f"jsons://localhost:{free_port()}/x", timeout=PATIENT)
    got = desk.send(message())
    assert (got.status, got.channel_down) == (DeliveryStatus.TEMPORARY, True)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("mailto://u:p@host.example?from=a@b.example", "in clear"),
        ("mailtos://u:p@host.example?from=a@b.example&mode=insecure", "in clear"),
        ("json://host.example/x", "not encrypted"),
        ("nosuchthing://x", "unknown kind"),
        ("no url at all", "unknown kind"),
        ("", "unknown kind"),
    ],
)
def test_unusable_channel_url_is_refused_without_showing_it(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        Channel("x", url)
    assert "p@host" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "no-at",
        "a@b",
        "two@@x.example",
        "a b@x.example",
        "a@x.example\r\nBcc: b@x.example",
        ".a@x.example",
        "a..b@x.example",
        "a@-x.example",
        "<a@x.example>",
        "a@x.example,b@x.example",
        "a" * 65 + "@x.example",
        "ä@x.example",
    ],
)
def test_invalid_address_is_permanent_and_bad(text: str) -> None:
    """The mail library would drop it silently, and then write to the sender."""
    with pytest.raises(CertmgrError):
        mail_address(text)
    got = channel(9).send(message(text))
    assert (got.status, got.bad_address) == (DeliveryStatus.PERMANENT, True)


def test_idn_host_of_an_address_becomes_an_a_label() -> None:
    assert mail_address("ada@bücher.example") == "ada@xn--bcher-kva.example"


def test_body_and_password_do_not_reach_another_log(
    server: MailServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = lambda at, to: "550 5.1.1 gone"
    send(server)
    assert PASSWORD not in caplog.text
    assert "Grüße" not in caplog.text


def test_preview_is_the_mail_as_it_would_be_sent() -> None:
    raw = preview(message(), "notices@provider.example")
    assert b"multipart/alternative" in raw
    assert b"To: ada@example.com" in raw
