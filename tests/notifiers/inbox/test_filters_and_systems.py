"""Mails of filters, ticket systems and mail systems without a header or report that states it.

None of them is a person's answer. The last list has answers of people that come close.
"""

from __future__ import annotations

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox.mails import OWNER, calendar_reply, reply

SUBJECT = "Re: [CM-AAAAAA] Your certificate"
DAEMONS = (
    "MAILER-DAEMON@mx.client1.example",
    "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@client1.onmicrosoft.com",
)

# (subject, text) of mail with the address of the owner. Each text stands for its system.
HELD = (
    # TMDA, Spam Arrest, Boxbe, EarthLink, Mailinblack and their relatives
    (
        "Please confirm your message",
        "Your message is held because the address has not been verified",
    ),
    (f"{SUBJECT} [Verification required]", "To deliver your message, click here."),
    (SUBJECT, "owner1 is protected by Spam Arrest. Verify that you are human at the link."),
    (f"{SUBJECT} (Action Required)", "This message was sent to the Waiting List of owner1."),
    (
        SUBJECT,
        "To control spam, I allow messages only from senders I have approved: approved senders.",
    ),
    (SUBJECT, "To release your message for delivery, send an empty message."),
    ("Demande d'authentification", "Bonjour, cliquez ici pour vous authentifier (Mailinblack)."),
    (SUBJECT, "Bitte bestätigen Sie, dass Sie kein Spammer sind. Ihre Mail wird zurückgehalten."),
    (SUBJECT, "Confirme su dirección para entregar el mensaje, que está retenido."),
    (SUBJECT, "Per favore, confermi il suo indirizzo."),
    (SUBJECT, "Bevestig dat u geen robot bent."),
    (SUBJECT, "Подтвердите, что вы не робот."),
    # Barracuda and quarantines
    (
        "**Message you sent blocked by our bulk email filter**",
        "Your message to owner1 was blocked by our Spam Firewall. It has NOT BEEN DELIVERED.",
    ),
    (SUBJECT, "Your message is being held until an administrator of the recipient releases it."),
    (SUBJECT, "Your e-mail has been quarantined."),
    # mailboxes that take no mail
    (SUBJECT, "The recipient's mailbox is full and can't accept messages now."),
    (SUBJECT, "Das Postfach ist voll."),
    (SUBJECT, "This address is no longer monitored. Write to new@client1.example."),
    # OTRS and Znuny, Zendesk, Freshdesk, Jira, RT, ServiceNow, HubSpot, Intercom, osTicket,
    # Help Scout, Odoo
    ("[Ticket#20260701] RE: Your certificate", "Vielen Dank für Ihre Anfrage."),
    (f"[Request received] {SUBJECT}", "Your request (12345) has been received."),
    (f"Ticket Received - {SUBJECT}", "A ticket has been created with Ticket ID - 4711."),
    ("SUP-1234 Your certificate", "Just confirming that we got your request. We're on it."),
    ("[client1.example #4711] AutoReply: Your certificate", "Greetings."),
    ("Incident INC0012345 has been opened", "Your incident has been logged."),
    (SUBJECT, "We've received your message and someone will be with you shortly."),
    (SUBJECT, "Our team will be back tomorrow. You'll get replies here and by email."),
    ("Support Ticket Opened [#123456]", "A request for support has been created."),
    (SUBJECT, "Your request 42 is registered and under review by our helpdesk team."),
)

# (subject, text, kind) of mail systems that send no report of RFC 3464.
REPORTS = (
    ("Undeliverable: Your certificate", "Your message couldn't be delivered.", "bounce"),
    (
        "Mail delivery failed",
        'This is a permanent error.\n\n    "owner1@client1.example":',
        "bounce",
    ),
    ("failure", "I was unable to deliver your message: 550 no such user", "bounce"),
    ("Delivery status notification: failed", "550 5.1.1 User unknown", "bounce"),
    ("Notification d'échec", "Le message n'a pas pu être distribué.", "bounce"),
    ("Nicht zustellbar", "Die Nachricht konnte nicht zugestellt werden.", "bounce"),
    ("failure notice", "Status 5.7.1, and I have given up. It was delayed before.", "bounce"),
    ("Delayed Mail", "It could not be delivered for 4 hours. It will be retried.", "delay"),
    ("Warning: could not send", "** THIS IS A WARNING MESSAGE ONLY **", "delay"),
    ("Verzögerung", "Die Zustellung ist verzögert und wird erneut versucht.", "delay"),
    ("Status", "451 4.7.1 Greylisted", "delay"),
    ("Policy", "Your mail was seen by our policy service.", "uncertain"),
)

