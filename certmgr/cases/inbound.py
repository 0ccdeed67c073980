"""Mail of clients in their cases: texts of answers, and answers to invitations.

Everything happens in the transaction that records the mail.
"""

from __future__ import annotations

from certmgr.cases import window as windows
from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, next_state
from inventory.db.database import Tx
from inventory.errors import NotFound
from inventory.records import CaseRecord, NoticeRecord
from inventory.store import case_changes, cases, tickets
from inventory.text import printable
from inventory.vocabulary import InboundKind, WindowState
from notifiers.inbox.classify import InboundMail

# Bounces and automatic answers contain nothing that a person of the client wrote.
_NOTED = frozenset(
    {InboundKind.REPLY, InboundKind.UNCERTAIN, InboundKind.ACCEPTED, InboundKind.DECLINED}
)
_WORDS = {
    InboundKind.REPLY: "reply",
    InboundKind.UNCERTAIN: "mail that may be automatic",
    InboundKind.ACCEPTED: "calendar: the window was accepted",
    InboundKind.DECLINED: "calendar: the window was declined",
}
# A mail can have any length, and the history of a case must stay readable.
_MAX_NOTE = 500


class CaseMail:
    """Records mail in the cases that its notice is about."""

    def __init__(self, service: CaseService) -> None:
        self._service = service

    def record(self, tx: Tx, notice: NoticeRecord, mail: InboundMail) -> InboundKind:
        """Record a mail in the history of each case of its notice, and return its kind.

        A declined window is cancelled, so that the case asks for another one and the calendars
        remove the entry. An answer to another version of the window, or to a window that is over,
        changes nothing: it is ``uncertain``, and staff read it.
        """
        rows = _cases(tx, notice)
        kind = mail.kind
        if mail.answer is not None:
            row = _invited(rows, mail.answer.uid)
            if row is None or not self._current(row, mail):
                kind = InboundKind.UNCERTAIN
            elif kind is InboundKind.DECLINED:
                text = _note(kind, mail)
                self._service.transition(
                    tx, row, CaseAction.CANCEL_WINDOW, text, **windows.cancelled(row)
                )
                # The transition has recorded the text in this case already.
                rows = [r for r in rows if r.id != row.id]
        if kind in _NOTED:
            for row in rows:
                case_changes.change(tx, row, "note", {}, _note(kind, mail))
        return kind

    def _current(self, row: CaseRecord, mail: InboundMail) -> bool:
        """Return whether the answer is about the agreed window, which is still ahead."""
        assert mail.answer is not None
        return (
            row.window_state is WindowState.AGREED
            and (row.window_start or 0) > self._service.now.timestamp()
            # RFC 5546, 3.2.3: a reply has the SEQUENCE of the invitation that it answers.
            and mail.answer.sequence == row.window_sequence
            and next_state(row.state, CaseAction.CANCEL_WINDOW) is not None
        )


def _cases(tx: Tx, notice: NoticeRecord) -> list[CaseRecord]:
    """Return the open cases of the notice's client that the notice is about."""
    found = []
    for ticket in tickets.of_notice(tx.conn, notice.id):
        try:
            row = cases.find(tx.conn, ticket.reference)
        # A notice can be about tickets of other kinds too, which have no case.
        except NotFound:
            continue
        # The text of a mail may only appear in a case of the client who was written to.
        if row.closed_at is None and ticket.client_id == row.client_id:
            found.append(row)
    return found


def _invited(rows: list[CaseRecord], uid: str) -> CaseRecord | None:
    # The UID is that of windows.calendar_window. A notice can be about several cases, and the
    # answer is about one window.
    return next((r for r in rows if uid == f"{r.reference.lower()}-window@certmgr"), None)


def _note(kind: InboundKind, mail: InboundMail) -> str:
    text = f"{_WORDS[kind]}, from {mail.sender or 'an unknown sender'}: {mail.text or '(no text)'}"
    return printable(text, _MAX_NOTE)
