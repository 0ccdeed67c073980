"""Reports of mail systems that do not keep to RFC 3464, and of gateways that no address shows."""

from __future__ import annotations

import pytest

from notifiers.inbox.classify import parse
from notifiers.inbox.report_words import failure_subject, reported_action
from tests.notifiers.inbox.mails import NOTICE, OWNER, US


def gateway(subject: str, text: str, sender: str = "imss@client1.example", more: str = "") -> bytes:
    return (f"From: {sender}\nTo: {US}\nSubject: {subject}\n{more}\n{text}").encode()


def with_parts(*parts: tuple[str, str], head: str = "Return-Path: <>\n", kind: str = "") -> bytes:
    body = "".join(f"--b\nContent-Type: {type_}\n\n{text}\n" for type_, text in parts)
    kind = kind or "multipart/report; report-type=delivery-status"
    return (
        f"{head}To: {US}\nMIME-Version: 1.0\nContent-Type: {kind}; boundary=b\n\n{body}--b--\n"
    ).encode()


COPY = ("message/rfc822", NOTICE)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        # Of several addresses the worst counts, with its own code.
        (
            "Action: delivered\nStatus: 2.0.0\n\nAction: failed\nStatus: 5.1.1\n",
            ("failed", "5.1.1"),
        ),
        ("Action: delayed\nStatus: 4.4.1\n\nAction: failed\nStatus: 5.4.7\n", ("failed", "5.4.7")),
        (
            "Action: relayed\nStatus: 2.0.0\n\nAction: delayed\nStatus: 4.2.2\n",
            ("delayed", "4.2.2"),
        ),
        (
            "Reporting-MTA: dns; mx.test\r\n\r\nAction: Error\r\nStatus: 5.0.0\r\n",
            ("error", "5.0.0"),
        ),
        ("Reporting-MTA: dns; mx.test\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_report_gives_the_worst_action_with_its_code(
    report: str, expected: tuple[str, str]
) -> None:
    assert reported_action(report) == expected


CASES = {
    # Gmail cannot send as another address: the report is empty.
    "gmail": (
        "bounce",
        with_parts(
            ("text/plain", "** Message not delivered **\nThe response was: Unspecified Error"),
            ("message/delivery-status", ""),
            COPY,
            head="Return-Path: <>\nFrom: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\n"
            "Subject: Delivery Status Notification (Failure)\nX-Failed-Recipients: x@shop.test\n",
        ),
    ),
    "haraka": (
        "bounce",
        with_parts(
            ("text/plain", f"An error has occurred.\n{OWNER}: Domain does not exist"),
            ("message/delivery-status", "Reporting-MTA: dns; x\n\nAction: error\nStatus: 5.0.0\n"),
            COPY,
            head="From: Mailer Daemon <MAILER-DAEMON@mx.example>\nSubject: Delivery: error\n",
            kind="multipart/mixed",
        ),
    ),
    "without a sender": (
        "bounce",
        with_parts(
            (
                "text/plain",
                f"Delivery to the following recipients failed permanently:\n\n   * {OWNER}\n",
            ),
            ("message/delivery-status", "Reporting-MTA: dns; av.example\n"),
            COPY,
            head="From: Mail Delivery System <>\nSubject: Delivery status notification\n",
        ),
    ),
    "waiting": (
        "delay",
        with_parts(
            ("text/plain", "Your message has been delayed and will be retried."),
            ("message/delivery-status", "Reporting-MTA: dns; mx.example\n"),
            COPY,
            head="From: postmaster@mx.example\nSubject: Delayed mail\n",
        ),
    ),
    "dovecot": (
        "bounce",
        with_parts(
            (
                "text/plain",
                f"Your message to <{OWNER}> was automatically rejected:\nQuota exceeded",
            ),
            (
                "message/disposition-notification",
                "Disposition: automatic-action/MDN-sent-automatically; deleted\n",
            ),
            COPY,
            head="From: postmaster@mx.example\nSubject: Automatically rejected mail\n",
            kind="multipart/report; report-type=disposition-notification",
        ),
    ),
    "deleted by a person": (
        "receipt",
        with_parts(
            ("text/plain", "Your message was deleted without being read."),
            (
                "message/disposition-notification",
                "Disposition: manual-action/MDN-sent-automatically; deleted\n",
            ),
            COPY,
            head=f"From: {OWNER}\nSubject: Not read: Your certificate\n",
            kind="multipart/report; report-type=disposition-notification",
        ),
    ),
    "filter": (
        "bounce",
        gateway(
            "Mail could not be delivered",
            "****** Message from InterScan Messaging Security Suite ******\n\n"
            f"Sent <<< RCPT TO:<{OWNER}>\n\nUnable to deliver message to <{OWNER}>.\n\n"
            f"************************     End of message     **********************\n\n{NOTICE}",
        ),
    ),
    "mdaemon": (
        "bounce",
        gateway(
            "Permanent Delivery Failure",
            "The attached message had PERMANENT fatal delivery errors!\n\n" + NOTICE,
            "MDaemon@mail.client1.example",
            "Precedence: bulk\n",
        ),
    ),
    "domino": (
        "bounce",
        gateway(
            "DELIVERY FAILURE: User owner1 (owner1@client1.example) not listed in Domino Directory",
            f"Your message\n\n  Subject: x\n\nwas not delivered to:\n\n  {OWNER}\n\n{NOTICE}",
            "Notes_Router@mail.client1.example",
        ),
    ),
    # The words of a gateway without the notice prove nothing, and are no consent either.
    "without the notice": (
        "uncertain",
        gateway("Mail could not be delivered", "Unable to deliver."),
    ),
    "warning": ("uncertain", gateway("Mail Delivery Warning", "It has been postponed.")),
}


@pytest.mark.parametrize("name", list(CASES))
def test_report_in_its_own_form_is_read(name: str) -> None:
    expected, raw = CASES[name]
    assert parse(raw).kind == expected


@pytest.mark.parametrize(
    ("subject", "failure"),
    [
        ("Undeliverable: [CM-AAAAAA] Your certificate", True),
        ("*** Undeliverable mail ***", True),
        ("Undelivered Mail Returned to Sender", True),
        ("Delivery Status Notification (Failure)", True),
        ("Permanent Delivery Failure", True),
        ("Returned mail: see transcript for details", True),
        ("failure notice", True),
        ("Warning: could not send message for past 4 hours", True),
        ("Unzustellbar: [CM-AAAAAA] Ihr Zertifikat", True),
        ("Nedoručitelná zpráva", True),
        ("Re: Undeliverable: Your certificate", False),
        ("Fwd: Mail delivery failed", False),
        ("[CM-AAAAAA] Your certificate", False),
        ("The delivery of your certificate", False),
        ("Warning: certificate", False),
    ],
)
def test_subjects_of_mail_systems_are_known(subject: str, failure: bool) -> None:
    assert failure_subject(subject) is failure
