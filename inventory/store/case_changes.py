"""Opening and changing cases.

Every change counts the version of the case up, in one statement that asks for the version it was
decided on, and writes an event with it. Two administrators can therefore not overwrite each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from sqlalchemy import Connection, func, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx, from_epoch
from inventory.db.sql import fetch_one, insert_id
from inventory.errors import Conflict
from inventory.models import Case, CaseEvent, CaseName, Client, Domain, Endpoint, Ticket
from inventory.records import CaseRecord, TicketRecord
from inventory.store import cases, tickets
from inventory.vocabulary import CaseKind, CaseState, Party, TicketKind, WindowState

# What was true of an inherited ticket is about the certificate, and not about its replacement.
_CLEARED_ON_INHERITANCE = dict.fromkeys(
    (
        "closed_at",
        "acked_at",
        "acked_by",
        "hold",
        "released_at",
        "promised_at",
        "endpoint_id",
        "code",
        # The client was not notified of the case itself yet.
        "told_at",
        "shown_reference",
    )
)


class CaseColumns(TypedDict, total=False):
    """The columns of a case that a change may set. The counters are set by :func:`change`.

    Times are in epoch seconds. A ``state`` or ``step`` begins a new step.
    """

    state: str
    step: int
    since: Timestamp
    due_at: Timestamp | None
    closed_at: Timestamp | None
    kind: str
    incident_id: int | None
    staff_id: int | None
    staff_named: int
    own_csr: int
    ends_at: Timestamp | None
    price: str | None
    fee: str | None
    currency: str | None
    approved_at: Timestamp | None
    approved_by: str | None
    approved_how: str | None
    window_start: Timestamp | None
    window_end: Timestamp | None
    window_zone: str | None
    window_sequence: int
    window_state: WindowState
    installed_at: Timestamp | None
    live_at: Timestamp | None
    reason: str | None
    said: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCase:
    """The columns of a case that is opened.

    Times are epoch seconds; amounts are decimal texts in ``currency``; ``replaces`` has the SHA-256
    of the replaced leaves, separated by spaces, which end at ``ends_at``.
    """

    client_id: int
    kind: CaseKind
    bought_by: Party
    state: CaseState = CaseState.REQUESTED
    order_id: int | None = None
    incident_id: int | None = None
    due_at: Timestamp | None = None
    contact_id: int | None = None
    staff_id: int | None = None
    staff_named: int = 0
    own_csr: int = 0
    replaces: tuple[str, ...] | None = None
    ends_at: Timestamp | None = None
    price: str | None = None
    fee: str | None = None
    currency: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return column -> value, for the database."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


def open_case(tx: Tx, case: NewCase, names: Sequence[str], text: str) -> CaseRecord:
    """Open a case with its ticket.

    If the client was notified about the certificate of one of its names, the case continues under
    the reference of that ticket, so that the client has one reference for all messages.

    Args:
        tx: The transaction.
        case: The case.
        names: The names that it covers, as they are stored.
        text: The text of the first event.
    """
    inherited = _inherited_ticket(tx.conn, case.client_id, names)
    reference = inherited.reference if inherited is not None else tickets.new_reference()
    # An earlier case may have inherited the reference already, and a new one may exist by chance.
    # The unique key would refuse it too, but the whole opening would be lost with the transaction.
    while tx.conn.scalar(select(Case.id).where(Case.reference == reference)) is not None:
        inherited, reference = None, tickets.new_reference()
    row = {
        "version": 1,
        "step": 1,
        "since": tx.at,
        "opened_at": tx.at,
        "reference": reference,
    }
    case_id = insert_id(tx.conn, Case, case.columns() | row)
    tx.conn.execute(
        insert(CaseName), [{"case_id": case_id, "name": n} for n in dict.fromkeys(names)]
    )
    ticket = {
        "key": cases.ticket_key(case_id, case.client_id),
        "kind": TicketKind.CASE,
        "client_id": case.client_id,
        "domain_id": _domain_id(tx.conn, case.client_id, names),
        "cause": f"case {reference}",
        "round": "",
    }
    # A reference belongs to one ticket, so the ticket moves to the case.
    if inherited is not None:
        query = update(Ticket).where(Ticket.id == inherited.id)
        tx.conn.execute(query.values(ticket | _CLEARED_ON_INHERITANCE))
    else:
        tx.conn.execute(
            insert(Ticket).values(ticket | {"reference": reference, "opened_at": tx.at})
        )
    event = {"action": "open", "before": None, "after": case.state, "text": text}
    _write_event(tx, case_id, 1, event)
    detail = {"reference": reference, "kind": case.kind, "state": case.state}
    tx.audit("open", "case", case_id, detail)
    return cases.find(tx.conn, reference)


def lock_client(tx: Tx, client_id: int) -> None:
    """Let other transactions that open a case of this client wait for this one."""
    # SQLite has one writer at a time anyway.
    if tx.conn.dialect.name == "postgresql":
        # Without the lock, two runs that open a case for one name would not see each other's rows.
        tx.conn.execute(select(Client.id).where(Client.id == client_id).with_for_update())


def _domain_id(conn: Connection, client_id: int, names: Sequence[str]) -> int | None:
    """Return the first domain of the client that is one of these names, or None."""
    hosts = [n.removeprefix("*.") for n in names]
    query = (
        select(Domain.id)
        # Only domains of the client: the ticket of a case must not show the domain of another
        # client.
        .where(Domain.client_id == client_id, Domain.state != "retired", Domain.name.in_(hosts))
        .order_by(Domain.id)
        .limit(1)
    )
    return conn.scalar(query)


def _inherited_ticket(
    conn: Connection, client_id: int, names: Sequence[str]
) -> TicketRecord | None:
    """Return the oldest open ticket about the end of a certificate of one of these names.

    A ticket that the client was never notified of has a reference that the client does not know.
    """
    query = (
        select(Ticket)
        .join(Endpoint, Endpoint.id == Ticket.endpoint_id)
        .where(
            Ticket.kind == "cover",
            Ticket.client_id == client_id,
            Ticket.closed_at.is_(None),
            Ticket.told_at.is_not(None),
            Endpoint.host.in_(list(names)),
        )
        # The oldest has the reference that the client knows longest. A ticket that messages show
        # with the reference of another one has a reference that the client does not know.
        .order_by(
            func.coalesce(Ticket.shown_reference, Ticket.reference) != Ticket.reference, Ticket.id
        )
        .limit(1)
    )
    return fetch_one(conn, TicketRecord, query)


def change(
    tx: Tx, before: CaseRecord, action: str, values: CaseColumns, text: str = ""
) -> CaseRecord:
    """Change a case and write the event, if the case did not change since it was read.

    Args:
        tx: The transaction.
        before: The case as it was read.
        action: The action, for the event and the audit log.
        values: Column -> value; a ``state`` or ``step`` begins a new step.
        text: The text of the event.

    Returns:
        The new row.

    Raises:
        Conflict: The case was changed meanwhile; the message names the other change.
    """
    after = values.get("state", before.state)
    new_step = after != before.state or values.get("step") is not None
    counters = {
        "version": before.version + 1,
        "step": before.step + 1 if new_step else before.step,
    }
    updated = tx.conn.execute(
        update(Case)
        # Optimistic locking: the row is only changed in the version on which the decision was made.
        .where(Case.id == before.id, Case.version == before.version)
        .values({**values, **counters})
    )
    if updated.rowcount != 1:
        raise changed_meanwhile(tx.conn, before)
    event = {"action": action, "before": before.state, "after": after, "text": text}
    _write_event(tx, before.id, before.version + 1, event)
    tx.audit(action, "case", before.id, {"state": [before.state, after]})
    return cases.find(tx.conn, before.reference)


def _write_event(tx: Tx, case_id: int, version: int, event: Mapping[str, str | None]) -> None:
    """Write one event; a text is cut at 4,000 characters."""
    values = dict(event) | {"case_id": case_id, "version": version, "at": tx.at, "by": tx.actor}
    # Mails and reasons are pasted here; the event is a record and no archive of them.
    values["text"] = (event.get("text") or "")[:4000]
    tx.conn.execute(insert(CaseEvent).values(values))


def changed_meanwhile(conn: Connection, before: CaseRecord) -> Conflict:
    """Return the error for a case that was changed since ``before`` was read."""
    changes = [
        f"{e.by} at {_time(e.at)}: {e.action}" + (f", now {e.after}" if e.after != e.before else "")
        for e in cases.events(conn, before.id)
        if e.version > before.version
    ]
    return Conflict(
        f"The case {before.reference} was changed meanwhile",
        "; ".join(changes)[:500],
        f"Nothing of yours was done. See certmgr case show {before.reference}.",
    )


def _time(seconds: int) -> str:
    timestamp = from_epoch(seconds)
    return f"{timestamp:%Y-%m-%d %H:%M} UTC" if timestamp else ""