PEOPLE = (
    "Yes, please go ahead on Tuesday.",
    "Please automate the renewal for us.",
    "We received the certificate from the vendor, it is attached.",
    "OK, do it.\n\n-- \nOffice hours Mon-Fri 9-17",
    "Passt, danke!\n\nVon meinem iPhone gesendet",
    "Yes.\n\nIf you have received this message in error, please notify us.",
    "Yes, Tuesday.\n\nOn Monday, we wrote:\n> I am out of the office\n> Verification required",
    "Agreed.\n\nFrom: Certs\nSent: Monday\nTo: Owner\nSubject: Auto: x\n\nmailbox is full",
    "Our firewall protects the shop; you can reach it on port 443.",
    "The owner of the domain was verified last year, so please renew.",
)


def test_mail_that_holds_or_acknowledges_is_no_consent() -> None:
    found = {f"{s} | {t}": parse(reply(s, t)).kind for s, t in HELD}
    assert not {k: v for k, v in found.items() if v not in ("automatic", "uncertain")}


def test_words_of_mail_systems_distinguish_failures_from_delays() -> None:
    found = {
        f"{daemon} {subject} | {text}": (kind, parse(reply(subject, text, From=daemon)).kind)
        for subject, text, kind in REPORTS
        for daemon in DAEMONS
    }
    assert not {k: v for k, v in found.items() if v[0] != v[1]}


def test_people_who_write_about_failures_report_none() -> None:
    """Only a mail system's address makes a report: a person may quote one."""
    for subject, text, _ in REPORTS:
        assert parse(reply(subject, text, From=OWNER)).kind not in ("bounce", "delay"), text


def test_answers_of_people_stay_answers() -> None:
    found = {text: parse(reply(SUBJECT, text)).kind for text in PEOPLE}
    assert not {k: v for k, v in found.items() if v != "reply"}


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"", "accepted"),
        (b"Auto-Submitted: auto-generated\n", "accepted"),
        (b"Auto-Submitted: auto-replied\n", "uncertain"),
        (b"Auto-Submitted:  Auto-Replied (room; rule)\n", "uncertain"),
        (b"X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\n", "uncertain"),
    ],
)
def test_calendar_that_accepts_by_a_rule_is_no_consent(header: bytes, kind: str) -> None:
    """Google and Nextcloud mark each mail as generated, also the answer of a person."""
    assert parse(header + calendar_reply("ACCEPTED")).kind == kind


@pytest.mark.parametrize(
    ("subject", "text", "kind"),
    [
        (
            "Re: Automatic reply: [CM-AAAAAA] x",
            "Yes, Tuesday.\n\n> Your certificate ends",
            "uncertain",
        ),
        ("AW: Automatische Antwort: [CM-AAAAAA] x", "Ja, gern.\n\n> Ihr Zertifikat", "uncertain"),
        ("Re: Automatic reply: [CM-AAAAAA] x", "I am on vacation.\n\n> Your", "automatic"),
        ("Re: Automatic reply: [CM-AAAAAA] x", "Thank you.", "automatic"),
        ("Automatic reply: Re: [CM-AAAAAA] x", "Yes.\n\n> Your certificate ends", "automatic"),
    ],
)
def test_person_who_answers_an_automatic_reply_is_shown_to_staff(
    subject: str, text: str, kind: str
) -> None:
    """Some programs write such a subject too, so that it is no consent."""
    assert parse(reply(subject, text)).kind == kind
