"""Decide which contact is notified of which topic. Pure.

:func:`candidates` finds the due topics that may be sent. After a recheck of each, :func:`plan`
makes the drafts. Each due topic gets a decision with its reason: it is sent, waits, is held, is
suppressed, or goes to staff only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from inventory.db.database import to_epoch
from inventory.vocabulary import DecisionAction, ItemStep
from notifiers.pipeline.addressees import addressees_of, reaches_clients
from notifiers.pipeline.limits import FLAPPING, delay_reason, hold_reason, suppression
from notifiers.pipeline.outcome import Outcome, decides
from notifiers.pipeline.plan import Draft, DueTopic, NoticeItem, NoticePlan, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

# Mail servers refuse very large messages. What does not fit goes with the next message.
MAX_ITEMS = 300
_IN_BASELINE = "it was part of the baseline; release it with certmgr notice release"


def candidates(
    snapshot: Snapshot, due_topics: Sequence[DueTopic], notice_plan: NoticePlan
) -> list[DueTopic]:
    """Return the topics that may be sent and therefore need a recheck.

    The others get their decision here.
    """
    # Topics that are suppressed themselves cannot stand for others.
    kept, keys = [], {d.topic.key for d in due_topics if not d.topic.suppress_reason}
    for due_topic in due_topics:
        topic = due_topic.topic
        decision = _decision_before_recheck(due_topic, keys, snapshot)
        # Its message asks the client for nothing, so staff find out who has to act, whether or not
        # the message is sent.
        if topic.parent not in keys and _waits_for_level_two(due_topic, snapshot):
            notice_plan.for_staff.append((topic, _staff_reason(topic, snapshot)))
        if decision is None:
            # Without a recipient, no server of a client is probed for nothing.
            if addressees_of(due_topic, snapshot, notice_plan):
                kept.append(due_topic)
            continue
        action, reason = decision
        notice_plan.record(topic, due_topic.crossed.label, action, reason)
        if action is DecisionAction.STAFF:
            notice_plan.for_staff.append((topic, reason))
        if reason is FLAPPING:
            notice_plan.flapping.append(topic.key)
        if reason is _IN_BASELINE:
            release = f"baseline {due_topic.crossed.rank} {to_epoch(snapshot.now)}"
            notice_plan.held.append((topic, release))
    return kept


def _decision_before_recheck(
    due_topic: DueTopic, keys: Set[str], snapshot: Snapshot
) -> tuple[DecisionAction, str] | None:
    """Return why clients are not notified of a topic in this run; None if they may be.

    Args:
        keys: The keys of the due topics that stand for others.
    """
    topic = due_topic.topic
    # Fixing the parent resolves this topic too, so the client gets one instruction only.
    if topic.parent in keys:
        return DecisionAction.SUPPRESS, f"it is resolved with {topic.parent}"
    # What a person accepted, a case handles or a plan covers is no work of staff either.
    if topic.suppress_reason:
        return DecisionAction.SUPPRESS, topic.suppress_reason
    # The client has renewed already. The rest of the installation is work of staff.
    if topic.partial:
        return DecisionAction.STAFF, "replaced on some addresses only"
    # Undetermined results, faults without an assignment and our own work: staff act or find out
    # first.
    if not reaches_clients(due_topic, snapshot):
        return DecisionAction.STAFF, _staff_reason(topic, snapshot)
    if reason := suppression(due_topic, snapshot):
        return DecisionAction.SUPPRESS, reason
    # Faults that existed before notices began are held until staff release them. A case is
    # exempt, since each of its steps was entered by a person.
    if (
        topic.kind is not TopicKind.CASE
        and (snapshot.baseline or _before_baseline(topic, snapshot))
        and not _was_notified(topic, snapshot)
    ):
        return DecisionAction.HOLD, _IN_BASELINE
    # Held before, and not released since.
    if reason := hold_reason(due_topic, snapshot):
        return DecisionAction.HOLD, reason
    return None


def _waits_for_level_two(due_topic: DueTopic, snapshot: Snapshot) -> bool:
    """Return whether a fault was passed to level 2, and waits for an assignee there.

    What comes and goes is left out: the digest lists it separately.
    """
    topic = due_topic.topic
    return (
        topic.actor == "staff"
        and not (topic.suppress_reason or topic.partial or topic.is_assigned(snapshot.now))
        and reaches_clients(due_topic, snapshot)
        and suppression(due_topic, snapshot) != FLAPPING
    )


def _staff_reason(topic: Topic, snapshot: Snapshot) -> str:
    """Return why only staff are notified."""
    if topic.severity == "undetermined":
        return "the result is undetermined: staff check it first"
    if topic.assigned is not None:
        person, until = topic.assigned
        # The day that was entered, which is another one in UTC west of Greenwich.
        day = snapshot.day(until)
        if until <= snapshot.now:
            return f"it was assigned to {person} until {day} and still exists"
        if topic.quiet:
            return f"{person} fixes it until {day}; it was assigned without informing clients"
    # A renewal that is in time is work, and no fault.
    if topic.planned:
        return topic.planned
    return (
        "it is our fault, and it is not assigned with a date"
        if topic.actor == "provider"
        else "it is not known yet who has to act"
    )


def _before_baseline(topic: Topic, snapshot: Snapshot) -> bool:
    """Return whether a fault is older than the first run of notices.

    Such a fault can concern the client only now: it was confirmed, assigned, or its acceptance
    has ended.
    """
    return (
        topic.end is None
        and to_epoch(topic.opened) <= snapshot.baseline_at
        and topic.key not in snapshot.tickets
    )


def _was_notified(topic: Topic, snapshot: Snapshot) -> bool:
    return bool(snapshot.sent.get((topic.key, topic.revision)))


def plan(
    snapshot: Snapshot,
    due_topics: Sequence[DueTopic],
    rechecks: Mapping[tuple[str, str], Recheck],
    notice_plan: NoticePlan,
) -> None:
    """Add drafts and decisions for the topics that :func:`candidates` returned."""
    by_person: dict[int, tuple[Person, list[NoticeItem]]] = {}
    for due_topic in due_topics:
        topic = due_topic.topic
        recheck = rechecks.get(topic.mark, Recheck(RecheckState.UNKNOWN, "it was not rechecked"))
        if (stop := _after_recheck(due_topic, recheck, snapshot, notice_plan)) is not None:
            notice_plan.record(topic, due_topic.crossed.label, *stop)
            continue
        # Decisions about recipients were recorded by candidates(); these are thrown away.
        for choice, outcome, step, label in addressees_of(due_topic, snapshot, NoticePlan()):
            assert choice.person is not None
            # The last border before a message is composed. A violation ends the run, and nothing is
            # sent.
            assert snapshot.people.may_read(choice.person, topic.client_id), (
                "internal error: a notice would show data of another client"
            )
            by_person.setdefault(choice.person.id, (choice.person, []))[1].append(
                item_of(due_topic, outcome, step, label, snapshot)
            )
    for person, items in by_person.values():
        # Scan or clock is in doubt, so no message goes out, whatever was decided about its topics.
        if snapshot.hold_reason:
            for item in items:
                notice_plan.record(
                    item.topic, item.label, DecisionAction.HOLD, snapshot.hold_reason, person.id
                )
        elif reason := delay_reason(snapshot, person, items):
            for item in items:
                notice_plan.record(item.topic, item.label, DecisionAction.WAIT, reason, person.id)
        else:
            # The most urgent ends come first, since the message is cut at MAX_ITEMS.
            items.sort(
                key=lambda i: (-i.crossed.rank if i.topic.end is not None else 0, i.topic.key)
            )
            for item in items[MAX_ITEMS:]:
                notice_plan.record(
                    item.topic,
                    item.label,
                    DecisionAction.WAIT,
                    f"the message is full ({MAX_ITEMS} sites): the rest goes with the next one",
                    person.id,
                )
            shown = tuple(items[:MAX_ITEMS])
            notice_plan.drafts.append(
                Draft(person, shown, decides((i.topic.severity, i.outcome) for i in shown))
            )


def item_of(
    due_topic: DueTopic, outcome: Outcome, step: ItemStep, label: str, snapshot: Snapshot
) -> NoticeItem:
    """Return the item of a due topic, with the reference of its ticket."""
    ticket = snapshot.tickets.get(due_topic.topic.key)
    reference, ticket_id = (ticket.shown, ticket.id) if ticket is not None else ("", None)
    return NoticeItem(
        topic=due_topic.topic,
        crossed=due_topic.crossed,
        step=step,
        label=label,
        outcome=outcome,
        reference=reference,
        ticket_id=ticket_id,
    )


def _after_recheck(
    due_topic: DueTopic, recheck: Recheck, snapshot: Snapshot, notice_plan: NoticePlan
) -> tuple[DecisionAction, str] | None:
    """Return action and reason if the recheck forbids the message, else None."""
    topic = due_topic.topic
    match recheck.state:
        # It was fixed since the scan: a notice now would be wrong, and annoying.
        case RecheckState.GONE:
            return DecisionAction.SUPPRESS, recheck.reason
        # The client has done its part; the remaining addresses are work of staff.
        case RecheckState.PARTIAL:
            notice_plan.for_staff.append((topic, recheck.reason))
            return DecisionAction.STAFF, recheck.reason
        case RecheckState.UNKNOWN:
            # An end that approaches is notified even if the recheck keeps failing. A fault without
            # a date waits, since it may be gone.
            first = snapshot.waiting.get((topic.key, topic.revision))
            patient = (
                first is None
                or to_epoch(snapshot.now) - first < snapshot.policy.recheck_patience.total_seconds()
            )
            if patient or topic.end is None:
                return DecisionAction.WAIT, f"the recheck failed: {recheck.reason}"
            notice_plan.for_staff.append(
                (topic, f"sent without a recheck, which has failed for a day: {recheck.reason}")
            )
    return None
