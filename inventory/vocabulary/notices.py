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
