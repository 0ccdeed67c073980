"""What an inbound mail changes, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from inventory.db.database import Database, Tx
from inventory.records import NoticeRecord, TicketRecord
from inventory.store import inbox, notices, outbox, recipients, tickets
from inventory.text import printable
from inventory.vocabulary import InboundKind, NoticeKind
from notifiers.inbox.classify import InboundMail
from notifiers.inbox.mail_parts import MAX_TEXT

OnMail = Callable[[Tx, NoticeRecord, InboundMail], InboundKind]
"""Records a mail in the case of a notice, and returns its kind: uncertain if the case does not
allow what the mail asks for."""

_log = logging.getLogger(__name__)
# A person agreed. A client who declines a window has not agreed to anything.
_CONSENT = frozenset({InboundKind.REPLY, InboundKind.ACCEPTED})
# Staff have to judge what these are.
_WITH_SENDER = frozenset(
    {
        InboundKind.STRANGER,
        InboundKind.UNCERTAIN,
        InboundKind.AUTOMATIC,
        InboundKind.RECEIPT,
    }
)


def without_cases(tx: Tx, row: NoticeRecord, mail: InboundMail) -> InboundKind:
    """Return the kind of a mail for an inventory without cases: no invitation was sent."""
    return InboundKind.UNCERTAIN if mail.answer is not None else mail.kind


def record_mail(
    database: Database,
    mail: InboundMail,
    now: datetime,
    *,
    dry_run: bool = False,
    on_mail: OnMail = without_cases,
) -> str:
    """Record one mail, in one transaction.

    Returns:
        Its kind (:class:`InboundMail`), stranger if it has no valid mark, or known if it was
        recorded before.
    """
    with database.read() as conn:
        row = next((r for m in mail.marks if (r := notices.by_mark(conn, m)) is not None), None)
    # The kind that the mail itself shows: a case is not asked, since that would change it.
    if dry_run:
        return mail.kind if row is not None else InboundKind.STRANGER
    with database.write(now) as tx:
        kind, about = _answer(tx, row, mail, on_mail)
        values = {
            "message_id": mail.message_id,
            "kind": kind,
            "notice_id": row.id if row else None,
            "contact_id": row.contact_id if row else None,
            "text": _shown(mail, kind),
        }
        # The mail was recorded before, so it must not change anything again.
        if not inbox.add(tx, values):
            return "known"
        if row is None:
            return kind  # without a mark it changes nothing
        # Replies of staff to a digest acknowledge nothing.
        if kind in _CONSENT and row.kind is NoticeKind.CLIENT:
            tickets.acknowledge(tx, [t.id for t in about], f"contact {row.contact_id}")
        elif kind is InboundKind.BOUNCE and row.contact_id is not None and row.sent_to:
            # The address is the one that the notice was sent to. The report could name another.
            recipients.mark_method(tx, row.contact_id, row.sent_to, "bad")
            outbox.bounced(tx, row.id, mail.text)
        tx.audit(kind, "notice", row.id)
    # No subject and no address: a log is read by more people than the inbox.
    _log.info("mail about notice %d: %s", row.id, kind)
    return kind


def _answer(
    tx: Tx, row: NoticeRecord | None, mail: InboundMail, on_mail: OnMail
) -> tuple[InboundKind, Sequence[TicketRecord]]:
    """Return the kind of a mail, and the tickets that it acknowledges; ``row``: its notice."""
    if row is None:
        return InboundKind.STRANGER, ()
    # Mail of staff belongs to no case: notices to staff cover many clients.
    # Asked before the case is changed: a mail that is read twice must not advance it twice.
    if row.kind is not NoticeKind.CLIENT or inbox.known(tx.conn, mail.message_id):
        return mail.kind, ()
    about = tickets.answerable(tx.conn, row)
    if about is None:
        # The reader may no longer answer: nothing changes, and staff read the text.
        return (mail.kind if mail.kind is InboundKind.BOUNCE else InboundKind.UNCERTAIN), ()
    kind = on_mail(tx, row, mail)
    meant = _meant(tx, about, mail)
    if meant is None and kind in _CONSENT:
        # It names only references of other conversations: staff read what it is about, and nothing
        # is silenced.
        kind = InboundKind.UNCERTAIN
    return kind, meant or ()


def _meant(tx: Tx, about: Sequence[TicketRecord], mail: InboundMail) -> list[TicketRecord] | None:
    """Return the tickets that an answer acknowledges: with each, all that share its reference.

    A reader who names references answers those, and else the whole message.

    Returns:
        None if the answer names references, and none of this notice.
    """
    named = set(mail.references)
    meant = [t for t in about if not named or {t.shown, t.reference} & named]
    if about and not meant:
        return None
    # The same certificate may have been in two messages, for example to owner and fallback.
    whole = {
        t.id: t
        for ticket in meant
        for t in tickets.of_same_reference(tx.conn, ticket, notified_only=True)
    }
    return list(({t.id: t for t in meant} | whole).values())


def _shown(mail: InboundMail, kind: InboundKind) -> str:
    """Return the text for staff. Mail that they have to judge comes with sender and subject."""
    if kind not in _WITH_SENDER:
        return mail.text
    parts = (mail.sender, f"'{mail.subject}'" if mail.subject else "", mail.text)
    # Anyone can send mail without a mark, so little of it is kept.
    limit = 300 if kind is InboundKind.STRANGER else MAX_TEXT
    return printable(": ".join(p for p in parts if p), limit)
