"""Cases: finding and listing them with their names and events.

``case_changes`` opens and changes cases, ``issuances`` has their certificates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Executable, func, select

from inventory.clock import Timestamp
from inventory.db.sql import chunks, fetch
from inventory.models import (
    Case,
    CaseEvent,
    CaseName,
    Client,
    Contact,
    Domain,
    Ticket,
)
from inventory.records import (
    BilledCase,
    CaseEventRecord,
    CaseRecord,
)
from inventory.store import suggestions
from inventory.text import typed_reference
from inventory.vocabulary import CaseState

OPEN = tuple(
    s for s in CaseState if s not in (CaseState.CLOSED, CaseState.DECLINED, CaseState.CANCELLED)
)
Scope = int | None
C = TypeVar("C", bound=CaseRecord)


def ticket_key(case_id: int, client_id: int) -> str:
    """Return the key of the ticket of a case."""
    return f"case:{case_id}:{client_id}"


def case_id_of(ticket_key: str) -> int:
    """Return the case of a ticket with the kind ``case``."""
    return int(ticket_key.split(":")[1])


# The ticket names the domain of a case. Its owner may have changed since the case was opened.
_STAFF = Contact.__table__.alias("staff")
_HOME = Domain.__table__.alias("home")
_ALL = (
    select(
        Case,
        Client.number.label("client"),
        Client.name.label("client_name"),
        Client.account_manager,
        Client.state.label("client_state"),
        Ticket.domain_id,
        _HOME.c.client_id.label("domain_client"),
        _HOME.c.state.label("domain_state"),
        Contact.name.label("contact"),
        _STAFF.c.name.label("staff"),
    )
    .join(Client, Client.id == Case.client_id)
    # Outer joins: a case may have neither contact nor assignee nor domain.
    .outerjoin(Contact, Contact.id == Case.contact_id)
    .outerjoin(_STAFF, _STAFF.c.id == Case.staff_id)
    .outerjoin(Ticket, Ticket.reference == Case.reference)
    # Only to compare its owner with the client of the case; the domain itself is never shown to
    # others.
    .outerjoin(_HOME, _HOME.c.id == Ticket.domain_id)
)


def find(conn: Connection, reference: str) -> CaseRecord:
    """Return the case with a reference.

    Raises:
        NotFound: There is no such case.
    """
    query = _ALL.where(Case.reference == typed_reference(reference))
    found = _with_names(conn, CaseRecord, query)
    if not found:
        raise suggestions.not_found(conn, "case", reference, "certmgr case list")
    return found[0]


def _with_names(conn: Connection, record: type[C], query: Executable) -> list[C]:
    """Return the cases of a query, each with its names in alphabetical order."""
    rows = conn.execute(query).all()
    names = names_of(conn, [row.id for row in rows])
    return [record(**row._asdict(), names=names.get(row.id, ())) for row in rows]


def names_of(conn: Connection, case_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """Return case id -> its names in alphabetical order."""
    found: dict[int, tuple[str, ...]] = {}
    for part in chunks(sorted(set(case_ids))):
        query = (
            select(CaseName.case_id, CaseName.name)
            .where(CaseName.case_id.in_(part))
            .order_by(CaseName.name)
        )
        for case_id, name in conn.execute(query):
            found[case_id] = (*found.get(case_id, ()), name)
    return found


def listing(
    conn: Connection,
    *,
    client_id: Scope = None,
    states: Iterable[str] | None = None,
    incident_id: int | None = None,
    since: Timestamp | None = None,
) -> list[CaseRecord]:
    """Return cases with client, contact, assignee and names; the next due first.

    Args:
        conn: The connection.
        client_id: Only cases of this client; None for all clients.
        states: Only cases in these states; None for all states.
        incident_id: Only cases of this incident.
        since: Epoch seconds: only cases that are open, or ended at this time or later.
    """
    # The two databases sort NULL at opposite ends, so the order states it.
    query = _ALL.order_by(Case.due_at.is_(None), Case.due_at, Case.id)
    if client_id is not None:
        query = query.where(Case.client_id == client_id)
    if states is not None:
        query = query.where(Case.state.in_(list(states)))
    if incident_id is not None:
        query = query.where(Case.incident_id == incident_id)
    # Reports show what was done lately next to what is open.
    if since is not None:
        query = query.where((Case.closed_at.is_(None)) | (Case.closed_at >= since))
    return _with_names(conn, CaseRecord, query)


def events(conn: Connection, case_id: int) -> list[CaseEventRecord]:
    """Return the history of a case, oldest first."""
    return fetch(
        conn,
        CaseEventRecord,
        select(CaseEvent).where(CaseEvent.case_id == case_id).order_by(CaseEvent.id),
    )


def events_of(conn: Connection, client_id: Scope = None) -> dict[int, list[CaseEventRecord]]:
    """Return case id -> its history, oldest first; for the statistics."""
    query = select(CaseEvent).order_by(CaseEvent.id)
    if client_id is not None:
        query = query.join(Case, Case.id == CaseEvent.case_id).where(Case.client_id == client_id)
    found: dict[int, list[CaseEventRecord]] = {}
    for record in fetch(conn, CaseEventRecord, query):
        found.setdefault(record.case_id, []).append(record)
    return found


def open_cases_by_assignee(conn: Connection) -> dict[int, int]:
    """Return the id of an administrator -> the number of open cases that they are assigned to."""
    query = (
        select(Case.staff_id, func.count())
        # A new case goes to the administrator with the fewest, so unassigned ones do not count.
        .where(Case.state.in_(OPEN), Case.staff_id.is_not(None))
        .group_by(Case.staff_id)
    )
    return {row[0]: row[1] for row in conn.execute(query) if row[0] is not None}


def open_for(conn: Connection, client_id: int, names: Sequence[str]) -> list[CaseRecord]:
    """Return the open cases of a client that cover one of these names."""
    query = (
        _ALL.join(CaseName, CaseName.case_id == Case.id)
        # The client is part of the condition: another client may have had the name before.
        .where(Case.client_id == client_id, Case.state.in_(OPEN), CaseName.name.in_(list(names)))
        .distinct()
    )
    return _with_names(conn, CaseRecord, query)


def last_closed(conn: Connection, client_id: int, names: Sequence[str]) -> CaseRecord | None:
    """Return the client's newest case for one of these names that was closed as done.

    A renewal takes over who was involved in it. Stopped cases do not count.
    """
    query = (
        _ALL.join(CaseName, CaseName.case_id == Case.id)
        .where(
            Case.client_id == client_id,
            Case.state == CaseState.CLOSED,
            CaseName.name.in_(list(names)),
        )
        # The newest case knows best who is involved now.
        .order_by(Case.id.desc())
        .limit(1)
    )
    return next(iter(_with_names(conn, CaseRecord, query)), None)


def open_names(conn: Connection) -> dict[int, dict[str, str]]:
    """Return client id -> name -> reference of the open case that covers it."""
    query = (
        select(Case.client_id, CaseName.name, Case.reference)
        .join(CaseName, CaseName.case_id == Case.id)
        .where(Case.state.in_(OPEN))
    )
    found: dict[int, dict[str, str]] = {}
    for client_id, name, reference in conn.execute(query):
        found.setdefault(client_id, {})[name] = reference
    return found


def purchases_with_open_case(conn: Connection) -> set[int]:
    """Return the ids of the purchases that have an open case."""
    return set(
        conn.scalars(
            # A purchase with an open case needs no second one, whatever its names are.
            select(Case.order_id).where(Case.state.in_(OPEN), Case.order_id.is_not(None)).distinct()
        )
    )


def closed_between(
    conn: Connection, start: Timestamp, end: Timestamp, client_id: Scope = None
) -> list[BilledCase]:
    """Return the cases that were closed for the first time in a span, for billing.

    Args:
        conn: The connection.
        start: The first second, in epoch seconds.
        end: The second after the last one.
        client_id: Only cases of this client; None for all clients.
    """
    # A case that was reopened and closed again is one installation, and is billed once.
    first = (
        select(CaseEvent.case_id, func.min(CaseEvent.at).label("billed_at"))
        .where(CaseEvent.after == "closed", CaseEvent.before != "closed")
        .group_by(CaseEvent.case_id)
    ).subquery()
    query = _ALL.add_columns(first.c.billed_at).join(first, first.c.case_id == Case.id)
    query = query.where(first.c.billed_at >= start, first.c.billed_at < end).order_by(
        Client.number, first.c.billed_at
    )
    if client_id is not None:
        query = query.where(Case.client_id == client_id)
    return _with_names(conn, BilledCase, query)


def count_open(conn: Connection) -> int:
    """Return the number of open cases."""
    query = select(func.count()).select_from(Case).where(Case.state.in_(OPEN))
    return conn.scalar(query) or 0
