"""A mail that is no answer of a person must never be "reply": automatic and system mails."""

from __future__ import annotations

import base64
import re

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox import mails
from tests.notifiers.inbox.automatic_mails import ABSENCES, CALENDARS, RECEIPTS, SUBJECTS, SYSTEMS
from tests.notifiers.inbox.mails import MARK, NOTICE, OWNER, US, calendar_reply, reply


def from_system(sender: str, subject: str, text: str, *headers: str) -> bytes:
    further = dict(h.split(": ", 1) for h in headers)
    return reply(subject, text, **({"From": sender} | further))


def daemon(text: str, *headers: str, sender: str = "MAILER-DAEMON@mx.example") -> bytes:
    head = ("Return-Path: <>", f"From: {sender}", f"To: {US}", "Subject: Your mail", *headers)
    return ("\n".join(head) + f"\n\n{text}\n\n{NOTICE}").encode()


def wrong(cases: dict[str, bytes], *expected: str) -> list[str]:
    """Return the cases of another kind, so that one failure names all of them."""
    return [f"{n}: {k}" for n, raw in cases.items() if (k := parse(raw).kind) not in expected]


NO_PERSON = ("automatic", "uncertain", "receipt")


def test_mail_of_systems_and_absent_people_is_no_consent() -> None:
    cases = {f"{s[0]} {s[1]}": from_system(*s) for s in SYSTEMS}
    cases |= {text: reply("Re: [CM-AAAAAA] Your certificate", text) for text in ABSENCES}
    for subject in (*SUBJECTS, *RECEIPTS, *CALENDARS):
        cases[subject] = reply(subject, "Hello.")
        notice = re.sub("x$", "[CM-AAAAAA] Your certificate", subject)
        cases[notice] = reply(notice, "Hello.\n\n> Your certificate ends on 10 March.\n")
    assert not wrong(cases, *NO_PERSON)


@pytest.mark.parametrize(
    "text",
    [
        "Yes, go ahead with Monday.",
        "Bitte am Montag installieren, so schnell wie möglich.",
        "Merci, c'est d'accord.",
        "De acuerdo.",
        "Va bene, procedete.",
        "はい、お願いします。",
        "好的",
        "Да, согласны.",
        "We use certbot, which renews automatically.",
        # The words of the notice are no words of the client.
        "Go ahead.\n\nFrom: Provider\nSubject: x\n\nThis message was automatically generated.",
        "D'accord.\n\nLe mer. 4 mars 2026, Provider a écrit :\nmessage automatique",
        "Akkoord.\n\nVan: Provider\nAutomatisch bericht",
        "Ok.\n\nProvider <x@provider.example> escribió:\nmensaje automático",
    ],
)
@pytest.mark.parametrize(
    "subject",
    [
        "Re: [CM-AAAAAA] Your certificate",
        "[EXTERNAL] Re[2]: [CM-AAAAAA] shop.example: please act",
        "回复：[CM-AAAAAA] Your certificate",
        "R: [CM-AAAAAA] Your certificate",
        "Отв: [CM-AAAAAA] Your certificate",
        "RE: shop.example: please act",
    ],
)
def test_answer_of_a_person_stays_a_reply(subject: str, text: str) -> None:
    assert parse(reply(subject, text)).kind == "reply"


def test_attached_mail_says_nothing_about_the_mail_around_it() -> None:
    """A client who attaches a bounce would otherwise mark the own address as bad."""
    attached = {"bounce": mails.report(f"Final-Recipient: rfc822;{OWNER}\nAction: failed\n")}
    attached |= {"answer": calendar_reply("ACCEPTED"), "reply": reply()}
    cases = {}
    for name, raw in attached.items():
        cases[name] = (
            f"From: {OWNER}\nReferences: <certmgr.{MARK}@provider.example>\n"
            "Subject: Fwd: [CM-AAAAAA] Your certificate\nMIME-Version: 1.0\n"
            'Content-Type: multipart/mixed; boundary="a"\n\n--a\nContent-Type: message/rfc822\n\n'
        ).encode() + raw.replace(b'"b"', b'"c"').replace(b"--b", b"--c")
        cases[name] += b"\n--a--\n"
    assert not wrong(cases, "uncertain")


