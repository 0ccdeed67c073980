"""Mail of clients in their cases: answers to invitations, and the texts of replies."""

from __future__ import annotations

from sqlalchemy import update

from certmgr.cases.agreement import agree_window
from certmgr.cases.inbound import CaseMail
from certmgr.demo.authority import Authority
from certmgr.notices.run import run_of
from inventory.models import Notice
from inventory.store import cases, notices, tickets
from notifiers.inbox.classify import parse
from notifiers.inbox.record import record_mail
from tests.certmgr.cases.place import CaseEnvironment
from tests.notifiers.inbox import mails


def invited(env: CaseEnvironment, issuer: Authority, client: str = "1001") -> tuple[str, str]:
    """Agree on a window, and send its notice. Returns the reference and the mark of the notice."""
    reference, _ = env.ready(issuer, client=client)
    agree_window(env.service, reference, "2026-11-26T10:00", text="agreed by telephone")
    run_of(env.context).decide()
    with env.database.write(env.now) as tx:
        tx.conn.execute(update(Notice).values(state="sent", sent_at=tx.at))
        rows = [
            r
            for r in notices.listing(tx.conn)
            if reference in {t.reference for t in tickets.of_notice(tx.conn, r.id)}
            and r.kind == "client"
        ]
    row = rows[-1]
    return reference, f"{row.id}.{row.secret}"


def receive(env: CaseEnvironment, raw: bytes, mark: str, reference: str) -> str:
    """Record a mail about a notice, with the mark and the UID of the case."""
    raw = raw.replace(mails.MARK.encode(), mark.encode())
    raw = raw.replace(b"cm-aaaaaa", reference.lower().encode())
    return record_mail(env.database, parse(raw), env.now, on_mail=CaseMail(env.service).record)


def acknowledged(env: CaseEnvironment, reference: str) -> bool:
    with env.database.read() as conn:
        return any(
            t.acked_at is not None for t in tickets.listing(conn) if t.reference == reference
        )


def texts(env: CaseEnvironment, reference: str) -> list[str]:
    with env.database.read() as conn:
        return [e.text for e in cases.events(conn, env.row(reference).id)]


def test_declined_window_is_cancelled_and_the_case_asks_for_another(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, mark = invited(env, issuer)
    raw = mails.calendar_reply("DECLINED")
    assert receive(env, raw, mark, reference) == "declined"
    row = env.row(reference)
    assert (row.state, row.window_state, row.window_sequence) == ("checked", "cancelled", 1)
    assert "We are closed that day." in texts(env, reference)[-1]
    assert not acknowledged(env, reference)
    assert receive(env, raw, mark, reference) == "known"
    assert env.row(reference).version == row.version


def test_accepted_window_acknowledges_and_stays(env: CaseEnvironment, issuer: Authority) -> None:
    reference, mark = invited(env, issuer)
    assert receive(env, mails.calendar_reply("ACCEPTED"), mark, reference) == "accepted"
    assert env.row(reference).window_state == "agreed"
    assert "the window was accepted" in texts(env, reference)[-1]
    assert acknowledged(env, reference)


def test_answer_to_an_outdated_window_is_uncertain(env: CaseEnvironment, issuer: Authority) -> None:
    """The client declines the first date after a second one was agreed."""
    reference, mark = invited(env, issuer)
    agree_window(env.service, reference, "2026-11-27T10:00", text="moved")
    for status in ("DECLINED", "ACCEPTED"):
        assert receive(env, mails.calendar_reply(status), mark, reference) == "uncertain"
    row = env.row(reference)
    assert (row.window_state, row.window_sequence) == ("agreed", 1)
    assert not acknowledged(env, reference)
    newest = mails.calendar_reply("DECLINED", sequence=1)
    assert receive(env, newest, mark, reference) == "declined"


def test_answer_to_another_case_changes_nothing(env: CaseEnvironment, issuer: Authority) -> None:
    """The mark proves one notice; the UID could name the case of any client."""
    reference, mark = invited(env, issuer)
    raw = mails.calendar_reply("DECLINED", uid="cm-zzzzzz-window@certmgr")
    assert receive(env, raw, mark, reference) == "uncertain"
    forged = mails.calendar_reply("DECLINED")
    assert receive(env, forged, "1.00000000000000000000", reference) == "stranger"
    assert env.row(reference).window_state == "agreed"


def test_tentative_answer_is_shown_and_changes_nothing(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, mark = invited(env, issuer)
    assert receive(env, mails.calendar_reply("TENTATIVE"), mark, reference) == "uncertain"
    assert env.row(reference).window_state == "agreed"
    assert "tentative" in texts(env, reference)[-1]


def test_text_of_a_reply_is_in_the_history_of_the_case(
    env: CaseEnvironment, issuer: Authority
) -> None:
    reference, mark = invited(env, issuer)
    assert receive(env, mails.reply(text="Please call before."), mark, reference) == "reply"
    assert texts(env, reference)[-1] == f"reply, from {mails.OWNER}: Please call before."
    absent = mails.reply("Automatic reply: x", "I am away.")
    assert receive(env, absent, mark, reference) == "automatic"
    assert "away" not in texts(env, reference)[-1]
