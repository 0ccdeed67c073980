"""Absence notes without a program's header, answers of people in each way of quoting, and reports.

An absence note must never be consent, a person's words must never be lost, and a warning must
never mark an address as bad.
"""

from __future__ import annotations

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox.mails import MARK, NOTICE, OWNER, US, reply
from tests.notifiers.inbox.test_automatic import NO_PERSON, wrong

SUBJECT = "Re: [CM-AAAAAA] Your certificate"
NOTES = """
Ich bin ab dem 5. Januar wieder für Sie da.
Ich bin ab Montag wieder im Haus und melde mich dann.
Leider bin ich derzeit krank.
Ich bin im Mutterschutz.
Aufgrund einer Fortbildung bin ich heute nicht am Platz.
Unsere Kanzlei bleibt über die Feiertage geschlossen.
Wir haben Betriebsurlaub vom 1. bis 15. August.
Bitte beachten Sie meine geänderte E-Mail-Adresse.
Meine E-Mail-Adresse hat sich geändert: neu@x.example
Diese E-Mail-Adresse ist nicht mehr aktiv.
Herr Meier ist nicht mehr in unserem Unternehmen tätig.
Dieses Postfach wird nicht mehr gelesen.
Ihre Anfrage wird bearbeitet. Wir antworten innerhalb von 24 Stunden.
I will be out of the office from 1 to 9 December.
I'm out sick today.
I am at a conference this week with limited email access.
I'll be back on Monday, 9 December.
Please note that I have left the company.
I have moved on from Client1. Contact Jane.
I am on parental leave.
We are closed for the summer break.
Our offices will be closed from 24 to 26 December.
My email address has changed to new@x.example.
This account is inactive.
I only check my email twice a day.
Thanks for your message! We aim to respond within 2 business days.
Je suis en congé maternité jusqu'au 9.
Je suis en déplacement jusqu'au 9.
Notre bureau est fermé du 24 au 2.
J'ai quitté la société.
Je serai de retour le 9 décembre.
Je ne travaille plus chez Client1.
Estoy de baja por maternidad.
Estaré de vuelta el lunes.
Ya no trabajo en esta empresa.
Nuestra oficina permanecerá cerrada por vacaciones.
Sono fuori ufficio fino al 9.
Sarò di ritorno lunedì.
Sono in maternità.
Non lavoro più per questa azienda.
Estou em licença maternidade.
Estarei de volta no dia 9.
Já não trabalho na empresa.
Ik ben op vakantie.
Ik ben er weer op maandag.
Ik werk niet meer bij Client1.
Ons kantoor is gesloten.
Jestem na zwolnieniu lekarskim.
Nie pracuję już w firmie.
Wracam 9 grudnia.
Jsem na mateřské dovolené.
Jsem nemocný.
V současné době nejsem v kanceláři.
Nem vagyok az irodában.
Betegszabadságon vagyok.
Nu sunt la birou până luni.
În prezent sunt în concediu.
Я сейчас в отпуске.
Меня нет в офисе до 9 декабря.
Я на больничном.
Зараз я у відпустці.
Мене немає в офісі.
Jag är sjuk idag.
Jag är på tjänsteresa.
Jag är föräldraledig.
Jeg er syg i dag.
Jeg har barselsorlov.
Jeg er i permisjon.
Olen vuosilomalla.
Olen sairaslomalla.
En ole toimistolla.
Olen haiguslehel.
Είμαι εκτός γραφείου.
Λείπω σε διακοπές.
Ofis dışındayım.
Yıllık izindeyim.
Tatildeyim.
אני לא במשרד
أنا خارج المكتب
本日は休暇を取得しております。
外出しております。
出張中です。
我正在出差
我现在不在公司
부재 중입니다.
출장 중입니다.
ฉันไม่อยู่ที่สำนักงาน
Hiện tôi không có mặt tại văn phòng.
Saya sedang tidak berada di kantor.
Saya bercuti sehingga 9.
Trenutno nisem v pisarni.
Trenutno nisam u uredu.
Тренутно сам на годишњем одмору.
Në pushim deri më 9.
Ես արձակուրդում եմ։
მე შვებულებაში ვარ
Мен демалыстамын
Ég er ekki við.
Táim ar saoire go dtí an 9ú.
Oporretan nago.
Estou de vacacións ata o 9.
मैं छुट्टी पर हूँ
আমি ছুটিতে আছি
நான் விடுப்பில் இருக்கிறேன்
Naka-leave po ako.
Ek is met verlof.
Niko likizoni.
""".strip().splitlines()
# What people answer, also about doors, days and addresses.
ANSWERS = """
No.
Nein.
Not yet, please wait until Friday.
Noch nicht, bitte warten Sie bis Freitag.
What does that mean?
Was kostet das?
Do you need anything else from us?
Please do not install anything before we talk.
I am in the office until 5, call me.
Wir sind morgen im Büro, rufen Sie an.
We will be back online on Monday after the move; please install then.
The shop is closed on Monday, so please install then.
Unser Laden ist montags geschlossen, da passt es gut.
Non, pas encore.
No, todavía no.
No, non ancora.
Nee, nog niet.
Nie, jeszcze nie.
Nej, inte ännu.
Нет, ещё нет.
まだです。
还没有
Can you do it while I'm there?
Our new address is Hauptstraße 5.
Is the certificate renewed automatically?
Who ordered this?
OK
ok
👍
Sehr gerne!
Passt.
""".strip().splitlines()
# Confirmations, reactions and challenges without a program's header.
SYSTEMS = """
Ihre Nachricht wurde am Mittwoch, 4. März 2026 gelesen.
Your message was read on Wednesday, 4 March 2026.
Max reacted to your message: x
Max hat auf Ihre Nachricht reagiert
Ihre E-Mail wurde noch nicht zugestellt. Bitte klicken Sie auf den Link.
""".strip().splitlines()
QUOTED = "> Your certificate ends on 10 March.\n> This is an automatic message.\n"
ATTRIBUTION = "On Wed, 4 Mar 2026 at 10:00, Provider <notices@provider.example> wrote:\n"
OUTLOOK = "From: Provider\nSent: Wednesday\nSubject: x\n\nThis is an automatic message.\n"


