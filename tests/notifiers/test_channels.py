"""What becomes of a message: real servers that refuse, break off, stand still, and take it without a word."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from inventory.errors import CertmgrError, ConfigError
from inventory.names import mail_address
from notifiers.channels import Channel, Delivery, Fate, Outgoing, judge, preview
from tests.clock import clock
from tests.servers.mail import PASSWORD, Hook, MailServer, hook, mail_server
from tests.servers.ports import free_port


@pytest.fixture
def trusted(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trusted.pem"
    path.write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))


@pytest.fixture
def server(root: Authority, tmp_path: Path, trusted: None) -> Iterator[MailServer]:
    with mail_server(root, tmp_path / "mail") as found:
        yield found


@pytest.fixture
def hooked(root: Authority, tmp_path: Path, trusted: None) -> Iterator[Hook]:
    with hook(root, tmp_path / "hook") as found:
        yield found


def message(to: str = "ada@example.com") -> Outgoing:
    html = '<html lang="de"><body><p>Grüße an <a href="https://shop.example/">https://shop.example/</a></p><ul><li>eins</li></ul></body></html>'
    return Outgoing(to, "[CM-AAAAAA] Prüfen Sie Ihr Zertifikat", "Grüße", html, "17.0123456789abcdef0123")


def send(server: MailServer, to: str = "ada@example.com", timeout: float = 4) -> Delivery:
    return Channel("mail", server.url, timeout=timeout, connect_timeout=2).send(message(to))


def test_a_mail_arrives_with_text_html_and_marks(server: MailServer) -> None:
    assert send(server) == Delivery(Fate.SENT)
    (got,) = server.received
    assert got.to == "ada@example.com"
    assert got.subject == "[CM-AAAAAA] Prüfen Sie Ihr Zertifikat"
    assert "https://shop.example/" in got.text, "the plain part keeps the visible address"
    assert "<li>eins</li>" in got.html
    assert got.mail["X-Certmgr-Notice"] == "17.0123456789abcdef0123"
    assert got.mail["References"] == "<certmgr.17.0123456789abcdef0123@provider.example>"
    assert got.mail["Auto-Submitted"] == "auto-generated"
    assert len(got.mail.get_all("Message-ID") or []) == 1
    assert "notices@provider.example" in got.mail["From"]


@pytest.mark.parametrize(("stage", "answer", "fate", "bad"), [
    ("rcpt", "550 5.1.1 No such user here", Fate.PERMANENT, True),
    ("rcpt", "553 5.1.3 Bad mailbox syntax", Fate.PERMANENT, True),
    ("rcpt", "550 5.7.1 You may not send here", Fate.PERMANENT, False),
    ("rcpt", "450 4.2.0 Greylisted", Fate.TEMPORARY, False),
    ("rcpt", "452 4.2.2 Mailbox full", Fate.TEMPORARY, False),
    ("data", "451 4.3.0 Try again later", Fate.TEMPORARY, False),
    ("data", "554 5.7.1 Looks like spam", Fate.PERMANENT, False),
    ("data", "drop", Fate.UNKNOWN, False),
    ("data", "hang", Fate.UNKNOWN, False),
])  # fmt: skip
def test_what_a_mail_server_says(server: MailServer, stage: str, answer: str, fate: Fate, bad: bool) -> None:
    server.answers = lambda at, to: answer if at == stage else None
    got = send(server)
    assert (got.fate, got.bad_address) == (fate, bad), got
    assert "ada@" not in got.reason, "no address in what is stored as a reason"
    if answer[0].isdigit():
        assert got.code == int(answer[:3])
        assert got.reason == f"the server said {answer}"


def test_one_recipient_of_several_is_refused_and_the_others_get_theirs(server: MailServer) -> None:
    server.answers = lambda at, to: "550 5.1.1 gone" if to.startswith("bob") else None
    fates = [send(server, to).fate for to in ("ada@example.com", "bob@example.com", "eve@example.com")]
    assert fates == [Fate.SENT, Fate.PERMANENT, Fate.SENT]
    assert [r.to for r in server.received] == ["ada@example.com", "eve@example.com"]


def test_nobody_listens() -> None:
    got = Channel(
        "mail", f"mailtos://u:p@localhost:{free_port()}?smtp=localhost&from=a@b.example", timeout=4, connect_timeout=2
    ).send(message())
    assert (got.fate, got.channel_down) == (Fate.TEMPORARY, True)


def test_a_server_that_never_greets_took_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        got = Channel(
            "mail", f"mailtos://u:p@localhost:{port}?smtp=localhost&from=a@b.example", timeout=5, connect_timeout=1
        ).send(message())
    assert (got.fate, got.channel_down) == (Fate.TEMPORARY, True), got


def test_a_tarpit_ends_with_the_time_limit() -> None:
    """A byte now and then: no time-out of the socket ever comes."""

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(60):
                connection.sendall(b"2")
                time.sleep(0.2)

    with contextlib.closing(Server(drip)) as tarpit:
        begin = time.monotonic()
        got = Channel(
            "mail", f"mailtos://u:p@localhost:{tarpit.port}?smtp=localhost&from=a@b.example", timeout=1.5, connect_timeout=1
        ).send(message())
        assert time.monotonic() - begin < 10, "a ceiling, and no measure of speed"
    assert got.fate in (Fate.UNKNOWN, Fate.TEMPORARY)
    assert got.channel_down


def test_a_wrong_password_is_not_the_recipients_fault(server: MailServer) -> None:
    url = server.url.replace(PASSWORD, "wrong")
    got = Channel("mail", url, timeout=6, connect_timeout=4).send(message())
    assert (got.fate, got.bad_address, got.channel_down) == (Fate.TEMPORARY, False, True), got
    assert server.received == []


def test_a_certificate_that_is_not_trusted_stops_everything(
    root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    (tmp_path / "nothing.pem").write_bytes(Authority("Another Root", clock=clock).pem)
    with mail_server(root, tmp_path / "mail") as server:
        got = send(server)
    assert (got.fate, got.channel_down) == (Fate.TEMPORARY, True)
    assert server.received == []


def test_a_hook_that_answers(hooked: Hook) -> None:
    channel = Channel("desk", hooked.url, timeout=3, connect_timeout=2)
    for answer, fate in (
        (200, Fate.SENT),
        (500, Fate.TEMPORARY),
        (429, Fate.TEMPORARY),
        (404, Fate.PERMANENT),
        ("hang", Fate.UNKNOWN),
    ):
        hooked.answer = answer
        got = channel.send(message())
        assert got.fate is fate, (answer, got)
    assert len(hooked.bodies) == 5, "no retry of apprise's own"
    assert "Grüße" in hooked.bodies[0]["message"]


def test_a_hook_that_is_not_there(trusted: None) -> None:
    got = Channel("desk", f"jsons://localhost:{free_port()}/x", timeout=3).send(message())
    assert (got.fate, got.channel_down) == (Fate.TEMPORARY, True)


@pytest.mark.parametrize(("url", "word"), [
    ("mailto://u:p@host.example?from=a@b.example", "in clear"), ("mailtos://u:p@host.example?from=a@b.example&mode=insecure", "in clear"),
    ("json://host.example/x", "not encrypted"), ("nosuchthing://x", "unknown kind"), ("no url at all", "unknown kind"), ("", "unknown kind"),
])  # fmt: skip
def test_channels_that_are_refused(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        Channel("x", url)
    assert "p@host" not in str(caught.value)


@pytest.mark.parametrize("text", [
    "no-at", "a@b", "two@@x.example", "a b@x.example", "a@x.example\r\nBcc: b@x.example", ".a@x.example", "a..b@x.example", "a@-x.example", "<a@x.example>",
    "a@x.example,b@x.example", "a" * 65 + "@x.example", "ä@x.example",
])  # fmt: skip
def test_addresses_that_nothing_is_sent_to(text: str) -> None:
    """Apprise drops what it does not like without a word, and then writes to the sender."""
    with pytest.raises(CertmgrError):
        mail_address(text)
    got = Channel("mail", "mailtos://u:p@localhost:9?smtp=localhost&from=a@b.example", timeout=2).send(message(text))
    assert (got.fate, got.bad_address) == (Fate.PERMANENT, True)


def test_an_address_with_an_idn_host() -> None:
    assert mail_address("ada@bücher.example") == "ada@xn--bcher-kva.example"


def test_nothing_of_the_body_or_the_password_reaches_another_log(server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.answers = lambda at, to: "550 5.1.1 gone"
    send(server)
    assert PASSWORD not in caplog.text
    assert "Grüße" not in caplog.text


def test_what_the_log_says_as_values() -> None:
    assert judge([], mail=True).fate is Fate.UNKNOWN
    assert judge([], mail=False).fate is Fate.UNKNOWN
    assert judge(["Socket Exception: (421, b'4.7.0 bye')"], mail=True).fate is Fate.TEMPORARY
    assert judge(["Socket Exception: {'a@b.example': (450, b'x 550 y')}"], mail=True).code == 450


def test_a_preview_is_the_mail_as_it_would_go_out() -> None:
    raw = preview(message(), "notices@provider.example")
    assert b"multipart/alternative" in raw
    assert b"To: ada@example.com" in raw
