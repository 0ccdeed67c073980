"""One run of notices: find due topics, recheck them, decide, and queue the messages.

Nothing is written before the rechecks are over. Then one transaction writes tickets with their
references, decisions, notices with their items, and the success of the run. If the process dies
before it, nothing is stored; if it dies after it, the next worker sends the queue. The functions
that collect and recheck topics are parameters, since they belong to a higher layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from inventory.db.database import Database, to_epoch
from inventory.records import (
    JobRecord,
    ListedTicket,
    NoticeRecord,
    ReleasedTicket,
    ReleaseRecord,
    TicketRecord,
)
from inventory.store import audit_log, jobs, outbox, recipients, tickets
from notifiers.delivery import Recipient
from notifiers.pipeline import decide as rules
from notifiers.pipeline import limits
from notifiers.pipeline.plan import Decision, DueTopic, NoticeItem, NoticePlan, Snapshot
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.record import (
    JOB,
    AnnouncementComposer,
    NoticeSettings,
    RunOutcome,
    RunRecorder,
)
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.staff import Alarm
from notifiers.pipeline.topic import (
    EndedTopic,
    FaultFacts,
    NoticeSource,
    Recheck,
    RecheckState,
    Topic,
)

_log = logging.getLogger(__name__)

STALE = 60  # seconds: a notice that waited longer is decided again, after a new recheck
REFUSED = 86_400  # seconds: after that a refused notice is decided again
Gather = Callable[[datetime, Mapping[str, TicketRecord]], NoticeSource]
RecheckFunction = Callable[[Sequence[Topic]], Mapping[tuple[str, str], Recheck]]


class _Rollback(Exception):
    """Ends the transaction of a dry run."""


class NoticeRun:
    """One run of notices.

    Args:
        gather: Collects the topics.
        recheck: Checks the endpoints of topics again.
        expected: The confirmed number of clients, if it is above the usual limit.
        compose_announcement: Composes the announcement to one client.
        default_channel: The channel of contacts with a mail address.
    """

    def __init__(
        self,
        database: Database,
        gather: Gather,
        recheck: RecheckFunction,
        templates: Templates,
        config: NoticeSettings,
        now: datetime,
        *,
        expected: int | None = None,
        compose_announcement: AnnouncementComposer | None = None,
        default_channel: str = "mail",
    ) -> None:
        self.database, self.gather, self.recheck, self.templates, self.config, self.now = (
            database,
            gather,
            recheck,
            templates,
            config,
            now,
        )
        self.expected, self.compose_announcement, self.default_channel = (
            expected,
            compose_announcement,
            default_channel,
        )

    def decide(self, *, dry_run: bool = False) -> RunOutcome:
        """Queue the notices that are due.

        Args:
            dry_run: Decide the same, and store nothing.

        Raises:
            inventory.errors.Busy: Another run is deciding.
        """
        with jobs.alone(self.database, JOB):
            if not dry_run:
                self._tidy()
            # The snapshot is read outside of a write transaction, since rechecks take long.
            snapshot, source, state = self._take_snapshot()
            _log.info("%d topics to decide", len(source.topics))
            plan, changes = NoticePlan(), self._released(snapshot)
            due_topics = rules.due(snapshot, source.topics, self.config.zone)
            kept = rules.candidates(snapshot, due_topics, plan)
            kept, ended, mass = self._mass(
                snapshot, kept, list(source.ended.values()), plan, source, state
            )
            topics = [d.topic for d in kept] + [
                e.topic for e in ended if e.resolved and e.topic is not None
            ]
            earlier = self._open_earlier(snapshot, due_topics, {d.topic.client_id for d in kept})
            topics += [d.topic for d in earlier]
            rechecks = (
                dict(self.recheck(topics))
                if topics and not snapshot.hold_reason
                else {s.mark: Recheck(RecheckState.SAME, "") for s in topics}
            )
            rules.plan(snapshot, kept, rechecks, plan)
            closing = self._resolve(snapshot, ended, rechecks, plan) + self._held_and_gone(
                snapshot, source
            )
            outcome = RunOutcome(baseline=snapshot.baseline, hold=snapshot.hold_reason)
            self._confirm(snapshot, plan, outcome)
            self._add_open_earlier(
                snapshot,
                [
                    d
                    for d in earlier
                    if rechecks.get(d.topic.mark, NOT_RECHECKED).state is RecheckState.SAME
                ],
                plan,
            )
            alarms = self._alarms(snapshot, source, due_topics, mass, outcome)
            record = RunRecorder(
                now=self.now,
                config=self.config,
                templates=self.templates,
                default_channel=self.default_channel,
                compose_announcement=self.compose_announcement,
                snapshot=snapshot,
                plan=plan,
                source=source,
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
                        # A dry run runs the same transaction, so that it shows the same result.
                        raise _Rollback
            except _Rollback:
                pass
            return outcome

    # -- the snapshot

    def _tidy(self) -> None:
        """Drop queued notices that are decided again in this run.

        A notice that waited may no longer be true, or may concern another client by now. A notice
        that was refused for another reason than its address is decided again after a day.
        """
        with self.database.write(self.now) as tx:
            outbox.recover(tx)
            outbox.drop(
                tx,
                outbox.waiting(tx.conn, tx.at - STALE),
                "it waited, and is decided again",
                trace=False,
            )
            outbox.drop(
                tx,
                outbox.refused(tx.conn, tx.at - REFUSED),
                "it was refused a day ago, and is decided again",
            )

    _held: Mapping[str, TicketRecord]
    _waiting: Sequence[ListedTicket]  # tickets that wait for a release
    _releases: Sequence[ReleaseRecord]
    _released_today: Sequence[ReleasedTicket]
    _spent: list[int]
    _baseline_at: int

    def _take_snapshot(self) -> tuple[Snapshot, NoticeSource, JobRecord]:
        """Return what is known now, the topics, and the state of the job."""
        with self.database.read() as conn:
            open_tickets = tickets.by_key(conn, open_only=True)
            notified = {
                k: m
                for k, m in open_tickets.items()
                if m.told_at is not None and m.kind != "broadcast"
            }
            self._held = {
                k: m for k, m in open_tickets.items() if m.told_at is None and m.kind != "broadcast"
            }
            newest = audit_log.newest_instant(conn)
        source = self.gather(self.now, notified)
        keys = [s.key for s in source.topics]
        with self.database.read() as conn:
            state = jobs.state(conn, JOB)
            self._baseline_at = int(state.detail.get("baseline_at") or 0)
            self._waiting = tickets.listing(conn, held=True)
            self._releases = tickets.releases(conn)
            self._released_today = tickets.released_since(conn, self._midnight())
            config = self.config
            concerned = {s.client_id for s in source.topics} | tickets.clients_of_open(conn)
            snapshot = Snapshot(
                now=self.now,
                policy=config.policy,
                people=config.recipients(conn, concerned),
                tickets=tickets.by_key(conn, {*keys, *notified}),
                sent=outbox.said(conn, sorted({*keys, *notified})),
                snoozes=tickets.snoozes(conn, to_epoch(self.now)),
                last_written=outbox.last_to_contacts(conn),
                waiting=tickets.waiting_since(
                    conn, "wait", "the recheck failed", to_epoch(self.now) - 2 * 86_400
                ),
                hold_reason=limits.clock_fault(self.now, newest) or source.suspect,
                baseline=not state.detail.get("baseline_at"),
                baseline_at=self._baseline_at,
            )
        return snapshot, source, state

    def _released(self, snapshot: Snapshot) -> list[int]:
        """Return the ids of the tickets that releases let through today.

        A release has a limit of clients per day. The rows change in memory now, and in the
        transaction later.
        """
        chosen: list[int] = []
        self._spent = []
        for row in self._releases:
            # A release covers only tickets that were held when it was given, so that it never lets
            # a later fault through.
            covered = [
                m
                for m in self._waiting
                if tickets.belongs(m, row.cause) and tickets.held_at(m) <= row.created_at
            ]
            if not covered:
                self._spent.append(row.id)
            already = {m.client_id for m in self._released_today if tickets.belongs(m, row.cause)}
            # Clients released earlier today count against the daily limit.
            room = max(0, row.per_day - len(already))
            clients = list(
                dict.fromkeys(m.client_id for m in covered if m.client_id not in already)
            )[:room]
            chosen += [m.id for m in covered if m.client_id in already or m.client_id in clients]
        ids = set(chosen)
        snapshot.tickets = {
            k: replace(m, released_at=to_epoch(self.now)) if m.id in ids else m
            for k, m in snapshot.tickets.items()
        }
        return chosen

    def _midnight(self) -> int:
        local = self.now.astimezone(self.config.zone)
        return to_epoch(local.replace(hour=0, minute=0, second=0, microsecond=0))

    # -- holds and limits

    def _mass(
        self,
        snapshot: Snapshot,
        kept: list[DueTopic],
        ended: list[EndedTopic],
        plan: NoticePlan,
        source: NoticeSource,
        state: JobRecord,
    ) -> tuple[list[DueTopic], list[EndedTopic], int]:
        """Hold the changes of each run that changed too many clients at once.

        These are faults that it opened and notified ones that it closed. A scanner fault is more
        likely than so many changes, so staff have to release them.

        Returns:
            The topics and ended topics that are left, and the number of clients concerned.
        """
        last = int(state.detail.get("run_id") or 0)
        opened = [d for d in kept if _run_of(d.topic) > last and _is_new(d.topic, snapshot)]
        closed = [e for e in ended if e.run > last and e.resolved and e.topic is not None]
        by_run: dict[int, set[int]] = {}
        for d in opened:
            by_run.setdefault(_run_of(d.topic), set()).add(d.topic.client_id)
        for e in closed:
            if e.topic is not None:
                by_run.setdefault(e.run, set()).add(e.topic.client_id)
        broken = {
            run
            for run, clients in by_run.items()
            if limits.mass_change(clients, source.clients, self.config.policy)
        }
        # In the baseline, faults are held anyway.
        if snapshot.baseline or not broken:
            return kept, ended, 0
        opened, closed = (
            [d for d in opened if _run_of(d.topic) in broken],
            [e for e in closed if e.run in broken],
        )
        clients = {c for run in broken for c in by_run[run]}
        for due_topic in opened:
            plan.held.append(
                (due_topic.topic, f"mass {due_topic.crossed.rank} {to_epoch(self.now)}")
            )
            plan.record(
                due_topic.topic,
                due_topic.crossed.label,
                "hold",
                limits.MASS_CHANGE,
            )
        for end in closed:
            if end.topic is not None:
                plan.held.append((end.topic, f"mass 0 {to_epoch(self.now)}"))
                plan.record(
                    end.topic,
                    "resolved",
                    "hold",
                    limits.MASS_CHANGE,
                )
        held_topics, held_ends = {id(d) for d in opened}, {id(e) for e in closed}
        return (
            [d for d in kept if id(d) not in held_topics],
            [e for e in ended if id(e) not in held_ends],
            len(clients),
        )

    def _confirm(self, snapshot: Snapshot, plan: NoticePlan, outcome: RunOutcome) -> None:
        """Hold all messages if they go to more clients than usual without a confirmation."""
        # Tickets that staff released were confirmed with the release.
        free = {k for k, m in snapshot.tickets.items() if m.released_at is not None}
        clients = {
            i.topic.client_id for d in plan.drafts for i in d.items if i.topic.key not in free
        }
        outcome.clients = len(clients)
        # Messages to many clients at once may be a mistake, so they need a confirmation.
        if len(clients) > self.config.confirm_above and self.expected != len(clients):
            outcome.unconfirmed = len(clients)
            for draft in plan.drafts:
                for item in draft.items:
                    reason = (
                        f"{len(clients)} clients at once: to send, run certmgr notify --clients"
                        f" {len(clients)}"
                    )
                    plan.record(item.topic, item.label, "hold", reason, draft.person.id)
            plan.drafts.clear()

    # -- resolved topics

    def _resolve(
        self,
        snapshot: Snapshot,
        ended: Iterable[EndedTopic],
        rechecks: Mapping[tuple[str, str], Recheck],
        plan: NoticePlan,
    ) -> list[int]:
        """Plan the messages that topics are resolved.

        Returns:
            The ids of tickets that close without a message: no contact was notified of them, or
            they no longer concern the client.
        """
        closing: list[int] = []
        resolved: list[tuple[Person, NoticeItem]] = []
        for end in ended:
            ticket = snapshot.tickets.get(end.key)
            if ticket is None:
                continue
            # The client is not thanked for something that was not fixed.
            if not end.resolved or end.topic is None:
                plan.decisions.append(
                    Decision(
                        topic=end.key,
                        client_id=ticket.client_id or 0,
                        contact_id=0,
                        threshold="resolved",
                        revision=ticket.round,
                        action="suppress",
                        reason=end.reason,
                    )
                )
                closing.append(int(ticket.id))
                continue
            if reason := limits.unresolved_reason(
                ticket, rechecks.get(end.topic.mark), snapshot.hold_reason
            ):
                plan.record(end.topic, "resolved", *reason)
                continue
            items = rules.resolved_items(snapshot, ticket, end.topic)
            resolved += items
            if not items:
                closing.append(int(ticket.id))
        rules.merge(plan, resolved, snapshot)
        planned = {
            (d.person.id, i.ticket_id) for d in plan.drafts for i in d.items if i.step == "resolved"
        }
        plan.unnotified |= {
            i.ticket_id
            for p, i in resolved
            if i.ticket_id is not None and (p.id, i.ticket_id) not in planned
        }
        return closing

    def _held_and_gone(self, snapshot: Snapshot, source: NoticeSource) -> list[int]:
        """Return the ids of held tickets whose topic is gone before a client was notified."""
        # While messages are held, scan or clock is in doubt, and so is what seems to be gone.
        if snapshot.hold_reason:
            return []
        current = {s.key for s in source.topics}
        return [int(m.id) for k, m in self._held.items() if k not in current]

    def _open_earlier(
        self, snapshot: Snapshot, due_topics: Sequence[DueTopic], clients: set[int]
    ) -> list[DueTopic]:
        """Return open topics that the readers of this run were notified of earlier.

        Suppressed and held topics, and those that are resolved with another one, are left out.
        """
        # The reader may be a reseller with several clients.
        readers = {snapshot.people.addressee(c) for c in clients}
        # A suppressed parent does not cover its children.
        keys = {d.topic.key for d in due_topics if not d.topic.suppress_reason}
        earlier = []
        for due in due_topics:
            ticket = snapshot.tickets.get(due.topic.key)
            notified = (
                ticket is not None
                and ticket.told_at is not None
                and ticket.closed_at is None
                and ticket.round == due.topic.revision
            )
            if (
                not notified
                or snapshot.people.addressee(due.topic.client_id) not in readers
                or not rules.reaches_clients(due, snapshot)
            ):
                continue
            if not (
                due.topic.partial
                or due.topic.parent in keys
                or limits.suppression(due, snapshot)
                or limits.hold_reason(due, snapshot)
            ):
                earlier.append(due)
        return earlier

    def _add_open_earlier(
        self, snapshot: Snapshot, earlier: Sequence[DueTopic], plan: NoticePlan
    ) -> None:
        """Add the open topics of the client to each message, so that it is complete."""
        by_client: dict[int, list[DueTopic]] = {}
        for due in earlier:
            by_client.setdefault(due.topic.client_id, []).append(due)
        for index, draft in enumerate(plan.drafts):
            in_message = {i.topic.key for i in draft.items}
            also_open = []
            for client in snapshot.people.clients_by_addressee.get(draft.person.client_id or 0, []):
                for due in by_client.get(client, ()):
                    outcome = rules.outcome_of(due, snapshot, draft.person)
                    if due.topic.key not in in_message and outcome is not None:
                        also_open.append(
                            rules.item_of(due, outcome, "also", due.crossed.label, snapshot)
                        )
            plan.drafts[index] = replace(draft, also_open=tuple(also_open))

    # -- staff

    def _alarms(
        self,
        snapshot: Snapshot,
        source: NoticeSource,
        due_topics: Sequence[DueTopic],
        mass: int,
        outcome: RunOutcome,
    ) -> list[Alarm]:
        """Return the alarms of the run: holds, the baseline, and new critical faults of ours."""
        alarms = [Alarm(f"acme:{key}", text) for key, text in source.alarms]
        if snapshot.hold_reason:
            alarms.append(Alarm("hold", f"Client messages are held: {snapshot.hold_reason}"))
        if mass:
            alarms.append(
                Alarm(
                    "mass",
                    f"One run changed {mass} of {source.clients} clients at once. Their messages"
                    " are held: release them with certmgr notice release",
                )
            )
        if outcome.unconfirmed:
            alarms.append(
                Alarm(
                    "confirm",
                    f"{outcome.unconfirmed} clients are due at once. To send, run certmgr notify"
                    f" --clients {outcome.unconfirmed}",
                )
            )
        if snapshot.baseline:
            # A partial first run is not the baseline yet.
            if source.whole_run:
                alarms.append(
                    Alarm(
                        "baseline",
                        "This was the baseline of the inventory. Its topics are held: release them"
                        " with certmgr notice release",
                    )
                )
            return alarms
        return alarms + self._oncall(snapshot, due_topics)

    def _oncall(self, snapshot: Snapshot, due_topics: Sequence[DueTopic]) -> list[Alarm]:
        """Return one alarm per cause with new critical faults of ours.

        A fault is new if it is younger than the baseline and than the last alarm for its cause.
        """
        causes: dict[str, list[Topic]] = {}
        for due in due_topics:
            topic = due.topic
            ours = (
                topic.actor == "provider"
                and topic.severity == "critical"
                and not topic.suppress_reason
                and not topic.parent
            )
            if (
                ours
                and topic.end is None
                and to_epoch(topic.opened) > self._baseline_at
                and not limits.suppression(due, snapshot)
            ):
                causes.setdefault(topic.cause, []).append(topic)
        if not causes:
            return []
        with self.database.read() as conn:
            # An alarm is repeated only if its cause has a newer fault.
            before = outbox.last_said(conn, [f"alarm:oncall:{c}" for c in causes])
        alarms = []
        for cause, topics in sorted(causes.items()):
            newest = max(to_epoch(s.opened) for s in topics)
            if newest > before.get(f"alarm:oncall:{cause}", 0):
                alarms.append(
                    Alarm(
                        f"oncall:{cause}",
                        f"New fault on our side: {cause}, {len(topics)} endpoint(s),"
                        f" {topics[0].target}",
                    )
                )
        return alarms


NOT_RECHECKED = Recheck(RecheckState.UNKNOWN, "it was not rechecked")


def _run_of(topic: Topic) -> int:
    """Return the run that opened a fault. 0 for a topic that no run opened."""
    return topic.facts.run if isinstance(topic.facts, FaultFacts) else 0


def _is_new(topic: Topic, snapshot: Snapshot) -> bool:
    """Return whether the current revision has no ticket yet.

    A topic that comes back after it was held is new again.
    """
    ticket = snapshot.tickets.get(topic.key)
    return ticket is None or ticket.round != topic.revision


def address_of(
    database: Database, channel: str, config: NoticeSettings | None = None
) -> Callable[[NoticeRecord], Recipient]:
    """Return a function that finds the recipient of a notice when it is sent.

    It takes the first valid address of the contact, since that may have changed since the decision.
    The calendar of a client goes along: a message that had to wait is not sent in quiet hours.
    """

    def address(row: NoticeRecord) -> Recipient:
        with database.read() as conn:
            contact = recipients.contact_of(conn, row.contact_id or 0)
        if contact is None:
            return Recipient(None, "the contact no longer exists")
        # A mail goes to any valid address; a webhook only to the channel that was chosen.
        kind, wanted = ("email", None) if row.channel == channel else ("channel", row.channel)
        to = next(
            (
                way.value
                for way in contact.ways
                if way.kind == kind and way.state == "good" and wanted in (None, way.value)
            ),
            None,
        )
        if to is None or config is None or row.kind not in ("client", "broadcast"):
            return Recipient(to, "the contact no longer has a valid address")
        return Recipient(to, "", config.person(contact).calendar)

    return address
