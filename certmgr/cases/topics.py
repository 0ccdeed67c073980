"""Topics for the notification run: what clients and administrators need to know about cases and
purchases.

Only :func:`gather` and :func:`purchase_topics` read the database. All other functions are pure.

A case is one topic with one revision per state. A client is notified at once of each new state, and
reminded as :func:`certmgr.cases.states.last_reminder_day` determines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from certmgr.cases.states import (
    CLIENT,
    ENDED,
    LEVEL_2,
    NEXT_STEPS,
    PROVIDER,
    is_overdue,
    last_reminder_day,
    waits_for,
)
from certmgr.cases.window import InstallationWindow, calendar_window
from certmgr.purchases.load import load, manually_renewed_domains, parent_names
from certmgr.purchases.model import LeadTimes, Purchase
from certmgr.purchases.terms import DAY, plan, purchase_deadlines, term_of
from inventory.db.database import from_epoch, to_epoch
from inventory.names import display
from inventory.records import CaseRecord, IssuanceRecord, TicketRecord
from inventory.store import cases
from inventory.targets import Target
from inventory.vocabulary import CaseState
from notifiers.calendar import CalendarWindow
from notifiers.pipeline.topic import (
    CaseFacts,
    EndedTopic,
    Money,
    PurchaseFacts,
    ScheduledEnd,
    StaffTask,
    TextValue,
    Topic,
    TopicKind,
)
from notifiers.wording.cases import OLD_CERTIFICATE_SERVED

PRODUCTS = {"dv": "domain validation", "ov": "organisation validation", "ev": "extended validation"}
KINDS = {"single": "one name", "multi": "several names", "wildcard": "wildcard"}


@dataclass(frozen=True, slots=True)
class CaseTopics:
    """The topics of all cases.

    Attributes:
        topics: The topics of the open cases.
        ended: Key -> the last topic of a case that has ended.
        staff_tasks: The tasks of the administrators.
        worklist: Lines for the daily digest.
        open_names: Client id -> name -> reference of the open case. No notices of another kind are
            sent about these names.
    """

    topics: list[Topic]
    ended: dict[str, EndedTopic]
    staff_tasks: list[StaffTask]
    worklist: list[str]
    open_names: dict[int, dict[str, str]]


def _timestamp(seconds: int | None) -> datetime | None:
    return from_epoch(seconds)


def gather(
    conn: Connection,
    now: datetime,
    tickets: Mapping[str, TicketRecord],
    leads: LeadTimes,
    minutes: int,
    provider: str = "",
) -> CaseTopics:
    """Gather the topics of all cases.

    Args:
        conn: The connection.
        now: The current time.
        tickets: Key -> open ticket that the client was notified of.
        leads: The lead times.
        minutes: The duration of a window that is proposed.
        provider: The name to show if a case has no assignee.
    """
    rows = cases.listing(conn, states=cases.OPEN)
    issued = cases.issuances(conn, [r.id for r in rows])
    purchases = (
        {p.id: p for p in load(conn, ids=[r.order_id for r in rows if r.order_id is not None])}
        if rows
        else {}
    )
    open_ids = {r.id for r in rows}
    topics = [
        case_topic(r, issued.get(r.id, ()), purchases.get(r.order_id or 0), now, minutes, provider)
        for r in rows
    ]
    # The assignee still has the calendar entry of a window that was cancelled with its case.
    cancelled = [
        r
        for r in cases.listing(
            conn, states=("declined", "cancelled", "closed"), since=to_epoch(now) - 7 * 86_400
        )
        if r.window_state == "cancelled"
    ]
    staff_tasks = [
        task
        for r in (*rows, *cancelled)
        for task in (staff_task(r, now), level_2_task(r, now))
        if task is not None
    ]
    ended = {}
    # Clients that were notified of a case get one last message when it has ended.
    ended_ids = [
        int(k.split(":")[1])
        for k, t in tickets.items()
        if t.kind == TopicKind.CASE and int(k.split(":")[1]) not in open_ids
    ]
    if ended_ids:
        ended_rows = {r.id: r for r in cases.listing(conn) if r.id in set(ended_ids)}
        certificates = cases.issuances(conn, ended_ids)
        ended_purchases = {
            p.id: p
            for p in load(
                conn, ids=[r.order_id for r in ended_rows.values() if r.order_id is not None]
            )
        }
        for key, ticket in tickets.items():
            if (
                ticket.kind == TopicKind.CASE
                and (row := ended_rows.get(int(key.split(":")[1]))) is not None
            ):
                ended[key] = ended_case_topic(
                    row,
                    certificates.get(row.id, ()),
                    ended_purchases.get(row.order_id or 0),
                    now,
                    leads,
                )
    return CaseTopics(topics, ended, staff_tasks, worklist(rows, now), _covering_cases(rows, now))


def _covering_cases(rows: Sequence[CaseRecord], now: datetime) -> dict[int, dict[str, str]]:
    """Return client id -> name -> reference of the case that replaces other notices.

    A case does so only while it is on schedule. If it is overdue, or its certificate ends within a
    day, the client is notified of everything again.
    """
    result: dict[int, dict[str, str]] = {}
    for row in rows:
        ends_soon = row.ends_at is not None and row.ends_at < to_epoch(now + DAY)
        if not is_overdue(row, now) and not ends_soon:
            result.setdefault(row.client_id, {}).update(dict.fromkeys(row.names, row.reference))
    return result


def worklist(rows: Sequence[CaseRecord], now: datetime) -> list[str]:
    """Return lines about overdue cases, then about the windows of the next seven days."""
    overdue = [r for r in rows if is_overdue(r, now)]
    lines = [
        f"{r.reference} client {r.client}: {r.state} waits for {waits_for(r)}, due"
        f" {_timestamp(r.due_at):%Y-%m-%d}"
        for r in overdue
    ]
    upcoming = [
        r
        for r in rows
        if r.state == CaseState.WINDOW
        and r.window_start is not None
        and now <= (_timestamp(r.window_start) or now) < now + 7 * DAY
    ]
    return lines + [
        f"{r.reference} client {r.client}: window {_window(r).text}"
        for r in sorted(upcoming, key=lambda r: r.window_start or 0)
    ]


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
        provider: The name to show if the case has no assignee.
    """
    state, waits = CaseState(row.state), waits_for(row)
    since, due, end = (
        _timestamp(row.since),
        _timestamp(row.due_at),
        _timestamp(row.ends_at),
    )
    assert since is not None
    client_acts = waits == CLIENT
    staff = row.staff or row.account_manager or provider or "certmgr"
    # The client needs the CSR to buy, unless the client created it.
    pems = (
        [i.csr for i in issued if i.csr]
        if state is CaseState.WAITING and client_acts and not row.own_csr
        else []
    )
    window = None
    # The message carries the calendar entry in the states in which the window was set or cancelled.
    if (
        row.window_state == "agreed"
        and state in (CaseState.WINDOW, CaseState.INSTALLED)
        and row.window_start is not None
    ):
        window = _calendar_window(row, cancelled=False)
    elif (
        row.window_state == "cancelled"
        and state in (CaseState.CHECKED, CaseState.REOPENED)
        and row.window_start is not None
    ):
        window = _calendar_window(row, cancelled=True)
    return Topic(
        key=cases.matter_key(row.id, row.client_id),
        revision=f"{row.step} {state}",
        client_id=row.client_id,
        client=row.client,
        domain_id=row.domain_id or 0,
        target=_target(row.names),
        severity="critical" if row.kind == "incident" else "high",
        actor="client" if client_acts else "provider",
        code=_wording_key(row, state, client_acts, purchase is not None and purchase.auto_renew),
        opened=since,
        facts=CaseFacts(
            reference=row.reference,
            values=_text_values(row, purchase, minutes),
            upload_problems=_upload_problems(row),
            paste="\n".join(pems),
            window=window,
            contact_id=row.contact_id,
            since_days=last_reminder_day(since, due, end, now),
        ),
        act_by=due if client_acts else None,
        visible=True,
        assigned=(staff, due) if not client_acts and staff and due is not None else None,
        suppress_reason=_suppress_reason(row),
        cause=f"case {row.reference}",
    )


