"""The provider's dated rules."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, column
from inventory.vocabulary import DeadlineScopeKind, RecordState


class StoredDeadline(Base):
    """A dated rule of the provider.

    Its clients and tags stand in deadline_scope; without any it is for all clients.
    """

    __tablename__ = "deadline"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    name: ColumnOf[str] = column(unique=True)
    # the last second before the rule applies
    at: ColumnOf[Timestamp]
    rule: ColumnOf[str]
    title: ColumnOf[str]
    # for the client, in the provider's words
    text: ColumnOf[str | None]
    purchase_days: ColumnOf[int] = column(Integer)
    validation_days: ColumnOf[int] = column(Integer)
    installation_days: ColumnOf[int] = column(Integer)
    state: ColumnOf[RecordState] = column(EnumText(RecordState), server_default="active")
    created_at: ColumnOf[Timestamp]
    retired_at: ColumnOf[Timestamp | None]


class DeadlineScope(Base):
    """A client or tag that a deadline is for."""

    __tablename__ = "deadline_scope"

    deadline_id: ColumnOf[int] = column(Id, ForeignKey("deadline.id"), primary_key=True)
    kind: ColumnOf[DeadlineScopeKind] = column(EnumText(DeadlineScopeKind), primary_key=True)
    # the id of the client, or the tag
    value: ColumnOf[str] = column(primary_key=True)
