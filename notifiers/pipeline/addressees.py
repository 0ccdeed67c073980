"""Choose the contacts who are notified of a topic, with outcome and step for each. Pure.

A topic reaches the owner first. The fallback follows if the owner does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from inventory.db.database import to_epoch
from inventory.vocabulary import DecisionAction, ItemStep, NoticeState
from notifiers.pipeline.limits import NEAR
from notifiers.pipeline.outcome import Escalated, Outcome, WeAct, YouAct
from notifiers.pipeline.plan import DueTopic, NoticePlan, Snapshot
from notifiers.pipeline.recipients import Person, RecipientChoice
from notifiers.pipeline.thresholds import CrossedThreshold, rank_of
from notifiers.pipeline.topic import CaseFacts, FaultFacts, Topic
from notifiers.working_days import before_freezes


def outcome_of(due_topic: DueTopic, snapshot: Snapshot, person: Person) -> Outcome | None:
    """Return the outcome for a client contact. None if clients are not notified of the topic."""
    topic, now = due_topic.topic, snapshot.now
    # Whether a visitor notices it does not matter here: only the client can act.
    if topic.actor == "client":
        if (
            topic.act_by is None
            or topic.act_by <= now
            or (topic.end is not None and topic.end <= now)
        ):
            # Too late for a planned date: only the end itself can still be kept.
            end = topic.end
            return YouAct(
                person.calendar.working_day_before(end) if end is not None and end > now else None
            )
        # The client is asked for a working day on which changes are allowed.
        by = before_freezes(topic.act_by, snapshot.policy.freezes, person.calendar.zone)
        day = person.calendar.working_day_before(by)
        # A working day before the date may have passed already. Then it is "as soon as possible".
        return YouAct(day if day >= person.calendar.day(now) else None)
    # Clients are not notified of our faults that visitors do not notice.
    if not topic.visible:
        return None
    # "We are fixing it" needs a name and a date, so that the promise can be kept.
    if topic.assigned is not None and topic.assigned[1] > now:
        return WeAct(*topic.assigned) if _hears_of_assignment(topic, snapshot) else None
    # One run may be a glitch: only a confirmed fault is passed to level 2.
    if topic.actor == "staff" and topic.severity == "critical" and topic.confirmed:
        return Escalated(person.calendar.working_day_after(now, snapshot.policy.status_update_days))
    return None


def label_of(
    outcome: Outcome,
    crossed_threshold: CrossedThreshold,
    sent: Sequence[tuple[int, ItemStep, str, int, NoticeState]],
    person: Person,
    now: datetime,
) -> tuple[ItemStep, str]:
    """Return step and threshold as they are stored.

    "We are fixing it" is sent once per promised date. An escalated fault is sent again on the day
    of the last promised update.
    """
    if isinstance(outcome, WeAct):
        return ItemStep.ASSIGNED, outcome.by.date().isoformat()
    if isinstance(outcome, Escalated):
        # A promised day is part of the label, so the same promise is not made twice, and the next
        # message comes when it is due.
        promised = [
            t for c, step, t, _, _ in sent if step is ItemStep.STATUS_UPDATE and c == person.id
        ]
        # The day was promised in the time zone of the person. By that of another zone, the update
        # would come on the evening before, or after the end of the office hours of that day.
        today = person.calendar.day(now).isoformat()
        pending = [p for p in promised if p > today]
        return ItemStep.STATUS_UPDATE, max(pending) if pending else outcome.next_update.isoformat()
    return ItemStep.OWNER, crossed_threshold.label


def reaches_clients(due_topic: DueTopic, snapshot: Snapshot) -> bool:
    """Return whether clients are notified of it at all, given who acts and who is assigned."""
    topic = due_topic.topic
    # This is the rule of outcome_of() without a person, so that no recipient is chosen for nothing.
    if topic.actor == "client":
        return True
    if not topic.visible:
        return False
    if topic.assigned is not None and topic.assigned[1] > snapshot.now:
        return _hears_of_assignment(topic, snapshot)
    return topic.actor == "staff" and topic.severity == "critical" and topic.confirmed


def _hears_of_assignment(topic: Topic, snapshot: Snapshot) -> bool:
    """Return whether clients are notified that a fault was assigned.

    Assigning all faults of a server is work of staff, and no reason to mail all of its clients. A
    client who was notified of the fault waits for an update, and gets it.
    """
    if not topic.quiet:
        return True
    ticket = snapshot.tickets.get(topic.key)
    return (
        ticket is not None
        and ticket.told_at is not None
        and ticket.closed_at is None
        and ticket.round == topic.revision
    )


def addressees_of(
    due_topic: DueTopic, snapshot: Snapshot, notice_plan: NoticePlan
) -> list[tuple[RecipientChoice, Outcome, ItemStep, str]]:
    """Return recipient, outcome, step and label for each contact not notified of the threshold.

    If no contact can be reached, the reason is recorded for staff.
    """
    topic = due_topic.topic
    # Faults of the server go to the technical contact first.
    technical = isinstance(topic.facts, FaultFacts) and topic.code in TECHNICAL
    # The contact who opened a case is the one who knows of it.
    contact_id = topic.facts.contact_id if isinstance(topic.facts, CaseFacts) else None
    named = snapshot.people.chosen(contact_id, topic.client_id, snapshot.now)
    first = named or snapshot.people.owner(topic.client_id, snapshot.now, technical=technical)
    if first.person is None:
        notice_plan.record(
            topic,
            due_topic.crossed.label,
            DecisionAction.STAFF,
            f"no contact can be reached: {first.reason}",
        )
        notice_plan.for_staff.append((topic, f"no contact can be reached: {first.reason}"))
        # Its ticket is opened all the same, so that the client is in the call list of staff.
        notice_plan.unreachable.append(topic)
        return []
    sent = snapshot.sent.get((topic.key, topic.revision), ())
    chosen = [first]
    # If the first choice is a fallback already, no further contact is left.
    if first.step is ItemStep.OWNER and _escalates(due_topic, snapshot, first.person, sent):
        second = snapshot.people.fallback(first.person, topic.client_id, snapshot.now)
        if second.person is not None:
            chosen.append(second)
    found = []
    for choice in chosen:
        assert choice.person is not None
        outcome = outcome_of(due_topic, snapshot, choice.person)
        if outcome is None:
            continue
        step, label = label_of(outcome, due_topic.crossed, sent, choice.person, snapshot.now)
        if step is ItemStep.OWNER:
            step = choice.step
        if not _is_notified(sent, choice.person.id, step, label):
            found.append((choice, outcome, step, label))
    return found


# Faults in how a site is served: for the contact who maintains the server of the client.
TECHNICAL = frozenset(
    {
        "not-tls",
        "starttls-missing",
        "handshake-failed",
        "tls-legacy-only",
        "ciphers-obsolete",
        "handshake-incompatible",
        "chain-incomplete",
        "chain-ambiguous",
        "intermediate-expired",
        "issuer-not-yet-valid",
        "mixed-content",
        "redirect-missing",
        "redirect-insecure",
        "redirect-loop",
        "redirect-broken",
        "answer-invalid",
        "http-collects-secrets",
        "http-collects-input",
        "http-served",
        "default-certificate",
    }
)


def _is_notified(
    sent: Sequence[tuple[int, ItemStep, str, int, NoticeState]],
    contact_id: int,
    step: ItemStep,
    label: str,
) -> bool:
    """Return whether the contact was notified of this threshold or a more urgent one."""
    for contact, sent_step, sent_label, _, _ in sent:
        if contact != contact_id:
            continue
        # A promise is notified of per date, since a new date is news even if it is less urgent.
        if step in (ItemStep.ASSIGNED, ItemStep.STATUS_UPDATE):
            if sent_step == step and sent_label == label:
                return True
        elif sent_step in (ItemStep.OWNER, ItemStep.FALLBACK) and rank_of(sent_label) >= rank_of(
            label
        ):
            return True
    return False


def _escalates(
    due_topic: DueTopic,
    snapshot: Snapshot,
    first: Person,
    sent: Sequence[tuple[int, ItemStep, str, int, NoticeState]],
) -> bool:
    """Return whether the fallback contact is notified too.

    That is so if no acknowledgement came within some days after the first message, or if the last
    one is too old.
    """
    first_at = min(
        (
            at
            for contact, step, _, at, state in sent
            if contact == first.id and step is ItemStep.OWNER and state in ("sent", "unknown")
        ),
        default=None,
    )
    if any(contact == first.id and state == "failed" for contact, _, _, _, state in sent):
        return True  # the message to the owner was refused
    # The owner was not notified yet, so the time to answer has not begun.
    if first_at is None:
        return False
    ticket = snapshot.tickets.get(due_topic.topic.key)
    if ticket is not None and ticket.acked_at is not None:
        # An acknowledgement starts the waiting time again when it expires.
        first_at = max(first_at, int(ticket.acked_at) + snapshot.policy.ack_days * 86_400)
    days = (
        snapshot.policy.escalate_after_days
        # Close to the end, waiting a week for an answer would use up the time that is left.
        if due_topic.crossed.days > NEAR
        else snapshot.policy.escalate_near_after_days
    )
    return to_epoch(snapshot.now) >= first_at + days * 86_400
