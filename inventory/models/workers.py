"""What commands leave to workers, and what they get back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, EnumText, Id, Json, column
from inventory.vocabulary import CallKind


class WorkerCall(Base):
    """Work that a command leaves to a worker and waits for.

    It only reads, so two workers may do it; the first result counts. The command deletes it. Times
    are those of the database, since the clocks of machines may differ.
    """

    __tablename__ = "worker_call"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    kind: ColumnOf[CallKind] = column(EnumText(CallKind))
    arguments: ColumnOf[dict[str, Any]] = column(Json)
    created_at: ColumnOf[Timestamp]
    # how often a worker began it
    attempts: ColumnOf[int] = column(Integer, server_default="0")
    finished_at: ColumnOf[Timestamp | None]
    result: ColumnOf[dict[str, Any] | None] = column(Json)
    # {"type", "what", "why", "todo"} of the error that the command reports
    error: ColumnOf[dict[str, str] | None] = column(Json)


class WorkerCallFile(Base):
    """A file of a result, which the command writes on its machine."""

    __tablename__ = "worker_call_file"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    call_id: ColumnOf[int] = column(Id, ForeignKey("worker_call.id"), index=True)
    name: ColumnOf[str]
    content: ColumnOf[bytes]
