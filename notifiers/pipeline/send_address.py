"""Find the address of a notice at the time when it is sent."""

from __future__ import annotations

from collections.abc import Callable

from inventory.db.database import Database
from inventory.records import NoticeRecord
from inventory.store import recipients
from inventory.vocabulary import NoticeKind
from notifiers.delivery import Recipient
from notifiers.pipeline.notice_settings import NoticeSettings


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
        # Retired or erased since the decision, so the topic is decided again for another contact.
        if contact is None:
            return Recipient(None, "the contact no longer exists")
        # A mail goes to any valid address; a webhook only to the channel that was chosen.
        kind, wanted = ("email", None) if row.channel == channel else ("channel", row.channel)
        to = next(
            (
                m.value
                for m in contact.methods
                if m.kind == kind and m.state == "good" and wanted in (None, m.value)
            ),
            None,
        )
        # Staff have no quiet hours: alarms are sent at night too.
        if (
            to is None
            or config is None
            or row.kind not in (NoticeKind.CLIENT, NoticeKind.ANNOUNCEMENT)
        ):
            return Recipient(to, "the contact no longer has a valid address")
        return Recipient(to, "", config.person(contact).calendar)

    return address