def html(body: str) -> bytes:
    head = f"From: {OWNER}\nSubject: {SUBJECT}\nReferences: <certmgr.{MARK}@provider.example>\n"
    return f"{head}MIME-Version: 1.0\nContent-Type: text/html\n\n{body}\n".encode()


def report(sender: str, subject: str, text: str) -> bytes:
    head = f"Return-Path: <>\nFrom: {sender}\nTo: {US}\nSubject: {subject}\n"
    return f"{head}\n{text}\n\n{NOTICE}".encode()


def test_note_of_an_absent_person_is_no_consent_in_any_language() -> None:
    cases = {text: reply(SUBJECT, text) for text in (*NOTES, *SYSTEMS)}
    assert not wrong(cases, *NO_PERSON)


def test_short_answers_of_people_are_answers() -> None:
    cases = {text: reply(SUBJECT, f"{text}\n\n{ATTRIBUTION}{QUOTED}") for text in ANSWERS}
    cases |= {f"{text} (Outlook)": reply(SUBJECT, f"{text}\n\n{OUTLOOK}") for text in ANSWERS}
    assert not wrong(cases, "reply")


PGP = (
    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nNot yet.\n"
    "-----BEGIN PGP SIGNATURE-----\n\niQEz=\n-----END PGP SIGNATURE-----\n"
)


@pytest.mark.parametrize(
    "raw",
    [
        reply(SUBJECT, f"{ATTRIBUTION}{QUOTED}\nNot yet.\n"),
        reply(SUBJECT, f"> Your certificate ends.\nNot yet.\n{QUOTED}"),
        reply(SUBJECT, f"Not yet.\n\nSent from my iPhone\n\n{QUOTED}"),
        reply(SUBJECT, PGP),
        html(f"<div>Not yet.</div><div>{ATTRIBUTION}</div><blockquote>automatic</blockquote>"),
        html(f"<div>{ATTRIBUTION}</div><blockquote>automatic</blockquote><p>Not yet.</p>"),
        html("<p>Not yet.</p><p><b>From:</b> Provider<br>Sent: x</p><p>out of office</p>"),
    ],
    ids=["below", "between", "telephone", "PGP", "HTML above", "HTML below", "HTML of Outlook"],
)
def test_words_of_a_person_count_in_each_way_of_quoting(raw: bytes) -> None:
    mail = parse(raw)
    assert mail.kind == "reply" and "Not yet." in mail.text


