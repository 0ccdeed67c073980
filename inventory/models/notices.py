"""Tickets, notices, and what came back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Json, JsonTexts, column
from inventory.vocabulary import (
    DecisionAction,
    InboundKind,
    ItemStep,
    NoticeKind,
    NoticeState,
    SnoozeScope,
    TicketKind,
)


class Ticket(Base):
    """What one conversation with a client is about, under a reference that stays the same.

    It is a name that loses cover, a finding, a deadline or an announcement.
    """

    __tablename__ = "matter"
    __table_args__ = (UniqueConstraint("key"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    reference: ColumnOf[str] = column(unique=True)
    # the reference that messages show: that of another ticket, if both are one paragraph
    shown_reference: ColumnOf[str | None] = column(index=True)
    # cover:ENDPOINT:CLIENT, fault:ENDPOINT:CODE:CLIENT, deadline:DOMAIN:NAME:CLIENT,
    # broadcast:TEMPLATE:DEADLINE:CLIENT
    key: ColumnOf[str]
    kind: ColumnOf[TicketKind] = column(EnumText(TicketKind))
    client_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    endpoint_id: ColumnOf[int | None] = column(Id, ForeignKey("endpoint.id"), index=True)
    domain_id: ColumnOf[int | None] = column(Id, ForeignKey("domain.id"), index=True)
    code: ColumnOf[str | None]
    # the revision: the certificate, term or opened finding that is current
    round: ColumnOf[str] = column(server_default="")
    # what one action would fix, as status --causes groups it
    cause: ColumnOf[str] = column(server_default="")
    # baseline or mass, its urgency, and the time: no message before its release
    hold: ColumnOf[str | None]
    released_at: ColumnOf[Timestamp | None]
    opened_at: ColumnOf[Timestamp]
    closed_at: ColumnOf[Timestamp | None]
    # when a client was first notified
    told_at: ColumnOf[Timestamp | None]
    acked_at: ColumnOf[Timestamp | None]
    acked_by: ColumnOf[str | None]
    # when the promised status update is due
    promised_at: ColumnOf[Timestamp | None]


class Notice(Base):
    """One message to one contact."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("ix_notice_state_next_at", "state", "next_at"),
        Index("ix_notice_client_id_created_at", "client_id", "created_at"),
    )

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    contact_id: ColumnOf[int | None] = column(Id, ForeignKey("contact.id"), index=True)
    # NULL: to staff
    client_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    kind: ColumnOf[NoticeKind] = column(EnumText(NoticeKind))
    reference: ColumnOf[str]
    # in the headers of the mail: only its reader can return it
    secret: ColumnOf[str]
    # you-act, we-act, escalated, resolved; NULL to staff
    outcome: ColumnOf[str | None]
    # mail, or the name of a channel
    channel: ColumnOf[str]
    subject: ColumnOf[str]
    text: ColumnOf[str]
    html: ColumnOf[str]
    state: ColumnOf[NoticeState] = column(EnumText(NoticeState))
    token: ColumnOf[str | None]
    lease_until: ColumnOf[Timestamp | None]
    attempts: ColumnOf[int] = column(Integer, server_default="0")
    next_at: ColumnOf[Timestamp]
    expires_at: ColumnOf[Timestamp]
    created_at: ColumnOf[Timestamp]
    sent_at: ColumnOf[Timestamp | None]
    sent_to: ColumnOf[str | None]
    smtp_code: ColumnOf[int | None] = column(Integer)
    error: ColumnOf[str | None]
    acked_at: ColumnOf[Timestamp | None]
    resolved_at: ColumnOf[Timestamp | None]
    # iCalendar files that go with it
    calendar: ColumnOf[tuple[str, ...]] = column(JsonTexts, server_default="")


