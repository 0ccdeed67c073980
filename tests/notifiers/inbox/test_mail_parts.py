"""What a person wrote, above a copy of the notice whose lines are not marked."""

from __future__ import annotations

import pytest

from notifiers.inbox.classify import parse
from tests.notifiers.inbox.mails import reply

# The lines that mail programs write above the copy: name of the program or language -> lines.
COPIES = {
    "hu": "Feladó: Provider <n@p.example>\nElküldve: 2026. március 4.\nTárgy: [CM-BBBBBB] x",
    "ro": "De la: Provider <n@p.example>\nTrimis: miercuri\nSubiect: [CM-BBBBBB] x",
    "el": "Από: Provider <n@p.example>\nΣτάλθηκε: Τετάρτη\nΘέμα: [CM-BBBBBB] x",
    "cs": "Od: Provider <n@p.example>\nOdesláno: středa\nPředmět: [CM-BBBBBB] x",
    "no": "Fra: Provider <n@p.example>\nSendt: onsdag\nEmne: [CM-BBBBBB] x",
    "et": "Saatja: Provider <n@p.example>\nSaadetud: kolmapäev\nTeema: [CM-BBBBBB] x",
    "lv": "No: Provider <n@p.example>\nNosūtīts: trešdiena\nTēma: [CM-BBBBBB] x",
    "lt": "Nuo: Provider <n@p.example>\nIšsiųsta: trečiadienis\nTema: [CM-BBBBBB] x",
    "bg": "От: Provider <n@p.example>\nИзпратено: сряда\nОтносно: [CM-BBBBBB] x",
    "he": "מאת: Provider <n@p.example>\nנשלח: יום רביעי\nנושא: [CM-BBBBBB] x",
    "ar": "من: Provider <n@p.example>\nتاريخ الإرسال: الأربعاء\nالموضوع: [CM-BBBBBB] x",
    "ko": "보낸 사람: Provider <n@p.example>\n보낸 날짜: 수요일\n제목: [CM-BBBBBB] x",
    "zhtw": "寄件者: Provider <n@p.example>\n寄件日期: 星期三\n主旨: [CM-BBBBBB] x",
    "th": "จาก: Provider <n@p.example>\nส่ง: พุธ\nเรื่อง: [CM-BBBBBB] x",
    "vi": "Từ: Provider <n@p.example>\nĐã gửi: Thứ Tư\nChủ đề: [CM-BBBBBB] x",
    "id": "Dari: Provider <n@p.example>\nTerkirim: Rabu\nSubjek: [CM-BBBBBB] x",
    "tr2": "Gönderen: Provider <n@p.example>\nGönderildi: Çarşamba\nKonu: [CM-BBBBBB] x",
    "is": "Frá: Provider <n@p.example>\nSent: miðvikudagur\nEfni: [CM-BBBBBB] x",
    "sr": "Од: Provider <n@p.example>\nПослато: среда\nТема: [CM-BBBBBB] x",
    "sl": "Od: Provider <n@p.example>\nPoslano: sreda\nZadeva: [CM-BBBBBB] x",
    "fa": "از: Provider <n@p.example>\nارسال شده: چهارشنبه\nموضوع: [CM-BBBBBB] x",
    "ca": "De: Provider <n@p.example>\nEnviat: dimecres\nTema: [CM-BBBBBB] x",
    "ja-gmail": "2026年3月4日(水) 10:00 Provider <n@p.example>:",
    "zh-gmail": "Provider <n@p.example> 于2026年3月4日周三 10:00写道：",
    "zhtw-gmail": "Provider <n@p.example> 於 2026年3月4日 週三 上午10:00寫道：",
    "ko-gmail": "2026년 3월 4일 (수) 오전 10:00, Provider <n@p.example>님이 작성:",
    "he-gmail": (
        "\u200fבתאריך יום ד׳, 4 במרץ 2026 ב-10:00 מאת "
        "\u200f\u202aProvider\u202c\u200f <\u202an@p.example\u202c\u200f>:\u200f"
    ),
    "ar-gmail": (
        "في الأربعاء، 4 مارس 2026 في 10:00 ص تمت كتابة ما يلي بواسطة Provider <n@p.example>:"
    ),
    "th-gmail": "ในวันที่ พ. 4 มี.ค. 2026 เวลา 10:00 Provider <n@p.example> เขียนว่า:",
    "vi-gmail": "Vào Th 4, 4 thg 3, 2026 vào lúc 10:00 Provider <n@p.example> đã viết:",
    "id-gmail": "Pada Rab, 4 Mar 2026 pukul 10.00 Provider <n@p.example> menulis:",
    "hr-gmail": "sri, 4. ožu 2026. u 10:00 Provider <n@p.example> napisao je:",
    "sk-gmail": "st 4. 3. 2026 o 10:00 Provider <n@p.example> napísal(a):",
    "sl-gmail": "V V sre., 4. mar. 2026 ob 10:00 je oseba Provider <n@p.example> napisala:",
    "bg-gmail": "На ср, 4.03.2026 г. в 10:00 Provider <n@p.example> написа:",
    "lt-gmail": "2026-03-04, tr, 10:00 Provider <n@p.example> rašė:",
    "lv-gmail": (
        "trešd., 2026. g. 4. marts, plkst. 10:00 — lietotājs Provider (<n@p.example>) rakstīja:"
    ),
    "et-gmail": "Kuupäev K, 4. märts 2026 kell 10:00 kirjutas Provider <n@p.example>:",
    "ca-gmail": "Missatge de Provider <n@p.example> del dia dc., 4 de març 2026 a les 10:00:",
    "el-gmail": "Στις Τετ 4 Μαρ 2026 στις 10:00 π.μ., ο/η Provider <n@p.example> έγραψε:",
    "tr-gmail": "Provider <n@p.example>, 4 Mar 2026 Çar, 10:00 tarihinde şunu yazdı:",
    "fa-gmail": "در تاریخ چهارشنبه ۴ مارس ۲۰۲۶،\u200f ۱۰:۰۰ Provider <n@p.example> نوشت:",
    "hu-gmail": "Provider <n@p.example> ezt írta (időpont: 2026. márc. 4., Sze, 10:00):",
    "ro-gmail": "În mie., 4 mar. 2026 la 10:00, Provider <n@p.example> a scris:",
    "fi-gmail": "ke 4. maalisk. 2026 klo 10.00 Provider (n@p.example) kirjoitti:",
    "pt-gmail": "Em qua., 4 de mar. de 2026 às 10:00, Provider <n@p.example> escreveu:",
    "nl-gmail": "Op wo 4 mrt 2026 om 10:00 schreef Provider <n@p.example>:",
    "de-apple": "Am 04.03.2026 um 10:00 schrieb Provider <n@p.example>:",
    "pl-gmail": "śr., 4 mar 2026 o 10:00 Provider <n@p.example> napisał(a):",
    "yahoo": (
        "On Wednesday, March 4, 2026 at 10:00:00 AM GMT+1, Provider "
        "<n@p.example>\n<n@p.example> wrote:"
    ),
    "yahoo-de": (
        "Am Mittwoch, 4. März 2026 um 10:00:00 MEZ hat Provider "
        "<n@p.example> Folgendes geschrieben:"
    ),
    "yahoo-fr": "Le mercredi 4 mars 2026 à 10:00:00 UTC+1, Provider <n@p.example> a écrit :",
    "yahoo-es": "El miércoles, 4 de marzo de 2026, 10:00:00 CET, Provider <n@p.example> escribió:",
    "yahoo-it": (
        "Il mercoledì 4 marzo 2026 alle ore 10:00:00 CET, Provider <n@p.example> ha scritto:"
    ),
    "gmail-wrapped": (
        "On Wed, 4 Mar 2026 at 10:00, Provider Hosting Company With "
        "A Long Name\n<notices@provider.example> wrote:"
    ),
    "outlook-mobile": "________________________________\nFrom: Provider",
    "outlook-german": "-----Ursprüngliche Nachricht-----\nVon: Provider",
    "lotus": "Provider <n@p.example> wrote on 04/03/2026 10:00:00:",
    "gmx": 'Gesendet: Mittwoch, 04. März 2026 um 10:00 Uhr\nVon: "Provider" <n@p.example>',
    "mailru": "Среда, 4 марта 2026, 10:00 +03:00 от Provider <n@p.example>:",
    "yandex": '04.03.2026, 10:00, "Provider" <n@p.example>:',
    "proton": "On Wednesday, March 4th, 2026 at 10:00 AM, Provider <n@p.example> wrote:",
    "samsung": "-------- Original message --------\nFrom: Provider",
    "spark": "On Mar 4, 2026 at 10:00 +0100, Provider <n@p.example>, wrote:",
    "zimbra": "----- Le 4 Mar 26, à 10:00, Provider <n@p.example> a écrit :",
    "qq": "------------------ 原始邮件 ------------------\n发件人: Provider",
    "163": 'At 2026-03-04 10:00:00, "Provider" <n@p.example> wrote:',
    "163zh": '在 2026-03-04 10:00:00，"Provider" <n@p.example> 写道：',
    "naver": "-----Original Message-----\nFrom: Provider",
    "fastmail": "On Wed, Mar 4, 2026, at 10:00 AM, Provider wrote:",
}
NOTICE = (
    "\n\nThis is an automatic message about your domain. [CM-BBBBBB]\n"
    "We have received your request. While you are on vacation, reply to this mail.\n"
)


def test_words_and_references_of_a_copied_notice_do_not_count() -> None:
    wrong = {}
    for program, lines in COPIES.items():
        mail = parse(reply(text=f"OK, CM-AAAAAA is fine.\n\n{lines}{NOTICE}"))
        if (mail.kind, mail.references) != ("reply", ("CM-AAAAAA",)):
            wrong[program] = (mail.kind, mail.references)
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "[CM-AAAAAA]: renewed\n[CM-BBBBBB]: please wait\n[CM-CCCCCC]: done",
        "CM-AAAAAA: renewed\nCM-BBBBBB: wait\nKontakt: a@shop.test\nCM-CCCCCC: done",
        "Tel: 123\nFax: 124\nMobil: 125\nCM-AAAAAA, CM-BBBBBB and CM-CCCCCC are fine.",
        "Ask Anna <anna@shop.test>: she knows CM-AAAAAA.\nCM-BBBBBB and CM-CCCCCC: done",
    ],
)
def test_lists_of_a_person_are_no_copy(text: str) -> None:
    mail = parse(reply(text=text))
    assert (mail.kind, mail.references) == ("reply", ("CM-AAAAAA", "CM-BBBBBB", "CM-CCCCCC"))
