"""Queue the released announcements, inside the transaction of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from inventory.db.database import Tx
from inventory.records import AnnouncementRecord
from inventory.store import announcements, tickets
from notifiers.pipeline.announcement import Announcement, announcement_message
from notifiers.pipeline.message import Sender
from notifiers.pipeline.plan import Snapshot
from notifiers.pipeline.queue import NoticeQueue, QueuedItem
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.rendering import Templates
from notifiers.wording.catalogue import Language, language

# (stored announcement, client id, language) -> its content for that client. None if the client is
# not concerned.
AnnouncementComposer = Callable[[AnnouncementRecord, int, Language], Announcement | None]


@dataclass(frozen=True, slots=True)
class AnnouncementRecorder:
    """Queues the announcements that staff released.

    They are composed now, so that each has the current state of the client's sites.
    """

    now: datetime
    sender: Sender
    templates: Templates
    snapshot: Snapshot
    compose: AnnouncementComposer

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
            content = self.compose(stored, client_id, language(person.language, person.zone))
            tickets.close(tx, [ticket.id])
            # The client has no site any more that the announcement concerns.
            if content is None:
                continue
            message = announcement_message(
                stored.template,
                person,
                content,
                self.sender,
                self.templates,
                self.snapshot.people.clients[client_id].account_manager,
                ticket.reference,
            )
            item = QueuedItem(ticket.key, "broadcast", "0", ticket.round, ticket.id)
            queue.add(person, "broadcast", client_id, message, [item])
            queue.outcome.announcements.append((person, message))

    def _reader(self, client_id: int) -> Person | None:
        """Return the contact who gets the announcement. None if it has to wait."""
        person = self.snapshot.people.owner(client_id, self.now).person
        # A snooze of the client, or of all clients, delays the announcement.
        quiet = any(
            s.scope == "all" or (s.scope == "client" and s.scope_id == client_id)
            for s in self.snapshot.snoozes
        )
        if person is None or quiet or not person.calendar.may_write(self.now):
            return None
        return person
