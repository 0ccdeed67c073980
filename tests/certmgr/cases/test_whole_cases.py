"""Three clients led through whole cases against real servers, with every message, calendar entry and state; and the forecast beside a table by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from icalendar import Calendar

from certmgr.cases import intake
from certmgr.cases.material import unpack
from certmgr.cases.opening import run as work
from certmgr.cases.proof import Proven
from certmgr.cases.states import Action
from certmgr.config import NotifySettings, Settings
from certmgr.demo.authority import Authority, Issued
from certmgr.notices.wiring import run_of
from certmgr.orders.load import load
from certmgr.orders.planning import read as forecast
from inventory.certificates import parse
from inventory.store import cases, orders
from notifiers.channels import Channel
from notifiers.delivery import Worker
from notifiers.job import address_of
from tests.certmgr.cases.place import Place, issue
from tests.certmgr.cases.place import place as make
from tests.databases import open_sqlite
from tests.servers.mail import MailServer, Received, mail_server

DAY = timedelta(days=1)


@dataclass(slots=True)
class Office:
    """The place, its mail, and the vendor's CA."""

    place: Place
    mail: MailServer
    vendor: Authority
    read: int = 0

    def tell(self) -> list[Received]:
        """A run of notices at this moment; what a real server took of it."""
        place = self.place
        run_of(place.database, place.settings, place.now).decide()
        worker = Worker(
            place.database,
            {"mail": Channel("mail", self.mail.url)},
            address_of(place.database, "mail"),
            lambda: place.now,
            rate=0,
        )
        counts = worker.run()
        assert counts.failed == counts.unknown == 0
        new, self.read = self.mail.received[self.read :], len(self.mail.received)
        return [
            r
            for r in new
            if "2 line(s)" not in r.subject and "line(s) for you" not in r.subject and "Nothing for you" not in r.subject
        ]

    def only(self, to: str) -> Received:
        """Tells, and returns the one mail to this address."""
        (mail,) = [r for r in self.tell() if r.to == to]
        return mail

    def nothing(self, to: str) -> None:
        assert [r.subject for r in self.tell() if r.to == to] == []

    def csr(self, reference: str) -> str:
        (pem,) = intake.make_csr(self.place.desk, reference)
        assert self.place.row(reference)["state"] == "csr-ready"
        intake.send(self.place.desk, reference)
        return pem

    def receive(self, reference: str, *files: bytes, password: str = "", **given: Any) -> Any:
        return intake.receive(self.place.desk, reference, unpack(list(files), password), **given)


