"""What a channel sends, and what became of it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# A header, because bounces return the headers of a mail, even if they drop its text.
MARK_HEADER = "X-Certmgr-Notice"


class DeliveryStatus(StrEnum):
    """The delivery status of a message.

    Attributes:
        SENT: The server accepted it.
        TEMPORARY: It was certainly not sent. A later attempt may succeed.
        PERMANENT: It was certainly not sent, and another attempt would fail too.
        UNKNOWN: It may have arrived.
    """

    SENT = "sent"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one call.

    Attributes:
        reason: Why it was not sent, without the address of the recipient. Empty if it was.
        code: The reply code of SMTP or HTTP.
        bad_address: The server reported that the recipient does not exist.
        channel_down: The channel itself failed, so that the next message would fail too.
    """

    status: DeliveryStatus
    reason: str = ""
    code: int | None = None
    bad_address: bool = False
    channel_down: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message that is ready to be sent.

    Attributes:
        mark: Identifies the notice in a bounce (X-Certmgr-Notice) and in a reply (References).
        calendar: iCalendar files to attach to a mail.
    """

    to: str
    subject: str
    text: str
    html: str
    mark: str = ""
    calendar: tuple[str, ...] = ()
