"""Installation cases, incidents, and the certificates issued in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Json, Words, column
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

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    reference: ColumnOf[str] = column(unique=True)
    kind: ColumnOf[IncidentKind] = column(EnumText(IncidentKind))
    what: ColumnOf[str]
    until: ColumnOf[Timestamp]
    reason: ColumnOf[str]
    by: ColumnOf[str]
    opened_at: ColumnOf[Timestamp]
    closed_at: ColumnOf[Timestamp | None]


class Case(Base):
    """One installation between client and provider.

    The reference is that of its ticket, so that it holds across all messages.
    """

    __tablename__ = "case"
    __table_args__ = (Index("ix_case_state", "state"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    reference: ColumnOf[str] = column(unique=True)
    client_id: ColumnOf[int] = column(Id, ForeignKey("client.id"), index=True)
    order_id: ColumnOf[int | None] = column(Id, ForeignKey("order.id"), index=True)
    incident_id: ColumnOf[int | None] = column(Id, ForeignKey("incident.id"), index=True)
    kind: ColumnOf[CaseKind] = column(EnumText(CaseKind))
    state: ColumnOf[CaseState] = column(EnumText(CaseState))
    # counts the transitions
    step: ColumnOf[int] = column(Integer, server_default="1")
    # counts every change
    version: ColumnOf[int] = column(Integer, server_default="1")
    # when this state began
    since: ColumnOf[Timestamp]
    due_at: ColumnOf[Timestamp | None]
    # of the client
    contact_id: ColumnOf[int | None] = column(Id, ForeignKey("contact.id"), index=True)
    staff_id: ColumnOf[int | None] = column(Id, ForeignKey("contact.id"))
    # 1: a person named the assignee; 0: it was chosen automatically
    staff_named: ColumnOf[int] = column(Integer, server_default="0")
    # the client, or us
    bought_by: ColumnOf[Party] = column(EnumText(Party))
    # 1: the client creates key and CSR
    own_csr: ColumnOf[int] = column(Integer, server_default="0")
    # SHA-256 of the leaves that it replaces, one per key type
    replaces: ColumnOf[tuple[str, ...] | None] = column(Words)
    # when the replaced certificate ends, or must be replaced
    ends_at: ColumnOf[Timestamp | None]
    price: ColumnOf[str | None]
    fee: ColumnOf[str | None]
    currency: ColumnOf[str | None]
    approved_at: ColumnOf[Timestamp | None]
    approved_by: ColumnOf[str | None]
    approved_how: ColumnOf[str | None]
    window_start: ColumnOf[Timestamp | None]
    window_end: ColumnOf[Timestamp | None]
    window_zone: ColumnOf[str | None]
    window_sequence: ColumnOf[int] = column(Integer, server_default="0")
    window_state: ColumnOf[WindowState] = column(EnumText(WindowState), server_default="none")
    installed_at: ColumnOf[Timestamp | None]
    live_at: ColumnOf[Timestamp | None]
    # why it was declined, cancelled or reopened
    reason: ColumnOf[str | None]
    # [code, values, refuses] of each problem of the last upload
    said: ColumnOf[list[Any]] = column(Json, server_default="[]")
    opened_at: ColumnOf[Timestamp]
    closed_at: ColumnOf[Timestamp | None]


class CaseName(Base):
    """A name of a case."""

    __tablename__ = "case_name"
    __table_args__ = (Index("ix_case_name_name", "name"),)

    case_id: ColumnOf[int] = column(Id, ForeignKey("case.id"), primary_key=True)
    name: ColumnOf[str] = column(primary_key=True)


class CaseEvent(Base):
    """What happened in a case, and who did it. Rows never change."""

    __tablename__ = "case_event"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    case_id: ColumnOf[int] = column(Id, ForeignKey("case.id"), index=True)
    version: ColumnOf[int] = column(Integer)
    at: ColumnOf[Timestamp]
    by: ColumnOf[str]
    action: ColumnOf[str]
    before: ColumnOf[str | None]
    after: ColumnOf[str | None]
    text: ColumnOf[str] = column(server_default="")


class Issuance(Base):
    """One certificate requested under a purchase or in a case.

    The key is a file; the row states the machine and the path.
    """

    __tablename__ = "issuance"
    __table_args__ = (Index("ix_issuance_sha256", "sha256"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    order_id: ColumnOf[int | None] = column(Id, ForeignKey("order.id"), index=True)
    case_id: ColumnOf[int | None] = column(Id, ForeignKey("case.id"), index=True)
    key_type: ColumnOf[str] = column(server_default="")
    # SHA-256 of the public key
    spki: ColumnOf[str | None]
    # PEM
    csr: ColumnOf[str | None]
    # machine:path; NULL: the client has the key
    key_reference: ColumnOf[str | None]
    sha256: ColumnOf[str | None] = column(ForeignKey("certificate.sha256"))
    # SHA-256 of the issuers in their order
    chain: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    created_at: ColumnOf[Timestamp]
    received_at: ColumnOf[Timestamp | None]
    live_at: ColumnOf[Timestamp | None]


class IncidentItem(Base):
    """A certificate that an incident concerns, as it was sorted when the incident was opened."""

    __tablename__ = "incident_item"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    incident_id: ColumnOf[int] = column(Id, ForeignKey("incident.id"), index=True)
    serial: ColumnOf[str]
    sha256: ColumnOf[str | None]
    client_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    names: ColumnOf[tuple[str, ...]] = column(Words, server_default="")
    sort: ColumnOf[IncidentCategory] = column(EnumText(IncidentCategory))
    case_id: ColumnOf[int | None] = column(Id, ForeignKey("case.id"), index=True)
