"""The one transaction of a run: matters with their references, decisions, notices with their items,
and the success of the run.
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
from inventory.store import jobs, outbox, recipients, tickets
from inventory.store.records import Row
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
EXPIRES = 3 * 86_400
# (broadcast, client id, language) -> what it says to that client; None where it does not concern
# it.
Bulletins = Callable[[Row, int, Language], Announcement | None]


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """What the configuration says.

    ``zone``: of the provider. ``confirm_above``: to more clients at once only with their number.
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

    def person(self, row: Row) -> Person:
        """A contact's row with ``ways``; what it does not say is the provider's."""
        return person_of(
            row,
            language=self.language,
            zone=self.zone_name,
            country=self.country,
            hours=self.hours,
            weekdays=self.weekdays,
        )

    def recipients(self, conn: Connection, client_ids: Iterable[int] | None = None) -> Recipients:
        """Everybody who can be written to: of these clients and their resellers, or of all; and the
        staff.
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
    """What a run decided.

    ``unconfirmed``: how many clients it would have written to, where that number was not given.
    """

    drafts: list[tuple[Draft, Message]] = field(default_factory=list)
    staff: list[tuple[int, Message]] = field(default_factory=list)
    bulletins: list[tuple[Person, Message]] = field(default_factory=list)
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
    """Writes what a run decided.

    ``state``: of the job before it. ``closing``: ids of matters that end without a word.
    """

    now: datetime
    config: NoticeSettings
    templates: Templates
    default_channel: str
    bulletins: Bulletins | None
    world: Snapshot
    plan: NoticePlan
    found: NoticeSource
    alarms: Sequence[Alarm]
    state: Mapping[str, Any]
    outcome: RunOutcome
    released: Sequence[int] = ()
    closing: Sequence[int] = ()
    spent: Sequence[int] = ()  # releases that have nothing left to let go

    def write(self, tx: Tx) -> None:
        """Everything or nothing."""
        jobs.started(tx, JOB)
        for matter_id in self.released:
            tickets.change(tx, matter_id, released_at=tx.at)
        tickets.end_releases(tx, self.spent)
        rows = self._matters(tx)
        self.outcome.held = len(self.plan.hold)
        ended = list(self.closing)
        for draft in self.plan.drafts:
            ended += self._queue(tx, draft, rows)
        self._broadcasts(tx)
        ended = [i for i in ended if i not in self.plan.unsaid]
        tickets.close(tx, ended)
        tickets.resolved(tx, ended)
        for (
            key
        ) in self.plan.flapping:  # the days of quiet count from the last time that it came back
            if self.world.matters[key]["closed_at"] is not None:
                tickets.change(tx, self.world.matters[key]["id"], closed_at=tx.at)
        tickets.decided(tx, [_row(d) for d in self.plan.decisions])
        for decision in self.plan.decisions:
            self.outcome.decisions[decision.action] = (
                self.outcome.decisions.get(decision.action, 0) + 1
            )
        self._to_staff(tx)
        detail = dict(self.state["detail"]) | {"run_id": self.found.run}
        if self.world.baseline and self.found.whole_run:
            detail["baseline_at"] = tx.at
        jobs.succeeded(tx, JOB, detail)

    def _matters(self, tx: Tx) -> dict[str, Row]:
        """Every subject that is spoken of, or held, gets its matter; a new round of an old one
        keeps the reference.
        """
        holds = {s.key: reason for s, reason in self.plan.hold}
        speaking = {
            i.subject.key: i.subject
            for d in self.plan.drafts
            for i in d.items
            if i.step != "resolved"
        }
        speaking |= {s.key: s for s, _ in self.plan.hold}
        speaking |= {s.key: s for s in self.plan.nobody}
        new = [
            _matter_row(s, holds.get(s.key))
            for s in speaking.values()
            if s.key not in self.world.matters
        ]
        tickets.open_(tx, new)
        for key, subject in speaking.items():
            before = self.world.matters.get(key)
            if before is None:
                continue
            changed: dict[str, Any] = {}
            if before["round"] != subject.round or before["closed_at"] is not None:
                empty = dict.fromkeys(
                    ("closed_at", "acked_at", "acked_by", "hold", "released_at", "promised_at")
                )
                changed = {
                    **empty,
                    "round": subject.round,
                    "cause": subject.cause,
                    "client_id": subject.client_id,
                }
            if key in holds and (before["hold"] is None or changed):
                changed |= {
                    "hold": holds[key],
                    "released_at": None,
                    "cause": subject.cause or before["cause"],
                }
            if changed:
                tickets.change(tx, before["id"], **changed)
        return dict(tickets.by_key(tx.conn, speaking))

    def _queue(self, tx: Tx, draft: Draft, rows: Mapping[str, Row]) -> list[int]:
        """Queues one message. Returns the ids of the matters that end with it."""
        items = tuple(_with_reference(i, rows) for i in draft.items)
        draft = replace(draft, items=items)
        first = items[0].subject.client_id
        manager = self.world.people.clients.get(first, {}).get("account_manager")
        message = client_message(draft, self.config.sender, self.templates, manager, self.now)
        said = [
            {
                "subject": i.subject.key,
                "step": i.step,
                "threshold": i.label,
                "round": i.subject.round,
                "matter_id": i.matter_id,
            }
            for i in items
        ]
        notice_id = self._enqueue(tx, draft.person, "client", first, message, said)
        if notice_id is None:
            return []
        self.outcome.drafts.append((draft, message))
        for item in items:
            self.plan.note(
                item.subject,
                item.label,
                "send",
                f"notice {notice_id} to contact {draft.person.id} ({item.step})",
                draft.person.id,
            )
            if isinstance(item.outcome, Escalated) and item.matter_id is not None:
                tickets.change(
                    tx,
                    item.matter_id,
                    promised_at=to_epoch(
                        draft.person.calendar.end_of(date.fromisoformat(item.label))
                    ),
                )
        tickets.told(tx, [i.matter_id for i in items if i.matter_id is not None])
        return [i.matter_id for i in items if i.step == "resolved" and i.matter_id is not None]

    def _broadcasts(self, tx: Tx) -> None:
        """Bulletins that were released: composed now, so that each says how the client's sites
        stand now.
        """
        if self.bulletins is None or self.world.hold:
            return
        known = tickets.broadcasts(tx.conn)
        for matter in tickets.bulletins(tx.conn):
            sheet, client_id = known.get(int(matter["round"])), matter["client_id"]
            if (
                matter["released_at"] is None
                or sheet is None
                or client_id not in self.world.people.clients
            ):
                continue
            person = self.world.people.owner(client_id, self.now).person
            quiet = any(
                s["scope"] == "all" or (s["scope"] == "client" and s["scope_id"] == client_id)
                for s in self.world.snoozes
            )
            if person is None or quiet or not person.calendar.may_write(self.now):
                continue
            bulletin = self.bulletins(sheet, client_id, language(person.language, person.zone))
            tickets.close(tx, [matter["id"]])
            if bulletin is None:
                continue
            manager = self.world.people.clients[client_id]["account_manager"]
            message = announcement_message(
                sheet["template"],
                person,
                bulletin,
                self.config.sender,
                self.templates,
                manager,
                matter["reference"],
            )
            item = {
                "subject": matter["key"],
                "step": "broadcast",
                "threshold": "0",
                "round": matter["round"],
                "matter_id": matter["id"],
            }
            self._enqueue(tx, person, "broadcast", client_id, message, [item])
            self.outcome.bulletins.append((person, message))

    def _enqueue(
        self,
        tx: Tx,
        person: Person,
        kind: str,
        client_id: int | None,
        message: Message,
        items: Sequence[Mapping[str, Any]],
    ) -> int | None:
        way, value = person.way or ("email", "")
        values = {
            "contact_id": person.id,
            "client_id": client_id,
            "kind": kind,
            "reference": message.reference,
            "secret": secrets.token_hex(10),
            "outcome": message.outcome,
            "channel": self.default_channel if way == "email" else value,
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
        """Alarms that were not said today, and once a day the digest."""
        local = self.now.astimezone(self.config.zone)
        today = local.date().isoformat()
        staff = self.world.people.staff(self.now)
        self.outcome.staffless = not staff and bool(
            self.alarms or self.plan.for_staff or self.plan.hold
        )
        known = outbox.said(tx.conn, [a.subject for a in self.alarms])
        for person in staff:
            fresh = [
                a
                for a in self.alarms
                if (not a.oncall or person.role == "administrator")
                and person.id not in {c for c, *_ in known.get((a.subject, today), ())}
            ]
            if fresh:
                self._staff_notice(
                    tx,
                    person,
                    "alarm",
                    alarm_message(fresh, self.templates),
                    [(a.subject, today) for a in fresh],
                )
        self._errands(tx)
        missing = [p for p in staff if not outbox.digest_sent(tx.conn, p.id, today)]
        if local.hour < self.config.digest_hour or not missing:
            return
        said = StaffDigest.read(tx, self.now, self.plan, self.world, self.found, self.config.policy)
        message = digest_message(said, today, self.templates)
        for person in missing:
            self._staff_notice(tx, person, "digest", message, [("digest", today)])
        jobs.succeeded(tx, "digest", {"head": said.head, "entries": said.entries, "day": today})

    def _errands(self, tx: Tx) -> None:
        """What single administrators are told, each step once."""
        known = outbox.said(tx.conn, [e.key for e in self.found.errands])
        for errand in self.found.errands:
            for person in self._leaders(errand.contact_id):
                if person.way is None or person.id in {
                    c for c, *_ in known.get((errand.key, errand.round), ())
                }:
                    continue
                message = staff_task_message(
                    errand, person, self.config.sender, self.templates, self.now
                )
                self._staff_notice(tx, person, "errand", message, [(errand.key, errand.round)])

    def _leaders(self, contact_id: int | None) -> list[Person]:
        """Who is told of an errand: its administrator, or all of them."""
        person = self.world.people.by_id.get(contact_id or -1)
        if person is None or person.client_id is not None:
            return self.world.people.staff(self.now, "administrator")
        return [person]

    def _staff_notice(
        self, tx: Tx, person: Person, kind: str, message: Message, keys: Sequence[tuple[str, str]]
    ) -> None:
        said = [
            {"subject": k, "step": "staff", "threshold": "0", "round": r, "matter_id": None}
            for k, r in keys
        ]
        if self._enqueue(tx, person, kind, None, message, said) is not None:
            self.outcome.staff.append((person.id, message))


def _matter_row(subject: Topic, hold: str | None) -> dict[str, Any]:
    return {
        "key": subject.key,
        "kind": str(subject.kind),
        "client_id": subject.client_id,
        "endpoint_id": subject.endpoint_id,
        "domain_id": subject.domain_id or None,
        "code": subject.code or None,
        "round": subject.round,
        "cause": subject.cause,
        "hold": hold,
    }


def _with_reference(item: NoticeItem, rows: Mapping[str, Row]) -> NoticeItem:
    row = rows.get(item.subject.key)
    return item if row is None else replace(item, reference=row["reference"], matter_id=row["id"])


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "subject": decision.subject,
        "client_id": decision.client_id,
        "contact_id": decision.contact_id,
        "threshold": decision.threshold,
        "round": decision.round,
        "action": decision.action,
        "reason": decision.reason[:300],
    }
