"""Mails as mail servers and mail programs send them. ``MARK`` is the mark of a notice."""

from __future__ import annotations

from email.message import EmailMessage

MARK = "12.0123456789abcdef0123"
OWNER = "owner1@client1.example"
US = "notices@provider.example"
# The notice as servers quote it.
NOTICE = (
    f"Received: from notices.provider.example by mx.example; Wed, 4 Mar 2026 10:00:00 +0000\n"
    f"From: Provider <{US}>\n"
    f"To: {OWNER}\n"
    "Subject: [CM-AAAAAA] Your certificate\n"
    f"X-Certmgr-Notice: {MARK}\n"
    f"References: <certmgr.{MARK}@provider.example>\n"
    "MIME-Version: 1.0\n"
    "\n"
    "Your certificate ends on 10 March.\n"
)


def reply(
    subject: str = "Re: [CM-AAAAAA] Your certificate",
    text: str = "Thank you, we are on it.",
    **headers: str,
) -> bytes:
    """Return a mail with the mark of the notice in References."""
    mail = EmailMessage()
    mail["From"] = f"Owner <{OWNER}>"
    mail["To"] = US
    mail["Subject"] = subject
    mail["References"] = f"<certmgr.{MARK}@provider.example>"
    for name, value in headers.items():
        name = name.replace("_", "-")
        del mail[name]
        mail[name] = value
    mail.set_content(text)
    return mail.as_bytes()


def calendar_reply(
    status: str,
    uid: str = "cm-aaaaaa-window@certmgr",
    sequence: int = 0,
    method: str = "REPLY",
    encoding: str = "7bit",
) -> bytes:
    """Return the answer of a calendar, in the structure that Outlook and Google use."""
    text = "\r\n".join(
        (
            "BEGIN:VCALENDAR",
            "PRODID:-//Example//Calendar//EN",
            "VERSION:2.0",
            f"METHOD:{method}",
            "BEGIN:VEVENT",
            "DTSTART:20260310T100000Z",
            "DTEND:20260310T110000Z",
            "DTSTAMP:20260304T120000Z",
            f"ORGANIZER:mailto:{US}",
            f"UID:{uid}",
            f"ATTENDEE;CN=Owner;PARTSTAT={status};ROLE=REQ-PARTICIPANT:mailto:{OWNER}",
            f"SEQUENCE:{sequence}",
            "COMMENT:We are closed that day.",
            "END:VEVENT",
            "END:VCALENDAR",
            "",
        )
    )
    mail = EmailMessage()
    mail["From"] = f"Owner <{OWNER}>"
    mail["To"] = US
    mail["Subject"] = f"{status.title()}: Certificate installation"
    mail["References"] = f"<certmgr.{MARK}@provider.example>"
    mail.set_content("")
    content, parameters = text.encode(), {"method": method}
    mail.add_alternative(content, "text", "calendar", cte=encoding, params=parameters)
    return mail.as_bytes()


def _daemon(subject: str, text: str, *headers: str, sender: str = "") -> bytes:
    head = (
        "Return-Path: <>",
        f"From: {sender or 'Mail Delivery System <Mailer-Daemon@mx.example>'}",
        f"To: {US}",
        f"Subject: {subject}",
        *headers,
    )
    return ("\n".join(head) + "\n\n" + text).encode()


def exim() -> bytes:
    """Return a bounce of Exim without a report, as versions before 4.92 send it."""
    return _daemon(
        "Mail delivery failed: returning message to sender",
        "This message was created automatically by mail delivery software.\n\n"
        "A message that you sent could not be delivered to one or more of its\n"
        "recipients. This is a permanent error. The following address(es) failed:\n\n"
        f"  {OWNER}\n    host mx.client1.example [192.0.2.1]\n"
        "    SMTP error from remote mail server after RCPT TO:\n"
        "    550 5.1.1 no such user\n\n"
        "------ This is a copy of the message, including all the headers. ------\n\n" + NOTICE,
        f"X-Failed-Recipients: {OWNER}",
        "Auto-Submitted: auto-replied",
    )