def _suppress_reason(row: CaseRecord) -> str:
    """Return why the client is not notified any more; empty if the client is."""
    # The client has no business with the domain any more, and must not learn about its new owner.
    if row.domain_client is not None and row.domain_client != row.client_id:
        return "the domain belongs to another client now"
    return "the domain is retired" if row.domain_state == "retired" else ""


def _target(names: Sequence[str]) -> Target:
    """Return the endpoint that stands for a case: a wildcard is shown by its base name."""
    return Target(
        next(
            (n for n in names if not n.startswith("*.")),
            names[0].removeprefix("*.") if names else "unnamed",
        )
    )


def _wording_key(row: CaseRecord, state: CaseState, client_acts: bool, auto_renew: bool) -> str:
    """Return the key of the texts in notifiers/wording/cases.py.

    Args:
        row: The row of the case.
        state: Its state.
        client_acts: Whether the case waits for the client.
        auto_renew: Whether the vendor renews the purchase automatically.
    """
    match state:
        case CaseState.REQUESTED if row.own_csr:
            return "requested-own"
        case CaseState.REQUESTED if row.kind == "incident":
            return "requested-incident"
        case CaseState.WAITING if not client_acts:
            return "waiting-us"
        case CaseState.WAITING if any(s[2] for s in json.loads(row.said)):
            return "waiting-again-own" if row.own_csr else "waiting-again"
        case CaseState.WAITING if row.own_csr:
            return "waiting-own"
        case CaseState.WAITING if row.kind == "incident":
            return "waiting-incident"
        case CaseState.WAITING if row.order_id is None:
            return "waiting-free"
        case CaseState.WAITING if row.kind == "renewal" and not auto_renew:
            return "waiting-renewal"
        case CaseState.CHECKED if row.approved_at is not None:
            return "checked-approved"
        case _:
            return str(state)


