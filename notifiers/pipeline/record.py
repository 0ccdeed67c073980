"""The transaction of a run of notices.

It writes tickets with their references, decisions, notices with their items, and the success of
the run.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, tzinfo
from typing import Any

from sqlalchemy import Connection

from inventory.db.database import Tx, to_epoch
from inventory.records import AnnouncementRecord, JobRecord, ReachableContact, TicketRecord
from inventory.store import jobs, outbox, recipients, tickets
from notifiers.pipeline.compose import (
    Announcement,
    Message,
    Sender,
    announcement_message,
    client_message,
)
from notifiers.pipeline.outcome import Escalated
from notifiers.pipeline.plan import Decision, Draft, NoticeItem, NoticePlan, NoticePolicy, Snapshot
from notifiers.pipeline.recipients import Person, Recipients, person_of
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff import (
    Alarm,
    StaffDigest,
    alarm_message,
    digest_message,
    staff_task_message,
)
from notifiers.pipeline.topic import NoticeSource, Topic
from notifiers.wording.catalogue import Language, language
from notifiers.working_days import MONDAY_TO_FRIDAY

JOB = "notify"
EXPIRES = 3 * 86_400  # seconds: an older notice would state something that is no longer true
# (stored announcement, client id, language) -> its content for that client. None if the client is
# not concerned.
AnnouncementComposer = Callable[[AnnouncementRecord, int, Language], Announcement | None]


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """The configuration of notices.

    Attributes:
        zone: The time zone of the provider.
        hours: The time of day from and until which clients may get messages.
        confirm_above: A run to more clients than that needs their exact number as a confirmation.
        digest_hour: The hour of the day from which the digest is sent.
    """

    policy: NoticePolicy = field(default_factory=NoticePolicy)
    sender: Sender = field(default_factory=lambda: Sender(""))
    zone: tzinfo | None = None
    zone_name: str = "UTC"
    language: str = "en"
    country: str = ""
    hours: tuple[time, time] = (time(8), time(18))
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY
    confirm_above: int = 20
    digest_hour: int = 7

    def person(self, row: ReachableContact) -> Person:
        """Return the person of a contact's row. Defaults are those of the provider."""
        return person_of(
            row,
            language=self.language,
            zone=self.zone_name,
            country=self.country,
            hours=self.hours,
            weekdays=self.weekdays,
        )

    def recipients(self, conn: Connection, client_ids: Iterable[int] | None = None) -> Recipients:
        """Return the staff and the contacts of these clients and their resellers.

        Without ``client_ids``, return the contacts of all clients.
        """
        known = recipients.clients(conn, client_ids)
        return Recipients(
            [
                self.person(r)
                for r in recipients.contacts(conn, None if client_ids is None else known)
            ],
            known,
        )


@dataclass(slots=True)
class RunOutcome:
    """The result of a run.

    Attributes:
        drafts: The messages to clients.
        staff: Contact id and message of each message to staff.
        decisions: The number of decisions by action.
        clients: The number of clients with a message.
        unconfirmed: The number of clients that would get a message but need a confirmation. 0 if
            none is needed.
        held: The number of topics that wait for a release.
        hold: Why nothing went to clients. Empty if it could.
        staffless: There are messages for staff, but no staff contact can be reached.
    """

    drafts: list[tuple[Draft, Message]] = field(default_factory=list)
    staff: list[tuple[int, Message]] = field(default_factory=list)
    announcements: list[tuple[Person, Message]] = field(default_factory=list)
    decisions: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    clients: int = 0
    unconfirmed: int = 0
    held: int = 0
    baseline: bool = False
    hold: str = ""
    staffless: bool = False


