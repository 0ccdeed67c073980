"""The audit log."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from inventory.clock import Timestamp
from inventory.models.base import Base, Id


class AuditEntry(Base):
    """One change, chained to the change before it (inventory/db/audit_chain.py)."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    at: Mapped[Timestamp]
    actor: Mapped[str]
    action: Mapped[str]
    kind: Mapped[str]
    row_id: Mapped[int | None] = mapped_column(Id)
    # JSON: {column: [before, after]}; ids and values of the program, no personal data
    detail: Mapped[str]
    # SHA-256 over the hash before it and this row (inventory/db/audit_chain.py)
    hash: Mapped[str] = mapped_column(server_default="")
