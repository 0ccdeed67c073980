"""Decide which contact is notified of which topic. Pure.

:func:`due` finds the topics that are past a threshold and :func:`candidates` those that may be
sent. After a recheck of each, :func:`plan` makes the drafts. Each due topic gets a decision with
its reason: it is sent, waits, is held, is suppressed, or goes to staff only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from inventory.db.database import to_epoch
from inventory.records import TicketRecord
from notifiers.pipeline.limits import FLAPPING, NEAR, delay_reason, hold_reason, suppression
from notifiers.pipeline.outcome import Escalated, Outcome, Resolved, WeAct, YouAct, decides
from notifiers.pipeline.plan import Draft, DueTopic, NoticeItem, NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person, RecipientChoice
from notifiers.pipeline.thresholds import DAY, CrossedThreshold, before_end, crossed, rank_of, since
from notifiers.pipeline.topic import CaseFacts, FaultFacts, Recheck, RecheckState, Topic, TopicKind
from notifiers.working_days import before_freezes

MAX_ITEMS = 300


# -- due topics


def threshold(
    topic: Topic, policy: NoticePolicy, zone: Any, now: datetime
) -> CrossedThreshold | None:
    """Return the most urgent threshold that the topic has crossed."""
    # The case itself decides when a reminder is due.
    if isinstance(topic.facts, CaseFacts) and (passed := topic.facts.since_days) is not None:
        return CrossedThreshold(f"+{passed}", passed, -float(passed))
    # Without a date ahead, severe faults are repeated weekly and the others monthly.
    if (schedule := topic.schedule) is None:
        return since(topic.opened, now, 7 if topic.severity in ("critical", "high") else 30)
    # Changes are not allowed in a freeze, so the client has to be done before it begins.
    end = before_freezes(schedule.at, policy.freezes, zone) if schedule.at > now else schedule.at
    if end <= now < schedule.at:
        # Within the freeze. Thresholds after the end are counted from the real end.
        return CrossedThreshold("0", 0, (schedule.at - now) / DAY)
    thresholds, chosen = policy.thresholds.of(topic.client, topic.tags)
    return crossed(
        end,
        before_end(
            schedule.life or timedelta(days=400),
            thresholds,
            chosen=chosen,
            lead_days=schedule.lead_days,
            renewal_lead=schedule.renewal_lead,
        ),
        now,
    )


def due(snapshot: Snapshot, topics: Iterable[Topic], zone: Any) -> list[DueTopic]:
    """Return the topics that are past a threshold."""
    due_topics = []
    for topic in topics:
        crossed_threshold = threshold(topic, snapshot.policy, zone, snapshot.now)
        if crossed_threshold is not None:
            due_topics.append(DueTopic(topic, crossed_threshold))
    return due_topics


def outcome_of(due_topic: DueTopic, snapshot: Snapshot, person: Person) -> Outcome | None:
    """Return the outcome for a client contact. None if clients are not notified of the topic."""
    topic, now = due_topic.topic, snapshot.now
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
        return YouAct(day if day >= person.calendar.day(now) else None)
    # Clients are not notified of our faults that visitors do not notice.
    if not topic.visible:
        return None
    # "We are fixing it" needs a name and a date, so that the promise can be kept.
    if topic.assigned is not None and topic.assigned[1] > now:
        return WeAct(*topic.assigned)
    # One run may be a glitch: only a confirmed fault is passed to level 2.
    if topic.actor == "staff" and topic.severity == "critical" and topic.confirmed:
        return Escalated(person.calendar.working_day_after(now, snapshot.policy.status_update_days))
    return None


def label_of(
    outcome: Outcome,
    crossed_threshold: CrossedThreshold,
    sent: Sequence[tuple[int, str, str, int, str]],
    contact_id: int,
    now: datetime,
) -> tuple[str, str]:
    """Return step and threshold as they are stored.

    "We are fixing it" is sent once per promised date. An escalated fault is sent again on the day
    of the last promised update.
    """
    if isinstance(outcome, WeAct):
        return "we", outcome.by.date().isoformat()
    if isinstance(outcome, Escalated):
        promised = [t for c, step, t, _, _ in sent if step == "word" and c == contact_id]
        today = now.date().isoformat()
        pending = [p for p in promised if p > today]
        return "word", max(pending) if pending else outcome.next_update.isoformat()
    return "owner", crossed_threshold.label


def reaches_clients(due_topic: DueTopic, snapshot: Snapshot) -> bool:
    """Return whether clients are notified of it at all, given who acts and who is assigned."""
    topic = due_topic.topic
    if topic.actor == "client":
        return True
    if not topic.visible:
        return False
    assigned = topic.assigned is not None and topic.assigned[1] > snapshot.now
    return assigned or (topic.actor == "staff" and topic.severity == "critical" and topic.confirmed)


# -- messages


def candidates(
    snapshot: Snapshot, due_topics: Sequence[DueTopic], notice_plan: NoticePlan
) -> list[DueTopic]:
    """Return the topics that may be sent and therefore need a recheck.

    The others get their decision here.
    """
    kept, keys = [], {d.topic.key for d in due_topics if not d.topic.suppress_reason}
    for due_topic in due_topics:
        topic = due_topic.topic
        # Fixing the parent resolves this topic too, so the client gets one instruction only.
        if topic.parent in keys:
            notice_plan.record(
                topic, due_topic.crossed.label, "suppress", f"it is resolved with {topic.parent}"
            )
        elif topic.partial:
            # The client has renewed already. The rest of the installation is work of staff.
            notice_plan.record(
                topic,
                due_topic.crossed.label,
                "staff",
                "replaced on some addresses: an administrator has to act",
            )
            notice_plan.for_staff.append((topic, "replaced on some addresses only"))
        elif not reaches_clients(due_topic, snapshot):
            notice_plan.record(
                topic, due_topic.crossed.label, "staff", _staff_reason(topic, snapshot.now)
            )
            notice_plan.for_staff.append((topic, _staff_reason(topic, snapshot.now)))
        elif reason := suppression(due_topic, snapshot):
            notice_plan.record(topic, due_topic.crossed.label, "suppress", reason)
            if reason is FLAPPING:
                notice_plan.flapping.append(topic.key)
        # Faults that existed before notices began are held until staff release them. A case is
        # exempt, since each of its steps was entered by a person.
        elif (
            topic.kind is not TopicKind.CASE
            and (snapshot.baseline or _before_baseline(topic, snapshot))
            and not _was_notified(topic, snapshot)
        ):
            notice_plan.held.append(
                (topic, f"baseline {due_topic.crossed.rank} {to_epoch(snapshot.now)}")
            )
            notice_plan.record(
                topic,
                due_topic.crossed.label,
                "hold",
                "it was part of the baseline; release it with certmgr notice release",
            )
        elif reason := hold_reason(due_topic, snapshot):
            notice_plan.record(topic, due_topic.crossed.label, "hold", reason)
        elif _recipients(due_topic, snapshot, notice_plan):
            kept.append(due_topic)
    return kept


def _staff_reason(topic: Topic, now: datetime) -> str:
    """Return why only staff are notified."""
    if topic.severity == "undetermined":
        return "the result is undetermined: staff check it first"
    if topic.assigned is not None and topic.assigned[1] <= now:
        return (
            f"it was assigned to {topic.assigned[0]} until {topic.assigned[1]:%Y-%m-%d} and still"
            " exists"
        )
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


def _recipients(
    due_topic: DueTopic, snapshot: Snapshot, notice_plan: NoticePlan
) -> list[tuple[RecipientChoice, Outcome, str, str]]:
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
            topic, due_topic.crossed.label, "staff", f"no contact can be reached: {first.reason}"
        )
        notice_plan.for_staff.append((topic, f"no contact can be reached: {first.reason}"))
        notice_plan.unreachable.append(topic)
        return []
    sent = snapshot.sent.get((topic.key, topic.revision), ())
    chosen = [first]
    if first.step == "owner" and _escalates(due_topic, snapshot, first.person, sent):
        second = snapshot.people.fallback(first.person, topic.client_id, snapshot.now)
        if second.person is not None:
            chosen.append(second)
    found = []
    for choice in chosen:
        assert choice.person is not None
        outcome = outcome_of(due_topic, snapshot, choice.person)
        if outcome is None:
            continue
        step, label = label_of(outcome, due_topic.crossed, sent, choice.person.id, snapshot.now)
        if step == "owner":
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
    sent: Sequence[tuple[int, str, str, int, str]], contact_id: int, step: str, label: str
) -> bool:
    """Return whether the contact was notified of this threshold or a more urgent one."""
    for contact, sent_step, sent_label, _, _ in sent:
        if contact != contact_id:
            continue
        if step in ("we", "word"):
            if sent_step == step and sent_label == label:
                return True
        elif sent_step in ("owner", "fallback") and rank_of(sent_label) >= rank_of(label):
            return True
    return False


def _escalates(
    due_topic: DueTopic,
    snapshot: Snapshot,
    first: Person,
    sent: Sequence[tuple[int, str, str, int, str]],
) -> bool:
    """Return whether the fallback contact is notified too.

    That is so if no acknowledgement came within some days after the first message, or if the last
    one is too old.
    """
    first_at = min(
        (
            at
            for contact, step, _, at, state in sent
            if contact == first.id and step == "owner" and state in ("sent", "unknown")
        ),
        default=None,
    )
    if any(contact == first.id and state == "failed" for contact, _, _, _, state in sent):
        return True  # the message to the owner was refused
    if first_at is None:
        return False
    ticket = snapshot.tickets.get(due_topic.topic.key)
    if ticket is not None and ticket.acked_at is not None:
        # An acknowledgement starts the waiting time again when it expires.
        first_at = max(first_at, int(ticket.acked_at) + snapshot.policy.ack_days * 86_400)
    days = (
        snapshot.policy.escalate_after_days
        if due_topic.crossed.days > NEAR
        else snapshot.policy.escalate_near_after_days
    )
    return to_epoch(snapshot.now) >= first_at + days * 86_400


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
        for choice, outcome, step, label in _recipients(due_topic, snapshot, NoticePlan()):
            assert choice.person is not None
            assert snapshot.people.may_read(choice.person, topic.client_id), (
                "internal error: a notice would show data of another client"
            )
            by_person.setdefault(choice.person.id, (choice.person, []))[1].append(
                item_of(due_topic, outcome, step, label, snapshot)
            )
    for person, items in by_person.values():
        if snapshot.hold_reason:
            for item in items:
                notice_plan.record(item.topic, item.label, "hold", snapshot.hold_reason, person.id)
        elif reason := delay_reason(snapshot, person, items):
            for item in items:
                notice_plan.record(item.topic, item.label, "wait", reason, person.id)
        else:
            # The most urgent ends come first, since the message is cut at MAX_ITEMS.
            items.sort(
                key=lambda i: (-i.crossed.rank if i.topic.end is not None else 0, i.topic.key)
            )
            for item in items[MAX_ITEMS:]:
                notice_plan.record(
                    item.topic,
                    item.label,
                    "wait",
                    f"the message is full ({MAX_ITEMS} sites): the rest goes with the next one",
                    person.id,
                )
            shown = tuple(items[:MAX_ITEMS])
            notice_plan.drafts.append(
                Draft(person, shown, decides((i.topic.severity, i.outcome) for i in shown))
            )


def item_of(
    due_topic: DueTopic, outcome: Outcome, step: str, label: str, snapshot: Snapshot
) -> NoticeItem:
    """Return the item of a due topic, with the reference of its ticket."""
    ticket = snapshot.tickets.get(due_topic.topic.key)
    reference, ticket_id = (ticket.reference, ticket.id) if ticket is not None else ("", None)
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
) -> tuple[str, str] | None:
    """Return action and reason if the recheck forbids the message, else None."""
    topic = due_topic.topic
    match recheck.state:
        case RecheckState.GONE:
            return "suppress", recheck.reason
        case RecheckState.PARTIAL:
            notice_plan.for_staff.append((topic, recheck.reason))
            return "staff", recheck.reason
        case RecheckState.UNKNOWN:
            # An end that approaches is notified even if the recheck keeps failing. A fault without
            # a date waits, since it may be gone.
            first = snapshot.waiting.get((topic.key, topic.revision))
            patient = (
                first is None
                or to_epoch(snapshot.now) - first < snapshot.policy.recheck_patience.total_seconds()
            )
            if patient or topic.end is None:
                return "wait", f"the recheck failed: {recheck.reason}"
            notice_plan.for_staff.append(
                (topic, f"sent without a recheck, which has failed for a day: {recheck.reason}")
            )
    return None


# -- resolved topics


def resolved_items(
    snapshot: Snapshot, ticket: TicketRecord, topic: Topic
) -> list[tuple[Person, NoticeItem]]:
    """Return one "resolved" item per contact who was notified and may still read it."""
    sent = snapshot.sent.get((ticket.key, ticket.round), ())
    done = {c for c, step, _, _, _ in sent if step == "resolved"}
    notified = dict.fromkeys(
        c for c, _, _, _, state in sent if state in ("sent", "unknown") and c not in done
    )
    found = []
    for contact_id in notified:
        person = snapshot.people.by_id.get(contact_id)
        if (
            person is None
            or person.contact_method is None
            or not snapshot.people.may_read(person, topic.client_id)
        ):
            continue
        item = NoticeItem(
            topic=replace(topic, key=ticket.key, revision=ticket.round),
            crossed=CrossedThreshold("+0", 0, 0.0),
            step="resolved",
            label="+0",
            outcome=Resolved(),
            reference=ticket.reference,
            ticket_id=ticket.id,
        )
        found.append((person, item))
    return found


def merge(
    notice_plan: NoticePlan, more: Iterable[tuple[Person, NoticeItem]], snapshot: Snapshot
) -> None:
    """Add resolved items to the message to the same person, or make a separate message."""
    by_person: dict[int, tuple[Person, list[NoticeItem]]] = {}
    for person, item in more:
        by_person.setdefault(person.id, (person, []))[1].append(item)
    for contact_id, (person, items) in by_person.items():
        index = next(
            (i for i, d in enumerate(notice_plan.drafts) if d.person.id == contact_id), None
        )
        if index is not None:
            draft = notice_plan.drafts[index]
            notice_plan.drafts[index] = replace(draft, items=(*draft.items, *items))
        elif snapshot.hold_reason:
            for item in items:
                notice_plan.record(item.topic, "resolved", "hold", snapshot.hold_reason, contact_id)
        elif reason := delay_reason(snapshot, person, items):
            for item in items:
                notice_plan.record(item.topic, "resolved", "wait", reason, contact_id)
        else:
            notice_plan.drafts.append(Draft(person, tuple(items), Resolved()))
