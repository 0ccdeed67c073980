"""Queue the released announcements, inside the transaction of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from inventory.db.database import Tx
from inventory.errors import UsageError
from inventory.records import AnnouncementRecord, TicketRecord
from inventory.store import announcements, tickets
from inventory.vocabulary import DecisionAction, ItemStep, NoticeKind, SnoozeScope
from notifiers.pipeline.announcement import (
    Announcement,
    WithdrawnAnnouncement,
    announcement_message,
)
from notifiers.pipeline.message import Message, Sender
from notifiers.pipeline.plan import Decision, NoticePlan, Snapshot
from notifiers.pipeline.queue import NoticeQueue, QueuedItem
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.wording.catalogue import Language, language

# (stored announcement, client id, language) -> its content for that client. None if the client is
# not concerned.
AnnouncementComposer = Callable[
    [AnnouncementRecord, int, Language], Announcement | WithdrawnAnnouncement | None
]


@dataclass(frozen=True, slots=True)
class AnnouncementRecorder:
    """Queues the announcements that staff released.

    They are composed now, so that each has the current state of the client's sites.

    Attributes:
        plan: The decisions of the run; those about announcements are added.
        problems: Announcement and reason -> how many clients did not get it in this run.
    """

    now: datetime
    sender: Sender
    templates: Templates
    snapshot: Snapshot
    plan: NoticePlan
    compose: AnnouncementComposer
    problems: dict[str, int] = field(default_factory=dict)

    def write(self, tx: Tx, queue: NoticeQueue) -> None:
        """Queue each released announcement whose client may get it now."""
        # A fault of scan or clock may make the state of the sites wrong.
        if self.snapshot.hold_reason:
            return
        known = announcements.by_id(tx.conn)
        for ticket in announcements.unsent(tx.conn):
            stored, client_id = known.get(int(ticket.round)), ticket.client_id
            if (
                ticket.released_at is None
                or stored is None
                or client_id is None
                or client_id not in self.snapshot.people.clients
            ):
                continue
            # The ticket stays open, so that a later run sends it.
            if (person := self._reader(client_id)) is None:
                continue
            try:
                message = self._message(stored, ticket, client_id, person)
            # This is the transaction of the whole run. One announcement that cannot be composed,
            # for example because its template was removed, must not undo the notices of all
            # clients. Its ticket stays open, so that a later run sends it.
            except UsageError as error:
                self._not_sent(stored, ticket, DecisionAction.HOLD, str(error))
                continue
            tickets.close(tx, [ticket.id])
            if isinstance(message, WithdrawnAnnouncement):
                self._not_sent(stored, ticket, DecisionAction.SUPPRESS, message.reason)
                continue
            # The client has no site any more that the announcement concerns.
            if message is None:
                continue
            item = QueuedItem(ticket.key, ItemStep.ANNOUNCEMENT, "0", ticket.round, ticket.id)
            queue.add(person, NoticeKind.ANNOUNCEMENT, client_id, message, [item])
            queue.outcome.announcements.append((person, message))
        queue.outcome.unannounced += [
            f"{text} ({count} client(s))" for text, count in self.problems.items()
        ]

    def _message(
        self, stored: AnnouncementRecord, ticket: TicketRecord, client_id: int, person: Person
    ) -> Message | WithdrawnAnnouncement | None:
        """Return the announcement to one contact. None if it does not concern the client."""
        content = self.compose(stored, client_id, language(person.language, person.zone))
        if content is None or isinstance(content, WithdrawnAnnouncement):
            return content
        return announcement_message(
            stored.template,
            person,
            content,
            self.sender,
            self.templates,
            self.snapshot.people.clients[client_id].account_manager,
            ticket.reference,
        )

    def _not_sent(
        self, stored: AnnouncementRecord, ticket: TicketRecord, action: DecisionAction, reason: str
    ) -> None:
        """Record why a client does not get an announcement, for staff."""
        self.plan.decisions.append(
            Decision(
                topic=ticket.key,
                client_id=ticket.client_id or 0,
                contact_id=0,
                threshold="0",
                revision=ticket.round,
                action=action,
                reason=reason,
            )
        )
        # Thousands of clients share one reason, so staff read it once.
        dropped = action is DecisionAction.SUPPRESS
        state = "was dropped" if dropped else "was not sent and is tried again"
        text = f"the announcement of '{stored.deadline}' {state}: {reason}"
        self.problems[text] = self.problems.get(text, 0) + 1

    def _reader(self, client_id: int) -> Person | None:
        """Return the contact who gets the announcement. None if it has to wait."""
        person = self.snapshot.people.owner(client_id, self.now).person
        # A snooze of the client, or of all clients, delays the announcement.
        quiet = any(
            s.scope is SnoozeScope.ALL
            or (s.scope is SnoozeScope.CLIENT and s.scope_id == client_id)
            for s in self.snapshot.snoozes
        )
        if person is None or quiet or not person.calendar.may_write(self.now):
            return None
        return person
