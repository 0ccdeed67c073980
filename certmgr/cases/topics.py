"""Topics for the notification run: what clients need to know about their cases.

:func:`gather` reads the database. :func:`case_topic` and :func:`ended_case_topic` are pure.

A case is one topic with one revision per state. A client is notified at once of each new state, and
reminded as :func:`certmgr.cases.states.last_reminder_day` determines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from sqlalchemy import Connection

from certmgr.cases.incident_events import events
from certmgr.cases.staff_tasks import level_2_task, staff_task, worklist
from certmgr.cases.states import (
    CLIENT,
    ENDED,
    is_overdue,
    last_reminder_day,
    waits_for,
)
from certmgr.cases.topic_facts import (
    closing_values,
    target_of,
    text_values,
    upload_problems,
    wording_key,
)
from certmgr.cases.window import calendar_window_of
from certmgr.purchases.load import load
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY
from inventory.db.database import from_epoch, to_epoch
from inventory.records import CaseRecord, IssuanceRecord, TicketRecord
from inventory.store import cases, incidents, issuances
from inventory.vocabulary import CaseKind, CaseState, TicketKind, WindowState
from notifiers.calendar import CalendarWindow
from notifiers.pipeline.notice_source import EndedTopic, StaffEvent, StaffTask
from notifiers.pipeline.topic import CaseFacts, Topic


@dataclass(frozen=True, slots=True)
class CaseTopics:
    """The topics of all cases.

    Attributes:
        topics: The topics of the open cases.
        ended: Key -> the last topic of a case that has ended.
        staff_tasks: The tasks of the administrators.
        events: The open incidents, each with what is left of it.
        worklist: Lines for the daily digest.
        open_names: Client id -> name -> reference of the open case. No notices of another kind are
            sent about these names.
    """

    topics: list[Topic]
    ended: dict[str, EndedTopic]
    staff_tasks: list[StaffTask]
    events: list[StaffEvent]
    worklist: list[str]
    open_names: dict[int, dict[str, str]]


def gather(
    conn: Connection,
    now: datetime,
    tickets: Mapping[str, TicketRecord],
    leads: LeadTimes,
    minutes: int,
    provider: str = "",
    zone: tzinfo = UTC,
) -> CaseTopics:
    """Gather the topics of all cases.

    Args:
        conn: The connection.
        now: The current time.
        tickets: Key -> open ticket that the client was notified of.
        leads: The lead times.
        minutes: The duration of a window that is proposed.
        provider: The name to show if a case has no assignee.
        zone: The time zone of the provider, in which its staff read times.
    """
    rows = cases.listing(conn, states=cases.OPEN)
    issued = issuances.of_cases(conn, [r.id for r in rows])
    purchases = _purchases_of(conn, rows)
    topics = [
        case_topic(r, issued.get(r.id, ()), purchases.get(r.order_id or 0), now, minutes, provider)
        for r in rows
    ]
    references = {i.id: i.reference for i in incidents.listing(conn)}
    staff_tasks = [
        task
        for r in (*rows, *_cancelled_windows(conn, now))
        for task in (staff_task(r, now, references, zone), level_2_task(r, now, references, zone))
        if task is not None
    ]
    open_ids = {r.id for r in rows}
    # Clients that were notified of a case get one last message when it has ended.
    ended_keys = {
        case_id: key
        for key, ticket in tickets.items()
        if ticket.kind is TicketKind.CASE and (case_id := cases.case_id_of(key)) not in open_ids
    }
    ended = _ended_topics(conn, ended_keys, now, leads)
    return CaseTopics(
        topics=topics,
        ended=ended,
        staff_tasks=staff_tasks,
        events=events(conn, now, zone),
        worklist=worklist(rows, now, references, zone),
        open_names=_covering_cases(rows, now),
    )


def _purchases_of(conn: Connection, rows: Sequence[CaseRecord]) -> dict[int, Purchase]:
    """Return purchase id -> purchase, of these cases."""
    ids = [r.order_id for r in rows if r.order_id is not None]
    return {p.id: p for p in load(conn, ids=ids)} if ids else {}


def _cancelled_windows(conn: Connection, now: datetime) -> list[CaseRecord]:
    """Return cases that ended lately, and whose window was cancelled with them."""
    # The assignee still has the calendar entry of such a window.
    # A week: the cancellation reaches the assignee even if no run succeeded for some days.
    ended = cases.listing(conn, states=ENDED, since=to_epoch(now - 7 * DAY))
    return [r for r in ended if r.window_state is WindowState.CANCELLED]


def _ended_topics(
    conn: Connection, keys: Mapping[int, str], now: datetime, leads: LeadTimes
) -> dict[str, EndedTopic]:
    """Return key -> the last topic of a case that has ended.

    Args:
        conn: The connection.
        keys: Case id -> key of its ticket.
        now: The current time.
        leads: The lead times.
    """
    if not keys:
        return {}
    rows = [r for r in cases.listing(conn) if r.id in keys]
    issued = issuances.of_cases(conn, sorted(keys))
    purchases = _purchases_of(conn, rows)
    return {
        keys[r.id]: ended_case_topic(
            r, issued.get(r.id, ()), purchases.get(r.order_id or 0), now, leads
        )
        for r in rows
    }


def _covering_cases(rows: Sequence[CaseRecord], now: datetime) -> dict[int, dict[str, str]]:
    """Return client id -> name -> reference of the case that replaces other notices.

    A case does so only while it is on schedule. If it is overdue, or its certificate ends within a
    day, the client is notified of everything again. An incident often ends within a day: its cases
    state the hour, so that nothing else is sent until they are overdue.
    """
    result: dict[int, dict[str, str]] = {}
    for row in rows:
        ends_soon = (
            row.kind is not CaseKind.INCIDENT
            and row.ends_at is not None
            and row.ends_at < to_epoch(now + DAY)
        )
        if not is_overdue(row, now) and not ends_soon:
            result.setdefault(row.client_id, {}).update(dict.fromkeys(row.names, row.reference))
    return result


def case_topic(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    purchase: Purchase | None,
    now: datetime,
    minutes: int,
    provider: str = "",
) -> Topic:
    """Return the topic of an open case in its current state.

    Args:
        row: The row of the case.
        issued: The issuances of the case.
        purchase: The purchase of the case.
        now: The current time.
        minutes: The duration of a window that is proposed.
        provider: The name to show if no person was assigned.
    """
    state, waits = CaseState(row.state), waits_for(row)
    since, due, end = (
        from_epoch(row.since),
        from_epoch(row.due_at),
        from_epoch(row.ends_at),
    )
    assert since is not None
    client_acts = waits == CLIENT
    # A promise in the name of a person needs that a person assigned it. An administrator who was
    # chosen automatically may be on leave.
    staff = (row.staff if row.staff_named else None) or provider
    return Topic(
        key=cases.ticket_key(row.id, row.client_id),
        # The step counts the transitions, so that a state that is entered again notifies again.
        revision=f"{row.step} {state}",
        client_id=row.client_id,
        client=row.client,
        domain_id=row.domain_id or 0,
        target=target_of(row.names),
        severity="critical" if row.kind is CaseKind.INCIDENT else "high",
        actor="client" if client_acts else "provider",
        code=wording_key(row, state, client_acts, purchase is not None and purchase.auto_renew),
        opened=since,
        facts=CaseFacts(
            reference=row.reference,
            values=text_values(row, purchase, minutes),
            upload_problems=upload_problems(row),
            paste=_csr_text(row, issued) if client_acts else "",
            window=_calendar_entry(row, state),
            contact_id=row.contact_id,
            since_days=last_reminder_day(since, due, end, now),
        ),
        act_by=due if client_acts else None,
        visible=True,
        assigned=(staff, due) if not client_acts and due is not None else None,
        suppress_reason=_suppress_reason(row),
        cause=f"case {row.reference}",
    )


def _csr_text(row: CaseRecord, issued: Sequence[IssuanceRecord]) -> str:
    """Return the CSRs that a client needs to buy the certificate; empty if it needs none now."""
    # A client who created the CSR has it already.
    if row.state != CaseState.WAITING or row.own_csr:
        return ""
    return "\n".join(i.csr for i in issued if i.csr)


def _calendar_entry(row: CaseRecord, state: CaseState) -> CalendarWindow | None:
    """Return the calendar entry that the message about an open case carries, if any."""
    if row.window_start is None:
        return None
    # The entry goes with the states in which the window was set or cancelled, and with no reminder
    # of another state: calendars would ask the client to accept the same window again.
    match row.window_state, state:
        case WindowState.AGREED, CaseState.WINDOW | CaseState.INSTALLED:
            return calendar_window_of(row, cancelled=False)
        case WindowState.CANCELLED, CaseState.CHECKED | CaseState.REOPENED:
            return calendar_window_of(row, cancelled=True)
        case _:
            return None


def _suppress_reason(row: CaseRecord) -> str:
    """Return why the client is not notified any more; empty if the client is."""
    # The client has no business with the domain any more, and must not learn about its new owner.
    if row.domain_client is not None and row.domain_client != row.client_id:
        return "the domain belongs to another client now"
    return "the domain is retired" if row.domain_state == "retired" else ""


def ended_case_topic(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    purchase: Purchase | None,
    now: datetime,
    leads: LeadTimes,
) -> EndedTopic:
    """Return the last topic of a case that has ended.

    A closed case states what changed and the next date. A declined or cancelled case states the
    reason.
    """
    key = cases.ticket_key(row.id, row.client_id)
    stopped = row.state != CaseState.CLOSED
    window = None
    # Without the cancellation the entry would stay in the client's calendar.
    if row.window_state is WindowState.CANCELLED and row.window_start is not None:
        window = calendar_window_of(row, cancelled=True)
    values = text_values(row, purchase, 0) | (
        closing_values(row, issued, purchase, now, leads) if not stopped else {}
    )
    opened = from_epoch(row.opened_at)
    assert opened is not None
    topic = Topic(
        key=key,
        revision=f"{row.step} {row.state}",
        client_id=row.client_id,
        client=row.client,
        domain_id=row.domain_id or 0,
        target=target_of(row.names),
        severity="high",
        # The last message goes to the client, although no party has to act any more.
        actor="client",
        code="cancelled" if stopped else "closed",
        opened=opened,
        facts=CaseFacts(
            reference=row.reference,
            values=values,
            upload_problems=upload_problems(row),
            window=window,
        ),
    )
    # Also a declined case ends with a message: the client should not wait for a certificate.
    return EndedTopic(key, True, f"the case is {row.state}", topic)
