"""What comes back: replies, bounces, automatic replies, and forgeries of each; from a real mailbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmgr.demo.authority import Authority
from inventory.errors import CertmgrError, ConfigError
from inventory.store import contacts, inbound, matters, outbox
from notifiers.inbox import parse, read, take
from tests.databases import open_sqlite
from tests.notifiers.street import DAY, START, Street
from tests.servers.mail import Mailbox, mailbox

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def street(tmp_path: Path) -> Street:
    """One client with a fallback, one site, one notice that was sent."""
    street = Street(open_sqlite(tmp_path / "street.db"))
    street.client("1")
    with street.database.write(street.now) as tx:
        contacts.add(tx, "1", {"name": "Deputy", "role": "billing"}, ("email:deputy@client1.example",))
    street.site("shop.example", "1").serve(START - 390 * DAY, 398 * DAY)
    street.baseline()
    assert len(street.day().drafts) == 1
    street.sent()
    with street.database.write(street.now) as tx:
        from sqlalchemy import update

        from inventory.tables import notice

        tx.conn.execute(update(notice).values(sent_to="owner1@client1.example"))
    return street


def mark(street: Street) -> str:
    with street.database.read() as conn:
        row = outbox.listing(conn)[0]
    return f"{row['id']}.{row['secret']}"


def reply(references: str, text: str = "Thank you, we are on it.", **headers: str) -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = (
        "Owner <owner1@client1.example>",
        "notices@provider.example",
        "Re: [CM-AAAAAA] Your certificate",
    )
    mail["Message-ID"] = "<reply@client1.example>"
    mail["References"] = references
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text + "\n\n> quoted\n")
    return mail.as_bytes()


def dsn(mark_: str, action: str = "failed", status: str = "5.1.1", *, part: str = "text/rfc822-headers") -> bytes:
    """A report as Postfix and Exim send it (RFC 3464)."""
    original = f"X-Certmgr-Notice: {mark_}\r\nSubject: [CM-AAAAAA] Your certificate\r\nTo: owner1@client1.example\r\n"
    return (
        "From: MAILER-DAEMON@mx.example\r\nTo: notices@provider.example\r\nSubject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\n"
        'Message-ID: <dsn@mx.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        "--b\r\nContent-Type: text/plain\r\n\r\nThe mail could not be delivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; owner1@client1.example\r\n"
        f"Action: {action}\r\nStatus: {status}\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n"
        f"--b\r\nContent-Type: {part}\r\n\r\n{original}\r\n--b--\r\n"
    ).encode()


def acked(street: Street) -> bool:
    with street.database.read() as conn:
        return any(m["acked_at"] is not None for m in matters.listing(conn))


def bad(street: Street) -> list[str]:
    with street.database.read() as conn:
        return [b for c in contacts.listing(conn) for b in c["bad"]]


def test_a_reply_acknowledges_and_joins_the_conversation(street: Street) -> None:
    raw = reply(f"<certmgr.{mark(street)}@provider.example> <x@y.example>")
    assert take(street.database, raw, NOW) == "reply"
    assert acked(street)
    with street.database.read() as conn:
        (answer,) = inbound.of_notice(conn, outbox.listing(conn)[0]["id"])
        assert outbox.listing(conn)[0]["acked_at"] == int(NOW.timestamp())
    assert answer["text"] == "Thank you, we are on it."
    assert take(street.database, raw, NOW) == "known", "read twice, taken once"


def test_in_reply_to_is_enough(street: Street) -> None:
    assert take(street.database, reply("", In_Reply_To=f"<certmgr.{mark(street)}@provider.example>"), NOW) == "reply"


@pytest.mark.parametrize("part", ["text/rfc822-headers", "message/rfc822"])
def test_a_bounce_marks_the_address_and_the_fallback_hears(street: Street, part: str) -> None:
    assert take(street.database, dsn(mark(street), part=part), NOW) == "bounce"
    assert bad(street) == ["owner1@client1.example"]
    assert not acked(street)
    street.now = NOW + DAY / 24
    outcome = street.notify()
    assert [(d.person.name, i.step) for d, _ in outcome.drafts for i in d.items] == [("Deputy", "fallback")]


def test_a_delay_is_no_bounce(street: Street) -> None:
    assert take(street.database, dsn(mark(street), "delayed", "4.4.1"), NOW) == "delay"
    assert take(street.database, dsn(mark(street), "failed", "4.4.7"), NOW) == "delay"
    assert bad(street) == []


@pytest.mark.parametrize("headers", [
    {"Auto_Submitted": "auto-replied"}, {"Precedence": "bulk"}, {"X_Autoreply": "yes"}, {"X_Auto_Response_Suppress": "All"}, {"List_Id": "<x.example>"},
])  # fmt: skip
def test_an_automatic_reply_does_neither(street: Street, headers: dict[str, str]) -> None:
    raw = reply(f"<certmgr.{mark(street)}@provider.example>", "I am away.", **headers)
    assert take(street.database, raw, NOW) == "automatic"
    assert not acked(street)
    assert bad(street) == []


@pytest.mark.parametrize("raw", [
    reply("<certmgr.1.00000000000000000000@provider.example>"), reply("[CM-AAAAAA]"), reply("<certmgr.999999999999999999.aaaaaaaaaaaaaaaaaaaa@x>"),
    dsn("1.00000000000000000000"), dsn("1.' OR 1=1 --"), b"", b"\x00" * 1000, b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n" * 5000,
], ids=["guessed-secret", "reference-only", "huge-id", "forged-bounce", "injection", "empty", "zeros", "parts"])  # fmt: skip
def test_forged_answers_change_nothing(street: Street, raw: bytes) -> None:
    assert take(street.database, raw, NOW) == "stranger"
    assert not acked(street)
    assert bad(street) == []


def test_a_forged_bounce_cannot_name_another_address(street: Street) -> None:
    """Who has seen the mail can only say that it did not arrive where it was sent."""
    raw = dsn(mark(street)).replace(
        b"Final-Recipient: rfc822; owner1@client1.example", b"Final-Recipient: rfc822; deputy@client1.example"
    )
    assert take(street.database, raw, NOW) == "bounce"
    assert bad(street) == ["owner1@client1.example"]


@given(st.binary(max_size=3000))
def test_no_mail_breaks_the_reader(raw: bytes) -> None:
    assert parse(raw).kind in ("reply", "bounce", "delay", "automatic")


@given(st.sampled_from([reply("<x>"), dsn("1.0123456789abcdef0123")]), st.integers(0, 900), st.binary(max_size=8))
def test_no_broken_mail_breaks_the_reader(raw: bytes, at: int, noise: bytes) -> None:
    parse(raw[:at] + noise + raw[at + len(noise) :])


# -- the mailbox ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def box(root: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with mailbox(root, tmp_path / "imap") as found:
        yield found


def test_the_mailbox_is_read_once(street: Street, box: Mailbox) -> None:
    known = mark(street)
    box.put(
        reply(f"<certmgr.{known}@provider.example>"),
        dsn(known),
        reply("<certmgr.1.00000000000000000000@x>"),
        reply(f"<certmgr.{known}@p>", Precedence="bulk"),
    )
    assert read(street.database, box.url, NOW, dry_run=True) == {"reply": 1, "bounce": 1, "stranger": 1, "automatic": 1}
    assert box.unseen() == 4, "a dry run marks nothing"
    assert not acked(street)
    assert read(street.database, box.url, NOW) == {"reply": 1, "bounce": 1, "stranger": 1, "automatic": 1}
    assert acked(street)
    assert bad(street) == ["owner1@client1.example"]
    assert box.unseen() == 0
    assert read(street.database, box.url, NOW) == {}


def test_a_huge_mail_is_cut(street: Street, box: Mailbox) -> None:
    box.put(reply(f"<certmgr.{mark(street)}@provider.example>", "x" * 3_000_000))
    assert read(street.database, box.url, NOW) == {"reply": 1}


def test_a_mailbox_that_cannot_be_read(street: Street, box: Mailbox) -> None:
    with pytest.raises(ConfigError, match="URL of the mailbox"):
        read(street.database, "imap://u:p@localhost/", NOW)
    with pytest.raises(CertmgrError, match="no folder"):
        read(street.database, box.url.replace("INBOX", "Nowhere"), NOW)
    with pytest.raises(CertmgrError, match="cannot be read") as caught:
        read(street.database, "imaps://user:secret-word@localhost:1/INBOX", NOW)
    assert "secret-word" not in str(caught.value)
