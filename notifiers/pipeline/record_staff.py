"""Queue the messages to staff, inside the transaction of a run: alarms, tasks and the digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from inventory.db.database import Tx
from inventory.store import jobs, notices
from inventory.vocabulary import ItemStep, NoticeKind
from notifiers.pipeline.alarms import Alarm
from notifiers.pipeline.message import Message
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.notice_source import NoticeSource, StaffTask
from notifiers.pipeline.plan import NoticePlan, Snapshot
from notifiers.pipeline.queue import NoticeQueue, QueuedItem
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff import alarm_message, digest_message
from notifiers.pipeline.staff_reading import DigestReading
from notifiers.pipeline.staff_tasks import EVENT, bundles, task_message, unreported


@dataclass(frozen=True, slots=True)
class StaffRecorder:
    """Queues the messages to staff."""

    now: datetime
    config: NoticeSettings
    templates: Templates
    snapshot: Snapshot
    plan: NoticePlan
    source: NoticeSource
    alarms: Sequence[Alarm]

    def write(self, tx: Tx, queue: NoticeQueue) -> None:
        """Queue alarms that were not sent today, new tasks, and the digest once a day."""
        local = self.now.astimezone(self.config.zone)
        today = local.date().isoformat()
        staff = self.snapshot.people.staff(self.now)
        queue.outcome.staffless = not staff and bool(
            self.alarms or self.plan.for_staff or self.plan.held
        )
        # Alarms and tasks do not wait for the hour of the digest.
        self._alarms(tx, queue, staff, today)
        self._tasks(tx, queue)
        missing = [p for p in staff if not notices.digest_sent(tx.conn, p.id, today)]
        # The digest is sent once per day and person, from this hour on.
        # Not an exact hour: a run that was missed is made up by the next one of the day.
        if local.hour < self.config.digest_hour or not missing:
            return
        digest = DigestReading(
            conn=tx.conn,
            now=self.now,
            zone=self.config.zone,
            plan=self.plan,
            snapshot=self.snapshot,
            source=self.source,
            policy=self.config.policy,
        ).digest()
        message = digest_message(digest, today, self.templates)
        for person in missing:
            _add(queue, person, NoticeKind.DIGEST, message, [("digest", today)])
        jobs.succeeded(tx, "digest", {"head": digest.head, "entries": digest.entries, "day": today})

    def _alarms(self, tx: Tx, queue: NoticeQueue, staff: Sequence[Person], today: str) -> None:
        known = notices.sent_about(tx.conn, [a.topic for a in self.alarms])
        for person in staff:
            # Faults concern those on call only; a hold concerns all staff.
            new_alarms = [
                a
                for a in self.alarms
                if (not a.oncall or person.role == "administrator")
                and person.id not in {c for c, *_ in known.get((a.topic, today), ())}
            ]
            if new_alarms:
                message = alarm_message(new_alarms, self.templates)
                _add(
                    queue, person, NoticeKind.ALARM, message, [(a.topic, today) for a in new_alarms]
                )

    def _tasks(self, tx: Tx, queue: NoticeQueue) -> None:
        """Notify administrators of events, and of the tasks that wait for them, once per step."""
        events, tasks = self.source.events, self.source.staff_tasks
        if not events and not tasks:
            return
        keys = [*(EVENT + e.reference for e in events), *(t.key for t in tasks)]
        known = notices.sent_about(tx.conn, keys)
        people = {p.id: p for p in self._administrators(None)} if events else {}
        of_person: dict[int, list[StaffTask]] = {}
        for task in tasks:
            for person in self._administrators(task.contact_id):
                people[person.id] = person
                of_person.setdefault(person.id, []).append(task)
        for person in people.values():
            # The digest of the other staff lists the task.
            if person.contact_method is None:
                continue
            new = unreported(of_person.get(person.id, ()), person, known)
            reported = frozenset(
                e.reference
                for e in events
                if person.id in {c for c, *_ in known.get((EVENT + e.reference, "opened"), ())}
            )
            for bundle in bundles(events, new, reported):
                message = task_message(bundle, person, self.config.sender, self.templates, self.now)
                _add(queue, person, NoticeKind.TASK, message, bundle.keys)

    def _administrators(self, contact_id: int | None) -> list[Person]:
        """Return the administrator of a task, or all of them if it has none."""
        person = self.snapshot.people.by_id.get(contact_id or -1)
        # A contact of a client must never get a task of staff.
        if person is None or person.client_id is not None:
            return self.snapshot.people.staff(self.now, "administrator")
        return [person]


def _add(
    queue: NoticeQueue,
    person: Person,
    kind: NoticeKind,
    message: Message,
    keys: Sequence[tuple[str, str]],
) -> None:
    """Queue a message to staff.

    Args:
        keys: Key and revision of each thing that the message reports.
    """
    items = [QueuedItem(key, ItemStep.STAFF, "0", revision) for key, revision in keys]
    if queue.add(person, kind, None, message, items) is not None:
        queue.outcome.staff.append((person.id, message))
