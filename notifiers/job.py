"""One run of notices: what is due, a fresh look, who is told what, the queue; then the worker sends.

Order of durability: nothing is written before the looks are over. Then one transaction holds the matters with their references, the decisions, the
notices with their items, and the success of the run. A death before it leaves nothing, one after it leaves a queue that the next worker sends.
What comes from above (what there is to say, a fresh look) is handed in as functions.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, tzinfo
from typing import Any

from inventory.database import Database, Tx, from_epoch, to_epoch
from inventory.store import jobs, matters, news, outbox, people
from inventory.store.records import Row
from notifiers import decide as rules
from notifiers.compose import Bulletin, Message, Sender, bulletin_message, client_message
from notifiers.days import MONDAY_TO_FRIDAY
from notifiers.decide import Draft, Due, Item, Plan, Policy, World
from notifiers.people import People, Person, person_of
from notifiers.rendering import Templates
from notifiers.staff import Alarm, StaffNews, alarm_message, digest_message
from notifiers.subject import Ended, Look, News, Seen, Subject
from notifiers.wording.catalogue import Language, language

JOB = "notify"
STALE = 6 * 3600  # seconds: what waited longer is decided anew, with a fresh look
EXPIRES = 3 * 86_400
Gather = Callable[[datetime, Mapping[str, Mapping[str, Any]]], News]
Looks = Callable[[Sequence[Subject]], Mapping[str, Look]]
# (broadcast, client id, language) -> what it says to that client; None where it does not concern it.
Bulletins = Callable[[Row, int, Language], Bulletin | None]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says. ``zone``: of the provider. ``confirm_above``: to more clients at once only with their number."""

    policy: Policy = field(default_factory=Policy)
    sender: Sender = field(default_factory=lambda: Sender(""))
    zone: tzinfo | None = None
    zone_name: str = "UTC"
    language: str = "en"
    country: str = ""
    hours: tuple[time, time] = (time(8), time(18))
    weekdays: frozenset[int] = MONDAY_TO_FRIDAY
    confirm_above: int = 20
    digest_hour: int = 7


@dataclass(slots=True)
class Outcome:
    """What a run decided. ``unconfirmed``: how many clients it would have written to, where that number was not given."""

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
    problems: list[str] = field(default_factory=list)


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