@dataclass(slots=True)
class RunRecorder:
    """Writes the decisions of a run.

    Attributes:
        state: The state of the job before the run.
        released: Ids of tickets that a release lets through.
        closing: Ids of tickets that end without a message.
        spent: Ids of releases that have no ticket left.
    """

    now: datetime
    config: NoticeSettings
    templates: Templates
    default_channel: str
    compose_announcement: AnnouncementComposer | None
    snapshot: Snapshot
    plan: NoticePlan
    source: NoticeSource
    alarms: Sequence[Alarm]
    state: JobRecord
    outcome: RunOutcome
    released: Sequence[int] = ()
    closing: Sequence[int] = ()
    spent: Sequence[int] = ()

    def write(self, tx: Tx) -> None:
        """Write everything in the given transaction."""
        jobs.started(tx, JOB)
        for ticket_id in self.released:
            tickets.change(tx, ticket_id, released_at=tx.at)
        tickets.end_releases(tx, self.spent)
        rows = self._open_tickets(tx)
        self.outcome.held = len(self.plan.held)
        ended = list(self.closing)
        for draft in self.plan.drafts:
            ended += self._queue(tx, draft, rows)
        self._broadcasts(tx)
        # A ticket stays open until every contact who knows of it was notified of its end.
        ended = [i for i in ended if i not in self.plan.unnotified]
        tickets.close(tx, ended)
        tickets.resolved(tx, ended)
        for key in self.plan.flapping:
            # The suppression period starts again with each return of the fault.
            if self.snapshot.tickets[key].closed_at is not None:
                tickets.change(tx, self.snapshot.tickets[key].id, closed_at=tx.at)
        tickets.decided(tx, [_row(d) for d in self.plan.decisions])
        for decision in self.plan.decisions:
            self.outcome.decisions[decision.action] = (
                self.outcome.decisions.get(decision.action, 0) + 1
            )
        self._to_staff(tx)
        detail = dict(self.state.detail) | {"run_id": self.source.run}
        # Only a complete run over the whole inventory shows what existed before notices began.
        if self.snapshot.baseline and self.source.whole_run:
            detail["baseline_at"] = tx.at
        jobs.succeeded(tx, JOB, detail)

    def _open_tickets(self, tx: Tx) -> dict[str, TicketRecord]:
        """Open a ticket for each topic that is sent or held, and return the tickets by key.

        A new revision of a topic keeps the reference of its ticket.
        """
        holds = {s.key: reason for s, reason in self.plan.held}
        notified_topics = {
            i.topic.key: i.topic for d in self.plan.drafts for i in d.items if i.step != "resolved"
        }
        notified_topics |= {s.key: s for s, _ in self.plan.held}
        notified_topics |= {s.key: s for s in self.plan.unreachable}
        new = [
            _ticket_row(s, holds.get(s.key))
            for s in notified_topics.values()
            if s.key not in self.snapshot.tickets
        ]
        tickets.open_(tx, new)
        for key, topic in notified_topics.items():
            before = self.snapshot.tickets.get(key)
            if before is None:
                continue
            changed: dict[str, Any] = {}
            # A new revision is a new conversation: acknowledgement and release do not carry over.
            if before.round != topic.revision or before.closed_at is not None:
                empty = dict.fromkeys(
                    ("closed_at", "acked_at", "acked_by", "hold", "released_at", "promised_at")
                )
                changed = {
                    **empty,
                    "round": topic.revision,
                    "cause": topic.cause,
                    "client_id": topic.client_id,
                }
            # A topic that is held again needs a new release.
            if key in holds and (before.hold is None or changed):
                changed |= {
                    "hold": holds[key],
                    "released_at": None,
                    "cause": topic.cause or before.cause,
                }
            if changed:
                tickets.change(tx, before.id, **changed)
        return tickets.by_key(tx.conn, notified_topics)

    def _queue(self, tx: Tx, draft: Draft, rows: Mapping[str, TicketRecord]) -> list[int]:
        """Queue one message. Return the ids of the tickets that end with it."""
        items = tuple(_with_reference(i, rows) for i in draft.items)
        draft = replace(draft, items=items)
        first = items[0].topic.client_id
        # The message names the account manager of the client of its first topic.
        client = self.snapshot.people.clients.get(first)
        manager = client.account_manager if client is not None else None
        message = client_message(draft, self.config.sender, self.templates, manager, self.now)
        stored_items = [
            {
                "subject": i.topic.key,
                "step": i.step,
                "threshold": i.label,
                "round": i.topic.revision,
                "matter_id": i.ticket_id,
            }
            for i in items
        ]
        notice_id = self._enqueue(tx, draft.person, "client", first, message, stored_items)
        if notice_id is None:
            return []
        self.outcome.drafts.append((draft, message))
        for item in items:
            self.plan.record(
                item.topic,
                item.label,
                "send",
                f"notice {notice_id} to contact {draft.person.id} ({item.step})",
                draft.person.id,
            )
            # The digest reminds staff of a promised update that is overdue.
            if isinstance(item.outcome, Escalated) and item.ticket_id is not None:
                tickets.change(
                    tx,
                    item.ticket_id,
                    promised_at=to_epoch(
                        draft.person.calendar.end_of(date.fromisoformat(item.label))
                    ),
                )
        # From now on a resolution of the topic is notified too.
        tickets.told(tx, [i.ticket_id for i in items if i.ticket_id is not None])
        return [i.ticket_id for i in items if i.step == "resolved" and i.ticket_id is not None]

    def _broadcasts(self, tx: Tx) -> None:
        """Queue the released announcements.

        They are composed now, so that each has the current state of the client's sites.
        """
        if self.compose_announcement is None or self.snapshot.hold_reason:
            return
        known = tickets.broadcasts(tx.conn)
        for ticket in tickets.announcements(tx.conn):
            stored_announcement, client_id = known.get(int(ticket.round)), ticket.client_id
            if (
                ticket.released_at is None
                or stored_announcement is None
                or client_id is None
                or client_id not in self.snapshot.people.clients
            ):
                continue
            person = self.snapshot.people.owner(client_id, self.now).person
            # A snooze of the client, or of all clients, delays the announcement.
            quiet = any(
                s.scope == "all" or (s.scope == "client" and s.scope_id == client_id)
                for s in self.snapshot.snoozes
            )
            # The ticket stays open, so that a later run sends it.
            if person is None or quiet or not person.calendar.may_write(self.now):
                continue
            announcement = self.compose_announcement(
                stored_announcement, client_id, language(person.language, person.zone)
            )
            tickets.close(tx, [ticket.id])
            # The client has no site any more that the announcement concerns.
            if announcement is None:
                continue
            manager = self.snapshot.people.clients[client_id].account_manager
            message = announcement_message(
                stored_announcement.template,
                person,
                announcement,
                self.config.sender,
                self.templates,
                manager,
                ticket.reference,
            )
            item = {
                "subject": ticket.key,
                "step": "broadcast",
                "threshold": "0",
                "round": ticket.round,
                "matter_id": ticket.id,
            }
            self._enqueue(tx, person, "broadcast", client_id, message, [item])
            self.outcome.announcements.append((person, message))

    def _enqueue(
        self,
        tx: Tx,
        person: Person,
        kind: str,
        client_id: int | None,
        message: Message,
        items: Sequence[Mapping[str, Any]],
    ) -> int | None:
        """Add a notice to the queue. Return its id, or None if it was queued before."""
        contact_method, value = person.contact_method or ("email", "")
        values = {
            "contact_id": person.id,
            "client_id": client_id,
            "kind": kind,
            "reference": message.reference,
            "secret": secrets.token_hex(10),
            "outcome": message.outcome,
            "channel": self.default_channel if contact_method == "email" else value,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "calendar": json.dumps(message.calendar) if message.calendar else "",
            "next_at": tx.at,
            "expires_at": tx.at + EXPIRES,
        }
        notice_id = outbox.add(tx, values, [dict(i) | {"contact_id": person.id} for i in items])
        self.outcome.queued += notice_id is not None
        return notice_id

    # -- to staff

    def _to_staff(self, tx: Tx) -> None:
        """Queue alarms that were not sent today, and the digest once a day."""
        local = self.now.astimezone(self.config.zone)
        today = local.date().isoformat()
        staff = self.snapshot.people.staff(self.now)
        self.outcome.staffless = not staff and bool(
            self.alarms or self.plan.for_staff or self.plan.held
        )
        known = outbox.said(tx.conn, [a.topic for a in self.alarms])
        for person in staff:
            # Faults concern those on call only; a hold concerns all staff.
            new_alarms = [
                a
                for a in self.alarms
                if (not a.oncall or person.role == "administrator")
                and person.id not in {c for c, *_ in known.get((a.topic, today), ())}
            ]
            if new_alarms:
                self._staff_notice(
                    tx,
                    person,
                    "alarm",
                    alarm_message(new_alarms, self.templates),
                    [(a.topic, today) for a in new_alarms],
                )
        self._staff_tasks(tx)
        missing = [p for p in staff if not outbox.digest_sent(tx.conn, p.id, today)]
        # The digest is sent once per day and person, from this hour on.
        if local.hour < self.config.digest_hour or not missing:
            return
        digest = StaffDigest.read(
            tx, self.now, self.plan, self.snapshot, self.source, self.config.policy
        )
        message = digest_message(digest, today, self.templates)
        for person in missing:
            self._staff_notice(tx, person, "digest", message, [("digest", today)])
        jobs.succeeded(tx, "digest", {"head": digest.head, "entries": digest.entries, "day": today})

    def _staff_tasks(self, tx: Tx) -> None:
        """Notify administrators of the tasks that wait for them, once per step."""
        known = outbox.said(tx.conn, [e.key for e in self.source.staff_tasks])
        for task in self.source.staff_tasks:
            for person in self._administrators(task.contact_id):
                if person.contact_method is None or person.id in {
                    c for c, *_ in known.get((task.key, task.revision), ())
                }:
                    continue
                message = staff_task_message(
                    task, person, self.config.sender, self.templates, self.now
                )
                self._staff_notice(tx, person, "errand", message, [(task.key, task.revision)])

    def _administrators(self, contact_id: int | None) -> list[Person]:
        """Return the administrator of a task, or all of them if it has none."""
        person = self.snapshot.people.by_id.get(contact_id or -1)
        # A contact of a client must never get a task of staff.
        if person is None or person.client_id is not None:
            return self.snapshot.people.staff(self.now, "administrator")
        return [person]

    def _staff_notice(
        self, tx: Tx, person: Person, kind: str, message: Message, keys: Sequence[tuple[str, str]]
    ) -> None:
        stored_items = [
            {"subject": k, "step": "staff", "threshold": "0", "round": r, "matter_id": None}
            for k, r in keys
        ]
        if self._enqueue(tx, person, kind, None, message, stored_items) is not None:
            self.outcome.staff.append((person.id, message))


def _ticket_row(topic: Topic, hold: str | None) -> dict[str, Any]:
    return {
        "key": topic.key,
        "kind": str(topic.kind),
        "client_id": topic.client_id,
        "endpoint_id": topic.endpoint_id,
        "domain_id": topic.domain_id or None,
        "code": topic.code or None,
        "round": topic.revision,
        "cause": topic.cause,
        "hold": hold,
    }


def _with_reference(item: NoticeItem, rows: Mapping[str, TicketRecord]) -> NoticeItem:
    row = rows.get(item.topic.key)
    return item if row is None else replace(item, reference=row.reference, ticket_id=row.id)


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "subject": decision.topic,
        "client_id": decision.client_id,
        "contact_id": decision.contact_id,
        "threshold": decision.threshold,
        "round": decision.revision,
        "action": decision.action,
        "reason": decision.reason[:300],
    }