def exim_warning() -> bytes:
    """Return Exim's warning about a delay."""
    return _daemon(
        "Warning: message 1abc delayed 24 hours",
        "This message was created automatically by mail delivery software.\n"
        "A message that you sent has not yet been delivered to one or more of its\n"
        "recipients after more than 24 hours on the queue on mx.example.\n\n"
        "The address to which the message has not yet been delivered is:\n\n"
        f"  {OWNER}\n\n"
        "No action is required on your part. Delivery attempts will continue for\n"
        "some time, and this warning may be repeated at intervals if the message\n"
        "remains undelivered.\n\n" + NOTICE,
        "Auto-Submitted: auto-replied",
    )


def qmail() -> bytes:
    """Return a bounce of qmail-send."""
    return _daemon(
        "failure notice",
        "Hi. This is the qmail-send program at mx.example.\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        f"<{OWNER}>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
        "--- Below this line is a copy of the message.\n\n" + NOTICE,
        sender="MAILER-DAEMON@mx.example",
    )


def exchange() -> bytes:
    """Return a bounce of the Exchange Internet Mail Service."""
    return _daemon(
        "Undeliverable: [CM-AAAAAA] Your certificate",
        "Your message\n\n"
        f"  To:      {OWNER}\n  Subject: [CM-AAAAAA] Your certificate\n"
        "  Sent:    Wed, 4 Mar 2026 10:00:00 -0000\n\n"
        "did not reach the following recipient(s):\n\n"
        f"{OWNER} on Wed, 4 Mar 2026 10:00:05 -0000\n"
        "    The recipient name is not recognized\n"
        "\tThe MTS-ID of the original message is: c=de;a= ;p=client\n"
        "    MSEXCH:IMS:CLIENT:SITE:SERVER 0 (000C05A6) Unknown Recipient\n\n" + NOTICE,
        sender="System Administrator <postmaster@client1.example>",
    )


def gmail() -> bytes:
    """Return a bounce of Gmail in its older form, as plain text."""
    return _daemon(
        "Delivery Status Notification (Failure)",
        "Delivery to the following recipient failed permanently:\n\n"
        f"     {OWNER}\n\n"
        "Technical details of permanent failure:\n"
        "Google tried to deliver your message, but it was rejected by the server.\n"
        "The error was: 550 5.1.1 The email account does not exist.\n\n"
        "----- Original message -----\n\n" + NOTICE,
        f"X-Failed-Recipients: {OWNER}",
        sender="Mail Delivery Subsystem <mailer-daemon@googlemail.com>",
    )


def report(
    fields: str,
    *,
    kind: str = "delivery-status",
    part: str = "message/delivery-status",
    copy: str = "text/rfc822-headers",
) -> bytes:
    """Return a multipart/report (RFC 6522) with the fields of its recipient."""
    return (
        f"Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nTo: {US}\n"
        "Subject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\n"
        "MIME-Version: 1.0\n"
        f'Content-Type: multipart/report; report-type={kind}; boundary="b"\n\n'
        "--b\nContent-Type: text/plain; charset=utf-8\n\nThe mail has a report.\n"
        f"--b\nContent-Type: {part}\n\n"
        f"Reporting-MTA: dns; mx.example\n\n{fields}\n"
        f"--b\nContent-Type: {copy}\n\n{NOTICE}\n--b--\n"
    ).encode()


def receipt(disposition: str) -> bytes:
    """Return a disposition notification (RFC 8098)."""
    return report(
        f"Final-Recipient: rfc822;{OWNER}\nDisposition: {disposition}\n",
        kind="disposition-notification",
        part="message/disposition-notification",
    )


def nested(depth: int) -> bytes:
    """Return a mail of about 380 KB with multiparts in each other."""
    lines = [f"From: {OWNER}", f"References: <certmgr.{MARK}@provider.example>", "Subject: Re: x"]
    for number in range(depth):
        lines += [f'Content-Type: multipart/mixed; boundary="b{number}"', "", f"--b{number}"]
    lines += ["Content-Type: text/plain", "", *["text"] * 70_000]
    return "\n".join(lines).encode()
