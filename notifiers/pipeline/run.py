"""One run of notices: what is due, a fresh look, who is told what, the queue; then the worker
sends.

Order of durability: nothing is written before the looks are over. Then one transaction holds the
matters with their references, the decisions, the notices with their items, and the success of the
run. A death before it leaves nothing, one after it leaves a queue that the next worker sends. What
comes from above (what there is to say, a fresh look) is handed in as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from inventory.db.database import Database, to_epoch
from inventory.store import certificate_ends, jobs, outbox, recipients, tickets
from inventory.store.records import Row
from notifiers.delivery import Recipient
from notifiers.pipeline import decide as rules
from notifiers.pipeline import limits
from notifiers.pipeline.plan import Decision, DueTopic, NoticePlan, Snapshot
from notifiers.pipeline.record import JOB, Bulletins, NoticeSettings, RunOutcome, RunRecorder
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff import Alarm
from notifiers.pipeline.topic import EndedTopic, NoticeSource, Recheck, RecheckState, Topic

STALE = 60  # seconds: what is still queued in a later run is decided anew, with a fresh look
REFUSED = 86_400
Gather = Callable[[datetime, Mapping[str, Mapping[str, Any]]], NoticeSource]
Looks = Callable[[Sequence[Topic]], Mapping[tuple[str, str], Recheck]]


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


class NoticeRun:
    """One run.

    ``expected``: to how many clients at once it may write, where that is more than usual.
    """

    def __init__(
        self,
        database: Database,
        gather: Gather,
        look: Looks,
        templates: Templates,
        config: NoticeSettings,
        now: datetime,
        *,
        expected: int | None = None,
        bulletins: Bulletins | None = None,
        default_channel: str = "mail",
    ) -> None:
        self.database, self.gather, self.look, self.templates, self.config, self.now = (
            database,
            gather,
            look,
            templates,
            config,
            now,
        )
        self.expected, self.bulletins, self.default_channel = expected, bulletins, default_channel

    def decide(self, *, dry_run: bool = False) -> RunOutcome:
        """Queues what is due; with ``dry_run`` the same is shown and nothing is kept.

        Raises :class:`inventory.errors.Busy` while another run decides.
        """
        with jobs.alone(self.database, JOB):
            if not dry_run:
                self._tidy()
            world, news_, state = self._world()
            plan, changes = NoticePlan(), self._released(world)
            dues = rules.due(world, news_.subjects, self.config.zone)
            kept = rules.candidates(world, dues, plan)
            kept, ended, mass = self._mass(
                world, kept, list(news_.ended.values()), plan, news_, state
            )
            subjects = [d.subject for d in kept] + [
                e.subject for e in ended if e.mended and e.subject is not None
            ]
            beside = self._beside(world, dues, {d.subject.client_id for d in kept})
            subjects += [d.subject for d in beside]
            looks = (
                dict(self.look(subjects))
                if subjects and not world.hold
                else {s.mark: Recheck(RecheckState.SAME, "") for s in subjects}
            )
            rules.plan(world, kept, looks, plan)
            closing = self._over(world, ended, looks, plan) + self._faded(world, news_)
            outcome = RunOutcome(baseline=world.baseline, hold=world.hold)
            self._confirm(world, plan, outcome)
            self._also(
                world,
                [d for d in beside if looks.get(d.subject.mark, UNSEEN).seen is RecheckState.SAME],
                plan,
            )
            alarms = self._alarms(world, news_, dues, mass, outcome)
            record = RunRecorder(
                now=self.now,
                config=self.config,
                templates=self.templates,
                default_channel=self.default_channel,
                bulletins=self.bulletins,
                world=world,
                plan=plan,
                found=news_,
                alarms=alarms,
                state=state,
                outcome=outcome,
                released=changes,
                closing=closing,
                spent=self._spent,
            )
            try:
                with self.database.write(self.now) as tx:
                    record.write(tx)
                    if dry_run:
                        raise _Rollback
            except _Rollback:
                pass
            return outcome

    # -- what is known

    def _tidy(self) -> None:
        """What was queued and not sent may no longer be true, or theirs: it is decided anew.

        So is, a day later, what was refused for another reason than its address.
        """
        with self.database.write(self.now) as tx:
            outbox.recover(tx)
            outbox.drop(
                tx,
                outbox.waiting(tx.conn, tx.at - STALE),
                "it waited, and is decided anew",
                trace=False,
            )
            outbox.drop(
                tx,
                outbox.refused(tx.conn, tx.at - REFUSED),
                "it was refused a day ago, and is decided anew",
            )

    _held: Mapping[str, Row]
    _waiting: Sequence[Row]  # matters that wait for a release
    _releases: Sequence[Row]
    _released_today: Sequence[Row]
    _spent: list[int]
    _baseline_at: int

    def _world(self) -> tuple[Snapshot, NoticeSource, dict[str, Any]]:
        with self.database.read() as conn:
            every = tickets.by_key(conn, open_only=True)
            told = {
                k: m
                for k, m in every.items()
                if m["told_at"] is not None and m["kind"] != "broadcast"
            }
            self._held = {
                k: m for k, m in every.items() if m["told_at"] is None and m["kind"] != "broadcast"
            }
            newest = certificate_ends.newest_instant(conn)
        found = self.gather(self.now, told)
        keys = [s.key for s in found.subjects]
        with self.database.read() as conn:
            state = jobs.state(conn, JOB)
            self._baseline_at = int(state["detail"].get("baseline_at") or 0)
            self._waiting = tickets.listing(conn, held=True)
            self._releases = tickets.releases(conn)
            self._released_today = tickets.released_since(conn, self._midnight())
            config = self.config
            concerned = {s.client_id for s in found.subjects} | tickets.clients_of_open(conn)
            world = Snapshot(
                now=self.now,
                policy=config.policy,
                people=config.recipients(conn, concerned),
                matters=tickets.by_key(conn, {*keys, *told}),
                said=outbox.said(conn, sorted({*keys, *told})),
                snoozes=tickets.snoozes(conn, to_epoch(self.now)),
                written=outbox.last_to_contacts(conn),
                waiting=tickets.waiting_since(
                    conn, "wait", "a fresh look did not succeed", to_epoch(self.now) - 2 * 86_400
                ),
                hold=limits.clock_fault(self.now, newest) or found.suspect,
                baseline=not state["detail"].get("baseline_at"),
                baseline_at=self._baseline_at,
            )
        return world, found, state

    def _released(self, world: Snapshot) -> list[int]:
        """Matters whose cause staff let go, for so many clients a day.

        Their rows change in memory now, and in the transaction later.
        """
        chosen: list[int] = []
        self._spent = []
        for row in self._releases:
            # A release lets go what was held when it was given; when that is out it has ended.
            mine = [
                m
                for m in self._waiting
                if tickets.belongs(m, row["cause"]) and tickets.held_at(m) <= row["created_at"]
            ]
            if not mine:
                self._spent.append(row["id"])
            already = {
                m["client_id"] for m in self._released_today if tickets.belongs(m, row["cause"])
            }
            room = max(0, row["per_day"] - len(already))
            clients = list(
                dict.fromkeys(m["client_id"] for m in mine if m["client_id"] not in already)
            )[:room]
            chosen += [
                m["id"] for m in mine if m["client_id"] in already or m["client_id"] in clients
            ]
        ids = set(chosen)
        world.matters = {
            k: {**m, "released_at": to_epoch(self.now)} if m["id"] in ids else m
            for k, m in world.matters.items()
        }
        return chosen

    def _midnight(self) -> int:
        local = self.now.astimezone(self.config.zone)
        return to_epoch(local.replace(hour=0, minute=0, second=0, microsecond=0))

    # -- what holds it back

    def _mass(
        self,
        world: Snapshot,
        kept: list[DueTopic],
        ended: list[EndedTopic],
        plan: NoticePlan,
        found: NoticeSource,
        state: Mapping[str, Any],
    ) -> tuple[list[DueTopic], list[EndedTopic], int]:
        """Faults that one run opened, and told ones that it closed, of too many clients at once:
        held until staff release them.
        """
        last = int(state["detail"].get("run_id") or 0)
        fresh = [d for d in kept if d.subject.run > last and _is_new(d.subject, world)]
        over = [e for e in ended if e.run > last and e.mended and e.subject is not None]
        by_run: dict[int, set[int]] = {}
        for d in fresh:
            by_run.setdefault(d.subject.run, set()).add(d.subject.client_id)
        for e in over:
            if e.subject is not None:
                by_run.setdefault(e.run, set()).add(e.subject.client_id)
        broken = {
            run
            for run, clients in by_run.items()
            if limits.mass_change(clients, found.clients, self.config.policy)
        }
        if world.baseline or not broken:
            return kept, ended, 0
        fresh, over = (
            [d for d in fresh if d.subject.run in broken],
            [e for e in over if e.run in broken],
        )
        clients = {c for run in broken for c in by_run[run]}
        for one in fresh:
            plan.hold.append((one.subject, f"mass {one.crossed.rank} {to_epoch(self.now)}"))
            plan.note(
                one.subject,
                one.crossed.label,
                "hold",
                "one run changed too much at once; certmgr notice release",
            )
        for end in over:
            if end.subject is not None:
                plan.hold.append((end.subject, f"mass 0 {to_epoch(self.now)}"))
                plan.note(
                    end.subject,
                    "resolved",
                    "hold",
                    "one run changed too much at once; certmgr notice release",
                )
        gone, stays = {id(d) for d in fresh}, {id(e) for e in over}
        return (
            [d for d in kept if id(d) not in gone],
            [e for e in ended if id(e) not in stays],
            len(clients),
        )

    def _confirm(self, world: Snapshot, plan: NoticePlan, outcome: RunOutcome) -> None:
        # What staff released was confirmed with the release.
        free = {k for k, m in world.matters.items() if m["released_at"] is not None}
        clients = {
            i.subject.client_id for d in plan.drafts for i in d.items if i.subject.key not in free
        }
        outcome.clients = len(clients)
        if len(clients) > self.config.confirm_above and self.expected != len(clients):
            outcome.unconfirmed = len(clients)
            for draft in plan.drafts:
                for item in draft.items:
                    reason = (
                        f"{len(clients)} clients at once: certmgr notify --clients {len(clients)}"
                    )
                    plan.note(item.subject, item.label, "hold", reason, draft.person.id)
            plan.drafts.clear()

    # -- what is over

    def _over(
        self,
        world: Snapshot,
        ended: Iterable[EndedTopic],
        looks: Mapping[tuple[str, str], Recheck],
        plan: NoticePlan,
    ) -> list[int]:
        """Plans the word that something is done.

        Returns the ids of matters that close without one: nobody was told, or it is not theirs any
        more.
        """
        closing, said = [], []
        for end in ended:
            matter = world.matters.get(end.key)
            if matter is None:
                continue
            if not end.mended or end.subject is None:
                plan.decisions.append(
                    Decision(
                        subject=end.key,
                        client_id=matter["client_id"] or 0,
                        contact_id=0,
                        threshold="resolved",
                        round=matter["round"],
                        action="suppress",
                        reason=end.reason,
                    )
                )
                closing.append(int(matter["id"]))
                continue
            if reason := limits.not_over(matter, looks.get(end.subject.mark), world.hold):
                plan.note(end.subject, "resolved", *reason)
                continue
            found = rules.resolved_items(world, matter, end.subject)
            said += found
            if not found:
                closing.append(int(matter["id"]))
        rules.merge(plan, said, world)
        going = {
            (d.person.id, i.matter_id) for d in plan.drafts for i in d.items if i.step == "resolved"
        }
        plan.unsaid |= {
            i.matter_id
            for p, i in said
            if i.matter_id is not None and (p.id, i.matter_id) not in going
        }
        return closing

    def _faded(self, world: Snapshot, found: NoticeSource) -> list[int]:
        """What was held, and is gone before anybody was told."""
        if world.hold:
            return []
        current = {s.key for s in found.subjects}
        return [int(m["id"]) for k, m in self._held.items() if k not in current]

    def _beside(
        self, world: Snapshot, dues: Sequence[DueTopic], clients: set[int]
    ) -> list[DueTopic]:
        """What those who are about to be written to were told before, and is open: not what is
        silent, held, another's, or goes away with something else.
        """
        readers = {world.people.addressee(c) for c in clients}
        keys = {d.subject.key for d in dues if not d.subject.quiet}
        found = []
        for due in dues:
            matter = world.matters.get(due.subject.key)
            told = (
                matter is not None
                and matter["told_at"] is not None
                and matter["closed_at"] is None
                and matter["round"] == due.subject.round
            )
            if (
                not told
                or world.people.addressee(due.subject.client_id) not in readers
                or not rules.reaches_clients(due, world)
            ):
                continue
            if not (
                due.subject.partial
                or due.subject.parent in keys
                or limits.silence(due, world)
                or limits.held(due, world)
            ):
                found.append(due)
        return found

    def _also(self, world: Snapshot, beside: Sequence[DueTopic], plan: NoticePlan) -> None:
        """All of a client's sites stand in each message."""
        by_client: dict[int, list[DueTopic]] = {}
        for due in beside:
            by_client.setdefault(due.subject.client_id, []).append(due)
        for index, draft in enumerate(plan.drafts):
            mine = {i.subject.key for i in draft.items}
            also = []
            for client in world.people.written_for.get(draft.person.client_id or 0, []):
                for due in by_client.get(client, ()):
                    outcome = rules.outcome_of(due, world, draft.person)
                    if due.subject.key not in mine and outcome is not None:
                        also.append(rules.item_of(due, outcome, "also", due.crossed.label, world))
            plan.drafts[index] = replace(draft, also=tuple(also))

    # -- staff

    def _alarms(
        self,
        world: Snapshot,
        found: NoticeSource,
        dues: Sequence[DueTopic],
        mass: int,
        outcome: RunOutcome,
    ) -> list[Alarm]:
        """What staff hear at once: a hold, a baseline, and new critical faults that are ours, a
        line a cause.
        """
        alarms = [Alarm(f"acme:{key}", text) for key, text in found.alarms]
        if world.hold:
            alarms.append(Alarm("hold", f"Client messages are held: {world.hold}"))
        if mass:
            alarms.append(
                Alarm(
                    "mass",
                    f"One run changed {mass} of {found.clients} clients at once. Their messages"
                    " wait: certmgr notice release",
                )
            )
        if outcome.unconfirmed:
            alarms.append(
                Alarm(
                    "confirm",
                    f"{outcome.unconfirmed} clients are due at once. To send: certmgr notify"
                    f" --clients {outcome.unconfirmed}",
                )
            )
        if world.baseline:
            if found.whole_run:
                alarms.append(
                    Alarm(
                        "baseline",
                        "This was the first sight of the inventory. Nothing goes to clients by"
                        " itself: certmgr notice release",
                    )
                )
            return alarms
        return alarms + self._oncall(world, dues)

    def _oncall(self, world: Snapshot, dues: Sequence[DueTopic]) -> list[Alarm]:
        """New critical faults of ours, a line a cause: those that came after the first sight, and
        after what was said of the cause before.
        """
        causes: dict[str, list[Topic]] = {}
        for due in dues:
            subject = due.subject
            ours = (
                subject.actor == "provider"
                and subject.severity == "critical"
                and not subject.quiet
                and not subject.parent
            )
            if (
                ours
                and subject.end is None
                and to_epoch(subject.opened) > self._baseline_at
                and not limits.silence(due, world)
            ):
                causes.setdefault(subject.cause, []).append(subject)
        if not causes:
            return []
        with self.database.read() as conn:
            before = outbox.last_said(conn, [f"alarm:oncall:{c}" for c in causes])
        alarms = []
        for cause, subjects in sorted(causes.items()):
            newest = max(to_epoch(s.opened) for s in subjects)
            if newest > before.get(f"alarm:oncall:{cause}", 0):
                alarms.append(
                    Alarm(
                        f"oncall:{cause}",
                        f"New and ours: {cause}, {len(subjects)} endpoint(s), {subjects[0].target}",
                    )
                )
        return alarms


UNSEEN = Recheck(RecheckState.UNKNOWN, "it was not looked at")


def _is_new(subject: Topic, world: Snapshot) -> bool:
    """Whether nothing was said of this round, and nobody let it go: what came back after it was
    held is new too.
    """
    matter = world.matters.get(subject.key)
    return matter is None or matter["round"] != subject.round


def address_of(
    database: Database, channel: str, config: NoticeSettings | None = None
) -> Callable[[Row], Recipient]:
    """Where a notice goes now, and from when on: the contact's first good address at the moment of
    sending, since it may have changed. Clients are not woken by a message that had to wait.
    """

    def address(row: Row) -> Recipient:
        with database.read() as conn:
            found = recipients.contact_of(conn, row["contact_id"] or 0)
        if found is None:
            return Recipient(None, "the contact is no longer there")
        kind, wanted = ("email", None) if row["channel"] == channel else ("channel", row["channel"])
        to = next(
            (
                v
                for _, way, v, state in found["ways"]
                if way == kind and state == "good" and wanted in (None, v)
            ),
            None,
        )
        if to is None or config is None or row["kind"] not in ("client", "broadcast"):
            return Recipient(to, "the contact has no good address any more")
        return Recipient(to, "", config.person(found).calendar)

    return address