@pytest.mark.parametrize(
    "text",
    [
        f"{ATTRIBUTION}{QUOTED}",
        QUOTED,
        OUTLOOK,
        "Sent from my iPhone\n",
        "Von meinem iPad gesendet",
    ],
    ids=["quoted", "marked", "copied", "telephone", "German telephone"],
)
def test_notice_that_comes_back_without_a_word_is_no_consent(text: str) -> None:
    assert parse(reply(SUBJECT, text)).kind == "uncertain"


@pytest.mark.parametrize("kind", ["multipart/encrypted", "application/pkcs7-mime"])
def test_staff_read_that_an_answer_is_encrypted(kind: str) -> None:
    raw = html("").replace(b"text/html", f'{kind}; boundary="b"'.encode())
    mail = parse(raw + b"--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b--\n")
    assert mail.kind == "uncertain" and "encrypted" in mail.text and mail.marks == (MARK,)


FAILURES = {
    "Postfix": f"I'm sorry to have to inform you that your message could not\nbe delivered to one "
    f"or more recipients.\n\n<{OWNER}>: host mx[192.0.2.1] said: 550 5.1.1 User unknown",
    "Gmail": f"** Address not found **\n\nYour message wasn't delivered to {OWNER} because the "
    "address couldn't be found.",
    "Gmail in German": f"** Adresse nicht gefunden **\n\nDeine Nachricht wurde nicht an {OWNER} "
    "zugestellt, weil die Adresse nicht gefunden wurde.",
    "Gmail in French": f"Votre message n'est pas parvenu à {OWNER}, car l'adresse est introuvable.",
    "Exchange in German": f"Fehler bei der Nachrichtenzustellung an folgende Empfänger:\n{OWNER}",
    "Domino": f"was not delivered to:\n  {OWNER}\nbecause:\n  User owner1 not listed",
    "Russian": f"Сообщение не может быть доставлено следующему получателю: {OWNER}",
    "Italian": f"Il messaggio per {OWNER} non è stato recapitato: utente sconosciuto",
    "Dutch": f"Uw bericht kon niet worden bezorgd bij {OWNER}.",
    "Polish": f"Wiadomość nie mogła zostać dostarczona do {OWNER}.",
    "queue that gave up": f"could not be delivered within 5 days. <{OWNER}>: Connection timed out",
}
WARNINGS = {
    "Postfix": "# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n\nYour "
    "message could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 "
    f"day(s) old.\n\n<{OWNER}>: connect to mx: Connection timed out",
    "Exim": f"has not yet been delivered is:\n  {OWNER}\nDelivery attempts will continue for some "
    "time",
    "Gmail": f"There was a temporary problem delivering your message to {OWNER}. Gmail will retry "
    "for 46 more hours. You'll be notified if the delivery fails permanently.",
    "Gmail in German": f"Bei der Zustellung deiner Nachricht an {OWNER} ist ein vorübergehendes "
    "Problem aufgetreten. Gmail versucht es noch 46 Stunden lang. Du wirst benachrichtigt, wenn "
    "die Zustellung dauerhaft fehlschlägt.",
    "Exchange in German": "Fehler bei der Nachrichtenzustellung an diese Empfänger. Der Server "
    "versucht weiterhin, die Nachricht zuzustellen.",
    "sendmail": f"THIS IS A WARNING MESSAGE ONLY\n\n<{OWNER}>... Deferred: Connection timed out\n"
    "Warning: message still undelivered after 4 hours\nWill keep trying until message is 5 days "
    "old",
    "greylisting": f"<{OWNER}>: 450 4.7.1 Greylisted, try again later",
}


@pytest.mark.parametrize(
    ("texts", "kind"), [(FAILURES, "bounce"), (WARNINGS, "delay")], ids=["failed", "delayed"]
)
def test_plain_reports_are_failures_or_warnings(texts: dict[str, str], kind: str) -> None:
    """A warning that counted as a failure would end all mail to an address that works."""
    cases = {n: report("MAILER-DAEMON@mx.example", "Your mail", t) for n, t in texts.items()}
    assert not wrong(cases, kind)
    assert all(parse(raw).marks == (MARK,) for raw in cases.values())
