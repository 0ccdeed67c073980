"""Mails that ticket systems, lists, filters and absent people send, with what they are.

A mail that is no answer of a person must never be "reply". Forms that were collected from the
documentation and the public mail of these systems.
"""

from __future__ import annotations

import base64
import re

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox import mails
from tests.notifiers.inbox.mails import MARK, NOTICE, OWNER, US, calendar_reply, reply

# Texts of absence notes without any header of a program, one per line.
ABSENCES = """
Vielen Dank für Ihre Nachricht. Ich bin bis zum 9.12. abwesend.
Ich bin zurzeit nicht erreichbar. Ihre E-Mail wird nicht weitergeleitet.
Unser Büro ist vom 23.12. bis 6.1. geschlossen (Betriebsferien).
Ich befinde mich in Elternzeit. Ihre Mail wird nicht gelesen.
Ich arbeite nicht mehr für die Firma. Bitte wenden Sie sich an info@x.example.
Thanks for your email. I am away until 9 December with no access to email.
I'm currently traveling and will respond when I return.
I no longer work at Client1. Please contact info@x.example.
I'm on maternity leave until May.
I am on leave from 1 to 9 December and will reply on my return.
Our office is closed for the holidays.
This mailbox is not monitored.
This email address is no longer in use.
Thank you for your email. I will get back to you as soon as possible.
Je suis absent jusqu'au 9 décembre. En cas d'urgence, contactez Jeanne.
Je suis actuellement absente du bureau
Bonjour, je suis en vacances jusqu'au 9.
Je suis en congés.
Estaré fuera hasta el 9 de diciembre. Para asuntos urgentes, contacte con Juana.
Estoy de vacaciones
Me encuentro ausente hasta el lunes.
Sono assente fino al 9 dicembre. Per urgenze contattare Giovanna.
Sono in ferie
L'ufficio è chiuso per ferie fino al 9.
Estou ausente até 9 de dezembro.
Encontro-me de férias até 9.
Ik ben afwezig tot 9 december.
Ik ben met verlof tot 9 december.
Jestem nieobecny do 9 grudnia.
Przebywam na urlopie do 9.12.
Jsem mimo kancelář do 9.12.
Do 9.12. čerpám dovolenou.
Som na dovolenke do 9.12.
Szabadságon vagyok december 9-ig.
Sunt în concediu până pe 9.
Sunt plecat din birou
В отпуск съм до 9 декември.
Я в отпуске до 9 декабря.
Буду отсутствовать до 9 декабря.
Я у відпустці до 9 грудня.
Jag är på semester till 9 december.
Jag är ledig till 9 december.
Jeg er på ferie til 9. december.
Jeg er ikke på kontoret
Jeg er bortreist til 9.
Olen lomalla 9.12. asti.
Olen poissa 9.12. asti.
Olen puhkusel kuni 9.
Esmu atvaļinājumā līdz 9.
Atostogauju iki 9.
Βρίσκομαι σε άδεια έως 9.
Απουσιάζω από το γραφείο
9 Aralık'a kadar izindeyim.
Yıllık izinde olacağım
Na godišnjem sam odmoru do 9.
Na dopustu sem do 9.
Na odmoru sam do 9.
אני בחופשה עד 9
أنا في إجازة حتى 9
من تا ۹ در مرخصی هستم
12月9日まで休暇をいただいております。
ただいま不在にしております
我正在休假，12月9日回来。
我目前不在办公室
我目前休假中
12월 9일까지 휴가입니다.
ฉันลาพักร้อนถึงวันที่ 9
Tôi đang nghỉ phép đến ngày 9.
Saya sedang cuti sampai tanggal 9.
Estic de vacances fins al 9.
Ég er í fríi til 9.
""".strip().splitlines()
# Subjects of automatic mail, one per line.
SUBJECTS = """
Abwesend Re: Ihr Zertifikat
Auto-Reply Re: x
Autoreply: x
[Auto-Reply] x
Auto-Antwort: x
Automatische E-Mail-Antwort
Automatische Abwesenheitsnotiz
Urlaub: x
Urlaubsvertretung
Betriebsferien
Automatikus válasz: x
Avtomatski odgovor: x
Automatische Mitteilung
Vacation: x
Holiday: x
Away: x
Annual leave
Maternity leave: Re: x
I am away Re: x
Currently unavailable: x
Notification d'absence
Réponse d'absence : x
Je suis en congés
Autorespuesta: x
Auto respuesta
Ausencia: x
Assente: x
Risponditore automatico
Ausente
Resposta de ausência
Ik ben afwezig
Automatische reactie: x
Ledig: x
Semester: x
Fraværsassistent: x
Autovastaus: x
Automaatvastaus: x
Sjálfvirkt svar: x
Freagra uathoibríoch: x
პასუხი ავტომატური
پاسخ خودکار: x
Tự động trả lời: x
Automatische beantworter
Επιστολή απουσίας
Αυτόματη ειδοποίηση
Odpowiedz automatyczna: x
Automaticka odpoved: x
Automatski odgovor: x
自動返信: x
【自動返信】お問い合わせ
不在: x
自動通知
不在办公室: x
自動回覆：x
부재중: x
자동응답: x
ตอบกลับอัตโนมัติ: x
(Auto) x
Autoresponder: x
*Auto reply* x
Out of office reply: x
Out-of-Office AutoReply: x
OOO Re: x
OOF: x
Non disponible : x
Thank you for your email
Thank you for contacting Client1
We received your email
Ihre Nachricht ist eingegangen
Wir haben Ihre E-Mail erhalten
Bestätigung Ihrer Anfrage
""".strip().splitlines()
# Subjects of read receipts and of delivery reports, one per line.
RECEIPTS = """
Read: x
Gelesen: x
Delivered: x
Zugestellt: x
Übermittelt: x
Relayed: x
Weitergeleitet: x
Lu : x
Remis : x
Entregado: x
Recapitato: x
Ulest: x
Læst: x
Olvasva: x
Olvasatlan: x
Citit: x
Necitit: x
Leste: x
Read-Receipt: x
Disposition notification
Return Receipt (displayed) - x
Lesebestätigung (angezeigt) - x
Empfangsbestätigung (angezeigt) - x
Accusé de réception (affiché) - x
Ricevuta di ritorno (visualizzata) - x
Confirmación de lectura: x
Confirmare de citire
Potvrzení o přečtení
Подтверждение прочтения
Leesbevestiging (weergegeven)
Deleted without being read: x
Ungelesen gelöscht: x
Gelöscht: x
Eliminado: x
Supprimé : x
Eliminato: x
Verwijderd: x
Mensaje leído
回执: x
읽음: x
開封確認: x
Διαβάστηκε: x
""".strip().splitlines()
# Subjects of the answers of calendars, one per line.
CALENDARS = """
Tentatively Accepted: x
Vorläufig zugesagt: x
Mit Vorbehalt angenommen: x
Vorläufig: x
Provisionally accepted: x
Accepté provisoirement : x
Nouvelle heure proposée : x
Nueva hora propuesta: x
Nuova ora proposta: x
Proposta di nuovo orario: x
Nieuw tijdstip voorgesteld: x
Ny tid foreslås: x
Aangenomen: x
Rifiutata: x
Accettata: x
Aceptada: x
Rechazada: x
Accepté : x
Refusé : x
Hyväksytty: x
Hylätty: x
Godkänt: x
Tackat ja: x
Tackat nej: x
Avslått: x
Akseptert: x
Elfogadva: x
Elutasítva: x
Kabul edildi: x
Reddedildi: x
Прийнято: x
Под вопросом: x
已接受: x
已拒绝: x
承諾: x
辞退: x
수락: x
거절: x
Updated: x
Counter: x
Delegated: x
Delegiert: x
Αποδεκτό: x
Accepted with no response required: x
Proposed new time: x
Zaakceptowane: x
Odrzucone: x
Acceptat: x
""".strip().splitlines()


