"""The worker: takes queued notices and sends them.

Which step is durable before which stands in inventory/store/outbox.py.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from inventory.db.database import Database, to_epoch
from inventory.store import outbox, recipients
from inventory.store.records import Row
from notifiers.channels import DeliveryStatus, OutgoingMessage, SendResult
from notifiers.working_days import WorkingCalendar

LEASE = 300  # seconds: longer than a batch and the longest call take
BATCH = 10
FIRST_RETRY, LONGEST_RETRY = 120.0, 6 * 3600.0
PATIENCE = 3  # failures of the channel itself in a row, after which it is left alone for this run


class MessageChannel(Protocol):
    """A channel, as :class:`notifiers.channels.Channel` is one."""

    name: str

    def send(self, message: OutgoingMessage) -> SendResult: ...


@dataclass(frozen=True, slots=True)
class Recipient:
    """The address that a notice goes to now, or why it goes nowhere.

    Chosen when it is sent: it may have changed since. ``calendar``: of a client, who is not woken.
    """

    to: str | None
    why: str = ""
    calendar: WorkingCalendar | None = None


Address = Callable[[Row], Recipient]


def backoff(attempts: int, jitter: float) -> int:
    """Seconds until the next attempt: doubling, with jitter of half to one and a half.

    ``jitter``: 0 to 1. Pure.
    """
    return int(min(LONGEST_RETRY, FIRST_RETRY * 2 ** max(0, attempts - 1)) * (0.5 + jitter))


@dataclass(slots=True)
class DeliveryCounts:
    """What became of the notices of one run."""

    sent: int = 0
    unknown: int = 0
    later: int = 0
    failed: int = 0
    expired: int = 0
    skipped: dict[str, str] = field(default_factory=dict)  # channel -> why it was left alone

    def add(self, other: DeliveryCounts) -> None:
        for name in ("sent", "unknown", "later", "failed", "expired"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped |= other.skipped


class DeliveryWorker:
    """Sends queued notices.

    Args:
        clock: The current time, in UTC.
        rate: Messages per second and channel; 0: no limit.
        limit: At most this many messages per channel in one run.
        timer: Measures the time between two messages.
        sleep: Waits until the next one.
    """

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, MessageChannel],
        address: Address,
        clock: Callable[[], datetime],
        *,
        rate: float = 2.0,
        limit: int | None = None,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.database, self.channels, self.address, self.clock = database, channels, address, clock
        self.rate, self.limit = rate, limit
        self.timer, self.sleep = timer, sleep

    def run(self) -> DeliveryCounts:
        """Sends what is due on every channel, each in a thread of its own, so that one that is dead
        or slow stops nothing.
        """
        with self.database.write(self.clock()) as tx:
            outbox.recover(tx)
            names = outbox.channels_waiting(tx.conn, tx.at)
        total = DeliveryCounts()
        known = [n for n in names if n in self.channels]
        for name in set(names) - set(known):
            total.skipped[name] = "it is not in the configuration any more"
        if len(known) <= 1:
            for name in known:
                total.add(self._drain(self.channels[name]))
            return total
        with ThreadPoolExecutor(len(known), thread_name_prefix="channel") as pool:
            for counts in pool.map(self._drain, [self.channels[n] for n in known]):
                total.add(counts)
        return total

    def _drain(self, channel: MessageChannel) -> DeliveryCounts:
        counts, failures, done, next_at = DeliveryCounts(), 0, 0, self.timer()
        while self.limit is None or done < self.limit:
            token = secrets.token_hex(8)
            batch = BATCH if self.limit is None else min(BATCH, self.limit - done)
            with self.database.write(self.clock()) as tx:
                rows = outbox.lease(tx, channel.name, token, LEASE, batch)
            if not rows:
                return counts
            for row in rows:
                if self.rate:
                    self.sleep(max(0.0, next_at - self.timer()))
                    next_at = max(next_at, self.timer()) + 1 / self.rate
                delivery = self._one(channel, row, token, counts)
                done += 1
                failures = failures + 1 if delivery is not None and delivery.channel_down else 0
                if failures >= PATIENCE:
                    counts.skipped[channel.name] = delivery.reason if delivery else ""
                    with self.database.write(self.clock()) as tx:
                        outbox.give_back(tx, token)
                    return counts
        return counts

    def _one(
        self, channel: MessageChannel, row: Row, token: str, counts: DeliveryCounts
    ) -> SendResult | None:
        goal, now = self.address(row), self.clock()
        to = goal.to
        if to is not None and goal.calendar is not None and not goal.calendar.may_write(now):
            with self.database.write(now) as tx:
                outbox.finish(
                    tx,
                    row["id"],
                    token,
                    "queued",
                    next_at=to_epoch(goal.calendar.next_opening(now)),
                    token=None,
                )
            counts.later += 1
            return None
        if to_epoch(now) > row["expires_at"] or to is None:
            reason = goal.why if to is None else "it could not be sent in time"
            with self.database.write(self.clock()) as tx:
                if outbox.finish(tx, row["id"], token, "failed", error=reason):
                    outbox.drop(tx, [row["id"]], reason)
                    counts.expired += 1
            return None
        with self.database.write(self.clock()) as tx:
            if not outbox.begin(tx, row["id"], token, LEASE):
                return None
        calendar = tuple(json.loads(row["calendar"])) if row["calendar"] else ()
        # Committed: from here on a death means unknown.
        delivery = channel.send(
            OutgoingMessage(
                to=to,
                subject=row["subject"],
                text=row["text"],
                html=row["html"],
                mark=f"{row['id']}.{row['secret']}",
                calendar=calendar,
            )
        )
        with self.database.write(self.clock()) as tx:
            self._record(tx, row, token, to, delivery, counts)
        return delivery

    def _record(
        self, tx: Any, row: Row, token: str, to: str, delivery: SendResult, counts: DeliveryCounts
    ) -> None:
        common = {"smtp_code": delivery.code, "error": delivery.reason or None, "sent_to": to}
        match delivery.fate:
            case DeliveryStatus.SENT:
                outbox.finish(tx, row["id"], token, "sent", **common)
                counts.sent += 1
            case DeliveryStatus.UNKNOWN:
                outbox.finish(tx, row["id"], token, "unknown", **common)
                counts.unknown += 1
            case DeliveryStatus.TEMPORARY:
                wait = backoff(row["attempts"] + 1, random.random())  # noqa: S311
                outbox.finish(
                    tx, row["id"], token, "queued", next_at=tx.at + wait, token=None, **common
                )
                counts.later += 1
            case DeliveryStatus.PERMANENT:
                if delivery.bad_address and row["contact_id"] is not None:
                    recipients.mark_way(tx, row["contact_id"], to, "bad")
                outbox.finish(tx, row["id"], token, "failed", **common)
                # What it said is decided anew: for the fallback, where the address was bad.
                if delivery.bad_address:
                    outbox.drop(tx, [row["id"]], delivery.reason)
                counts.failed += 1
