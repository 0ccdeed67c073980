"""Clients and their contacts."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id
from inventory.vocabulary import ContactMethodKind, ContactMethodState, RecordState, Role


class Client(Base):
    """A client, who owns domains."""

    __tablename__ = "client"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    number: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    account_manager: Mapped[str | None]
    reseller_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    note: Mapped[str | None]
    hosts: Mapped[str | None]
    dns: Mapped[str | None]
    buys: Mapped[str | None]
    renews: Mapped[str | None]
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class Contact(Base):
    """A person or mailbox of a client, or of the provider's staff."""

    __tablename__ = "contact"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    # NULL: the provider's own staff
    client_id: Mapped[int | None] = mapped_column(Id, ForeignKey("client.id"), index=True)
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(EnumText(Role))
    language: Mapped[str | None]
    time_zone: Mapped[str | None]
    fallback_id: Mapped[int | None] = mapped_column(Id, ForeignKey("contact.id"), index=True)
    # ISO 3166, also with a subdivision (DE-BY): whose holidays are no working days
    country: Mapped[str | None]
    # until then the fallback is notified instead
    away_until: Mapped[Timestamp | None]
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class ContactMethod(Base):
    """One way to reach a contact, in order of preference."""

    __tablename__ = "contact_way"
    __table_args__ = (UniqueConstraint("contact_id", "kind", "value"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    contact_id: Mapped[int] = mapped_column(Id, ForeignKey("contact.id"), index=True)
    position: Mapped[int] = mapped_column(Integer)
    # email, phone, channel (the name of a channel of the configuration)
    kind: Mapped[ContactMethodKind] = mapped_column(EnumText(ContactMethodKind))
    value: Mapped[str]
    # good, bad
    state: Mapped[ContactMethodState] = mapped_column(
        EnumText(ContactMethodState), server_default="good"
    )