def _upload_problems(row: CaseRecord) -> list[tuple[str, Mapping[str, str]]]:
    """Return code and values of each problem of the last upload that the client has to fix."""
    return [(s[0], s[1]) for s in json.loads(row.said) if s[2]]


def _text_values(row: CaseRecord, purchase: Purchase | None, minutes: int) -> dict[str, TextValue]:
    """Return the values for the placeholders of the texts. Tuples are translated."""
    facts: dict[str, TextValue] = {
        "names": (
            ", ".join(display(n) for n in row.names[:12]) + (", ..." if len(row.names) > 12 else "")
        ),
        "vendor": purchase.vendor if purchase else ("your vendor",),
        "order": purchase.label if purchase else "",
        "product": [PRODUCTS[purchase.validation], KINDS[purchase.kind]] if purchase else [],
        "minutes": str(minutes),
        "why": row.reason or "",
        "fee": Money(row.fee, row.currency),
    }
    # The client reads the hour, since an incident can end within a day.
    if row.kind == "incident":
        facts["until"] = _timestamp(row.ends_at)
    if row.reason == OLD_CERTIFICATE_SERVED:
        facts["why"] = (OLD_CERTIFICATE_SERVED,)
    if purchase is not None:
        facts["order_end"] = purchase.ends
    if row.window_start is not None:
        facts["window"] = _timestamp(row.window_start)
        facts["minutes"] = str(((row.window_end or row.window_start) - row.window_start) // 60)
    return facts


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
    key = cases.matter_key(row.id, row.client_id)
    stopped = row.state != CaseState.CLOSED
    window = None
    # Without the cancellation the entry would stay in the client's calendar.
    if row.window_state == "cancelled" and row.window_start is not None:
        window = _calendar_window(row, cancelled=True)
    values = _text_values(row, purchase, 0) | (
        _closing_facts(row, issued, purchase, now, leads) if not stopped else {}
    )
    opened = _timestamp(row.opened_at)
    assert opened is not None
    topic = Topic(
        key=key,
        revision=f"{row.step} {row.state}",
        client_id=row.client_id,
        client=row.client,
        domain_id=row.domain_id or 0,
        target=_target(row.names),
        severity="high",
        actor="client",
        code="cancelled" if stopped else "closed",
        opened=opened,
        facts=CaseFacts(
            reference=row.reference,
            values=values,
            upload_problems=_upload_problems(row),
            window=window,
        ),
    )
    return EndedTopic(key, True, f"the case is {row.state}", topic)


def _closing_facts(
    row: CaseRecord,
    issued: Sequence[IssuanceRecord],
    purchase: Purchase | None,
    now: datetime,
    leads: LeadTimes,
) -> dict[str, TextValue]:
    """Return the values about the new certificates and the next date that the client can expect."""
    received = [i for i in issued if i.sha256 is not None]
    last = max(received, key=lambda i: i.not_after or 0, default=None)
    end = _timestamp(last.not_after) if last is not None else None
    facts: dict[str, TextValue] = {
        "serial": ", ".join(i.serial or "" for i in received),
        "not_after": end,
        "before": (
            ("the earlier certificate ended on {date}", _timestamp(row.ends_at))
            if row.ends_at
            else ("there was none",)
        ),
        "next": ("none known",),
    }
    # Without a new certificate there is no date to announce.
    if end is None:
        return facts
    # The certificate lasts as long as the purchase, so that the next step is a purchase.
    if purchase is not None and purchase.ends - end < DAY:
        facts["next"] = ("on {date} your order ends; we write to you in time", purchase.ends)
    elif purchase is not None and (steps := plan(term_of(purchase), now, leads.reissue)):
        facts["next"] = ("on {date} it must be reissued; we write to you in time", steps[0].issue)
    else:
        facts["next"] = ("on {date} it ends; we write to you in time", end)
    return facts


def staff_task(row: CaseRecord, now: datetime) -> StaffTask | None:
    """Return the task of the assignee of a case.

    The assignee is notified of each step that waits for the provider, and of each window with its
    calendar entry, including its cancellation. A case without an assignee notifies all
    administrators.

    Returns:
        The task; None if the assignee has nothing to do.
    """
    state, ref = CaseState(row.state), row.reference
    window_cancelled = (
        row.window_state == "cancelled"
        and row.window_start is not None
        and (state in ENDED or state in (CaseState.CHECKED, CaseState.REOPENED))
    )
    # While the case waits for the client, the assignee has nothing to do.
    if waits_for(row) != PROVIDER and not window_cancelled:
        return None
    overdue = is_overdue(row, now)
    lines = [
        f"{ref}, client {row.client}: {state}",
        f"names: {', '.join(row.names[:20])}",
        _next_step(row, state),
    ]
    if row.due_at is not None:
        lines.append(f"due: {_timestamp(row.due_at):%Y-%m-%d %H:%M} UTC")
    window = None
    if state is CaseState.WINDOW and row.window_start is not None:
        window = _calendar_window(row, cancelled=False)
        lines.append("window: " + _window(row).text)
    elif window_cancelled:
        lines.append("the window is cancelled")
        window = _calendar_window(row, cancelled=True)
    title = f"{ref}: {state}{', overdue' if overdue else ''}"
    return StaffTask(
        contact_id=row.staff_id,
        key=f"errand:{row.id}",
        revision=f"{row.step} {state}{' overdue' if overdue else ''}",
        title=title,
        lines=tuple(lines),
        window=window,
    )


def level_2_task(row: CaseRecord, now: datetime) -> StaffTask | None:
    """Return the task that escalates an overdue case of the provider to all administrators.

    They are notified once per state, in addition to the assignee.

    Returns:
        The task; None if the case is not overdue for long enough.
    """
    due_at, state = _timestamp(row.due_at), CaseState(row.state)
    # A case that waits for the client is escalated by notices to the client's contacts.
    if waits_for(row) != PROVIDER or due_at is None or now < due_at + LEVEL_2:
        return None
    lines = (
        f"{row.reference}, client {row.client}: {state}, due {due_at:%Y-%m-%d %H:%M} UTC",
        f"names: {', '.join(row.names[:20])}",
        f"assigned to: {row.staff or 'no administrator'}",
        _next_step(row, state),
    )
    return StaffTask(
        None,
        f"errand:{row.id}:level2",
        f"{row.step} {state} level 2",
        f"{row.reference}: overdue, level 2",
        lines,
    )


def _next_step(row: CaseRecord, state: CaseState) -> str:
    """Return the line with the next step of an open case, or the reason of an ended one."""
    return (
        f"to do: {NEXT_STEPS[state].replace('REF', row.reference)}"
        if state in NEXT_STEPS
        else f"reason: {row.reason or ''}"
    )


def _calendar_window(row: CaseRecord, *, cancelled: bool) -> CalendarWindow:
    """Return the window of a case that has one, as a calendar object."""
    assert row.window_start is not None
    assert row.window_end is not None
    return calendar_window(
        row.reference, row.window_sequence, row.window_start, row.window_end, cancelled=cancelled
    )


def _window(row: CaseRecord) -> InstallationWindow:
    """Return the window of a case that has one."""
    start, end = _timestamp(row.window_start), _timestamp(row.window_end)
    assert start is not None
    assert end is not None
    return InstallationWindow(start, end, row.window_zone or "UTC")


# -- purchases


def purchase_topics(
    conn: Connection,
    now: datetime,
    leads: LeadTimes,
    within: timedelta,
    open_names: Mapping[int, Mapping[str, str]],
    client_id: int | None = None,
) -> list[Topic]:
    """Return the topics of purchases whose deadlines need an action.

    The action is a new purchase, or a validation that a coming reissue needs. The end of the
    certificate is not included: it is the topic of a case, or of the endpoint.

    Args:
        conn: The connection.
        now: The current time.
        leads: The lead times.
        within: How far ahead a deadline is included.
        open_names: Client id -> name -> reference of the open case.
        client_id: The client; None for all clients.
    """
    topics = []
    purchases = load(conn, client_id, ended=False)
    manual_domains = manually_renewed_domains(conn, {p.client_id for p in purchases})
    for purchase in purchases:
        # If open cases cover all names, the client is notified by them. A purchase that ended more
        # than 60 days ago is not going to be renewed.
        if purchase.ends < now - 60 * DAY or all(
            n in open_names.get(purchase.client_id, {}) for n in purchase.names
        ):
            continue
        # The client's domains left the inventory, or automation renews their certificates.
        if not any(
            (purchase.client_id, parent) in manual_domains
            for n in purchase.names
            for parent in parent_names(n)
        ):
            continue
        steps = plan(term_of(purchase), now, leads.reissue)
        for deadline in purchase_deadlines(purchase, leads, now):
            if (
                deadline.kind == "certificate"
                or deadline.due is None
                or deadline.due > now + within
            ):
                continue
            topics.append(
                _deadline_topic(
                    purchase,
                    deadline.kind,
                    deadline.at,
                    deadline.due,
                    deadline.actor,
                    steps[0].issue if steps else None,
                )
            )
    return topics


_CODES = {"order": "order-ending", "dcv": "dcv-ending", "organisation": "organisation-ending"}


def _deadline_topic(
    purchase: Purchase, kind: str, at: datetime, due: datetime, actor: str, issue: datetime | None
) -> Topic:
    """Return the topic of one deadline of a purchase.

    Args:
        purchase: The purchase.
        kind: The kind of the deadline, a key of ``_CODES``.
        at: The date of the deadline.
        due: The date by which an action is needed.
        actor: The party that acts.
        issue: The date of the next reissue, if there is one.
    """
    end = at if kind == "order" else due
    values: dict[str, TextValue] = {
        "order": purchase.label,
        "names": ", ".join(display(n) for n in purchase.names[:12]),
        "date": at,
        "vendor": purchase.vendor,
        "issue": issue or at,
    }
    return Topic(
        key=f"order:{purchase.id}:{kind}:{purchase.client_id}",
        revision=f"{at:%Y-%m-%d}",
        client_id=purchase.client_id,
        client=purchase.client,
        domain_id=0,
        target=_target(purchase.names),
        severity="high",
        actor=actor,
        code=_CODES[kind],
        opened=purchase.starts,
        facts=PurchaseFacts(values=values),
        schedule=ScheduledEnd(end),
        act_by=due,
        cause=f"order {purchase.id} {kind}",
    )


def ended_purchase_topic(key: str, current: set[str]) -> EndedTopic | None:
    """Return the end of a topic about a purchase, or None if it is still current.

    Such a topic ends silently when the purchase was renewed, cancelled or validated.

    Args:
        key: The key of a topic that the client was notified of.
        current: The keys of all current topics.
    """
    return (
        None
        if key in current
        else EndedTopic(
            key, False, "the purchase was renewed, cancelled or validated, or its case is open"
        )
    )