def test_complaint_is_shown_to_staff_with_its_notice() -> None:
    raw = mails.report("Feedback-Type: abuse\n", kind="feedback-report").replace(
        b"message/delivery-status", b"message/feedback-report"
    )
    raw = raw.replace(b"From: MAILER-DAEMON@mx.example", b"From: complaints@abuse.example")
    raw = raw.replace(b"Return-Path: <>\n", b"").replace(b"Auto-Submitted: auto-replied\n", b"")
    mail = parse(raw)
    assert (mail.kind, mail.marks) == ("uncertain", (MARK,))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("Action: expanded\nStatus: 2.0.0\n\nAction: failed\nStatus: 5.1.1\n", "bounce"),
        ("Action: delivered\n\nAction: delayed\nStatus: 4.4.1\n", "delay"),
        ("Action : failed\nStatus : 5.1.1\n", "bounce"),
        ("action:failed\nstatus:5.1.1\n", "bounce"),
    ],
)
def test_one_failure_among_several_addresses_is_a_failure(fields: str, expected: str) -> None:
    assert parse(mails.report(f"Final-Recipient: rfc822;{OWNER}\n{fields}")).kind == expected


def test_encoded_report_is_read() -> None:
    fields = f"Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822;{OWNER}\nAction: failed\n"
    raw = mails.report("\n")
    plain = b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
    assert plain in raw
    encoded = base64.encodebytes(fields.encode())
    head = b"Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
    mail = parse(raw.replace(plain, head + encoded))
    assert (mail.kind, mail.marks) == ("bounce", (MARK,))


def test_bounces_of_providers_are_bounces() -> None:
    gave_up = "This is a permanent error; I've given up. Sorry it didn't work out."
    cases = {
        "GMX": daemon(
            "This message was created automatically by mail delivery software.\n\n"
            "A message that you sent could not be delivered to one or more of\n"
            "its recipients. This is a permanent error. The following address\nfailed:\n\n"
            f"{OWNER}:\n550 Requested action not taken: mailbox unavailable\n\n"
            "--- The header of the original message is following. ---"
        ),
        "OVH": daemon(
            "Hi. This is the mailer program at mail.example.\n"
            "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
            f"{gave_up}\n\n<{OWNER}>:\n192.0.2.1 does not like recipient.\n"
            "Remote host said: 550 5.1.1\n\n--- Below this line is a copy of the message."
        ),
        "Exim in German": daemon(
            "Ihre Nachricht konnte nicht ...", f"X-Failed-Recipients: {OWNER}"
        ),
        "sendmail 8": daemon(
            "The original message was received at Wed, 4 Mar 2026 10:00:00 GMT\n\n"
            f"   ----- The following addresses had permanent fatal errors -----\n<{OWNER}>\n\n"
            f"   ----- Transcript of session follows -----\n550 <{OWNER}>... User unknown\n\n"
            "   ----- Original message follows -----"
        ),
        "Yahoo": daemon(
            "Sorry, we were unable to deliver your message to the following address.\n\n"
            f"<{OWNER}>:\n550: 5.1.1 mailbox unavailable\n\n"
            "--- Below this line is a copy of the message.",
            sender="MAILER-DAEMON@yahoo.example",
        ),
    }
    assert not wrong(cases, "bounce")
    assert all(parse(raw).marks == (MARK,) for raw in cases.values())


def test_filter_that_blocks_a_mail_does_not_announce_another_try() -> None:
    blocked = f"Your message to: {OWNER}\nwas blocked by our filter. It has NOT BEEN DELIVERED:"
    assert parse(daemon(blocked)).kind == "uncertain"


def test_delegation_and_booking_by_a_program_are_no_decision() -> None:
    other = b'ATTENDEE;PARTSTAT=ACCEPTED;DELEGATED-FROM="mailto:o@x.example":mailto:x@x.example\r\n'
    room = calendar_reply("ACCEPTED").replace(b"ROLE=REQ", b"CUTYPE=ROOM;ROLE=REQ")
    entry = b"BEGIN:VEVENT\r\nUID:x\r\nATTENDEE;PARTSTAT=DECLINED:mailto:b@x.example\r\n"
    entry += b"END:VEVENT\r\n"
    source = b"X-MS-Exchange-Generated-Message-Source: Resource Booking Agent\n"
    cases = {
        "delegated": calendar_reply("DELEGATED"),
        "by the deputy": calendar_reply("DELEGATED").replace(b"SEQUENCE:", other + b"SEQUENCE:"),
        "room": room,
        "booking agent": source + calendar_reply("ACCEPTED"),
        "cancel": calendar_reply("ACCEPTED", method="CANCEL"),
        "refresh": calendar_reply("ACCEPTED", method="REFRESH"),
        "entries that differ": calendar_reply("ACCEPTED").replace(
            b"END:VCALENDAR", entry + b"END:VCALENDAR"
        ),
    }
    assert b"CUTYPE=ROOM" in room and other in cases["by the deputy"]
    assert not wrong(cases, "uncertain")


def test_method_that_only_the_mail_names_counts() -> None:
    raw = calendar_reply("DECLINED")
    without = re.sub(rb"\nMETHOD:REPLY\r?", b"", raw)
    assert without != raw and parse(without).kind == "declined"
