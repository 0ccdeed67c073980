"""What commands leave to workers, and what they get back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer
from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, EnumText, Id, Json
from inventory.vocabulary import CallKind


class WorkerCall(Base):
    """Work that a command leaves to a worker and waits for.

    It only reads, so two workers may do it; the first result counts. The command deletes it. Times
    are those of the database, since the clocks of machines may differ.
    """

    __tablename__ = "worker_call"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    kind: Mapped[CallKind] = mapped_column(EnumText(CallKind))
    arguments: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[Timestamp]
    # how often a worker began it
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    finished_at: Mapped[Timestamp | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    # {"type", "what", "why", "todo"} of the error that the command reports
    error: Mapped[dict[str, str] | None] = mapped_column(Json)


class WorkerCallFile(Base):
    """A file of a result, which the command writes on its machine."""

    __tablename__ = "worker_call_file"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    call_id: Mapped[int] = mapped_column(Id, ForeignKey("worker_call.id"), index=True)
    name: Mapped[str]
    content: Mapped[bytes]
