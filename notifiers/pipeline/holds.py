"""Hold messages that would reach too many clients at once. Pure.

A fault of the scanner is more likely than the same fault at many clients, and a wrong message to
many clients cannot be taken back. So staff release such messages, or confirm their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inventory.db.database import to_epoch
from inventory.records import AllowanceRecord
from inventory.vocabulary import DecisionAction
from notifiers.pipeline import limits
from notifiers.pipeline.notice_source import EndedTopic
from notifiers.pipeline.plan import DueTopic, NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.topic import FaultFacts, Topic


@dataclass(frozen=True, slots=True)
class MassCheck:
    """What is left after the changes of implausible runs were held.

    Attributes:
        due: The due topics that are left.
        ended: The ended topics that are left.
        clients: The number of clients whose changes are held.
    """

    due: list[DueTopic]
    ended: list[EndedTopic]
    clients: int = 0


def hold_mass_changes(
    snapshot: Snapshot,
    kept: Sequence[DueTopic],
    ended: Sequence[EndedTopic],
    plan: NoticePlan,
    *,
    policy: NoticePolicy,
    all_clients: int,
    last_run: int,
) -> MassCheck:
    """Hold the changes of each run that changed too many clients at once.

    These are faults that it opened and notified ones that it closed. Each becomes a held topic and
    a decision of the plan.

    Args:
        all_clients: The number of clients in the inventory.
        last_run: The last run of which clients were notified. Its changes were checked then.
    """
    # Only what this run brings: faults that clients know of already were plausible before.
    opened = [d for d in kept if _run_of(d.topic) > last_run and _is_new(d.topic, snapshot)]
    closed = [(e, e.topic) for e in ended if e.run > last_run and e.resolved and e.topic]
    by_run: dict[int, set[int]] = {}
    for due in opened:
        by_run.setdefault(_run_of(due.topic), set()).add(due.topic.client_id)
    for end, topic in closed:
        by_run.setdefault(end.run, set()).add(topic.client_id)
    broken = {
        run for run, clients in by_run.items() if limits.mass_change(clients, all_clients, policy)
    }
    # In the baseline, faults are held anyway.
    if snapshot.baseline or not broken:
        return MassCheck(list(kept), list(ended))
    now = to_epoch(snapshot.now)
    held_topics, held_ends = set(), set()
    for due in opened:
        if _run_of(due.topic) in broken:
            held_topics.add(id(due))
            plan.held.append((due.topic, f"mass {due.crossed.rank} {now}"))
            plan.record(due.topic, due.crossed.label, DecisionAction.HOLD, limits.MASS_CHANGE)
    # "It is done" to many clients at once is as wrong as a fault, if the scan was broken.
    for end, topic in closed:
        if end.run in broken:
            held_ends.add(id(end))
            plan.held.append((topic, f"mass 0 {now}"))
            plan.record(topic, "resolved", DecisionAction.HOLD, limits.MASS_CHANGE)
    return MassCheck(
        [d for d in kept if id(d) not in held_topics],
        [e for e in ended if id(e) not in held_ends],
        len({c for run in broken for c in by_run[run]}),
    )


def _run_of(topic: Topic) -> int:
    """Return the run that opened a fault. 0 for a topic that no run opened."""
    return topic.facts.run if isinstance(topic.facts, FaultFacts) else 0


def _is_new(topic: Topic, snapshot: Snapshot) -> bool:
    """Return whether the current revision has no ticket yet.

    A topic that comes back after it was held is new again.
    """
    ticket = snapshot.tickets.get(topic.key)
    return ticket is None or ticket.round != topic.revision


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """Whether messages may go to as many clients as they would.

    Attributes:
        clients: The number of clients with a message.
        unconfirmed: How many of them wait for a confirmation: all or none.
        allowance: The confirmation that staff gave ahead, if the messages go under it.
        client_ids: The clients that count against it.
    """

    clients: int
    unconfirmed: int = 0
    allowance: AllowanceRecord | None = None
    client_ids: frozenset[int] = frozenset()


def check_clients(
    snapshot: Snapshot, plan: NoticePlan, *, confirm_above: int, expected: int | None
) -> ClientCheck:
    """Hold all messages if they go to more clients than usual without a confirmation.

    Args:
        confirm_above: The number of clients that needs no confirmation.
        expected: The number that staff confirmed for this run. It must be exact: a larger one would
            let later faults through.
    """
    # Tickets that staff released were confirmed with the release.
    free = {k for k, t in snapshot.tickets.items() if t.released_at is not None}
    clients = frozenset(
        i.topic.client_id for d in plan.drafts for i in d.items if i.topic.key not in free
    )
    count = len(clients)
    if count <= confirm_above or expected == count:
        return ClientCheck(count)
    # Clients are awake at different times, so one event is sent by several runs. Together they
    # send to no more clients than staff confirmed; a client that was written to counts once.
    for allowance in snapshot.allowances:
        if len({*allowance.sent_to, *map(str, clients)}) <= allowance.clients:
            return ClientCheck(count, 0, allowance, clients)
    reason = f"{count} clients at once: to send, run certmgr notify --clients {count}"
    if too_small := "; ".join(_used(a) for a in snapshot.allowances):
        reason += f" ({too_small})"
    for draft in plan.drafts:
        for item in draft.items:
            plan.record(item.topic, item.label, DecisionAction.HOLD, reason, draft.person.id)
    # All or none: a part of the clients would look like a confirmed run.
    plan.drafts.clear()
    return ClientCheck(count, count)


def _used(allowance: AllowanceRecord) -> str:
    """Return what a confirmation given ahead allows, and how much of it is used."""
    used = f", {len(allowance.sent_to)} of them were sent to" if allowance.sent_to else ""
    return f"{allowance.clients} were allowed{used}"
