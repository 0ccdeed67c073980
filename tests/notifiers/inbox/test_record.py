"""Inbound mail: replies, bounces, automatic replies, and forgeries of each.

The mailbox is a real one, at Dovecot.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from certmgr.demo.authority import Authority
from inventory.db.database import Database
from inventory.errors import CertmgrError, ConfigError
from inventory.models import Contact, Domain, Notice
from inventory.store import clients, contacts, domains, inbox, notices, tickets
from notifiers.inbox.classify import parse
from notifiers.inbox.mailbox import read
from notifiers.inbox.record import record_mail
from tests.databases import open_sqlite
from tests.notifiers.inbox import mails
from tests.notifiers.sites import DAY, START, Site, SiteSimulation
from tests.servers.mail import Mailbox, mailbox

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def sent_notice(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Site]]:
    """The database of one client with a fallback and one site, after one notice was sent."""
    path = tmp_path_factory.mktemp("inbox") / "simulation.db"
    simulation = SiteSimulation(open_sqlite(path))
    simulation.client("1")
    with simulation.database.write(simulation.now) as tx:
        deputy = {"name": "Deputy", "role": "billing"}
        contacts.add(tx, "1", deputy, ("email:deputy@client1.example",))
    simulation.site("shop.example", "1").serve(START - 390 * DAY, 398 * DAY)
    simulation.baseline()
    assert len(simulation.day().drafts) == 1
    simulation.mark_sent()
    with simulation.database.write(simulation.now) as tx:
        tx.conn.execute(update(Notice).values(sent_to="owner1@client1.example"))
    simulation.database.close()
    return path.read_bytes(), simulation.sites


@pytest.fixture
def simulation(
    sent_notice: tuple[bytes, dict[str, Site]], tmp_path: Path
) -> Iterator[SiteSimulation]:
    content, sites = sent_notice
    path = tmp_path / "simulation.db"
    path.write_bytes(content)
    simulation = SiteSimulation(open_sqlite(path), START + DAY)
    simulation.sites = copy.deepcopy(sites)
    yield simulation
    simulation.database.close()


def record(database: Database, raw: bytes, now: datetime) -> str:
    return record_mail(database, parse(raw), now)


def mark(simulation: SiteSimulation) -> str:
    with simulation.database.read() as conn:
        row = notices.listing(conn)[0]
    return f"{row.id}.{row.secret}"


def reply(references: str, text: str = "Thank you, we are on it.", **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"] = "Owner <owner1@client1.example>"
    mail["To"] = "notices@provider.example"
    mail["Subject"] = "Re: [CM-AAAAAA] Your certificate"
    mail["Message-ID"] = "<reply@client1.example>"
    mail["References"] = references
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text + "\n\n> quoted\n")
    return mail.as_bytes()


def dsn(
    mark_: str,
    action: str = "failed",
    status: str = "5.1.1",
    *,
    part: str = "text/rfc822-headers",
) -> bytes:
    """Return a report as Postfix and Exim send it (RFC 3464)."""
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: notices@provider.example\r\n"
        "Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
        "Message-ID: <dsn@mx.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThe mail could not be delivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
        "Reporting-MTA: dns; mx.example\r\n\r\n"
        "Final-Recipient: rfc822; owner1@client1.example\r\n"
        f"Action: {action}\r\nStatus: {status}\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n"
        f"--b\r\nContent-Type: {part}\r\n\r\nX-Certmgr-Notice: {mark_}\r\n"
        "Subject: [CM-AAAAAA] Your certificate\r\nTo: owner1@client1.example\r\n\r\n--b--\r\n"
    ).encode()


def acked(simulation: SiteSimulation) -> bool:
    with simulation.database.read() as conn:
        return any(m.acked_at is not None for m in tickets.listing(conn))


def bad(simulation: SiteSimulation) -> list[str]:
    with simulation.database.read() as conn:
        return [b for c in contacts.listing(conn) for b in c.bad]


def test_reply_acknowledges_the_notice_once(simulation: SiteSimulation) -> None:
    raw = reply(f"<certmgr.{mark(simulation)}@provider.example> <x@y.example>")
    assert record(simulation.database, raw, NOW) == "reply"
    assert acked(simulation)
    with simulation.database.read() as conn:
        (answer,) = inbox.of_notice(conn, notices.listing(conn)[0].id)
        assert notices.listing(conn)[0].acked_at == int(NOW.timestamp())
    assert answer.text == "Thank you, we are on it."
    assert record(simulation.database, raw, NOW) == "known"


def test_mail_with_only_in_reply_to_is_a_reply(simulation: SiteSimulation) -> None:
    raw = reply("", In_Reply_To=f"<certmgr.{mark(simulation)}@provider.example>")
    assert record(simulation.database, raw, NOW) == "reply"


@pytest.mark.parametrize("part", ["text/rfc822-headers", "message/rfc822"])
def test_bounce_marks_the_address_and_the_fallback_is_notified(
    simulation: SiteSimulation, part: str
) -> None:
    assert record(simulation.database, dsn(mark(simulation), part=part), NOW) == "bounce"
    assert bad(simulation) == ["owner1@client1.example"]
    assert not acked(simulation)
    simulation.now = NOW + DAY / 24
    drafts = [d for d, _ in simulation.notify().drafts]
    assert [(d.person.name, i.step) for d in drafts for i in d.items] == [("Deputy", "fallback")]


def test_delay_report_is_not_a_bounce(simulation: SiteSimulation) -> None:
    assert record(simulation.database, dsn(mark(simulation), "delayed", "4.4.1"), NOW) == "delay"
    assert bad(simulation) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Precedence": "bulk"},
        {"X_Autoreply": "yes"},
        {"X_Auto_Response_Suppress": "All"},
        {"List_Id": "<x.example>"},
    ],
)
def test_automatic_reply_neither_acknowledges_nor_bounces(
    simulation: SiteSimulation,
    headers: dict[str, str],
) -> None:
    raw = reply(f"<certmgr.{mark(simulation)}@provider.example>", "I am away.", **headers)
    assert record(simulation.database, raw, NOW) == "automatic"
    assert not acked(simulation)
    assert bad(simulation) == []


@pytest.mark.parametrize(
    "raw",
    [
        reply("<certmgr.1.00000000000000000000@provider.example>"),
        reply("[CM-AAAAAA]"),
        reply("<certmgr.999999999999999999.aaaaaaaaaaaaaaaaaaaa@x>"),
        dsn("1.00000000000000000000"),
        dsn("1.' OR 1=1 --"),
        b"",
        b"\x00" * 1000,
        b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n" * 5000,
    ],
    ids=[
        "guessed-secret",
        "reference-only",
        "huge-id",
        "forged-bounce",
        "injection",
        "empty",
        "zeros",
        "parts",
    ],
)
def test_forged_answer_changes_nothing(simulation: SiteSimulation, raw: bytes) -> None:
    assert record(simulation.database, raw, NOW) == "stranger"
    assert not acked(simulation)
    assert bad(simulation) == []


def test_bounce_that_names_another_address_marks_the_one_it_was_sent_to(
    simulation: SiteSimulation,
) -> None:
    """Someone who has seen the mail can only report that it did not arrive where it was sent."""
    raw = dsn(mark(simulation)).replace(
        b"Final-Recipient: rfc822; owner1@client1.example",
        b"Final-Recipient: rfc822; deputy@client1.example",
    )
    assert record(simulation.database, raw, NOW) == "bounce"
    assert bad(simulation) == ["owner1@client1.example"]


@given(st.binary(max_size=3000))
def test_any_bytes_are_parsed_as_a_mail(raw: bytes) -> None:
    assert parse(raw).kind in ("reply", "uncertain", "bounce", "delay", "automatic", "receipt")


@given(
    st.sampled_from([reply("<x>"), dsn("1.0123456789abcdef0123")]),
    st.integers(0, 900),
    st.binary(max_size=8),
)
def test_damaged_mail_is_parsed(raw: bytes, at: int, noise: bytes) -> None:
    parse(raw[:at] + noise + raw[at + len(noise) :])


@pytest.fixture
def box(root: Authority, tmp_path: Path, trusted: None) -> Iterator[Mailbox]:
    with mailbox(root, tmp_path / "imap") as found:
        yield found


def test_mailbox_is_read_once_and_a_dry_run_marks_nothing(
    simulation: SiteSimulation, box: Mailbox
) -> None:
    known = mark(simulation)
    box.put(
        reply(f"<certmgr.{known}@provider.example>"),
        dsn(known),
        reply("<certmgr.1.00000000000000000000@x>"),
        reply(f"<certmgr.{known}@p>", Precedence="bulk"),
    )
    expected = {"reply": 1, "bounce": 1, "stranger": 1, "automatic": 1}
    assert read(simulation.database, box.url, NOW, dry_run=True) == expected
    assert box.unseen() == 4
    assert not acked(simulation)
    assert read(simulation.database, box.url, NOW) == expected
    assert acked(simulation)
    assert bad(simulation) == ["owner1@client1.example"]
    assert box.unseen() == 0
    assert read(simulation.database, box.url, NOW) == {}


def test_huge_mail_is_cut(simulation: SiteSimulation, box: Mailbox) -> None:
    box.put(reply(f"<certmgr.{mark(simulation)}@provider.example>", "x" * 3_000_000))
    assert read(simulation.database, box.url, NOW) == {"reply": 1}


def test_unreadable_mailbox_is_an_error_without_its_password(
    simulation: SiteSimulation, box: Mailbox
) -> None:
    with pytest.raises(ConfigError, match="URL of the mailbox"):
        read(simulation.database, "imap://u:p@localhost/", NOW)
    with pytest.raises(CertmgrError, match="no folder"):
        read(simulation.database, box.url.replace("INBOX", "Nowhere"), NOW)
    with pytest.raises(CertmgrError, match="cannot be read") as caught:
        read(simulation.database, "imaps://user:secret-word@localhost:1/INBOX", NOW)
    assert "secret-word" not in str(caught.value)


def test_hostile_mail_does_not_keep_others_back(simulation: SiteSimulation, box: Mailbox) -> None:
    """500 multiparts in each other, which took 40 seconds to parse, and a reply after it."""
    known = mark(simulation)
    box.put(
        mails.nested(500).replace(mails.MARK.encode(), known.encode()),
        reply(f"<certmgr.{known}@provider.example>"),
    )
    assert read(simulation.database, box.url, NOW) == {"uncertain": 1, "reply": 1}
    assert box.unseen() == 0


def test_mail_beyond_the_time_of_a_run_waits_for_the_next(
    simulation: SiteSimulation, box: Mailbox
) -> None:
    known = mark(simulation)
    box.put(*(reply(f"<certmgr.{known}@p>", f"answer {n}") for n in range(3)))
    # One reading of the timer starts the budget, and each mail takes 100 seconds of it.
    count = itertools.count()
    taken = read(simulation.database, box.url, NOW, timer=lambda: next(count) * 100.0)
    assert (taken, box.unseen()) == ({"reply": 1}, 2)
    assert read(simulation.database, box.url, NOW) == {"reply": 2}


def test_uncertain_mail_acknowledges_nothing_and_its_text_is_in_the_digest(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    raw = reply(f"<certmgr.{mark(simulation)}@p>", "I am out of the office. Ask Deputy.")
    stranger = reply("", "Where is my invoice?")
    agreed = reply(f"<certmgr.{mark(simulation)}@p>", "Monday is fine.")
    assert record(simulation.database, raw, simulation.now) == "uncertain"
    assert not acked(simulation)
    assert record(simulation.database, stranger, simulation.now) == "stranger"
    assert record(simulation.database, agreed, simulation.now) == "reply"
    simulation.now += DAY / 24
    texts = [" ".join(m.text.split()) for _, m in simulation.notify().staff]
    assert any("I am out of the office. Ask Deputy." in t for t in texts)
    assert any("owner1@client1.example" in t and "Where is my invoice?" in t for t in texts)
    assert any("Monday is fine." in t for t in texts)


def test_receipt_and_bounce_in_plain_text_are_recorded(simulation: SiteSimulation) -> None:
    known = mark(simulation).encode()
    receipt = mails.receipt("automatic-action/MDN-sent-automatically; deleted")
    for raw, kind in ((receipt, "receipt"), (mails.qmail(), "bounce")):
        mail = raw.replace(mails.MARK.encode(), known)
        assert record(simulation.database, mail, NOW) == kind
    assert not acked(simulation)
    assert bad(simulation) == ["owner1@client1.example"]


@pytest.mark.parametrize("change", ["retired contact", "moved domain", "retired domain", "closed"])
def test_mark_acknowledges_nothing_once_its_reader_may_not_answer(
    simulation: SiteSimulation, change: str
) -> None:
    sent = mark(simulation)
    with simulation.database.write(simulation.now) as tx:
        if change == "retired contact":
            row = notices.listing(tx.conn)[0]
            tx.conn.execute(
                update(Contact).where(Contact.id == row.contact_id).values(state="retired")
            )
        elif change == "moved domain":
            clients.add(tx, {"number": "2", "name": "Two"})
            domains.edit(tx, "shop.example", {"client": "2"})
        elif change == "retired domain":
            tx.conn.execute(update(Domain).values(state="retired"))
        else:
            tickets.close(tx, [t.id for t in tickets.of_notice(tx.conn, int(sent.split(".")[0]))])
    kind = record(simulation.database, reply(f"<certmgr.{sent}@provider.example>"), NOW)
    assert kind == ("reply" if change == "closed" else "uncertain")
    with simulation.database.read() as conn:
        assert all(t.acked_at is None for t in tickets.of_notice(conn, int(sent.split(".")[0])))
        assert notices.listing(conn)[0].acked_at is None
