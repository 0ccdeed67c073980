"""Clients and their contacts."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, TableColumn
from inventory.vocabulary import ContactMethodKind, ContactMethodState, RecordState, Role


class Client(Base):
    """A client, who owns domains."""

    __tablename__ = "client"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    number: TableColumn[str] = TableColumn(unique=True)
    name: TableColumn[str] = TableColumn(unique=True)
    account_manager: TableColumn[str | None]
    reseller_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    note: TableColumn[str | None]
    hosts: TableColumn[str | None]
    dns: TableColumn[str | None]
    buys: TableColumn[str | None]
    renews: TableColumn[str | None]
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class Contact(Base):
    """A person or mailbox of a client, or of the provider's staff."""

    __tablename__ = "contact"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    # NULL: the provider's own staff
    client_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("client.id"), index=True)
    name: TableColumn[str]
    role: TableColumn[Role] = TableColumn(EnumText(Role))
    language: TableColumn[str | None]
    time_zone: TableColumn[str | None]
    fallback_id: TableColumn[int | None] = TableColumn(Id, ForeignKey("contact.id"), index=True)
    # ISO 3166, also with a subdivision (DE-BY): whose holidays are no working days
    country: TableColumn[str | None]
    # until then the fallback is notified instead
    away_until: TableColumn[Timestamp | None]
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class ContactMethod(Base):
    """One way to reach a contact, in order of preference."""

    __tablename__ = "contact_way"
    __table_args__ = (UniqueConstraint("contact_id", "kind", "value"),)

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    contact_id: TableColumn[int] = TableColumn(Id, ForeignKey("contact.id"), index=True)
    position: TableColumn[int] = TableColumn(Integer)
    # email, phone, channel (the name of a channel of the configuration)
    kind: TableColumn[ContactMethodKind] = TableColumn(EnumText(ContactMethodKind))
    value: TableColumn[str]
    # good, bad
    state: TableColumn[ContactMethodState] = TableColumn(
        EnumText(ContactMethodState), server_default="good"
    )
