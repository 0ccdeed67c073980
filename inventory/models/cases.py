"""Installation cases, incidents, and the certificates issued in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, Words
from inventory.vocabulary import (
    CaseKind,
    CaseState,
    IncidentCategory,
    IncidentKind,
    Party,
    WindowState,
)


class Incident(Base):
    """Many certificates that must be replaced by a time."""

    __tablename__ = "incident"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    reference: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[IncidentKind] = mapped_column(EnumText(IncidentKind))
    what: Mapped[str]
    until: Mapped[Timestamp]
    reason: Mapped[str]
    by: Mapped[str]
    opened_at: Mapped[Timestamp]
    closed_at: Mapped[Timestamp | None]


class Case(Base):
    """One installation between client and provider.

    The reference is that of its ticket, so that it holds across all messages.
    """

    __tablename__ = "case"
    __table_args__ = (Index("ix_case_state", "state"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    reference: Mapped[str] = mapped_column(unique=True)
    client_id: Mapped[int] = mapped_column(Id, ForeignKey("client.id"), index=True)
    order_id: Mapped[int | None] = mapped_column(Id, ForeignKey("order.id"), index=True)
    incident_id: Mapped[int | None] = mapped_column(Id, ForeignKey("incident.id"), index=True)
    kind: Mapped[CaseKind] = mapped_column(EnumText(CaseKind))
    state: Mapped[CaseState] = mapped_column(EnumText(CaseState))
    # counts the transitions
    step: Mapped[int] = mapped_column(Integer, server_default="1")
    # counts every change
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    # when this state began
    since: Mapped[Timestamp]
    due_at: Mapped[Timestamp | None]
    # of the client
    contact_id: Mapped[int | None] = mapped_column(Id, ForeignKey("contact.id"), index=True)
    staff_id: Mapped[int | None] = mapped_column(Id, ForeignKey("contact.id"))
    # 1: a person named the assignee; 0: it was chosen automatically
    staff_named: Mapped[int] = mapped_column(Integer, server_default="0")
    # the client, or us
    bought_by: Mapped[Party] = mapped_column(EnumText(Party))
    # 1: the client creates key and CSR
    own_csr: Mapped[int] = mapped_column(Integer, server_default="0")
    # SHA-256 of the leaves that it replaces, one per key type
    replaces: Mapped[tuple[str, ...] | None] = mapped_column(Words)
    # when the replaced certificate ends, or must be replaced
    ends_at: Mapped[Timestamp | None]
    price: Mapped[str | None]
    fee: Mapped[str | None]
    currency: Mapped[str | None]
    approved_at: Mapped[Timestamp | None]
    approved_by: Mapped[str | None]
    approved_how: Mapped[str | None]
    window_start: Mapped[Timestamp | None]
    window_end: Mapped[Timestamp | None]
    window_zone: Mapped[str | None]
    window_sequence: Mapped[int] = mapped_column(Integer, server_default="0")
    window_state: Mapped[WindowState] = mapped_column(EnumText(WindowState), server_default="none")
    installed_at: Mapped[Timestamp | None]
    live_at: Mapped[Timestamp | None]
    # why it was declined, cancelled or reopened
    reason: Mapped[str | None]
    # [code, values, refuses] of each problem of the last upload
    said: Mapped[list[Any]] = mapped_column(Json, server_default="[]")
    opened_at: Mapped[Timestamp]
    closed_at: Mapped[Timestamp | None]


class CaseName(Base):
    """A name of a case."""

    __tablename__ = "case_name"
    __table_args__ = (Index("ix_case_name_name", "name"),)

    case_id: Mapped[int] = mapped_column(Id, ForeignKey("case.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)


class CaseEvent(Base):
    """What happened in a case, and who did it. Rows never change."""

    __tablename__ = "case_event"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    case_id: Mapped[int] = mapped_column(Id, ForeignKey("case.id"), index=True)
    version: Mapped[int] = mapped_column(Integer)
    at: Mapped[Timestamp]
    by: Mapped[str]
    action: Mapped[str]
    before: Mapped[str | None]
    after: Mapped[str | None]
    text: Mapped[str] = mapped_column(server_default="")


class Issuance(Base):
    """One certificate requested under a purchase or in a case.

    The key is a file; the row states the machine and the path.
    """

    __tablename__ = "issuance"
    __table_args__ = (Index("ix_issuance_sha256", "sha256"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    order_id: Mapped[int | None] = mapped_column(Id, ForeignKey("order.id"), index=True)
    case_id: Mapped[int | None] = mapped_column(Id, ForeignKey("case.id"), index=True)
    key_type: Mapped[str] = mapped_column(server_default="")
    # SHA-256 of the public key
    spki: Mapped[str | None]
    # PEM
    csr: Mapped[str | None]
    # machine:path; NULL: the client has the key
    key_reference: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(ForeignKey("certificate.sha256"))
    # SHA-256 of the issuers in their order
    chain: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    created_at: Mapped[Timestamp]
    received_at: Mapped[Timestamp | None]
    live_at: Mapped[Timestamp | None]


class IncidentItem(Base):
    """A certificate that an incident concerns, as it was sorted when the incident was opened."""

    __tablename__ = "incident_item"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    incident_id: Mapped[int] = mapped_column(Id, ForeignKey("incident.id"), index=True)
    serial: Mapped[str]
    sha256: Mapped[str | None]
    client_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    names: Mapped[tuple[str, ...]] = mapped_column(Words, server_default="")
    sort: Mapped[IncidentCategory] = mapped_column(EnumText(IncidentCategory))
    case_id: Mapped[int | None] = mapped_column(Id, ForeignKey("case.id"), index=True)
