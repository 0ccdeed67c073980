"""Texts, subjects and mails of ticket systems, lists, filters and absent people.

They were collected from the documentation and the public mail of these systems.
"""

from __future__ import annotations

from tests.notifiers.inbox.mails import OWNER

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
