"""The audit log."""

from __future__ import annotations

from inventory.clock import Timestamp
from inventory.models.base import Base, ColumnOf, Id, column


class AuditEntry(Base):
    """One change, chained to the change before it (inventory/db/audit_chain.py)."""

    __tablename__ = "audit"

    id: ColumnOf[int] = column(Id, primary_key=True, autoincrement=True)
    at: ColumnOf[Timestamp]
    actor: ColumnOf[str]
    action: ColumnOf[str]
    kind: ColumnOf[str]
    row_id: ColumnOf[int | None] = column(Id)
    # JSON: {column: [before, after]}; ids and values of the program, no personal data
    detail: ColumnOf[str]
    # SHA-256 over the hash before it and this row (inventory/db/audit_chain.py)
    hash: ColumnOf[str] = column(server_default="")