class Run:
    """One run. ``expected``: to how many clients at once it may write, where that is more than usual."""

    def __init__(
        self, database: Database, gather: Gather, look: Looks, templates: Templates, config: Rules, now: datetime, *, expected: int | None = None,
        bulletins: Bulletins | None = None, default_channel: str = "mail",
    ) -> None:  # fmt: skip
        self.database, self.gather, self.look, self.templates, self.config, self.now = (
            database,
            gather,
            look,
            templates,
            config,
            now,
        )
        self.expected, self.bulletins, self.default_channel = expected, bulletins, default_channel

    def decide(self, *, dry_run: bool = False) -> Outcome:
        """Queues what is due; with ``dry_run`` the same is shown and nothing is kept. Raises :class:`inventory.errors.Busy` while another run decides."""
        with jobs.alone(self.database, JOB):
            if not dry_run:
                self._tidy()
            world, news_, state = self._world()
            plan, changes = Plan(), self._released(world)
            dues = rules.due(world, news_.subjects, self.config.zone)
            kept = rules.candidates(world, dues, plan)
            ended = list(news_.ended.values())
            kept, ended, mass = self._mass(world, kept, ended, plan, news_, state)
            subjects = [d.subject for d in kept] + [e.subject for e in ended if e.mended and e.subject is not None]
            looks = dict(self.look(subjects)) if subjects and not world.hold else {s.key: Look(Seen.SAME, "") for s in subjects}
            rules.plan(world, kept, looks, plan)
            closing = self._over(world, ended, looks, plan)
            outcome = Outcome(baseline=world.baseline, hold=world.hold)
            self._confirm(world, plan, outcome)
            self._also(world, dues, plan)
            alarms = self._alarms(world, news_, dues, mass, outcome, state, looks)
            try:
                with self.database.write(self.now) as tx:
                    self._write(tx, world, plan, changes, closing, outcome, alarms, news_, state)
                    if dry_run:
                        raise _Rollback
            except _Rollback:
                pass
            return outcome

    # -- what is known -----------------------------------------------------------------------------------------------------

    def _tidy(self) -> None:
        """What has waited so long that it may no longer be true is decided anew."""
        with self.database.write(self.now) as tx:
            outbox.recover(tx)
            old = [r["id"] for r in outbox.waiting(tx.conn) if r["created_at"] < tx.at - STALE]
            if old:
                outbox.drop(tx, old, "it waited too long, and is decided anew")

    def _world(self) -> tuple[World, News, dict[str, Any]]:
        with self.database.read() as conn:
            told = {k: m for k, m in matters.by_key(conn, open_only=True).items() if m["told_at"] is not None}
            newest = news.newest_instant(conn)
        found = self.gather(self.now, told)
        keys = [s.key for s in found.subjects]
        with self.database.read() as conn:
            state = jobs.state(conn, JOB)
            config = self.config
            concerned = {s.client_id for s in found.subjects} | matters.clients_of_open(conn)
            everybody = people.clients(conn, concerned)
            persons = [
                person_of(
                    r,
                    language=config.language,
                    zone=config.zone_name,
                    country=config.country,
                    hours=config.hours,
                    weekdays=config.weekdays,
                )
                for r in people.contacts(conn, everybody)
            ]
            world = World(
                self.now, config.policy, People(persons, everybody), matters.by_key(conn, {*keys, *told}), outbox.said(conn, sorted({*keys, *told})),
                matters.snoozes(conn, to_epoch(self.now)), outbox.last_to_contacts(conn),
                matters.waiting_since(conn, "wait", "a fresh look did not succeed", to_epoch(self.now) - 2 * 86_400),
                rules.clock_fault(self.now, newest) or found.suspect, not state["detail"].get("baseline_at"),
            )  # fmt: skip
        return world, found, state

    def _released(self, world: World) -> list[int]:
        """Matters whose cause staff let go, for so many clients a day. Their rows change in memory now, and in the transaction later."""
        with self.database.read() as conn:
            waiting = matters.listing(conn, held=True)
            released = matters.releases(conn)
            today = matters.released_since(conn, self._midnight())
        chosen: list[int] = []
        for row in released:
            mine = [m for m in waiting if matters.belongs(m, row["cause"]) and m["id"] not in chosen]
            already = {m["client_id"] for m in today if matters.belongs(m, row["cause"])}
            room = max(0, row["per_day"] - len(already))
            clients = list(dict.fromkeys(m["client_id"] for m in mine if m["client_id"] not in already))[:room]
            chosen += [m["id"] for m in mine if m["client_id"] in already or m["client_id"] in clients]
        ids = set(chosen)
        world.matters = {k: {**m, "released_at": to_epoch(self.now)} if m["id"] in ids else m for k, m in world.matters.items()}
        return chosen

    def _midnight(self) -> int:
        local = self.now.astimezone(self.config.zone)
        return to_epoch(local.replace(hour=0, minute=0, second=0, microsecond=0))

    # -- what holds it back --------------------------------------------------------------------------------------------------

    def _mass(
        self, world: World, kept: list[Due], ended: list[Ended], plan: Plan, found: News, state: Mapping[str, Any]
    ) -> tuple[list[Due], list[Ended], int]:  # fmt: skip
        """Faults that are new, and matters that end, of too many clients at once: held until staff release them."""
        since = state["success_at"] or 0
        fresh = [
            d
            for d in kept
            if d.subject.end is None and d.subject.key not in world.matters and to_epoch(d.subject.opened) >= since - 86_400
        ]
        over = [
            e
            for e in ended
            if e.mended and e.subject is not None and not e.key.startswith("cover:") and _unreleased(world.matters.get(e.key))
        ]
        clients = {d.subject.client_id for d in fresh} | {e.subject.client_id for e in over if e.subject is not None}
        if world.baseline or not rules.mass_change(clients, found.clients, self.config.policy):
            return kept, ended, 0
        for one in fresh:
            plan.hold.append((one.subject, f"mass {one.crossed.rank}"))
            plan.note(one.subject, one.crossed.label, "hold", "one run changed too much at once; certmgr notice release")
        for end in over:
            if end.subject is not None:
                plan.hold.append((end.subject, "mass 0"))
                plan.note(end.subject, "resolved", "hold", "one run changed too much at once; certmgr notice release")
        gone, stays = {id(d) for d in fresh}, {id(e) for e in over}
        return [d for d in kept if id(d) not in gone], [e for e in ended if id(e) not in stays], len(clients)

    def _confirm(self, world: World, plan: Plan, outcome: Outcome) -> None:
        # What staff released was confirmed with the release.
        free = {k for k, m in world.matters.items() if m["released_at"] is not None}
        clients = {i.subject.client_id for d in plan.drafts for i in d.items if i.subject.key not in free}
        outcome.clients = len(clients)
        if len(clients) > self.config.confirm_above and self.expected != len(clients):
            outcome.unconfirmed = len(clients)
            for draft in plan.drafts:
                for item in draft.items:
                    reason = f"{len(clients)} clients at once: certmgr notify --clients {len(clients)}"
                    plan.note(item.subject, item.label, "hold", reason, draft.person.id)
            plan.drafts.clear()

    # -- what is over --------------------------------------------------------------------------------------------------------

    def _over(self, world: World, ended: Iterable[Ended], looks: Mapping[str, Look], plan: Plan) -> list[Row]:
        """Matters that close, and the word that says so."""
        closing, said = [], []
        for end in ended:
            matter = world.matters.get(end.key)
            if matter is None:
                continue
            if not end.mended or end.subject is None:
                plan.decisions.append(
                    rules.Decision(end.key, matter["client_id"] or 0, 0, "resolved", matter["round"], "suppress", end.reason)
                )
                closing.append(matter)
                continue
            look = looks.get(end.key, Look(Seen.UNKNOWN, "it was not looked at"))
            if matter["kind"] != "cover" and look.seen is Seen.SAME and not world.hold:
                plan.note(end.subject, "resolved", "wait", f"closed by a scan, and there again: {look.reason}")
                continue
            if world.hold:
                plan.note(end.subject, "resolved", "hold", world.hold)
                continue
            found = rules.resolved_items(world, matter, end.subject)
            said += found
            if not found:
                closing.append(matter)
        rules.merge(plan, said, world)
        sent = {i.matter_id for d in plan.drafts for i in d.items if i.step == "resolved"}
        return closing + [m for m in world.matters.values() if m["id"] in sent]

    def _also(self, world: World, dues: Sequence[Due], plan: Plan) -> None:
        """What is open beside it, and was said before: all of a client's sites stand in each message."""
        by_client: dict[int, list[Due]] = {}
        for due in dues:
            matter = world.matters.get(due.subject.key)
            if (
                matter is not None
                and matter["told_at"] is not None
                and matter["closed_at"] is None
                and rules.reaches_clients(due, world)
                and not due.subject.quiet
            ):
                by_client.setdefault(due.subject.client_id, []).append(due)
        for index, draft in enumerate(plan.drafts):
            mine = {i.subject.key for i in draft.items}
            clients = world.people.written_for.get(draft.person.client_id or 0, [])
            also = []
            for client in clients:
                for due in by_client.get(client, ()):
                    outcome = rules.outcome_of(due, world, draft.person)
                    if due.subject.key not in mine and outcome is not None:
                        also.append(rules.item_of(due, outcome, "also", due.crossed.label, world))
            plan.drafts[index] = replace(draft, also=tuple(also))

    # -- staff -----------------------------------------------------------------------------------------------------------------

    def _alarms(
        self, world: World, found: News, dues: Sequence[Due], mass: int, outcome: Outcome, state: Mapping[str, Any], looks: Mapping[str, Look]
    ) -> list[Alarm]:  # fmt: skip
        """What staff hear at once: a hold, a baseline, and new critical faults that are ours, a line a cause."""
        alarms = []
        if world.hold:
            alarms.append(Alarm("hold", f"Client messages are held: {world.hold}"))
        if mass:
            alarms.append(
                Alarm(
                    "mass",
                    f"One run changed {mass} of {found.clients} clients at once. Their messages wait: certmgr notice release",
                )
            )
        if outcome.unconfirmed:
            alarms.append(
                Alarm(
                    "confirm",
                    f"{outcome.unconfirmed} clients are due at once. To send: certmgr notify --clients {outcome.unconfirmed}",
                )
            )
        if world.baseline:
            if found.whole_run:
                alarms.append(
                    Alarm(
                        "baseline",
                        "This was the first sight of the inventory. Nothing goes to clients by itself: certmgr notice release",
                    )
                )
            return alarms
        last = state["success_at"] or to_epoch(self.now) - 86_400
        causes: dict[str, list[Subject]] = {}
        for due in dues:
            subject = due.subject
            ours = subject.actor == "provider" and subject.severity == "critical" and not subject.quiet and not subject.parent
            if (
                ours
                and subject.end is None
                and to_epoch(subject.opened) >= min(last, to_epoch(self.now) - 86_400)
                and not rules.silence(due, world)
            ):
                causes.setdefault(subject.cause, []).append(subject)
        for cause, subjects in sorted(causes.items()):
            alarms.append(Alarm(f"oncall:{cause}", f"New and ours: {cause}, {len(subjects)} endpoint(s), {subjects[0].target}"))
        return alarms

    # -- one transaction -------------------------------------------------------------------------------------------------------

    def _write(
        self, tx: Tx, world: World, plan: Plan, released: Sequence[int], closing: Sequence[Row], outcome: Outcome, alarms: Sequence[Alarm], found: News,
        state: Mapping[str, Any],
    ) -> None:  # fmt: skip
        jobs.started(tx, JOB)
        for matter_id in released:
            matters.change(tx, matter_id, released_at=tx.at)
        rows = self._matters(tx, world, plan)
        outcome.held = len(plan.hold)
        for draft in plan.drafts:
            self._queue(tx, draft, rows, world, plan, outcome)
        self._broadcasts(tx, world, outcome)
        matters.close(tx, [m["id"] for m in closing])
        matters.resolved(tx, [m["id"] for m in closing])
        for key in plan.flapping:  # the days of quiet count from the last time that it came back
            matters.change(tx, world.matters[key]["id"], closed_at=tx.at)
        matters.decided(tx, [_row(d) for d in plan.decisions])
        for decision in plan.decisions:
            outcome.decisions[decision.action] = outcome.decisions.get(decision.action, 0) + 1
        self._to_staff(tx, world, plan, outcome, alarms, found, state)
        detail = dict(state["detail"])
        if world.baseline and found.whole_run:
            detail["baseline_at"] = tx.at
        jobs.succeeded(tx, JOB, detail)

    def _matters(self, tx: Tx, world: World, plan: Plan) -> dict[str, Row]:
        """Every subject that is spoken of, or held, gets its matter; a new round of an old one keeps the reference."""
        holds = {s.key: reason for s, reason in plan.hold}
        speaking = {i.subject.key: i.subject for d in plan.drafts for i in d.items if i.step != "resolved"} | {
            s.key: s for s, _ in plan.hold
        }
        new = [_matter_row(s, holds.get(s.key)) for s in speaking.values() if s.key not in world.matters]
        matters.open_(tx, new)
        for key, subject in speaking.items():
            before = world.matters.get(key)
            if before is None:
                continue
            changed: dict[str, Any] = {}
            if before["round"] != subject.round or before["closed_at"] is not None:
                changed = {
                    "round": subject.round,
                    "closed_at": None,
                    "acked_at": None,
                    "acked_by": None,
                    "hold": None,
                    "released_at": None,
                    "cause": subject.cause,
                }
                changed["client_id"] = subject.client_id
            if key in holds and (before["hold"] is None or changed):
                changed |= {"hold": holds[key], "released_at": None, "cause": subject.cause or before["cause"]}
            if changed:
                matters.change(tx, before["id"], **changed)
        return dict(matters.by_key(tx.conn, speaking))

    def _queue(self, tx: Tx, draft: Draft, rows: Mapping[str, Row], world: World, plan: Plan, outcome: Outcome) -> None:
        items = tuple(_with_reference(i, rows) for i in draft.items)
        draft = replace(draft, items=items)
        manager = world.people.clients.get(items[0].subject.client_id, {}).get("account_manager")
        message = client_message(draft, self.config.sender, self.templates, manager)
        said = [
            {"subject": i.subject.key, "step": i.step, "threshold": i.label, "round": i.subject.round, "matter_id": i.matter_id}
            for i in items
        ]  # fmt: skip
        notice_id = self._enqueue(tx, draft.person, "client", items[0].subject.client_id, message, said, outcome)
        if notice_id is None:
            return
        outcome.drafts.append((draft, message))
        for item in items:
            plan.note(
                item.subject,
                item.label,
                "send",
                f"notice {notice_id} to contact {draft.person.id} ({item.step})",
                draft.person.id,
            )
        matters.told(tx, [i.matter_id for i in items if i.matter_id is not None])

    def _broadcasts(self, tx: Tx, world: World, outcome: Outcome) -> None:
        """Bulletins that were released: composed now, so that each says how the client's sites stand now."""
        if self.bulletins is None or world.hold:
            return
        known = matters.broadcasts(tx.conn)
        for matter in matters.bulletins(tx.conn):
            sheet = known.get(int(matter["round"]))
            if matter["released_at"] is None or sheet is None or matter["client_id"] not in world.people.clients:
                continue
            person = world.people.owner(matter["client_id"], self.now).person
            if (
                person is None
                or not person.calendar.may_write(self.now)
                or any(s["scope"] == "client" and s["scope_id"] == matter["client_id"] for s in world.snoozes)
            ):
                continue
            bulletin = self.bulletins(sheet, matter["client_id"], language(person.language, person.zone))
            matters.close(tx, [matter["id"]])
            if bulletin is None:
                continue
            manager = world.people.clients[matter["client_id"]]["account_manager"]
            message = bulletin_message(
                sheet["template"], person, bulletin, self.config.sender, self.templates, manager, matter["reference"]
            )
            item = {
                "subject": matter["key"],
                "step": "broadcast",
                "threshold": "0",
                "round": matter["round"],
                "matter_id": matter["id"],
            }
            self._enqueue(tx, person, "broadcast", matter["client_id"], message, [item], outcome)
            outcome.bulletins.append((person, message))

    def _enqueue(
        self, tx: Tx, person: Person, kind: str, client_id: int | None, message: Message, items: Sequence[Mapping[str, Any]], outcome: Outcome
    ) -> int | None:  # fmt: skip
        way, value = person.way or ("email", "")
        values = {
            "contact_id": person.id, "client_id": client_id, "kind": kind, "reference": message.reference, "secret": secrets.token_hex(10),
            "outcome": message.outcome, "channel": self.default_channel if way == "email" else value, "subject": message.subject, "text": message.text,
            "html": message.html, "next_at": tx.at, "expires_at": tx.at + EXPIRES,
        }  # fmt: skip
        notice_id = outbox.add(tx, values, [dict(i) | {"contact_id": person.id} for i in items])
        outcome.queued += notice_id is not None
        return notice_id

    def _to_staff(
        self, tx: Tx, world: World, plan: Plan, outcome: Outcome, alarms: Sequence[Alarm], found: News, state: Mapping[str, Any]
    ) -> None:  # fmt: skip
        local = self.now.astimezone(self.config.zone)
        today = local.date().isoformat()
        for person in world.people.staff(self.now):
            mine = [a for a in alarms if not a.oncall or person.role == "administrator"]
            if mine:
                self._staff_notice(
                    tx, person, "alarm", alarm_message(mine, self.templates), [(f"alarm:{a.key}", today) for a in mine], outcome
                )
        if local.hour < self.config.digest_hour or not world.people.staff(self.now):
            return
        with_digest = [p for p in world.people.staff(self.now) if not outbox.digest_sent(tx.conn, p.id, today)]
        if not with_digest:
            return
        staff_news = StaffNews.read(tx, self.now, plan, world, found, self.config.policy)
        message = digest_message(staff_news, today, self.templates)
        for person in with_digest:
            self._staff_notice(tx, person, "digest", message, [("digest", today)], outcome)
        jobs.succeeded(tx, "digest", {"head": staff_news.head, "entries": staff_news.entries, "day": today})

    def _staff_notice(
        self, tx: Tx, person: Person, kind: str, message: Message, keys: Sequence[tuple[str, str]], outcome: Outcome
    ) -> None:
        said = [
            {"contact_id": person.id, "subject": k, "step": "staff", "threshold": "0", "round": r, "matter_id": None}
            for k, r in keys
        ]
        if self._enqueue(tx, person, kind, None, message, said, outcome) is not None:
            outcome.staff.append((person.id, message))


