"""The provider's dated rules."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id
from inventory.vocabulary import DeadlineScopeKind, RecordState


class StoredDeadline(Base):
    """A dated rule of the provider.

    Its clients and tags stand in deadline_scope; without any it is for all clients.
    """

    __tablename__ = "deadline"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(unique=True)
    # the last second before the rule applies
    at: Mapped[Timestamp]
    rule: Mapped[str]
    title: Mapped[str]
    # for the client, in the provider's words
    text: Mapped[str | None]
    purchase_days: Mapped[int] = mapped_column(Integer)
    validation_days: Mapped[int] = mapped_column(Integer)
    installation_days: Mapped[int] = mapped_column(Integer)
    state: Mapped[RecordState] = mapped_column(EnumText(RecordState), server_default="active")
    created_at: Mapped[Timestamp]
    retired_at: Mapped[Timestamp | None]


class DeadlineScope(Base):
    """A client or tag that a deadline is for."""

    __tablename__ = "deadline_scope"

    deadline_id: Mapped[int] = mapped_column(Id, ForeignKey("deadline.id"), primary_key=True)
    kind: Mapped[DeadlineScopeKind] = mapped_column(EnumText(DeadlineScopeKind), primary_key=True)
    # the id of the client, or the tag
    value: Mapped[str] = mapped_column(primary_key=True)
