"""Plan the messages that topics are resolved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from inventory.records import TicketRecord
from inventory.vocabulary import DecisionAction, ItemStep
from notifiers.pipeline.limits import delay_reason, unresolved_reason
from notifiers.pipeline.notice_source import EndedTopic
from notifiers.pipeline.outcome import Resolved
from notifiers.pipeline.plan import Decision, Draft, NoticeItem, NoticePlan, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.thresholds import CrossedThreshold
from notifiers.pipeline.topic import Recheck, Topic


def resolved_items(
    snapshot: Snapshot, ticket: TicketRecord, topic: Topic
) -> list[tuple[Person, NoticeItem]]:
    """Return one "resolved" item per contact who was notified and may still read it."""
    sent = snapshot.sent.get((ticket.key, ticket.round), ())
    # "It is done" is sent once per contact and revision.
    done = {c for c, step, _, _, _ in sent if step is ItemStep.RESOLVED}
    notified = dict.fromkeys(
        c for c, _, _, _, state in sent if state in ("sent", "unknown") and c not in done
    )
    found = []
    for contact_id in notified:
        person = snapshot.people.by_id.get(contact_id)
        if (
            # The contact was retired, or the domain moved to another client: the rest is not their
            # business.
            person is None
            or person.contact_method is None
            or not snapshot.people.may_read(person, topic.client_id)
        ):
            continue
        item = NoticeItem(
            topic=replace(topic, key=ticket.key, revision=ticket.round),
            crossed=CrossedThreshold("+0", 0, 0.0),
            step=ItemStep.RESOLVED,
            label="+0",
            outcome=Resolved(),
            reference=ticket.shown,
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
        # The contact gets a message anyway, so a second one for the good news would be one too
        # many.
        if index is not None:
            draft = notice_plan.drafts[index]
            notice_plan.drafts[index] = replace(draft, items=(*draft.items, *items))
        elif snapshot.hold_reason:
            for item in items:
                notice_plan.record(
                    item.topic, "resolved", DecisionAction.HOLD, snapshot.hold_reason, contact_id
                )
        elif reason := delay_reason(snapshot, person, items):
            for item in items:
                notice_plan.record(item.topic, "resolved", DecisionAction.WAIT, reason, contact_id)
        else:
            notice_plan.drafts.append(Draft(person, tuple(items), Resolved()))


def plan_resolved(
    snapshot: Snapshot,
    ended: Iterable[EndedTopic],
    rechecks: Mapping[tuple[str, str], Recheck],
    plan: NoticePlan,
) -> list[int]:
    """Plan the messages that topics are resolved.

    Returns:
        The ids of tickets that close without a message: no contact was notified of them, or they no
        longer concern the client.
    """
    closing: list[int] = []
    resolved: list[tuple[Person, NoticeItem]] = []
    for end in ended:
        ticket = snapshot.tickets.get(end.key)
        # No client was ever notified of it, so nothing has to be taken back.
        if ticket is None:
            continue
        # The client is not thanked for something that was not fixed.
        if not end.resolved or end.topic is None:
            plan.decisions.append(
                Decision(
                    topic=end.key,
                    client_id=ticket.client_id or 0,
                    contact_id=0,
                    threshold="resolved",
                    revision=ticket.round,
                    action=DecisionAction.SUPPRESS,
                    reason=end.reason,
                )
            )
            closing.append(int(ticket.id))
            continue
        if reason := unresolved_reason(ticket, rechecks.get(end.topic.mark), snapshot.hold_reason):
            plan.record(end.topic, "resolved", *reason)
            continue
        items = resolved_items(snapshot, ticket, end.topic)
        resolved += items
        # Every contact who was notified knows already, or may not read it any more.
        if not items:
            closing.append(int(ticket.id))
    merge(plan, resolved, snapshot)
    planned = {
        (d.person.id, i.ticket_id)
        for d in plan.drafts
        for i in d.items
        if i.step is ItemStep.RESOLVED
    }
    # A contact whose message waits for office hours gets it in a later run, so the ticket stays
    # open until then.
    plan.unnotified |= {
        i.ticket_id
        for p, i in resolved
        if i.ticket_id is not None and (p.id, i.ticket_id) not in planned
    }
    return closing


def gone_while_held(
    snapshot: Snapshot, unnotified: Mapping[str, TicketRecord], topics: Iterable[Topic]
) -> list[int]:
    """Return the ids of held tickets whose topic is gone before a client was notified.

    Args:
        unnotified: The open tickets of which no client was notified, by key.
        topics: The current topics.
    """
    # While messages are held, scan or clock is in doubt, and so is what seems to be gone.
    if snapshot.hold_reason:
        return []
    current = {t.key for t in topics}
    return [int(ticket.id) for key, ticket in unnotified.items() if key not in current]