@pytest.fixture
def office(
    tmp_path: Path, settings: Settings, root: Authority, issuer: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    (tmp_path / "trusted.pem").write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    with mail_server(root, tmp_path / "mail") as server:
        known = replace(settings, notify=NotifySettings(mail=server.url))
        place = make(open_sqlite(tmp_path / "whole.db", "Bob"), known, tmp_path)
        place.staff()
        with place.servers:
            yield Office(place, server, Authority("DigiCert TLS", root, organisation="DigiCert Inc"))
        place.database.close()


def invitations(mail: Received) -> list[tuple[str, int, datetime, str]]:
    """(method, sequence, begin, UID) of each calendar entry of a mail."""
    found = []
    for part in mail.mail.walk():
        if part.get_content_type() == "text/calendar":
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            parsed = Calendar.from_ical(data)
            events: list[Any] = list(parsed.walk("VEVENT"))
            (event,) = events
            found.append((str(parsed["METHOD"]), int(str(event["SEQUENCE"])), event["DTSTART"].dt, str(event["UID"])))
    return found


def order_of(office: Office, client: str, *names: str, **given: Any) -> int:
    place = office.place
    with place.database.write(place.now) as tx:
        return orders.add(
            tx, client, {"vendor": "DigiCert", "number": f"D-{client}", "currency": "EUR", "fee": "25", **given}, names
        )[0]


def through(office: Office, reference: str, machine: Any, life: int) -> Issued:
    """From the CSR to closed, without looking at the mails."""
    place = office.place
    issued = issue(office.vendor, office.csr(reference), start=place.now, life=timedelta(days=life))
    verdict = office.receive(reference, issued.chain_pem)
    assert not verdict.refused, verdict.said
    place.desk.approve(reference, "Ada", "telephone")
    place.desk.agree(reference, (place.now + DAY).strftime("%Y-%m-%dT10:00"))
    place.pass_(days=1)
    machine.show(issued, place.key(reference))
    place.desk.installed(reference)
    row, proof = place.desk.verify(reference)
    assert (proof.state, row["state"]) == (Proven.LIVE, "closed"), proof
    return issued


def test_a_client_who_buys_for_three_years(office: Office) -> None:
    """Bought on 2026-11-25 for three years; every reissue two weeks before the end of the certificate before it (validation and installation).

    | certificate | issued     | longest life | until      |     | certificate | issued     | longest life | until      |
    |  1          | 2026-11-25 | 199          | 2027-06-12 |     |  9          | 2029-01-13 |  99          | 2029-04-22 |
    |  2          | 2027-05-29 |  99          | 2027-09-05 |     | 10          | 2029-04-08 |  46          | 2029-05-24 |
    |  3          | 2027-08-22 |  99          | 2027-11-29 |     | 11          | 2029-05-10 |  46          | 2029-06-25 |
    |  4          | 2027-11-15 |  99          | 2028-02-22 |     | 12          | 2029-06-11 |  46          | 2029-07-27 |
    |  5          | 2028-02-08 |  99          | 2028-05-17 |     | 13          | 2029-07-13 |  46          | 2029-08-28 |
    |  6          | 2028-05-03 |  99          | 2028-08-10 |     | 14          | 2029-08-14 |  46          | 2029-09-29 |
    |  7          | 2028-07-27 |  99          | 2028-11-03 |     | 15          | 2029-09-15 |  46          | 2029-10-31 |
    |  8          | 2028-10-20 |  99          | 2029-01-27 |     | 16          | 2029-10-17 |  38, cut     | 2029-11-24 |
    """
    place, to = office.place, "owner@client1001.example"
    place.client("1001", "shop.example.com")
    start = datetime(2026, 11, 25, tzinfo=UTC)
    order_id = order_of(office, "1001", "shop.example.com", years=3, price="270", starts_at=start, dcv_at=start)
    machine = place.machine("shop.example.com")

    # -- the forecast agrees with the table above
    by_hand = {
        "2026-11": 1, "2027-05": 1, "2027-08": 1, "2027-11": 1, "2028-02": 1, "2028-05": 1, "2028-07": 1, "2028-10": 1, "2029-01": 1, "2029-04": 1, "2029-05": 1,
        "2029-06": 1, "2029-07": 1, "2029-08": 1, "2029-09": 1, "2029-10": 1,
    }  # fmt: skip
    made = forecast(place.database, place.settings, start + timedelta(minutes=1), datetime(2029, 11, 1, tzinfo=UTC))
    assert {m: line.installations for m, line in made.months.items() if line.installations} == by_hand
    assert {m for m, line in made.months.items() if line.reissues} == set(by_hand) - {"2026-11"}
    assert {str(v) for v in made.total.fees.values()} == {"400"}, "16 installations at 25"

    # -- the first certificate, step by step: the case opens by itself
    (reference,) = work(place.desk).opened
    assert place.row(reference)["state"] == "requested"
    mail = office.only(to)
    assert mail.subject.startswith(f"[{reference}] We are fixing it")
    assert "Bob has it done by 27 November 2026" in mail.text
    pem = office.csr(reference)
    mail = office.only(to)
    assert f"[{reference}] You need to act by" in mail.subject
    assert pem.strip() in mail.text.replace("\r", "")
    assert "DigiCert D-1001" in mail.text
    office.nothing(to)

    issued = issue(office.vendor, pem, start=start, life=timedelta(days=199))
    verdict = office.receive(reference, issued.certificate.public_bytes(_pem()), issued.chain_pem)
    assert not verdict.refused
    assert place.row(reference)["state"] == "checked"
    mail = office.only(to)
    assert "it can be installed" in mail.text
    assert "fee 25 EUR" in mail.text
    place.desk.approve(reference, "Ada", "telephone", fee="25", currency="EUR")
    row, span = place.desk.agree(reference, "2026-11-26T10:00")
    assert (row["state"], span.start) == ("window-agreed", datetime(2026, 11, 26, 9, tzinfo=UTC))
    told = office.tell()
    (mail,) = [m for m in told if m.to == to]
    uid = f"{reference.lower()}-window@certmgr"
    assert invitations(mail) == [("REQUEST", 0, span.start, uid)]
    assert "26 November 2026, 10:00 CET (2026-11-26 09:00 UTC)" in mail.text
    (errand,) = [m for m in told if m.to == "bob@provider.example" and reference in m.subject]
    assert invitations(errand) == [("REQUEST", 0, span.start, uid)], "both sides have it"
    # -- moved, then lifted, then agreed again: one entry in the calendar, three changes
    place.desk.agree(reference, "2026-11-27T10:00")
    assert invitations(office.only(to)) == [("REQUEST", 1, datetime(2026, 11, 27, 9, tzinfo=UTC), uid)]
    place.desk.lift(reference, "Ada is ill")
    assert invitations(office.only(to)) == [("CANCEL", 2, datetime(2026, 11, 27, 9, tzinfo=UTC), uid)]
    place.desk.agree(reference, "2026-11-30T10:00")
    assert invitations(office.only(to)) == [("REQUEST", 3, datetime(2026, 11, 30, 9, tzinfo=UTC), uid)]

    place.now = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)
    machine.show(issued, place.key(reference))
    place.desk.installed(reference, "reloaded")
    row, proof = place.desk.verify(reference)
    assert (proof.state, row["state"]) == (Proven.LIVE, "closed")
    mail = office.only(to)
    assert mail.subject == f"[{reference}] Done: shop.example.com"
    assert parse(issued.der).serial in mail.text
    assert "on 29 May 2027 it must be reissued" in mail.text
    office.nothing(to)
    assert place.events(reference) == [
        "open", "csr", "send", "receive", "accept", "approve", "agree", "agree", "lift", "agree", "install", "see", "close",
    ]  # fmt: skip

    # -- the step of 2027: its case opens two weeks before the reissue, and not a day earlier
    place.now = datetime(2027, 5, 14, 9, tzinfo=UTC)
    assert work(place.desk).opened == []
    place.pass_(days=1.1)
    (second,) = work(place.desk).opened
    assert second != reference
    row = place.row(second)
    assert (row["kind"], row["names"], row["order_id"]) == ("reissue", ["shop.example.com"], order_id)
    assert work(place.desk).opened == [], "one case at a time"
    place.now = datetime(2027, 5, 28, 9, tzinfo=UTC)
    old = issued
    issued = through(office, second, machine, 99)
    with place.database.read() as conn:
        (order,) = load(conn)
    assert order.dcv == datetime(2027, 5, 28, 9, tzinfo=UTC), "a certificate that needs a new validation says that there was one"

    # -- the old certificate comes back, and the case is taken up again
    machine.show(old, place.key(reference))
    row, proof = place.desk.verify(second)
    assert proof.old == (f"shop.example.com:{machine.port} at 127.0.0.1",)
    assert row["state"] == "reopened"
    machine.show(issued, place.key(second))
    assert place.desk.verify(second)[0]["state"] == "closed"

    # -- the step of 2029; the certificates between are entered as the vendor's list names them
    for begin, days in ((datetime(2029, 1, 13, tzinfo=UTC), 99),):
        between = office.vendor.issue("shop.example.com", not_before=begin, not_after=begin + days * DAY - timedelta(seconds=1))
        path = place.folder / "between.pem"
        path.write_bytes(between.chain_pem)
        intake.attach(place.database, place.now, "D-1001", str(path))
    place.now = datetime(2029, 3, 26, 9, tzinfo=UTC)
    (third,) = work(place.desk).opened
    place.now = datetime(2029, 4, 8, 9, tzinfo=UTC)
    through(office, third, machine, 46)
    with place.database.read() as conn:
        (order,) = load(conn)
    assert [round((i.not_after - i.not_before) / DAY) for i in order.issued] == [199, 99, 99, 46]


