"""Tickets, notices, and what came back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inventory.clock import Timestamp
from inventory.records.base import Record
from inventory.vocabulary import (
    DecisionAction,
    InboundKind,
    ItemStep,
    NoticeKind,
    NoticeState,
    SnoozeScope,
    TicketKind,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRecord(Record):
    """What one conversation with a client is about."""

    id: int
    reference: str
    shown_reference: str | None
    # Identifies the topic permanently, such as ``cover:7:2``.
    key: str
    kind: TicketKind
    client_id: int | None
    endpoint_id: int | None
    domain_id: int | None
    code: str | None
    # The revision of the topic: the certificate, the opened finding or the date that is current.
    round: str
    cause: str
    # Why it is held, its urgency at that time, and the time. None if it is not held.
    hold: str | None
    released_at: Timestamp | None
    opened_at: Timestamp
    closed_at: Timestamp | None
    # When the client was first notified. None: nothing that ends has to be reported either.
    told_at: Timestamp | None
    acked_at: Timestamp | None
    acked_by: str | None
    # By when the client was promised a status update.
    promised_at: Timestamp | None

    @property
    def shown(self) -> str:
        """The reference in messages: one for all names that a message folded."""
        return self.shown_reference or self.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTicket(TicketRecord):
    """An open ticket with its client, its domain, and the host of its endpoint.

    ``ends_at``: of the certificate that it is about, in epoch seconds.
    """

    client: str | None
    client_name: str | None
    account_manager: str | None
    domain: str | None
    host: str | None
    ends_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedTicket(Record):
    """A ticket that was released."""

    cause: str
    code: str | None
    client_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSummary(Record):
    """A notice without its texts."""

    id: int
    contact_id: int | None
    client_id: int | None
    kind: NoticeKind
    reference: str
    # Together with the id, it identifies the notice in replies and bounces.
    secret: str = field(repr=False)
    outcome: str | None
    channel: str
    subject: str
    state: NoticeState
    # The lease of the worker that sends it.
    token: str | None = field(repr=False)
    lease_until: Timestamp | None
    attempts: int
    next_at: Timestamp
    # A notice that could not be sent until then may no longer be true.
    expires_at: Timestamp
    created_at: Timestamp
    sent_at: Timestamp | None
    sent_to: str | None
    smtp_code: int | None
    error: str | None
    acked_at: Timestamp | None
    # When all its tickets were closed.
    resolved_at: Timestamp | None
    calendar: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord(NoticeSummary):
    """A notice."""

    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedNotice(NoticeSummary):
    """A notice in a listing, with its contact's name."""

    contact: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteNotice(ListedNotice):
    """A notice in a listing, with its texts."""

    text: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentItemRecord(Record):
    """What a message states."""

    id: int
    notice_id: int
    contact_id: int
    subject: str
    # Why the contact got it.
    step: ItemStep
    # With contact, topic, step and revision it is unique: no contact is notified twice.
    threshold: str
    round: str
    matter_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeAbout(Record):
    """A notice about an endpoint or domain."""

    id: int
    reference: str
    outcome: str | None
    state: NoticeState
    sent_at: Timestamp | None
    created_at: Timestamp
    acked_at: Timestamp | None
    subject: str
    sent_to: str | None
    error: str | None
    next_at: Timestamp
    contact: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage(Record):
    """A message that was not queued: its last decision is to hold or to wait.

    Attributes:
        subject: The key of the ticket.
        first_at: Since when the decision is the same, in epoch seconds.
    """

    subject: str
    action: DecisionAction
    reason: str
    first_at: Timestamp
    last_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeOfTicket(Record):
    """A notice about a ticket, with its contact's name."""

    id: int
    subject: str
    state: NoticeState
    sent_at: Timestamp | None
    created_at: Timestamp
    contact: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeTimes(Record):
    """When a notice was sent, acknowledged and resolved."""

    sent_at: Timestamp | None
    acked_at: Timestamp | None
    resolved_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketTimes(Record):
    """When a client was first notified of a ticket, and when it was closed."""

    told_at: Timestamp | None
    closed_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord(Record):
    """Why a contact was or was not notified."""

    id: int
    subject: str
    client_id: int
    # 0 if the decision was made before a contact was chosen.
    contact_id: int
    threshold: str
    round: str
    action: DecisionAction
    reason: str
    first_at: Timestamp
    last_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowanceRecord(Record):
    """A confirmation of mass mail that staff gave ahead.

    Attributes:
        clients: The number of clients that runs may send to under it, together.
        until: Its end, in seconds.
        sent_to: The ids of the clients that runs sent to under it.
    """

    id: int
    clients: int
    until: Timestamp
    reason: str
    by: str
    created_at: Timestamp
    sent_to: tuple[str, ...]
    withdrawn_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnoozeRecord(Record):
    """A snooze or maintenance window."""

    id: int
    scope: SnoozeScope
    # The id of the client, domain, server or ticket; 0 for all.
    scope_id: int
    starts_at: Timestamp
    until: Timestamp
    reason: str
    by: str
    created_at: Timestamp
    withdrawn_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord(Record):
    """A cause that staff released."""

    id: int
    cause: str
    # The number of clients that are notified per day.
    per_day: int
    by: str
    created_at: Timestamp
    ended_at: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementRecord(Record):
    """An announcement to many clients."""

    id: int
    template: str
    tag: str | None
    deadline: str
    text: str | None
    by: str
    created_at: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRecord(Record):
    """A reply, bounce or automatic reply."""

    id: int
    message_id: str
    kind: InboundKind
    notice_id: int | None
    contact_id: int | None
    at: Timestamp
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord(Record):
    """The last success of a job, and what it remembers in ``detail``."""

    name: str
    started_at: Timestamp | None
    success_at: Timestamp | None
    error: str | None
    # What the job needs in its next run, such as the time of the baseline.
    detail: dict[str, Any]
