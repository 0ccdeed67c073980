"""What keeps a message back: silence, holds, quiet hours, how often one writes, too much at once, a
wrong clock. Each with its reason. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from inventory.db.database import to_epoch
from notifiers.pipeline.outcome import Resolved
from notifiers.pipeline.plan import DueTopic, NoticeItem, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.thresholds import DAY
from notifiers.pipeline.topic import Recheck, RecheckState, Topic, TopicKind

NEAR = 7  # days: nearer than that one a day, further ahead one a week
FLAP = 7 * DAY
FLAPS = "it was mended a few days ago and came back; the client hears of it when it stays for a day"


def silence(due_: DueTopic, world: Snapshot) -> str:
    """Why the client hears nothing of it now, in the order of what is surest; empty where nothing
    speaks against it.
    """
    subject, now = due_.subject, world.now
    if subject.quiet:
        return subject.quiet
    matter = world.matters.get(subject.key)
    for row in world.snoozes:
        if _covers(row, subject, matter):
            until = datetime.fromtimestamp(row["until"], now.tzinfo)
            return f"snoozed until {until:%Y-%m-%d %H:%M} UTC: {row['reason']}"
    if (
        subject.actor == "client"
        and matter is not None
        and matter["acked_at"] is not None
        and matter["closed_at"] is None
        and matter["round"] == subject.round
    ):
        acked = datetime.fromtimestamp(matter["acked_at"], now.tzinfo)
        if (
            now < acked + world.policy.ack_days * DAY
            and not due_.crossed.critical
            and due_.crossed.rank < -3
        ):
            return f"acknowledged on {acked:%Y-%m-%d}"
        overdue = (
            subject.kind is TopicKind.CASE and subject.act_by is not None and subject.act_by <= now
        )
        if now < acked + world.policy.ack_days * DAY and subject.end is None and not overdue:
            return f"acknowledged on {acked:%Y-%m-%d}"
    if subject.kind is TopicKind.CASE:
        return ""  # each step is the word of a person, and comes once
    if matter is not None and matter["closed_at"] is not None and matter["told_at"] is not None:
        closed = datetime.fromtimestamp(matter["closed_at"], now.tzinfo)
        if closed + FLAP > now and subject.opened > now - DAY:
            return FLAPS
    if (
        matter is not None
        and subject.end is None
        and matter["told_at"] is not None
        and matter["round"] != subject.round
        and subject.opened > now - DAY
    ):
        return FLAPS  # its end was not even said yet
    return ""


def _covers(row: Mapping[str, Any], subject: Topic, matter: Mapping[str, Any] | None) -> bool:
    match row["scope"]:
        case "all":
            return True
        case "client":
            return bool(row["scope_id"] == subject.client_id)
        case "domain":
            return bool(row["scope_id"] == subject.domain_id)
        case "server":
            return bool(row["scope_id"] == subject.server_id)
        case _:
            return matter is not None and bool(row["scope_id"] == matter["id"])


def held(due_: DueTopic, world: Snapshot) -> str:
    """Why it waits for a release: the first sight of the inventory, or a run that changed too much.

    What is more urgent than what was held is new, while the end lies ahead.
    """
    matter = world.matters.get(due_.subject.key)
    if (
        matter is None
        or matter["hold"] is None
        or matter["released_at"] is not None
        or matter["round"] != due_.subject.round
    ):
        return ""
    name, rank = [*str(matter["hold"]).split(" "), "0"][:2]
    if (
        name == "baseline"
        and due_.subject.end is not None
        and int(rank) < 0
        and int(rank) < due_.crossed.rank
    ):
        return ""
    words = {
        "baseline": "it was there at the first sight of the inventory",
        "mass": "one run changed too much at once",
    }
    return f"{words.get(name, name)}; certmgr notice release"


def not_now(world: Snapshot, person: Person, items: Sequence[NoticeItem]) -> str:
    """Why this person is not written to at this moment; empty where it may be.

    The last day and what came after it go before the limits, not before the night.
    """
    if not person.calendar.may_write(world.now):
        opening = person.calendar.next_opening(world.now)
        return f"quiet hours of contact {person.id} until {opening:%Y-%m-%d %H:%M} UTC"
    last = world.written.get(person.id)
    if last is None or any(_presses(i) for i in items):
        return ""
    before = datetime.fromtimestamp(last, world.now.tzinfo)
    if all(_far(i) for i in items):
        if world.now - before < 7 * DAY - timedelta(hours=12):
            return (
                f"contact {person.id} was written to on {before:%Y-%m-%d}: one message a week while"
                f" all lies over {NEAR} days ahead"
            )
    elif person.calendar.day(before) == person.calendar.day(world.now):
        return f"contact {person.id} was written to today: one message a day"
    return ""


def _presses(item: NoticeItem) -> bool:
    if item.subject.kind is TopicKind.CASE:
        return (
            item.crossed.rank == 0
        )  # a new step, or the end: it answers what somebody did, and may move a calendar entry
    if isinstance(item.outcome, Resolved):
        return False
    if item.subject.end is None:
        return item.subject.severity == "critical" and item.crossed.rank == 0
    return item.crossed.critical


def _far(item: NoticeItem) -> bool:
    if item.subject.kind is TopicKind.CASE:
        return False  # its reminders have a rhythm of their own
    if item.subject.end is None:
        news = (
            item.subject.severity in ("critical", "high") and item.crossed.rank == 0
        )  # a reminder of what was said waits for the week
        return not news and not isinstance(item.outcome, Resolved)
    return item.crossed.days > NEAR


def mass_change(changed: Iterable[int], clients: int, policy: NoticePolicy) -> bool:
    """Whether one run changed more of the clients than is believable."""
    count = len(set(changed))
    return count >= policy.mass_least and 100.0 * count > policy.mass_percent * max(clients, 1)


def clock_fault(now: datetime, newest: int | None) -> str:
    """``newest``: the latest instant that is stored.

    Rows from the future mean that the clock was set back.
    """
    if newest is not None and to_epoch(now) + 300 < newest:
        stored = datetime.fromtimestamp(newest, now.tzinfo)
        return (
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, and there are rows of"
            f" {stored:%Y-%m-%d %H:%M} UTC"
        )
    return ""


def not_over(matter: Mapping[str, Any], look: Recheck | None, hold: str) -> tuple[str, str] | None:
    """(action, reason) why nobody is told yet that it is done; None where the fresh look agrees."""
    if hold:
        return "hold", hold
    if (
        matter["hold"] is not None
        and matter["hold"].startswith("mass")
        and matter["released_at"] is None
    ):
        return "hold", "one run changed too much at once; certmgr notice release"
    if matter["kind"] in (TopicKind.DEADLINE, TopicKind.CASE, TopicKind.ORDER) or (
        look is not None and look.seen is RecheckState.GONE
    ):
        return None
    return (
        "wait",
        (
            "it is said to be done when a fresh look agrees:"
            f" {look.reason if look is not None else 'it was not looked at'}"
        ),
    )
