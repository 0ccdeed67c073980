"""The transaction of a run of notices.

It writes tickets with their references, decisions, notices with their items, and the success of
the run.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from inventory.db.database import Tx, to_epoch
from inventory.errors import Conflict
from inventory.records import JobRecord, TicketRecord
from inventory.store import allowances, decisions, jobs, releases, tickets
from inventory.vocabulary import DecisionAction, ItemStep, NoticeKind, TicketKind
from notifiers.pipeline.alarms import Alarm
from notifiers.pipeline.compose import client_message
from notifiers.pipeline.folding import fold, fold_key
from notifiers.pipeline.holds import ClientCheck
from notifiers.pipeline.notice_settings import NoticeSettings
from notifiers.pipeline.notice_source import NoticeSource
from notifiers.pipeline.outcome import Escalated
from notifiers.pipeline.plan import Decision, Draft, NoticeItem, NoticePlan, Snapshot
from notifiers.pipeline.queue import NoticeQueue, QueuedItem
from notifiers.pipeline.record_announcements import AnnouncementComposer, AnnouncementRecorder
from notifiers.pipeline.record_staff import StaffRecorder
from notifiers.pipeline.rendering import Templates
from notifiers.pipeline.run_outcome import RunOutcome
from notifiers.pipeline.topic import Topic

JOB = "notify"


@dataclass(slots=True)
class RunRecorder:
    """Writes the decisions of a run.

    Attributes:
        state: The state of the job before the run.
        released: Ids of tickets that a release lets through.
        closing: Ids of tickets that end without a message.
        spent: Ids of releases that have no ticket left.
        checked: How many clients are notified, and under which confirmation.
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
    checked: ClientCheck = field(default_factory=lambda: ClientCheck(0))

    def write(self, tx: Tx) -> None:
        """Write everything in the given transaction."""
        # In the same transaction as the rest: a run that dies leaves no trace of a start.
        jobs.started(tx, JOB)
        queue = NoticeQueue(tx, self.default_channel, self.outcome)
        for ticket_id in self.released:
            tickets.change(tx, ticket_id, released_at=tx.at)
        # A spent release must not let a later fault of the same cause through.
        releases.end(tx, self.spent)
        self._use_allowance(tx)
        rows = self._share_references(tx, self._open_tickets(tx))
        self.outcome.held = len(self.plan.held)
        ended = list(self.closing)
        for draft in self.plan.drafts:
            ended += self._queue(tx, queue, draft, rows)
        if self.compose_announcement is not None:
            AnnouncementRecorder(
                now=self.now,
                sender=self.config.sender,
                templates=self.templates,
                snapshot=self.snapshot,
                plan=self.plan,
                compose=self.compose_announcement,
            ).write(tx, queue)
        self._close_tickets(tx, ended)
        # After the queue, which adds the decisions "send" with the ids of the notices.
        decisions.record(tx, [_row(d) for d in self.plan.decisions])
        for decision in self.plan.decisions:
            self.outcome.decisions[decision.action] = (
                self.outcome.decisions.get(decision.action, 0) + 1
            )
        StaffRecorder(
            now=self.now,
            config=self.config,
            templates=self.templates,
            snapshot=self.snapshot,
            plan=self.plan,
            source=self.source,
            alarms=self.alarms,
        ).write(tx, queue)
        detail = dict(self.state.detail) | {"run_id": self.source.run}
        # Only a complete run over the whole inventory shows what existed before notices began.
        if self.snapshot.baseline and self.source.whole_run:
            detail["baseline_at"] = tx.at
        # Last: a run counts as a success only with everything that it decided.
        jobs.succeeded(tx, JOB, detail)

    def _use_allowance(self, tx: Tx) -> None:
        """Count the clients against the confirmation that lets their messages through.

        It happens in the transaction that queues the messages, so that a crash can neither send
        without counting nor count without sending.

        Raises:
            Conflict: Staff withdrew the confirmation while the run was deciding.
        """
        allowance = self.checked.allowance
        if allowance is None or allowances.use(tx, allowance, self.checked.client_ids):
            return
        raise Conflict(
            f"The confirmation {allowance.id} for {allowance.clients} clients is not in force any"
            " more",
            "it ended or was withdrawn while this run was deciding; nothing was queued",
            "The next run decides again.",
        )

    def _close_tickets(self, tx: Tx, ended: Sequence[int]) -> None:
        """Close the tickets that are over, and those whose fault comes and goes."""
        # A ticket stays open until every contact who knows of it was notified of its end.
        ended = [i for i in ended if i not in self.plan.unnotified]
        tickets.close(tx, ended)
        tickets.resolved(tx, ended)
        for key in self.plan.flapping:
            # The suppression period starts again with each return of the fault.
            if self.snapshot.tickets[key].closed_at is not None:
                tickets.change(tx, self.snapshot.tickets[key].id, closed_at=tx.at)

    def _open_tickets(self, tx: Tx) -> dict[str, TicketRecord]:
        """Open a ticket for each topic that is sent or held, and return the tickets by key.

        A new revision of a topic keeps the reference of its ticket.
        """
        holds = {s.key: reason for s, reason in self.plan.held}
        notified_topics = {
            i.topic.key: i.topic
            for d in self.plan.drafts
            for i in d.items
            if i.step is not ItemStep.RESOLVED
        }
        notified_topics |= {s.key: s for s, _ in self.plan.held}
        notified_topics |= {s.key: s for s in self.plan.unreachable}
        new = [
            _new_ticket(s, holds.get(s.key))
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
                    (
                        "closed_at",
                        "acked_at",
                        "acked_by",
                        "hold",
                        "released_at",
                        "promised_at",
                        "shown_reference",
                    )
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

    def _share_references(
        self, tx: Tx, rows: Mapping[str, TicketRecord]
    ) -> Mapping[str, TicketRecord]:
        """Give the tickets of each paragraph one reference. Return the tickets by key.

        A reference that a client has read stays, also if the name that it belonged to is fixed by
        now, and a name that becomes due later joins it.
        """
        known = dict(self.snapshot.tickets) | dict(rows)
        read: dict[Hashable, str] = {}
        notified = [
            t for t in self.source.topics if self.snapshot.sent.get(t.mark) and t.key in known
        ]
        for topic in sorted(notified, key=lambda t: known[t.key].id):
            read.setdefault(fold_key(topic), known[topic.key].shown)
        items = {
            i.topic.key: i
            for d in self.plan.drafts
            for i in d.items
            if i.step is not ItemStep.RESOLVED and i.topic.key in rows
        }
        # The oldest ticket comes first, whatever the order of the messages.
        ordered = sorted(items.values(), key=lambda i: rows[i.topic.key].id)
        shared = tickets.shared_references(tx.conn, [t.reference for t in rows.values()])
        changed = dict(rows)
        for group in fold(ordered):
            members = [rows[i.topic.key] for i in group]
            others = shared.get(members[0].reference, frozenset()) - {t.id for t in members}
            # If the names that the first ticket once shared its reference with are still open,
            # the reference is theirs: an answer with it must not acknowledge both certificates.
            fresh = tickets.new_reference() if others else members[0].reference
            reference = read.get(fold_key(group[0].topic), fresh)
            for ticket in members:
                if ticket.shown != reference:
                    tickets.change(tx, ticket.id, shown_reference=reference)
                    changed[ticket.key] = replace(ticket, shown_reference=reference)
        return changed

    def _queue(
        self, tx: Tx, queue: NoticeQueue, draft: Draft, rows: Mapping[str, TicketRecord]
    ) -> list[int]:
        """Queue one message. Return the ids of the tickets that end with it."""
        items = tuple(_with_reference(i, rows) for i in draft.items)
        draft = replace(draft, items=items)
        first = items[0].topic.client_id
        # The message names the account manager of the client of its first topic.
        client = self.snapshot.people.clients.get(first)
        manager = client.account_manager if client is not None else None
        message = client_message(draft, self.config.sender, self.templates, manager, self.now)
        notice_id = queue.add(
            draft.person,
            NoticeKind.CLIENT,
            first,
            message,
            [
                QueuedItem(i.topic.key, i.step, i.label, i.topic.revision, i.ticket_id)
                for i in items
            ],
        )
        # An earlier run has queued the same items, so nothing of them is written again.
        if notice_id is None:
            return []
        self.outcome.drafts.append((draft, message))
        for item in items:
            self.plan.record(
                item.topic,
                item.label,
                DecisionAction.SEND,
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
        tickets.mark_notified(tx, [i.ticket_id for i in items if i.ticket_id is not None])
        return [
            i.ticket_id for i in items if i.step is ItemStep.RESOLVED and i.ticket_id is not None
        ]


def _new_ticket(topic: Topic, hold: str | None) -> tickets.NewTicket:
    return tickets.NewTicket(
        key=topic.key,
        kind=TicketKind(topic.kind),
        client_id=topic.client_id,
        endpoint_id=topic.endpoint_id,
        domain_id=topic.domain_id or None,
        code=topic.code or None,
        round=topic.revision,
        cause=topic.cause,
        hold=hold,
    )


def _with_reference(item: NoticeItem, rows: Mapping[str, TicketRecord]) -> NoticeItem:
    row = rows.get(item.topic.key)
    return item if row is None else replace(item, reference=row.shown, ticket_id=row.id)


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
