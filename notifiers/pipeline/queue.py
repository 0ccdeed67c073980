"""Add composed messages to the queue of notices, inside the transaction of a run."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from inventory.db.database import Tx
from inventory.store import outbox
from inventory.vocabulary import ItemStep, NoticeKind
from notifiers.pipeline.message import Message
from notifiers.pipeline.recipients import Person
from notifiers.pipeline.run_outcome import RunOutcome

EXPIRES = 3 * 86_400  # seconds: an older notice would state something that is no longer true


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """One topic of a queued notice. Contact, topic, step, threshold and revision are unique.

    Attributes:
        topic: The key of the topic.
        step: Why the contact got it.
        threshold: The threshold as it is stored.
        ticket_id: The ticket. None for messages to staff.
    """

    topic: str
    step: ItemStep
    threshold: str
    revision: str
    ticket_id: int | None = None


@dataclass(frozen=True, slots=True)
class NoticeQueue:
    """Adds messages to the queue.

    Attributes:
        default_channel: The channel of contacts with a mail address.
        outcome: Counts what was queued.
    """

    tx: Tx
    default_channel: str
    outcome: RunOutcome

    def add(
        self,
        person: Person,
        kind: NoticeKind,
        client_id: int | None,
        message: Message,
        items: Sequence[QueuedItem],
    ) -> int | None:
        """Add a message for one person.

        Args:
            kind: What the notice is.
            client_id: The client of the first topic. None for messages to staff.

        Returns:
            The id of the notice. None if it was queued before.
        """
        contact_method, value = person.contact_method or ("email", "")
        values = {
            "contact_id": person.id,
            "client_id": client_id,
            "kind": kind,
            "reference": message.reference,
            # It identifies the notice in replies, so it must not be guessable.
            "secret": secrets.token_hex(10),
            "outcome": message.outcome,
            # The address is found when the notice is sent, so that a corrected address takes
            # effect.
            "channel": self.default_channel if contact_method == "email" else value,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
            "calendar": tuple(message.calendar),
            "next_at": self.tx.at,
            "expires_at": self.tx.at + EXPIRES,
        }
        stored_items = [
            {
                "subject": item.topic,
                "step": item.step,
                "threshold": item.threshold,
                "round": item.revision,
                "matter_id": item.ticket_id,
                "contact_id": person.id,
            }
            for item in items
        ]
        notice_id = outbox.add(self.tx, values, stored_items)
        self.outcome.queued += notice_id is not None
        return notice_id