def _pem() -> Any:
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.PEM


def test_a_client_who_brings_a_pkcs12_of_a_wrong_key_first(office: Office) -> None:
    place, to = office.place, "owner@client1002.example"
    place.client("1002", "laden.example.com", language="de")
    order_of(office, "1002", "laden.example.com")
    machine = place.machine("laden.example.com")
    reference = place.desk.open("1002", [], {"order": "D-1002"})["reference"]
    pem = office.csr(reference)
    office.only(to)
    wrong = office.vendor.issue("laden.example.com", days=199)
    bundle = serialize_key_and_certificates(
        b"x", wrong.key, wrong.certificate, wrong.chain[1:], BestAvailableEncryption(b"geheim")
    )
    verdict = office.receive(reference, bundle, password="geheim")
    assert verdict.refused
    assert {s.code for s in verdict.said} == {"wrong-key", "key-sent"}
    row = place.row(reference)
    assert row["state"] == "waiting-purchase"
    mail = office.only(to)
    assert "für einen anderen Schlüssel" in mail.text
    assert "-----BEGIN CERTIFICATE REQUEST-----" in mail.text, "with the CSR once more"
    assert "private key" not in mail.text
    assert list(place.desk.keys.directory.rglob("*.key")) == [place.desk.keys.path(reference, "ec-p256")], (
        "their key is kept nowhere"
    )
    issued = issue(office.vendor, pem, start=place.now, life=timedelta(days=199))
    assert not office.receive(reference, issued.chain_pem).refused
    assert "ist richtig" in office.only(to).text
    place.desk.approve(reference, "Herr Meier", "Mail vom 25. November")
    place.desk.agree(reference, "2026-11-26T08:30")
    assert invitations(office.only(to))[0][0] == "REQUEST"
    place.now = datetime(2026, 11, 26, 8, tzinfo=UTC)
    machine.show(issued, place.key(reference))
    done = work(place.desk)
    assert done.closed == [], "the window is not over, and nobody said that it is installed"
    place.pass_(hours=2)
    done = work(place.desk)
    assert done.closed == [reference], "after the window it is looked for without being asked"
    mail = office.only(to)
    assert "Erledigt" in mail.subject or "ist erledigt" in mail.text
    assert place.events(reference)[-2:] == ["see", "close"]