class SentItem(Base):
    """What a message states.

    The unique key makes a notice go once: recipient, subject, step, threshold, certificate or
    term.
    """

    __tablename__ = "notice_item"
    __table_args__ = (UniqueConstraint("contact_id", "subject", "step", "threshold", "round"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    notice_id: ColumnOf[int] = column(Id, ForeignKey("notice.id"), index=True)
    contact_id: ColumnOf[int] = column(Id)
    subject: ColumnOf[str]
    step: ColumnOf[ItemStep] = column(EnumText(ItemStep))
    threshold: ColumnOf[str]
    round: ColumnOf[str]
    matter_id: ColumnOf[int | None] = column(Id, ForeignKey("matter.id"), index=True)


class DroppedItem(Base):
    """What a message stated that was not delivered, or is not sent any more.

    Its items are deleted, so that its topics are decided again. This keeps what it was about.
    """

    __tablename__ = "dropped_item"

    notice_id: ColumnOf[int] = column(Id, ForeignKey("notice.id"), primary_key=True)
    matter_id: ColumnOf[int] = column(Id, ForeignKey("matter.id"), primary_key=True, index=True)


_DECISION_KEY = ("subject", "contact_id", "threshold", "round", "action", "reason")


class StoredDecision(Base):
    """Why a contact was or was not notified: one row as long as the decision stays the same."""

    __tablename__ = "decision"
    __table_args__ = (
        UniqueConstraint(*_DECISION_KEY),
        Index("ix_decision_client_id", "client_id"),
    )

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    subject: ColumnOf[str]
    # 0: staff
    client_id: ColumnOf[int] = column(Id)
    # 0: before a contact was chosen
    contact_id: ColumnOf[int] = column(Id)
    threshold: ColumnOf[str]
    round: ColumnOf[str]
    action: ColumnOf[DecisionAction] = column(EnumText(DecisionAction))
    reason: ColumnOf[str]
    first_at: ColumnOf[Timestamp]
    last_at: ColumnOf[Timestamp]


class Snooze(Base):
    """A snooze or maintenance window.

    Clients get no notices about one ticket, domain, server or client, or about all.
    """

    __tablename__ = "snooze"
    __table_args__ = (Index("ix_snooze_until", "until"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    scope: ColumnOf[SnoozeScope] = column(EnumText(SnoozeScope))
    scope_id: ColumnOf[int] = column(Id)
    starts_at: ColumnOf[Timestamp]
    until: ColumnOf[Timestamp]
    reason: ColumnOf[str]
    by: ColumnOf[str]
    created_at: ColumnOf[Timestamp]
    withdrawn_at: ColumnOf[Timestamp | None]


class Release(Base):
    """A cause or announcement that staff released, to a number of clients per day."""

    __tablename__ = "release"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    cause: ColumnOf[str]
    per_day: ColumnOf[int] = column(Integer)
    by: ColumnOf[str]
    created_at: ColumnOf[Timestamp]
    ended_at: ColumnOf[Timestamp | None]


class MassAllowance(Base):
    """Staff confirmed ahead that runs until a time may send to this number of clients."""

    __tablename__ = "mass_allowance"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    clients: ColumnOf[int] = column(Integer)
    until: ColumnOf[int]
    reason: ColumnOf[str]
    by: ColumnOf[str]
    created_at: ColumnOf[int]
    # the ids of the clients that runs sent to under it: together they are at most the number
    sent_to: ColumnOf[tuple[str, ...]] = column(JsonTexts, server_default="")
    withdrawn_at: ColumnOf[int | None]


class StoredAnnouncement(Base):
    """An announcement to many clients about a coming deadline."""

    __tablename__ = "broadcast"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    template: ColumnOf[str]
    tag: ColumnOf[str | None]
    deadline: ColumnOf[str]
    text: ColumnOf[str | None]
    by: ColumnOf[str]
    created_at: ColumnOf[Timestamp]


class InboundMessage(Base):
    """A reply, bounce or automatic reply.

    The key is the mail's Message-ID, so that reading it twice changes nothing.
    """

    __tablename__ = "inbound"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    message_id: ColumnOf[str] = column(unique=True)
    kind: ColumnOf[InboundKind] = column(EnumText(InboundKind))
    notice_id: ColumnOf[int | None] = column(Id)
    contact_id: ColumnOf[int | None] = column(Id)
    at: ColumnOf[Timestamp]
    text: ColumnOf[str]


class Job(Base):
    """The last success of each job, and what it must remember."""

    __tablename__ = "job"

    name: ColumnOf[str] = column(primary_key=True)
    started_at: ColumnOf[Timestamp | None]
    success_at: ColumnOf[Timestamp | None]
    error: ColumnOf[str | None]
    detail: ColumnOf[dict[str, Any]] = column(Json, server_default="{}")
