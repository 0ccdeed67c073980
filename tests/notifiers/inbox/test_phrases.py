"""Absence notes and confirmations of people's mail programs, without a header of a program."""

from __future__ import annotations

from tests.notifiers.inbox.mails import reply
from tests.notifiers.inbox.test_automatic import NO_PERSON, wrong

SUBJECT = "Re: [CM-AAAAAA] Your certificate"
# One line each: who is away, who has left, and what a system confirms.
NOTES = """
Poštovani, trenutno nisam u uredu i vraćam se 10. ožujka. Za hitne slučajeve javite se kolegici.
Na godišnjem sam odmoru do ponedjeljka.
Spoštovani, trenutno sem na dopustu in se vrnem 10. marca.
Odsotna sem do petka. V nujnih primerih pokličite 01 234.
На годишњем одмору сам до 10. марта.
Trenutno sam van kancelarije, javiću se po povratku.
Olen puhkusel kuni 10. märtsini. Kiireloomulistes küsimustes pöörduge kolleegi poole.
Esmu atvaļinājumā līdz 10. martam. Steidzamos gadījumos zvaniet kolēģim.
Šiuo metu atostogauju iki kovo 10 d. Skubiais klausimais kreipkitės į kolegą.
Απουσιάζω από το γραφείο έως τις 10 Μαρτίου. Για επείγοντα καλέστε.
Βρίσκομαι σε άδεια μέχρι την Παρασκευή.
אני בחופשה עד ה-10 במרץ. בנושאים דחופים נא לפנות לעמית.
אינני במשרד ואשוב ביום ראשון.
أنا خارج المكتب حتى 10 مارس. للحالات العاجلة يرجى الاتصال بزميلي.
أنا في إجازة وسأعود يوم الأحد.
من تا تاریخ ۱۰ مارس در مرخصی هستم.
मैं 10 मार्च तक छुट्टी पर हूँ।
ขณะนี้ฉันอยู่ในช่วงลาพักร้อน จะกลับมาวันที่ 10 มีนาคม
ไม่อยู่ที่สำนักงานจนถึงวันจันทร์
Hiện tôi đang nghỉ phép đến ngày 10 tháng 3. Việc gấp xin liên hệ đồng nghiệp.
Tôi không có mặt tại văn phòng.
Saya sedang cuti sampai tanggal 10 Maret. Untuk hal mendesak hubungi rekan saya.
Saya bercuti sehingga 10 Mac.
Yıllık iznimde olduğumdan 10 Mart'a kadar ofiste olmayacağım. Acil durumlar için arayınız.
Şu an izindeyim, döndüğümde cevap vereceğim.
Я у відпустці до 10 березня. З термінових питань звертайтеся до колеги.
Наразі я не в офісі, відповім після повернення.
Ég er í fríi til 10. mars. Hafið samband við samstarfsmann.
Tá mé as an oifig go dtí an 10 Márta.
Rwyf allan o'r swyddfa tan 10 Mawrth.
Soc fora de l'oficina fins al 10 de març. Per a urgències truqueu.
Estic de vacances fins dilluns.
Oporretan nago martxoaren 10era arte.
Estou fóra da oficina ata o 10 de marzo.
Jam jashtë zyrës deri më 10 mars.
Отсутен сум до 10 март.
ამჟამად შვებულებაში ვარ 10 მარტამდე.
Ես արձակուրդում եմ մինչև մարտի 10-ը։
10 marta qədər məzuniyyətdəyəm.
Мен 10 наурызға дейін демалыстамын.
Ek is tot 10 Maart met verlof. Vir dringende sake kontak my kollega.
Nipo likizo hadi tarehe 10 Machi.
Ako ay naka-leave hanggang Marso 10.
আমি ১০ মার্চ পর্যন্ত ছুটিতে আছি।
நான் மார்ச் 10 வரை விடுப்பில் இருக்கிறேன்.
میں 10 مارچ تک چھٹی پر ہوں۔
我目前休假中，將於3月10日返回辦公室。
我正在休假，3月10日返回。紧急事宜请联系同事。
3月10日まで休暇をいただいております。お急ぎの方は担当者までご連絡ください。
現在、外出しております。戻り次第ご連絡いたします。
3월 10일까지 휴가 중입니다. 급한 용무는 동료에게 연락 바랍니다.
현재 출장 중으로 회신이 늦어질 수 있습니다.
Jeg er på ferie til 10. mars og svarer når jeg er tilbake.
Jeg er på barsel og vender tilbake i august.
Jag är på semester till den 10 mars och läser mejl sporadiskt.
Olen lomalla 10.3. asti. Kiireellisissä asioissa ota yhteyttä kollegaan.
Szabadságon vagyok március 10-ig.
Sunt în concediu până pe 10 martie.
Som na dovolenke do 10. marca.
В отпуск съм до 10 март.
Jien bil-leave sal-10 ta' Marzu.
I am travelling with patchy connectivity and will respond on Monday.
Thanks for contacting Acme! We have received your message and will get back to you within 24 hours.
This mailbox is for sending only. Please visit our help centre.
Your request has been assigned number 12345.
Vielen Dank für Ihre Nachricht. Wir haben Ihre E-Mail erhalten und melden uns schnellstmöglich.
Diese Mailadresse wird nicht mehr abgerufen.
Unser Büro ist zwischen den Jahren nicht besetzt.
Nous avons bien reçu votre message et nous vous répondrons dans les meilleurs délais.
Hemos recibido su mensaje y le responderemos lo antes posible.
Abbiamo ricevuto la sua richiesta e le risponderemo al più presto.
Recebemos a sua mensagem e responderemos o mais breve possível.
Wij hebben uw bericht ontvangen en nemen zo spoedig mogelijk contact op.
Dziękujemy za wiadomość. Odpowiemy najszybciej jak to możliwe.
Thank you for your email. I have now retired. Please contact Anna.
I only work Tuesdays and Thursdays.
I'm OOO until March 10.
I am currently on PTO.
Děkujeme za Vaši zprávu. Odpovíme Vám co nejdříve.
Ďakujeme za Vašu správu, budeme Vás kontaktovať v čo najkratšom čase.
Köszönjük megkeresését! Kollégáink hamarosan válaszolnak.
Am primit mesajul dumneavoastră și vom reveni cu un răspuns în cel mai scurt timp.
Tack för ditt mejl! Vi återkommer så snart vi kan.
Tak for din henvendelse. Vi vender tilbage hurtigst muligt.
Takk for din henvendelse. Vi svarer så fort vi kan.
Kiitos viestistäsi! Vastaamme sinulle mahdollisimman pian.
Ваше обращение зарегистрировано. Мы ответим вам в ближайшее время.
Дякуємо за звернення. Ми відповімо вам найближчим часом.
Mesajınız bize ulaştı. En kısa sürede size dönüş yapacağız.
Λάβαμε το μήνυμά σας και θα απαντήσουμε το συντομότερο δυνατό.
お問い合わせありがとうございます。担当者より折り返しご連絡いたします。
我们已收到您的邮件，会尽快回复您。
我們已收到您的來信，將儘速回覆。
문의해 주셔서 감사합니다. 빠른 시일 내에 답변드리겠습니다.
لقد تلقينا رسالتك وسنرد عليك في أقرب وقت ممكن.
פנייתך התקבלה ונחזור אליך בהקדם.
Chúng tôi đã nhận được email của bạn và sẽ phản hồi sớm nhất.
เราได้รับข้อความของคุณแล้ว และจะติดต่อกลับโดยเร็วที่สุด
Pesan Anda telah kami terima dan akan segera kami balas.
Zaprimili smo Vašu poruku i javit ćemo Vam se u najkraćem roku.
Vaše sporočilo smo prejeli in vam bomo odgovorili v najkrajšem času.
Получихме Вашето съобщение и ще отговорим възможно най-скоро.
Oleme teie kirja kätte saanud ja vastame esimesel võimalusel.
Esam saņēmuši jūsu ziņu un atbildēsim tuvākajā laikā.
Gavome jūsų laišką ir netrukus atsakysime.
پیام شما دریافت شد و به زودی پاسخ خواهیم داد.
Hem rebut el vostre missatge i us respondrem tan aviat com puguem.
Я в командировке, отвечу позже.
Votre demande a bien été enregistrée sous le numéro 4711.
Su solicitud ha sido registrada con el número 4711.
O seu pedido foi registado com o número 4711.
La sua richiesta è stata registrata con il numero 4711.
Uw melding is geregistreerd onder nummer 4711.
Ihr Anliegen wurde unter der Nummer 4711 erfasst.
Twoje zgłoszenie zostało zarejestrowane pod numerem 4711.
Váš požadavek byl zaevidován pod číslem 4711.
Your message is being held until you confirm you are human.
We are closed for Thanksgiving.
I have changed roles within the company.
Peter is no longer part of the team.
Herr Müller hat unser Unternehmen verlassen.
M. Dupont ne fait plus partie de l'entreprise.
Juan ya no forma parte de la empresa.
Mario Rossi non fa più parte dell'azienda.
Jan is niet langer werkzaam bij ons.
Jan Kowalski nie jest już naszym pracownikiem.
Anna har slutat hos oss.
O João já não faz parte da empresa.
Иван больше не работает в компании.
担当者は退職いたしました。
该员工已离职。
담당자가 퇴사하였습니다.
Ahmet Bey şirketimizden ayrılmıştır.
Pan Novák u nás již nepracuje.
""".strip().splitlines()
# Answers of people that have some of the same words.
ANSWERS = """
Our office moved, but the certificate is renewed.
I will be out tomorrow but it is done.
The site has moved to another provider, please remove it.
De website werkt niet meer, kunt u helpen?
Sidan har slutat fungera, kan ni hjälpa oss?
O domínio foi registrado por nós.
Domena została zarejestrowana przez nas.
Il sito funziona, grazie.
Hvala, riješeno.
תודה, טופל
شكرا، تم
ありがとうございます。更新しました。
감사합니다. 갱신했습니다.
Cảm ơn, đã xong.
Ačiū, atlikta.
Paldies, izdarīts.
""".strip().splitlines()


def test_notes_in_sixty_languages_are_no_consent() -> None:
    assert not wrong({text: reply(SUBJECT, text) for text in NOTES}, *NO_PERSON)


def test_answers_with_similar_words_are_answers() -> None:
    assert not wrong({text: reply(SUBJECT, text) for text in ANSWERS}, "reply")
