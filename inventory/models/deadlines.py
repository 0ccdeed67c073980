"""The provider's dated rules."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, TableColumn
from inventory.vocabulary import RecordState


class StoredDeadline(Base):
    """A dated rule of the provider.

    Its clients and tags stand in deadline_scope; without any it is for all clients.
    """

    __tablename__ = "deadline"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    name: TableColumn[str] = TableColumn(unique=True)
    # the last second before the rule applies
    at: TableColumn[Timestamp]
    rule: TableColumn[str]
    title: TableColumn[str]
    # for the client, in the provider's words
    text: TableColumn[str | None]
    purchase_days: TableColumn[int] = TableColumn(Integer)
    validation_days: TableColumn[int] = TableColumn(Integer)
    installation_days: TableColumn[int] = TableColumn(Integer)
    state: TableColumn[RecordState] = TableColumn(EnumText(RecordState), server_default="active")
    created_at: TableColumn[Timestamp]
    retired_at: TableColumn[Timestamp | None]


class DeadlineScope(Base):
    """A client or tag that a deadline is for."""

    __tablename__ = "deadline_scope"

    deadline_id: TableColumn[int] = TableColumn(Id, ForeignKey("deadline.id"), primary_key=True)
    # client (its number), tag
    kind: TableColumn[str] = TableColumn(primary_key=True)
    value: TableColumn[str] = TableColumn(primary_key=True)
