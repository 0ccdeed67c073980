"""Replies of mail servers as values."""

from __future__ import annotations

import smtplib

import pytest

from notifiers.channels.results import DeliveryStatus
from notifiers.channels.smtp import (
    SmtpFailure,
    SmtpReply,
    SmtpStage,
    failure_of,
    mail_result,
    reply_of,
)


@pytest.mark.parametrize(
    ("code", "raw", "expected"),
    [
        (550, b"5.1.1 No such user", SmtpReply(550, "5.1.1", "No such user")),
        (550, b"No such user 5.1.1", SmtpReply(550, "", "No such user 5.1.1")),
        (550, b"5.1.1 gone\n5.1.1 for good", SmtpReply(550, "5.1.1", "gone 5.1.1 for good")),
        (421, b"", SmtpReply(421, "", "")),
        (451, "4.3.0 später".encode("latin-1"), SmtpReply(451, "4.3.0", "sp\ufffdter")),
        (250, b"2.0.0.1 an address", SmtpReply(250, "2.0.0", ".1 an address")),
        (-1, b"no code at all", None),
        (999, b"no code of SMTP", None),
    ],
)
def test_reply_has_code_enhanced_status_and_text(
    code: int, raw: bytes, expected: SmtpReply | None
) -> None:
    assert reply_of(code, raw) == expected


def test_terminal_control_characters_of_a_reply_do_not_survive() -> None:
    reply = reply_of(550, b"5.7.1 \x1b[31mred\x1b[0m \r\n next")
    assert reply is not None
    assert "\x1b" not in reply.text
    assert "\n" not in reply.text


def test_refusal_of_the_sender_is_not_one_of_the_recipient() -> None:
    """The address of the client must not be marked as bad for a fault of the provider."""
    error = smtplib.SMTPSenderRefused(550, b"5.1.1 unknown user", "notices@provider.example")
    failure = failure_of(error, SmtpStage.MESSAGE)
    assert failure.stage is SmtpStage.SENDER
    assert mail_result(failure).bad_address is False
    refused = smtplib.SMTPRecipientsRefused({"ada@example.com": (550, b"5.1.1 unknown user")})
    assert mail_result(failure_of(refused, SmtpStage.MESSAGE)).bad_address is True


@pytest.mark.parametrize(
    ("failure", "status", "down"),
    [
        (SmtpFailure(SmtpStage.SESSION, None, "refused"), DeliveryStatus.TEMPORARY, True),
        (
            SmtpFailure(SmtpStage.SESSION, SmtpReply(535, "5.7.8", "wrong password")),
            DeliveryStatus.TEMPORARY,
            True,
        ),
        (SmtpFailure(SmtpStage.MESSAGE), DeliveryStatus.UNKNOWN, False),
        (SmtpFailure(SmtpStage.MESSAGE, None, "x", True), DeliveryStatus.UNKNOWN, True),
        (
            SmtpFailure(SmtpStage.RECIPIENT, SmtpReply(421, "4.7.0", "bye")),
            DeliveryStatus.TEMPORARY,
            False,
        ),
        (
            SmtpFailure(SmtpStage.RECIPIENT, SmtpReply(450, "", "x 550 y")),
            DeliveryStatus.TEMPORARY,
            False,
        ),
        (
            SmtpFailure(SmtpStage.MESSAGE, SmtpReply(552, "5.3.4", "too large")),
            DeliveryStatus.PERMANENT,
            False,
        ),
    ],
)
def test_stage_and_reply_decide_the_delivery_status(
    failure: SmtpFailure, status: DeliveryStatus, down: bool
) -> None:
    got = mail_result(failure)
    assert (got.status, got.channel_down) == (status, down)


@pytest.mark.parametrize(
    ("reply", "bad"),
    [
        (SmtpReply(550, "5.1.1", "gone"), True),
        (SmtpReply(551, "", "not here"), True),
        (SmtpReply(554, "5.1.10", "recipient refused"), True),
        (SmtpReply(556, "5.1.10", "null MX"), True),
        (SmtpReply(554, "", "user unknown"), True),
        (SmtpReply(550, "5.7.1", "you may not send here"), False),
        (SmtpReply(552, "5.2.2", "mailbox full"), False),
    ],
)
def test_bad_address_is_one_that_does_not_exist(reply: SmtpReply, bad: bool) -> None:
    assert mail_result(SmtpFailure(SmtpStage.RECIPIENT, reply)).bad_address is bad


def test_reason_does_not_show_the_address() -> None:
    reply = SmtpReply(550, "5.1.1", "<ada@example.com>: no such user")
    got = mail_result(SmtpFailure(SmtpStage.RECIPIENT, reply))
    assert got.reason == "the server replied 550 5.1.1 <the recipient>: no such user"
