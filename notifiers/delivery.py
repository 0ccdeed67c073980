"""The worker that sends queued notices.

The order in which its steps are committed is documented in inventory/store/outbox.py.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from inventory.db.database import Database, Tx, to_epoch
from inventory.records import NoticeRecord
from inventory.store import outbox, recipients
from inventory.threads import thread_pool
from notifiers.channels import DeliveryStatus, OutgoingMessage, SendResult
from notifiers.working_days import WorkingCalendar

_log = logging.getLogger(__name__)

LEASE = 300  # seconds: more than a batch with the longest call needs
BATCH = 10
# Seconds. Greylisting servers accept a second attempt after a few minutes. A notice expires after
# three days, so that even the longest wait leaves several attempts.
FIRST_RETRY, LONGEST_RETRY = 120.0, 6 * 3600.0
PATIENCE = 3  # failures of the channel itself in a row, after which this run skips it


class MessageChannel(Protocol):
    """The interface of a channel, such as :class:`notifiers.channels.Channel`."""

    name: str

    def send(self, message: OutgoingMessage) -> SendResult:
        """Send a message, and return what the service replied."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """The recipient of a notice at the time of sending, or why there is none.

    Attributes:
        calendar: The calendar of a client, who gets no message in quiet hours.
    """

    to: str | None
    why: str = ""
    calendar: WorkingCalendar | None = None


Address = Callable[[NoticeRecord], Recipient]


def backoff(attempts: int, jitter: float) -> int:
    """Return the seconds until the next attempt. They double with each attempt. Pure.

    Args:
        jitter: 0 to 1; the result is multiplied by half to one and a half.
    """
    return int(min(LONGEST_RETRY, FIRST_RETRY * 2 ** max(0, attempts - 1)) * (0.5 + jitter))


@dataclass(slots=True)
class DeliveryCounts:
    """The delivery statuses of one run.

    Attributes:
        later: Notices that wait for the next attempt or for the end of quiet hours.
        skipped: The reason by channel that was skipped.
    """

    sent: int = 0
    unknown: int = 0
    later: int = 0
    failed: int = 0
    expired: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, other: DeliveryCounts) -> None:
        """Add the counts of another channel."""
        for name in ("sent", "unknown", "later", "failed", "expired"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.skipped |= other.skipped


class DeliveryWorker:
    """Sends queued notices.

    Args:
        clock: The current time, in UTC.
        rate: Messages per second and channel; 0: no limit.
        limit: At most this many messages per channel in one run.
        seconds: No message is begun after this time; the rest stays queued. 0: no limit.
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
        seconds: float = 0.0,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.database, self.channels, self.address, self.clock = database, channels, address, clock
        self.rate, self.limit, self.seconds = rate, limit, seconds
        self._interrupted = threading.Event()
        self.timer, self.sleep = timer, sleep

    def run(self) -> DeliveryCounts:
        """Send the due notices of all channels.

        Each channel has a separate thread, so that a dead or slow one does not stop the others.
        """
        with self.database.write(self.clock()) as tx:
            outbox.recover(tx)
            # Recovered in the same transaction, so that rows of dead workers are sent in this run.
            names = outbox.channels_waiting(tx.conn, tx.at)
        total = DeliveryCounts()
        known = [n for n in names if n in self.channels]
        for name in set(names) - set(known):
            # Its notices stay queued, since the channel may come back.
            total.skipped[name] = "it is not in the configuration"
        self._until = self.timer() + self.seconds if self.seconds else float("inf")
        # A single channel needs no thread.
        if len(known) <= 1:
            for name in known:
                total.add(self._drain(self.channels[name]))
            return total
        try:
            with thread_pool(len(known), "channel") as pool:
                for counts in pool.map(self._drain, [self.channels[n] for n in known]):
                    total.add(counts)
        finally:  # after Ctrl-C, the threads end with their current message
            self._interrupted.set()
        return total

    def _must_end(self) -> bool:
        return self._interrupted.is_set() or self.timer() >= self._until

    def _drain(self, channel: MessageChannel) -> DeliveryCounts:
        """Send the due notices of one channel, batch by batch."""
        counts, failures, done, next_at = DeliveryCounts(), 0, 0, self.timer()
        while self.limit is None or done < self.limit:
            token = secrets.token_hex(8)
            batch = BATCH if self.limit is None else min(BATCH, self.limit - done)
            with self.database.write(self.clock()) as tx:
                # A short transaction per batch: no lock is held while a server is waited for.
                rows = outbox.lease(tx, channel.name, token, LEASE, batch)
            if not rows:
                return counts
            for row in rows:
                # Apprise would wait per instance only, and each message has a new one.
                if self.rate:
                    self.sleep(max(0.0, next_at - self.timer()))
                    next_at = max(next_at, self.timer()) + 1 / self.rate
                # Between two messages, so that the delivery status of each is known.
                if self._must_end():
                    with self.database.write(self.clock()) as tx:
                        outbox.give_back(tx, token)
                    return counts
                delivery = self._one(channel, row, token, counts)
                done += 1
                # A message that was accepted proves the channel; refused recipients are not its
                # fault.
                failures = failures + 1 if delivery is not None and delivery.channel_down else 0
                # The channel is down: the other notices would fail too and lose an attempt.
                if failures >= PATIENCE:
                    counts.skipped[channel.name] = delivery.reason if delivery else ""
                    with self.database.write(self.clock()) as tx:
                        # The leased rest of the batch is free for the next worker.
                        outbox.give_back(tx, token)
                    return counts
        return counts

    def _one(
        self, channel: MessageChannel, row: NoticeRecord, token: str, counts: DeliveryCounts
    ) -> SendResult | None:
        recipient, now = self.address(row), self.clock()
        to = recipient.to
        # The decision was made in office hours; the queue may have waited into the night.
        if (
            to is not None
            and recipient.calendar is not None
            and not recipient.calendar.may_write(now)
        ):
            # Back into the queue without an attempt: nothing was tried.
            with self.database.write(now) as tx:
                outbox.finish(
                    tx,
                    row.id,
                    token,
                    "queued",
                    next_at=to_epoch(recipient.calendar.next_opening(now)),
                    token=None,
                )
            counts.later += 1
            return None
        # A notice that waited for days may state something that is no longer true.
        if to_epoch(now) > row.expires_at or to is None:
            reason = recipient.why if to is None else "it could not be sent in time"
            with self.database.write(self.clock()) as tx:
                if outbox.finish(tx, row.id, token, "failed", error=reason):
                    outbox.drop(tx, [row.id], reason)
                    counts.expired += 1
            return None
        with self.database.write(self.clock()) as tx:
            # The lease was lost: another worker may have sent the notice by now.
            if not outbox.begin(tx, row.id, token, LEASE):
                return None
        calendar = row.calendar
        # The state "sending" is committed. If the process dies from here on, the delivery status
        # is unknown, and the notice is not sent again automatically.
        delivery = channel.send(
            OutgoingMessage(
                to=to,
                subject=row.subject,
                text=row.text,
                html=row.html,
                mark=f"{row.id}.{row.secret}",
                calendar=calendar,
            )
        )
        with self.database.write(self.clock()) as tx:
            self._record(tx, row, token, to, delivery, counts)
        return delivery

    def _record(
        self,
        tx: Tx,
        row: NoticeRecord,
        token: str,
        to: str,
        delivery: SendResult,
        counts: DeliveryCounts,
    ) -> None:
        """Store the delivery status of a notice."""
        common: outbox.DeliveryColumns = {
            "smtp_code": delivery.code,
            "error": delivery.reason or None,
            "sent_to": to,
        }
        _log.info("notice %d by %s: %s", row.id, row.channel, delivery.status)
        match delivery.status:
            case DeliveryStatus.SENT:
                outbox.finish(tx, row.id, token, "sent", **common)
                counts.sent += 1
            case DeliveryStatus.UNKNOWN:
                # A person decides: another attempt could notify twice, and none could lose the
                # notice.
                outbox.finish(tx, row.id, token, "unknown", **common)
                counts.unknown += 1
            case DeliveryStatus.TEMPORARY:
                # Jitter spreads the retries of notices that failed together.
                wait = backoff(row.attempts + 1, random.random())  # noqa: S311
                again: outbox.DeliveryColumns = {
                    **common,
                    "next_at": tx.at + wait,
                    "token": None,
                }
                outbox.finish(tx, row.id, token, "queued", **again)
                counts.later += 1
            case DeliveryStatus.PERMANENT:
                # So that the next notice goes to another address or contact at once.
                if delivery.bad_address and row.contact_id is not None:
                    recipients.mark_method(tx, row.contact_id, to, "bad")
                outbox.finish(tx, row.id, token, "failed", **common)
                # The items of a notice to a bad address are decided again, for the fallback.
                if delivery.bad_address:
                    outbox.drop(tx, [row.id], delivery.reason)
                counts.failed += 1
