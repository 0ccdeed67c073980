"""The configuration of notices, as the pipeline uses it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, time, tzinfo

from sqlalchemy import Connection

from inventory.records import ReachableContact
from inventory.store import recipients
from notifiers.pipeline.message import Sender
from notifiers.pipeline.plan import NoticePolicy
from notifiers.pipeline.recipients import Person, Recipients, person_of
from notifiers.working_days import MONDAY_TO_FRIDAY


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
    zone: tzinfo = UTC
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
                # Those of the resellers are included, since ``known`` has them.
                for r in recipients.contacts(conn, None if client_ids is None else known)
            ],
            known,
        )
