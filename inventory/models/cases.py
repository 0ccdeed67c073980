"""Installation cases, incidents, and the certificates issued in them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json, TableColumn, Words
from inventory.vocabulary import CaseState


class Incident(Base):
    """Many certificates that must be replaced by a time."""

    __tablename__ = "incident"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    reference: TableColumn[str] = TableColumn(unique=True)
    # serials, issuer, server, spki: how they were selected; server-lost: hosts of an emptied server
    kind: TableColumn[str]
    what: TableColumn[str]
    until: TableColumn[Timestamp]
    reason: TableColumn[str]
    by: TableColumn[str]
    opened_at: TableColumn[Timestamp]
    closed_at: TableColumn[Timestamp | None]


class Case(Base):
    """One installation between client and provider.

    The reference is that of its ticket, so that it holds across all messages.
    """

    __tablename__ = "case"
    __table_args__ = (Index("ix_case_state", "state"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    reference: TableColumn[str] = TableColumn(unique=True)
    client_id: TableColumn[int] = TableColumn(Id, ForeignKey("client.id"), index=True)
    order_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("order.id"), index=True)
    incident_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("incident.id"), index=True)
    # new, renewal, reissue, incident
    kind: TableColumn[str]
    state: TableColumn[CaseState] = TableColumn(EnumText(CaseState))
    # counts the transitions
    step: TableColumn[int] = TableColumn(Integer, server_default="1")
    # counts every change
    version: TableColumn[int] = TableColumn(Integer, server_default="1")
    # when this state began
    since: TableColumn[Timestamp]
    due_at: TableColumn[Timestamp | None]
    # of the client
    contact_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("contact.id"), index=True)
    staff_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("contact.id"))
    bought_by: TableColumn[str]
    # 1: the client creates key and CSR
    own_csr: TableColumn[int] = TableColumn(Integer, server_default="0")
    # SHA-256 of the leaves that it replaces, one per key type
    replaces: TableColumn[tuple[str, ...] | None] = TableColumn(Words)
    # when the replaced certificate ends, or must be replaced
    ends_at: TableColumn[Timestamp | None]
    price: TableColumn[str | None]
    fee: TableColumn[str | None]
    currency: TableColumn[str | None]
    approved_at: TableColumn[Timestamp | None]
    approved_by: TableColumn[str | None]
    approved_how: TableColumn[str | None]
    window_start: TableColumn[Timestamp | None]
    window_end: TableColumn[Timestamp | None]
    window_zone: TableColumn[str | None]
    window_sequence: TableColumn[int] = TableColumn(Integer, server_default="0")
    # none, agreed, cancelled
    window_state: TableColumn[str] = TableColumn(server_default="none")
    installed_at: TableColumn[Timestamp | None]
    live_at: TableColumn[Timestamp | None]
    # why it was declined, cancelled or reopened
    reason: TableColumn[str | None]
    # [code, values, refuses] of each problem of the last upload
    said: TableColumn[list[Any]] = TableColumn(Json, server_default="[]")
    opened_at: TableColumn[Timestamp]
    closed_at: TableColumn[Timestamp | None]


class CaseName(Base):
    """A name of a case."""

    __tablename__ = "case_name"
    __table_args__ = (Index("ix_case_name_name", "name"),)

    case_id: TableColumn[int] = TableColumn(Id, ForeignKey("case.id"), primary_key=True)
    name: TableColumn[str] = TableColumn(primary_key=True)


class CaseEvent(Base):
    """What happened in a case, and who did it. Rows never change."""

    __tablename__ = "case_event"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    case_id: TableColumn[int] = TableColumn(Id, ForeignKey("case.id"), index=True)
    version: TableColumn[int] = TableColumn(Integer)
    at: TableColumn[Timestamp]
    by: TableColumn[str]
    action: TableColumn[str]
    before: TableColumn[str | None]
    after: TableColumn[str | None]
    text: TableColumn[str] = TableColumn(server_default="")


class Issuance(Base):
    """One certificate requested under a purchase or in a case.

    The key is a file; the row states the machine and the path.
    """

    __tablename__ = "issuance"
    __table_args__ = (Index("ix_issuance_sha256", "sha256"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    order_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("order.id"), index=True)
    case_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("case.id"), index=True)
    key_type: TableColumn[str] = TableColumn(server_default="")
    # SHA-256 of the public key
    spki: TableColumn[str | None]
    # PEM
    csr: TableColumn[str | None]
    # machine:path; NULL: the client has the key
    key_reference: TableColumn[str | None]
    sha256: TableColumn[str | None] = TableColumn(ForeignKey("certificate.sha256"))
    # SHA-256 of the issuers in their order
    chain: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    created_at: TableColumn[Timestamp]
    received_at: TableColumn[Timestamp | None]
    live_at: TableColumn[Timestamp | None]


class IncidentItem(Base):
    """A certificate that an incident concerns, as it was sorted when the incident was opened."""

    __tablename__ = "incident_item"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    incident_id: TableColumn[int] = TableColumn(Id, ForeignKey("incident.id"), index=True)
    serial: TableColumn[str]
    sha256: TableColumn[str | None]
    client_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    names: TableColumn[tuple[str, ...]] = TableColumn(Words, server_default="")
    # replaced, automatic, ours, client, unknown
    sort: TableColumn[str]
    case_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("case.id"), index=True)