def _unreleased(matter: Mapping[str, Any] | None) -> bool:
    return matter is not None and not (
        matter["hold"] is not None and matter["hold"].startswith("mass") and matter["released_at"] is not None
    )


def _matter_row(subject: Subject, hold: str | None) -> dict[str, Any]:
    return {
        "key": subject.key, "kind": str(subject.kind), "client_id": subject.client_id, "endpoint_id": subject.endpoint_id, "domain_id": subject.domain_id,
        "code": subject.code or None, "round": subject.round, "cause": subject.cause, "hold": hold,
    }  # fmt: skip


def _with_reference(item: Item, rows: Mapping[str, Row]) -> Item:
    row = rows.get(item.subject.key)
    return item if row is None else replace(item, reference=row["reference"], matter_id=row["id"])


def _row(decision: rules.Decision) -> dict[str, Any]:
    return {
        "subject": decision.subject, "client_id": decision.client_id, "contact_id": decision.contact_id, "threshold": decision.threshold,
        "round": decision.round, "action": decision.action, "reason": decision.reason[:300], "notice_id": None,
    }  # fmt: skip


def address_of(database: Database, channel: str) -> Callable[[Row], tuple[str | None, str]]:
    """Where a notice goes now: the contact's first good address at the moment of sending, since it may have changed."""

    def address(row: Row) -> tuple[str | None, str]:
        with database.read() as conn:
            found = people.ways_of(conn, row["contact_id"] or 0)
        if found is None:
            return None, "the contact is no longer there"
        kind, wanted = ("email", None) if row["channel"] == channel else ("channel", row["channel"])
        for way, value, state in found:
            if way == kind and state == "good" and wanted in (None, value):
                return value, ""
        return None, "the contact has no good address any more"

    return address


def last_success(database: Database) -> datetime | None:
    with database.read() as conn:
        return from_epoch(jobs.state(conn, JOB)["success_at"])
