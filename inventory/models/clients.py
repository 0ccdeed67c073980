"""Clients and their contacts."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, UniqueConstraint

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, column
from inventory.vocabulary import ContactMethodKind, ContactMethodState, RecordState, Role


class Client(Base):
    """A client, who owns domains."""

    __tablename__ = "client"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    number: ColumnOf[str] = column(unique=True)
    name: ColumnOf[str] = column(unique=True)
    account_manager: ColumnOf[str | None]
    reseller_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    note: ColumnOf[str | None]
    hosts: ColumnOf[str | None]
    dns: ColumnOf[str | None]
    buys: ColumnOf[str | None]
    renews: ColumnOf[str | None]
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class Contact(Base):
    """A person or mailbox of a client, or of the provider's staff."""

    __tablename__ = "contact"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    # NULL: the provider's own staff
    client_id: ColumnOf[int | None] = column(Id, ForeignKey("client.id"), index=True)
    name: ColumnOf[str]
    role: ColumnOf[Role] = column(EnumText(Role))
    language: ColumnOf[str | None]
    time_zone: ColumnOf[str | None]
    fallback_id: ColumnOf[int | None] = column(Id, ForeignKey("contact.id"), index=True)
    # ISO 3166, also with a subdivision (DE-BY): whose holidays are no working days
    country: ColumnOf[str | None]
    # until then the fallback is notified instead
    away_until: ColumnOf[Timestamp | None]
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class ContactMethod(Base):
    """One way to reach a contact, in order of preference."""

    __tablename__ = "contact_way"
    __table_args__ = (UniqueConstraint("contact_id", "kind", "value"),)

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    contact_id: ColumnOf[int] = column(Id, ForeignKey("contact.id"), index=True)
    position: ColumnOf[int] = column(Integer)
    # email, phone, channel (the name of a channel of the configuration)
    kind: ColumnOf[ContactMethodKind] = column(EnumText(ContactMethodKind))
    value: ColumnOf[str]
    # good, bad
    state: ColumnOf[ContactMethodState] = column(
        EnumText(ContactMethodState), server_default="good"
    )
