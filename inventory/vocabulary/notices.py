"""Words of notices, tickets and what comes back. Pure."""

from enum import StrEnum


class NoticeState(StrEnum):
    """The state of a queued notice (inventory/store/outbox.py)."""

    QUEUED = "queued"
    LEASED = "leased"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    FAILED = "failed"
    DEAD = "dead"


class SnoozeScope(StrEnum):
    """About what clients get no notices while a snooze is in force."""

    ALL = "all"
    CLIENT = "client"
    DOMAIN = "domain"
    SERVER = "server"
    TICKET = "matter"


class NoticeKind(StrEnum):
    """What a notice is. All but the first two go to staff."""

    CLIENT = "client"
    ANNOUNCEMENT = "broadcast"
    DIGEST = "digest"
    ALARM = "alarm"
    TASK = "errand"


class TicketKind(StrEnum):
    """What the conversation of a ticket is about.

    ``desk``: the support desk passed a fault to level 2. It ends when staff close it, and not with
    a scan, since the client may see a fault that no scan sees.
    """

    COVER = "cover"
    FAULT = "fault"
    DEADLINE = "deadline"
    CASE = "case"
    PURCHASE = "order"
    ANNOUNCEMENT = "broadcast"
    DESK = "desk"


class ItemStep(StrEnum):
    """Why a contact gets an item of a notice."""

    OWNER = "owner"
    FALLBACK = "fallback"  # the contact before did not answer, or cannot be reached
    ASSIGNED = "we"  # the provider fixes it
    STATUS_UPDATE = "word"  # one that was promised
    RESOLVED = "resolved"
    ANNOUNCEMENT = "broadcast"
    STAFF = "staff"
    ALSO_OPEN = "also"  # it was sent earlier: shown again, and not stored


class DecisionAction(StrEnum):
    """What a run decided about a topic. ``hold`` ends by a release, and ``wait`` by time."""

    SEND = "send"
    WAIT = "wait"
    HOLD = "hold"
    SUPPRESS = "suppress"
    STAFF = "staff"


class InboundKind(StrEnum):
    """What an inbound mail is."""

    REPLY = "reply"
    BOUNCE = "bounce"
    DELAY = "delay"  # a report of a temporary failure
    AUTOMATIC = "automatic"
    RECEIPT = "receipt"
    ACCEPTED = "accepted"  # of an invitation, as is declined
    DECLINED = "declined"
    UNCERTAIN = "uncertain"  # staff read it
    STRANGER = "stranger"  # without a valid mark of a notice
