"""Tickets, notices, and what came back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, JsonTexts, TableColumn
from inventory.vocabulary import NoticeState


class Ticket(Base):
    """What one conversation with a client is about, under a reference that stays the same.

    It is a name that loses cover, a finding, a deadline or an announcement.
    """

    __tablename__ = "matter"
    __table_args__ = (UniqueConstraint("key"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    reference: TableColumn[str] = TableColumn(unique=True)
    # the reference that messages show: that of another ticket, if both are one paragraph
    shown_reference: TableColumn[str | None] = TableColumn(index=True)
    # cover:ENDPOINT:CLIENT, fault:ENDPOINT:CODE:CLIENT, deadline:DOMAIN:NAME:CLIENT,
    # broadcast:TEMPLATE:DEADLINE:CLIENT
    key: TableColumn[str]
    kind: TableColumn[str]
    client_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    endpoint_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("endpoint.id"), index=True)
    domain_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("domain.id"), index=True)
    code: TableColumn[str | None]
    # the revision: the certificate, term or opened finding that is current
    round: TableColumn[str] = TableColumn(server_default="")
    # what one action would fix, as status --causes groups it
    cause: TableColumn[str] = TableColumn(server_default="")
    # baseline or mass, its urgency, and the time: no message before its release
    hold: TableColumn[str | None]
    released_at: TableColumn[Timestamp | None]
    opened_at: TableColumn[Timestamp]
    closed_at: TableColumn[Timestamp | None]
    # when a client was first notified
    told_at: TableColumn[Timestamp | None]
    acked_at: TableColumn[Timestamp | None]
    acked_by: TableColumn[str | None]
    # when the promised status update is due
    promised_at: TableColumn[Timestamp | None]


class Notice(Base):
    """One message to one contact."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("ix_notice_state_next_at", "state", "next_at"),
        Index("ix_notice_client_id_created_at", "client_id", "created_at"),
    )

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    contact_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("contact.id"), index=True)
    # NULL: to staff
    client_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    # client, broadcast, digest, alarm, errand
    kind: TableColumn[str]
    reference: TableColumn[str]
    # in the headers of the mail: only its reader can return it
    secret: TableColumn[str]
    # you-act, we-act, escalated, resolved; NULL to staff
    outcome: TableColumn[str | None]
    # mail, or the name of a channel
    channel: TableColumn[str]
    subject: TableColumn[str]
    text: TableColumn[str]
    html: TableColumn[str]
    # queued, leased, sending, sent, unknown, failed, dead
    state: TableColumn[NoticeState] = TableColumn(EnumText(NoticeState))
    token: TableColumn[str | None]
    lease_until: TableColumn[Timestamp | None]
    attempts: TableColumn[int] = TableColumn(Integer, server_default="0")
    next_at: TableColumn[Timestamp]
    expires_at: TableColumn[Timestamp]
    created_at: TableColumn[Timestamp]
    sent_at: TableColumn[Timestamp | None]
    sent_to: TableColumn[str | None]
    smtp_code: TableColumn[int | None] = TableColumn(Integer)
    error: TableColumn[str | None]
    acked_at: TableColumn[Timestamp | None]
    resolved_at: TableColumn[Timestamp | None]
    # iCalendar files that go with it
    calendar: TableColumn[tuple[str, ...]] = TableColumn(JsonTexts, server_default="")


class SentItem(Base):
    """What a message states.

    The unique key makes a notice go once: recipient, subject, step, threshold, certificate or
    term.
    """

    __tablename__ = "notice_item"
    __table_args__ = (UniqueConstraint("contact_id", "subject", "step", "threshold", "round"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    notice_id: TableColumn[int] = TableColumn(Id, ForeignKey("notice.id"), index=True)
    contact_id: TableColumn[int] = TableColumn(Id)
    subject: TableColumn[str]
    # owner, fallback, oncall, resolved, staff, digest, broadcast
    step: TableColumn[str]
    threshold: TableColumn[str]
    round: TableColumn[str]
    matter_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("matter.id"), index=True)


class DroppedItem(Base):
    """What a message stated that was not delivered, or is not sent any more.

    Its items are deleted, so that its topics are decided again. This keeps what it was about.
    """

    __tablename__ = "dropped_item"

    notice_id: TableColumn[int] = TableColumn(Id, ForeignKey("notice.id"), primary_key=True)
    matter_id: TableColumn[int] = TableColumn(
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

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    subject: TableColumn[str]
    # 0: staff
    client_id: TableColumn[int] = TableColumn(Id)
    # 0: before a contact was chosen
    contact_id: TableColumn[int] = TableColumn(Id)
    threshold: TableColumn[str]
    round: TableColumn[str]
    # send, wait, hold, suppress, staff
    action: TableColumn[str]
    reason: TableColumn[str]
    first_at: TableColumn[Timestamp]
    last_at: TableColumn[Timestamp]


class Snooze(Base):
    """A snooze or maintenance window.

    Clients get no notices about one ticket, domain, server or client, or about all.
    """

    __tablename__ = "snooze"
    __table_args__ = (Index("ix_snooze_until", "until"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    # matter, domain, server, client, all
    scope: TableColumn[str]
    scope_id: TableColumn[int] = TableColumn(Id)
    starts_at: TableColumn[Timestamp]
    until: TableColumn[Timestamp]
    reason: TableColumn[str]
    by: TableColumn[str]
    created_at: TableColumn[Timestamp]
    withdrawn_at: TableColumn[Timestamp | None]


class Release(Base):
    """A cause or announcement that staff released, to a number of clients per day."""

    __tablename__ = "release"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    cause: TableColumn[str]
    per_day: TableColumn[int] = TableColumn(Integer)
    by: TableColumn[str]
    created_at: TableColumn[Timestamp]
    ended_at: TableColumn[Timestamp | None]


class MassAllowance(Base):
    """Staff confirmed ahead that runs until a time may send to this number of clients."""

    __tablename__ = "mass_allowance"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    clients: TableColumn[int] = TableColumn(Integer)
    until: TableColumn[int]
    reason: TableColumn[str]
    by: TableColumn[str]
    created_at: TableColumn[int]
    # the ids of the clients that runs sent to under it: together they are at most the number
    sent_to: TableColumn[tuple[str, ...]] = TableColumn(JsonTexts, server_default="")
    withdrawn_at: TableColumn[int | None]


class StoredAnnouncement(Base):
    """An announcement to many clients about a coming deadline."""

    __tablename__ = "broadcast"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    template: TableColumn[str]
    tag: TableColumn[str | None]
    deadline: TableColumn[str]
    text: TableColumn[str | None]
    by: TableColumn[str]
    created_at: TableColumn[Timestamp]


class InboundMessage(Base):
    """A reply, bounce or automatic reply.

    The key is the mail's Message-ID, so that reading it twice changes nothing.
    """

    __tablename__ = "inbound"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    message_id: TableColumn[str] = TableColumn(unique=True)
    # reply, bounce, delay, automatic, receipt, accepted, declined, uncertain, stranger
    kind: TableColumn[str]
    notice_id: TableColumn[int | None] = TableColumn(Id)
    contact_id: TableColumn[int | None] = TableColumn(Id)
    at: TableColumn[Timestamp]
    text: TableColumn[str]


class Job(Base):
    """The last success of each job, and what it must remember."""

    __tablename__ = "job"

    name: TableColumn[str] = TableColumn(primary_key=True)
    started_at: TableColumn[Timestamp | None]
    success_at: TableColumn[Timestamp | None]
    error: TableColumn[str | None]
    detail: TableColumn[dict[str, Any]] = TableColumn(Json, server_default="{}")
