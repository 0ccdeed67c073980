"""Add to each message what its reader was notified of earlier and is still open. Pure.

A message that lists only what is new reads as if the rest were done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inventory.vocabulary import ItemStep
from notifiers.pipeline import limits
from notifiers.pipeline.addressees import outcome_of, reaches_clients
from notifiers.pipeline.decide import item_of
from notifiers.pipeline.plan import DueTopic, NoticePlan, Snapshot


def open_earlier(
    snapshot: Snapshot, due_topics: Sequence[DueTopic], clients: set[int]
) -> list[DueTopic]:
    """Return open topics that the readers of this run were notified of earlier.

    Suppressed and held topics, and those that are resolved with another one, are left out.

    Args:
        clients: The clients with a message in this run.
    """
    # The reader may be a reseller with several clients.
    readers = {snapshot.people.addressee(c) for c in clients}
    # A suppressed parent does not cover its children.
    keys = {d.topic.key for d in due_topics if not d.topic.suppress_reason}
    return [
        due
        for due in due_topics
        if _was_notified(due, snapshot)
        and snapshot.people.addressee(due.topic.client_id) in readers
        and reaches_clients(due, snapshot)
        and not (
            # None of these would be sent by itself, so none is mentioned along with others.
            due.topic.partial
            or due.topic.parent in keys
            or limits.suppression(due, snapshot)
            or limits.hold_reason(due, snapshot)
        )
    ]


def _was_notified(due: DueTopic, snapshot: Snapshot) -> bool:
    ticket = snapshot.tickets.get(due.topic.key)
    return (
        ticket is not None
        and ticket.told_at is not None
        and ticket.closed_at is None
        and ticket.round == due.topic.revision
    )


def add_open_earlier(snapshot: Snapshot, earlier: Sequence[DueTopic], plan: NoticePlan) -> None:
    """Add the open topics of the client to each message, so that it is complete."""
    by_client: dict[int, list[DueTopic]] = {}
    for due in earlier:
        by_client.setdefault(due.topic.client_id, []).append(due)
    for index, draft in enumerate(plan.drafts):
        in_message = {i.topic.key for i in draft.items}
        also_open = []
        # A reseller reads about all its clients, and each other contact about one.
        for client in snapshot.people.clients_by_addressee.get(draft.person.client_id or 0, []):
            for due in by_client.get(client, ()):
                outcome = outcome_of(due, snapshot, draft.person)
                if due.topic.key not in in_message and outcome is not None:
                    also_open.append(
                        item_of(due, outcome, ItemStep.ALSO_OPEN, due.crossed.label, snapshot)
                    )
        plan.drafts[index] = replace(draft, also_open=tuple(also_open))
