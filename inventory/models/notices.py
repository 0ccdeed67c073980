"""Tickets, notices, and what came back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, JsonTexts
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

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    reference: Mapped[str] = mapped_column(unique=True)
    # the reference that messages show: that of another ticket, if both are one paragraph
    shown_reference: Mapped[str | None] = mapped_column(index=True)
    # cover:ENDPOINT:CLIENT, fault:ENDPOINT:CODE:CLIENT, deadline:DOMAIN:NAME:CLIENT,
    # broadcast:TEMPLATE:DEADLINE:CLIENT
    key: Mapped[str]
    kind: Mapped[TicketKind] = mapped_column(EnumText(TicketKind))
    client_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    endpoint_id: Mapped[int | None] = mapped_column(Id, ForeignKey("endpoint.id"), index=True)
    domain_id: Mapped[int | None] = mapped_column(Id, ForeignKey("domain.id"), index=True)
    code: Mapped[str | None]
    # the revision: the certificate, term or opened finding that is current
    round: Mapped[str] = mapped_column(server_default="")
    # what one action would fix, as status --causes groups it
    cause: Mapped[str] = mapped_column(server_default="")
    # baseline or mass, its urgency, and the time: no message before its release
    hold: Mapped[str | None]
    released_at: Mapped[Timestamp | None]
    opened_at: Mapped[Timestamp]
    closed_at: Mapped[Timestamp | None]
    # when a client was first notified
    told_at: Mapped[Timestamp | None]
    acked_at: Mapped[Timestamp | None]
    acked_by: Mapped[str | None]
    # when the promised status update is due
    promised_at: Mapped[Timestamp | None]


class Notice(Base):
    """One message to one contact."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("ix_notice_state_next_at", "state", "next_at"),
        Index("ix_notice_client_id_created_at", "client_id", "created_at"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    contact_id: Mapped[int | None] = mapped_column(Id, ForeignKey("contact.id"), index=True)
    # NULL: to staff
    client_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    kind: Mapped[NoticeKind] = mapped_column(EnumText(NoticeKind))
    reference: Mapped[str]
    # in the headers of the mail: only its reader can return it
    secret: Mapped[str]
    # you-act, we-act, escalated, resolved; NULL to staff
    outcome: Mapped[str | None]
    # mail, or the name of a channel
    channel: Mapped[str]
    subject: Mapped[str]
    text: Mapped[str]
    html: Mapped[str]
    state: Mapped[NoticeState] = mapped_column(EnumText(NoticeState))
    token: Mapped[str | None]
    lease_until: Mapped[Timestamp | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_at: Mapped[Timestamp]
    expires_at: Mapped[Timestamp]
    created_at: Mapped[Timestamp]
    sent_at: Mapped[Timestamp | None]
    sent_to: Mapped[str | None]
    smtp_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]
    acked_at: Mapped[Timestamp | None]
    resolved_at: Mapped[Timestamp | None]
    # iCalendar files that go with it
    calendar: Mapped[tuple[str, ...]] = mapped_column(JsonTexts, server_default="")


class SentItem(Base):
    """What a message states.

    The unique key makes a notice go once: recipient, subject, step, threshold, certificate or
    term.
    """

    __tablename__ = "notice_item"
    __table_args__ = (UniqueConstraint("contact_id", "subject", "step", "threshold", "round"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    notice_id: Mapped[int] = mapped_column(Id, ForeignKey("notice.id"), index=True)
    contact_id: Mapped[int] = mapped_column(Id)
    subject: Mapped[str]
    step: Mapped[ItemStep] = mapped_column(EnumText(ItemStep))
    threshold: Mapped[str]
    round: Mapped[str]
    matter_id: Mapped[int | None] = mapped_column(Id, ForeignKey("matter.id"), index=True)


class DroppedItem(Base):
    """What a message stated that was not delivered, or is not sent any more.

    Its items are deleted, so that its topics are decided again. This keeps what it was about.
    """

    __tablename__ = "dropped_item"

    notice_id: Mapped[int] = mapped_column(Id, ForeignKey("notice.id"), primary_key=True)
    matter_id: Mapped[int] = mapped_column(
        Id, ForeignKey("matter.id"), primary_key=True, index=True
    )


_DECISION_KEY = ("subject", "contact_id", "threshold", "round", "action", "reason")


class StoredDecision(Base):
    """Why a contact was or was not notified: one row as long as the decision stays the same."""

    __tablename__ = "decision"
    __table_args__ = (
        UniqueConstraint(*_DECISION_KEY),
        Index("ix_decision_client_id", "client_id"),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    subject: Mapped[str]
    # 0: staff
    client_id: Mapped[int] = mapped_column(Id)
    # 0: before a contact was chosen
    contact_id: Mapped[int] = mapped_column(Id)
    threshold: Mapped[str]
    round: Mapped[str]
    action: Mapped[DecisionAction] = mapped_column(EnumText(DecisionAction))
    reason: Mapped[str]
    first_at: Mapped[Timestamp]
    last_at: Mapped[Timestamp]


class Snooze(Base):
    """A snooze or maintenance window.

    Clients get no notices about one ticket, domain, server or client, or about all.
    """

    __tablename__ = "snooze"
    __table_args__ = (Index("ix_snooze_until", "until"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    scope: Mapped[SnoozeScope] = mapped_column(EnumText(SnoozeScope))
    scope_id: Mapped[int] = mapped_column(Id)
    starts_at: Mapped[Timestamp]
    until: Mapped[Timestamp]
    reason: Mapped[str]
    by: Mapped[str]
    created_at: Mapped[Timestamp]
    withdrawn_at: Mapped[Timestamp | None]


class Release(Base):
    """A cause or announcement that staff released, to a number of clients per day."""

    __tablename__ = "release"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    cause: Mapped[str]
    per_day: Mapped[int] = mapped_column(Integer)
    by: Mapped[str]
    created_at: Mapped[Timestamp]
    ended_at: Mapped[Timestamp | None]


class MassAllowance(Base):
    """Staff confirmed ahead that runs until a time may send to this number of clients."""

    __tablename__ = "mass_allowance"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    clients: Mapped[int] = mapped_column(Integer)
    until: Mapped[int]
    reason: Mapped[str]
    by: Mapped[str]
    created_at: Mapped[int]
    # the ids of the clients that runs sent to under it: together they are at most the number
    sent_to: Mapped[tuple[str, ...]] = mapped_column(JsonTexts, server_default="")
    withdrawn_at: Mapped[int | None]


class StoredAnnouncement(Base):
    """An announcement to many clients about a coming deadline."""

    __tablename__ = "broadcast"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    template: Mapped[str]
    tag: Mapped[str | None]
    deadline: Mapped[str]
    text: Mapped[str | None]
    by: Mapped[str]
    created_at: Mapped[Timestamp]


class InboundMessage(Base):
    """A reply, bounce or automatic reply.

    The key is the mail's Message-ID, so that reading it twice changes nothing.
    """

    __tablename__ = "inbound"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    message_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[InboundKind] = mapped_column(EnumText(InboundKind))
    notice_id: Mapped[int | None] = mapped_column(Id)
    contact_id: Mapped[int | None] = mapped_column(Id)
    at: Mapped[Timestamp]
    text: Mapped[str]


class Job(Base):
    """The last success of each job, and what it must remember."""

    __tablename__ = "job"

    name: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[Timestamp | None]
    success_at: Mapped[Timestamp | None]
    error: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(Json, server_default="{}")
