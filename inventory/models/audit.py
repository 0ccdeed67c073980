"""The audit log."""

from __future__ import annotations

from inventory.clock import Timestamp
from inventory.models.base import Base, Id, TableColumn


class AuditEntry(Base):
    """One change, chained to the change before it (inventory/db/audit_chain.py)."""

    __tablename__ = "audit"

    id: TableColumn[int] = TableColumn(Id, primary_key=True, autoincrement=True)
    at: TableColumn[Timestamp]
    actor: TableColumn[str]
    action: TableColumn[str]
    kind: TableColumn[str]
    row_id: TableColumn[int | None] = TableColumn(Id)
    # JSON: {column: [before, after]}; ids and values of the program, no personal data
    detail: TableColumn[str]
    # SHA-256 over the hash before it and this row (inventory/db/audit_chain.py)
    hash: TableColumn[str] = TableColumn(server_default="")
