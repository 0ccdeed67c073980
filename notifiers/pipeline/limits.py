"""Reasons that suppress, hold or delay a message. Pure.

These are snoozes, acknowledgements, holds, quiet hours, message limits, mass changes and a wrong
clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from inventory.db.database import to_epoch
from inventory.records import SnoozeRecord, TicketRecord
from inventory.vocabulary import DecisionAction, SnoozeScope, TicketKind
from notifiers.pipeline.outcome import Resolved
from notifiers.pipeline.plan import DueTopic, NoticeItem, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.thresholds import DAY
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

NEAR = 7  # days: one message per day if an end is nearer than that, else one per week
FLAP_PERIOD = 7 * DAY
FLAPPING = "it was fixed a few days ago and came back; the client is notified if it stays for a day"
MASS_CHANGE = "one run changed too many clients at once; release it with certmgr notice release"


def suppression(due_topic: DueTopic, snapshot: Snapshot) -> str:
    """Return why the client is not notified of the topic now. Empty if nothing is against it."""
    topic, now = due_topic.topic, snapshot.now
    # The collector knows best: accepted, retired, or already part of a case.
    if topic.suppress_reason:
        return topic.suppress_reason
    ticket = snapshot.tickets.get(topic.key)
    # A snooze was decided by a person, with a reason and an end, so it wins over urgency.
    for row in snapshot.snoozes:
        if _covers(row, topic, ticket):
            until = datetime.fromtimestamp(row.until, now.tzinfo)
            return f"snoozed until {until:%Y-%m-%d %H:%M} UTC: {row.reason}"
    if (
        topic.actor == "client"
        and ticket is not None
        and ticket.acked_at is not None
        and ticket.closed_at is None
        and ticket.round == topic.revision
    ):
        # An acknowledgement suppresses reminders for some days. It does not suppress the last days
        # before an end, nor a step of a case that is overdue.
        acked = datetime.fromtimestamp(ticket.acked_at, now.tzinfo)
        if (
            now < acked + snapshot.policy.ack_days * DAY
            and not due_topic.crossed.critical
            and due_topic.crossed.rank < -3
        ):
            return f"acknowledged on {snapshot.day(acked)}"
        overdue = topic.kind is TopicKind.CASE and topic.act_by is not None and topic.act_by <= now
        # A fault without a date ahead has no last days, so the acknowledgement holds until it
        # expires.
        if now < acked + snapshot.policy.ack_days * DAY and topic.end is None and not overdue:
            return f"acknowledged on {snapshot.day(acked)}"
    if topic.kind is TopicKind.CASE:
        return ""  # a person entered each step, and it is sent once
    # A fault that comes and goes would send a message on every change.
    if ticket is not None and ticket.closed_at is not None and ticket.told_at is not None:
        closed = datetime.fromtimestamp(ticket.closed_at, now.tzinfo)
        # If it stays for a day, it is no flapping but a fault that came back.
        if closed + FLAP_PERIOD > now and topic.opened > now - DAY:
            return FLAPPING
    if (
        ticket is not None
        and topic.end is None
        and ticket.told_at is not None
        and ticket.round != topic.revision
        and topic.opened > now - DAY
    ):
        return FLAPPING  # the client was not yet notified of its end
    return ""


def _covers(row: SnoozeRecord, topic: Topic, ticket: TicketRecord | None) -> bool:
    """Return whether a snooze row covers the topic."""
    match row.scope:
        case SnoozeScope.ALL:
            return True
        case SnoozeScope.CLIENT:
            return bool(row.scope_id == topic.client_id)
        case SnoozeScope.DOMAIN:
            return bool(row.scope_id == topic.domain_id)
        case SnoozeScope.SERVER:
            return bool(row.scope_id == topic.server_id)
        case SnoozeScope.TICKET:
            return ticket is not None and bool(row.scope_id == ticket.id)


def hold_reason(due_topic: DueTopic, snapshot: Snapshot) -> str:
    """Return why the topic waits for a release by staff. Empty if it does not.

    It waits if it was part of the baseline, or if one run changed too many clients.
    """
    ticket = snapshot.tickets.get(due_topic.topic.key)
    if (
        ticket is None
        or ticket.hold is None
        or ticket.released_at is not None
        or ticket.round != due_topic.topic.revision
    ):
        return ""
    # Holds of earlier versions have no rank. They wait for a release whatever the threshold is.
    name, rank = [*str(ticket.hold).split(" "), "0"][:2]
    # A threshold more urgent than the one that was held is new, while the end lies ahead.
    if (
        name == "baseline"
        and due_topic.topic.end is not None
        and int(rank) < 0
        and int(rank) < due_topic.crossed.rank
    ):
        return ""
    words = {
        "baseline": "it was part of the baseline",
        "mass": "one run changed too many clients at once",
    }
    return f"{words.get(name, name)}; release it with certmgr notice release"


def delay_reason(snapshot: Snapshot, person: Person, items: Sequence[NoticeItem]) -> str:
    """Return why this person gets no message now. Empty if they may get one.

    Urgent items are exempt from the message limits, but not from quiet hours.
    """
    # No message is urgent enough for the night.
    if not person.calendar.may_write(snapshot.now):
        opening = person.calendar.next_opening(snapshot.now)
        return f"quiet hours of contact {person.id} until {opening:%Y-%m-%d %H:%M} UTC"
    last = snapshot.last_written.get(person.id)
    # A first message, or one that cannot wait.
    if last is None or any(_is_urgent(i) for i in items):
        return ""
    before = datetime.fromtimestamp(last, snapshot.now.tzinfo)
    if all(_is_far_ahead(i) for i in items):
        if snapshot.now - before < 7 * DAY - timedelta(hours=12):
            return (
                f"contact {person.id} got a message on {snapshot.day(before)}: at most one per week"
                f" while all dates are more than {NEAR} days ahead"
            )
    # Counted in the time zone of the contact: at most one message per day of theirs.
    elif person.calendar.day(before) == person.calendar.day(snapshot.now):
        return f"contact {person.id} got a message today: at most one per day"
    return ""


def _is_urgent(item: NoticeItem) -> bool:
    if item.topic.kind is TopicKind.CASE:
        # A new step or the end of a case answers an action, and may move a calendar entry.
        return item.crossed.rank == 0
    if isinstance(item.outcome, Resolved):
        return False
    if item.topic.end is None:
        return item.topic.severity == "critical" and item.crossed.rank == 0
    return item.crossed.critical


def _is_far_ahead(item: NoticeItem) -> bool:
    if item.topic.kind is TopicKind.CASE:
        return False  # the case decides when its reminders are due
    if item.topic.end is None:
        # A reminder of a known fault waits for the weekly message.
        is_new = item.topic.severity in ("critical", "high") and item.crossed.rank == 0
        return not is_new and not isinstance(item.outcome, Resolved)
    return item.crossed.days > NEAR


def mass_change(changed: Iterable[int], clients: int, policy: NoticePolicy) -> bool:
    """Return whether one run changed an implausible share of the clients."""
    count = len(set(changed))
    # Both limits: of ten clients, one is a high share by chance; of thousands, five are a normal
    # day.
    return count >= policy.mass_least and 100.0 * count > policy.mass_percent * max(clients, 1)


def clock_fault(now: datetime, newest: int | None) -> str:
    """Return why the clock cannot be right. Empty if it may be.

    Args:
        newest: The latest stored timestamp. If it lies in the future, the clock was set back.
    """
    # Five minutes allow for clocks of several machines.
    if newest is not None and to_epoch(now) + 300 < newest:
        stored = datetime.fromtimestamp(newest, now.tzinfo)
        return (
            f"the clock shows {now:%Y-%m-%d %H:%M} UTC, but the database has rows from"
            f" {stored:%Y-%m-%d %H:%M} UTC"
        )
    return ""


def unresolved_reason(
    ticket: TicketRecord, recheck: Recheck | None, hold: str
) -> tuple[DecisionAction, str] | None:
    """Return action and reason if clients cannot be notified yet that a ticket is resolved.

    None if they can be.
    """
    # While scan or clock is in doubt, "it is done" is in doubt too.
    if hold:
        return DecisionAction.HOLD, hold
    if ticket.hold is not None and ticket.hold.startswith("mass") and ticket.released_at is None:
        return DecisionAction.HOLD, MASS_CHANGE
    # Deadlines, cases and purchases have no endpoint to recheck.
    if ticket.kind in (TicketKind.DEADLINE, TicketKind.CASE, TicketKind.PURCHASE) or (
        recheck is not None and recheck.state is RecheckState.GONE
    ):
        return None
    return (
        DecisionAction.WAIT,
        (
            "clients are notified that it is done when a recheck confirms it:"
            f" {recheck.reason if recheck is not None else 'it was not rechecked'}"
        ),
    )