# Sender, subject, text, and further headers of what is no answer of a person.
SYSTEMS: tuple[tuple[str, ...], ...] = (
    (
        "client1 <info+noreply@client1.example>",
        "Message pending moderator approval: Your certificate",
        "Your message to the group info is pending approval.",
    ),
    (
        "info@client1.example",
        "Re: [CM-AAAAAA] Your certificate",
        "Your message to the group is being held until a moderator can review it.",
    ),
    (
        "info-bounces@client1.example",
        "Your message to Info awaits moderator approval",
        "Is being held until the list moderator can review it for approval.",
    ),
    ("SYMPA <sympa@client1.example>", "Re: [CM-AAAAAA] x", "Your message was forwarded."),
    (
        "info-owner@client1.example",
        "Re: [CM-AAAAAA] Ihr Zertifikat",
        "Ihre E-Mail an 'Info' wird zurückgehalten, bis der Moderator sie überprüft.",
    ),
    (
        "info-owner@client1.example",
        "Re: [CM-AAAAAA] Your certificate",
        "You are not allowed to post to this mailing list.",
    ),
    (OWNER, "Re: [CM-AAAAAA] Your certificate", "Gone.", "X-Zimbra-Vacation: yes"),
    (OWNER, "Re: [CM-AAAAAA] Your certificate", "Gone.", "X-Ovh-Autoresponder: 1"),
    (OWNER, "AUTO: Owner is out of the office (returning 09.12.2026)", "Back on Monday."),
    (OWNER, "Hans Meier/Client1 ist außer Haus.", "Ich kehre zurück am 09.12.2026."),
    (
        "Antivirus <virusalert@client1.example>",
        "Attachment blocked in mail from you",
        "Our mail filter removed an attachment of your message because of its type.",
    ),
    (
        OWNER,
        "Re: [CM-AAAAAA] Your certificate (verification)",
        "I'm protecting myself from receiving junk mail. Just this once, click the link below.",
    ),
    (
        "Owner (via Boxbe) <notifications@boxbe.example>",
        "[CM-AAAAAA] Your certificate (Action Required)",
        "Please use the link to add yourself to my guest list.",
    ),
    (
        OWNER,
        "Please confirm your message",
        "Your message is being held because the address has not been verified.",
        "X-Delivery-Agent: TMDA/1.1",
    ),
    (OWNER, "Bitte bestätigen Sie Ihre E-Mail", "Um Spam zu vermeiden, klicken Sie: https://x"),
    (
        OWNER,
        "Authentification requise / Authentication required",
        "Merci de cliquer sur le lien suivant afin de vous authentifier.",
    ),
    (
        "Support <support@client1.example>",
        "[Ticket#81001] Thanks for your inquiry (Your certificate)",
        "Your request (Ticket#81001) has been received.",
    ),
    (
        "Support <support@client1.freshdesk.example>",
        "Ticket Received - Your certificate",
        "A ticket has been created with Ticket ID - 123.",
    ),
    (
        "Support <jira@client1.example>",
        "SUP-123 Your certificate",
        "Just confirming that we got your request. We're on it.",
    ),
    (
        "Client1 <support@client1.example>",
        "Re: [CM-AAAAAA] Your certificate",
        "Thanks for reaching out! A member of our team will get back to you shortly.",
    ),
    (
        "Client1 <support@client1.example>",
        "Re: [CM-AAAAAA] Your certificate",
        "Hi, just letting you know we got your message.",
    ),
    (
        "Support <support@client1.example>",
        "Support Ticket Opened [#123456]",
        "A request for support has been created and assigned #123456.",
    ),
    (
        "Support via RT <rt@client1.example>",
        "[client1.example #123] [CM-AAAAAA] Your certificate",
        "Greetings.",
        "Managed-by: RT 4.4",
    ),
    (
        "Client1 Support <support@client1.example>",
        "Case 00012345: Your certificate [ ref:_00D.500:ref ]",
        "Thank you for contacting us.",
    ),
    (
        "IT Service Desk <client1@service-now.example>",
        "INC0012345 has been opened on your behalf",
        "It was created.",
    ),
    (
        "GitLab Support Bot <incoming+1@gitlab.example>",
        "Re: [CM-AAAAAA] Your certificate (#3)",
        "Thank you for your support request! We are tracking your request as ticket #3.",
    ),
    (
        "Support <support@client1.example>",
        "Re: [CM-AAAAAA] Ihr Zertifikat",
        "Wir haben sie unter der Ticketnummer 4711 erfasst und melden uns schnellstmöglich.",
    ),
    (
        "Support <support@client1.example>",
        "Accusé réception de votre demande n° 123",
        "Votre message a bien été enregistré sous le numéro 123.",
    ),
)


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