def test_a_client_with_two_addresses_of_which_one_is_forgotten(office: Office) -> None:
    place, to = office.place, "owner@client1003.example"
    place.client("1003", "portal.example.com")
    machine = place.machine("portal.example.com", ("127.0.0.5", "127.0.0.6"))
    old = office.vendor.issue("portal.example.com", not_before=place.now - 190 * DAY, not_after=place.now + 20 * DAY)
    machine.show(old, old.key)
    from tests.certmgr.cases.place import serve

    serve(place.database, "portal.example.com", old, place.now, ("127.0.0.5", "127.0.0.6"))
    reference = place.desk.open("1003", ["portal.example.com"])["reference"]
    row = place.row(reference)
    assert (row["kind"], row["replaces"]) == ("renewal", parse(old.der).sha256)
    pem = office.csr(reference)
    issued = issue(office.vendor, pem, start=place.now, life=timedelta(days=199))
    assert not office.receive(reference, issued.chain_pem).refused
    place.desk.approve(reference, "Eve", "telephone")
    place.desk.agree(reference, "2026-11-26T10:00")
    office.tell()
    place.now = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
    machine.show(issued, place.key(reference), "127.0.0.5")
    row, proof = place.desk.verify(reference)
    assert proof.state is Proven.PARTIAL
    assert proof.missing == proof.old == (f"portal.example.com:{machine.port} at 127.0.0.6",)
    assert row["state"] == "installed"
    place.pass_(hours=30)
    assert work(place.desk).closed == []
    told = office.tell()
    assert [m.subject for m in told if m.to == to and "Done" in m.subject] == []
    errands = [m.text for m in told if m.to == "bob@provider.example"]
    assert any("overdue" in t and reference in t for t in errands)
    with pytest.raises(Exception, match="cannot be closed as done"):
        place.desk.close(reference)
    machine.show(issued, place.key(reference), "127.0.0.6")
    done = work(place.desk)
    assert done.closed == [reference], (done, place.row(reference))
    assert office.only(to).subject == f"[{reference}] Done: portal.example.com"
    # The old one comes back on one address: seen by the next look, it reopens.
    machine.show(old, old.key, "127.0.0.6")
    row, proof = place.desk.verify(reference)
    assert row["state"] == "reopened"
    mail = office.only(to)
    assert "look at the certificate of portal.example.com again: the earlier certificate is shown again" in mail.text
    assert "127.0.0.6" not in mail.text, "addresses are the provider's matter"
    with place.database.read() as conn:
        assert "unexpected-certificate" in cases.events(conn, row["id"])[-1]["text"]
    machine.show(issued, place.key(reference), "127.0.0.6")
    row, _ = place.desk.verify(reference)
    assert row["state"] == "closed"


def test_a_stopped_case_is_called_off_in_the_calendar_and_says_why(office: Office) -> None:
    place, to = office.place, "owner@client1004.example"
    place.client("1004", "gone.example.com")
    reference = place.desk.open("1004", ["gone.example.com"])["reference"]
    issued = issue(office.vendor, office.csr(reference), start=place.now)
    office.receive(reference, issued.chain_pem)
    place.desk.approve(reference, "Zoe", "telephone")
    place.desk.agree(reference, "2026-11-26T10:00")
    office.only(to)
    place.desk.end(reference, Action.CANCEL, "the shop closes")
    mail = office.only(to)
    assert mail.subject == f"[{reference}] Stopped: gone.example.com"
    assert "the shop closes" in mail.text
    assert [(m, s) for m, s, _, _ in invitations(mail)] == [("CANCEL", 1)]
    office.nothing(to)
