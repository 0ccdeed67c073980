"""Bounces and warnings in the words of systems that send no standard report."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox.mails import MARK, NOTICE, OWNER, US, reply

# (sender, subject, text, kind)
RETURNED = (
    (
        "SMTP@vm.ibm.example",
        "Undeliverable Mail",
        f"vm.ibm.example unable to deliver following mail to recipient(s):\n    <{OWNER}>\n"
        "vm.ibm.example received negative reply from host: mx\n\n    ** Text of Mail follows **",
        "bounce",
    ),
    (
        "QSMTP@as400.example",
        "MAIL NOT DELIVERED",
        f"The following recipients did not receive the mail: {OWNER}",
        "bounce",
    ),
    (
        "notes@domino.example",
        "DELIVERY FAILURE: User owner1 not listed in Domino Directory",
        f"Your message\n\n  Subject: x\n\nwas not delivered to:\n\n  {OWNER}\n\nbecause: x",
        "bounce",
    ),
    (
        "MAILER-DAEMON@barracuda.example",
        "**Message you sent blocked by our bulk email filter**",
        f"Your message to: {OWNER}\nwas blocked by our Spam Firewall. The email you sent with the"
        " following subject has NOT BEEN DELIVERED:",
        "bounce",
    ),
    (
        "MAILER-DAEMON@zimbra.example",
        "Undelivered Mail Returned to Sender",
        f"<{OWNER}>: host z[z/lmtp] said: 452 4.2.2 Over quota (in reply to RCPT TO)",
        "bounce",
    ),
    (
        "MAILER-DAEMON@libero.example",
        "Mail System Error - Returned Mail",
        "Il messaggio non e' stato recapitato: casella inesistente",
        "bounce",
    ),
    ("Postmaster@ezweb.example", "Mail System Error - Returned Mail", f"<{OWNER}>", "bounce"),
    ("postmaster@mercury.example", "Postmaster notify: delivery failure.", f"{OWNER}", "bounce"),
    ("PostMaster@qq.example", "来自qq.com的退信", f"您的邮件被退回来了: {OWNER}", "bounce"),
    ("Postmaster@163.example", "系统退信/Systems bounce", f"您的邮件未能送达 {OWNER}", "bounce"),
    ("postmaster@jp.example", "配信不能通知", f"{OWNER} に送信できませんでした", "bounce"),
    ("postmaster@kr.example", "메일 전송 실패", f"{OWNER} 메일을 전송할 수 없습니다", "bounce"),
    (
        "postmaster@domino.example",
        "DELIVERY DELAYED: Will retry",
        f"Your message\n\nhas not yet been delivered to:\n\n  {OWNER}\n\nIt will be retried.",
        "delay",
    ),
    (
        "MDaemon@mdaemon.example",
        "Delivery Warning - Message Delayed",
        "The message is still queued, and delivery will be retried.",
        "delay",
    ),
    (
        "mailer-daemon@sendmail.example",
        "Warning: could not send message for past 4 hours",
        f"<{OWNER}>... Deferred: Connection timed out\nWarning: message still undelivered after 4"
        " hours\nWill keep trying until message is 5 days old",
        "delay",
    ),
)


def returned(sender: str, subject: str, text: str, notice: str = NOTICE) -> bytes:
    mail = EmailMessage()
    mail["Return-Path"] = "<>"
    mail["From"], mail["To"], mail["Subject"] = sender, US, subject
    # As base64 if the text is not ASCII, and then the notice in it too.
    mail.set_content(f"{text}\n\n{notice}", cte="7bit" if text.isascii() else "base64")
    return mail.as_bytes()


@pytest.mark.parametrize(("sender", "subject", "text", "kind"), RETURNED)
def test_returned_mail_is_a_failure_or_a_warning_about_its_notice(
    sender: str, subject: str, text: str, kind: str
) -> None:
    found = parse(returned(sender, subject, text))
    assert (found.kind, found.marks) == (kind, (MARK,))


def test_absent_person_without_a_return_path_is_no_failure() -> None:
    """Exchange sends absence notes with a null sender, and some people write such subjects."""
    for subject in ("Automatic reply: Your certificate", "Our mail not delivered last week"):
        found = parse(returned("owner1@client1.example", subject, "I am back on Monday.", ""))
        assert found.kind == "automatic"


@pytest.mark.parametrize("extra", ["", "Return-Path: <owner1@client1.example>\n"])
@pytest.mark.parametrize("ending", ["", "\nSent to all of our staff by a rule.\n"])
def test_notice_that_comes_back_by_a_redirection_is_no_consent(extra: str, ending: str) -> None:
    found = parse(f"{extra}{NOTICE}{ending}".encode())
    assert found.kind == "automatic"


@pytest.mark.parametrize(
    "text",
    [
        "You have received a secure message. Click here to read it.",
        "Owner has sent you a protected message.",
        "Sie haben eine sichere Nachricht: you received an encrypted e-mail.",
    ],
)
def test_gateway_for_encrypted_mail_is_uncertain(text: str) -> None:
    assert parse(reply(text=text)).kind == "uncertain"
