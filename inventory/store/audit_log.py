"""Reading and verification of the audit log. Entries are only added (inventory/db/database.py)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from inventory.db import audit_chain
from inventory.db.sql import fetch
from inventory.models import AuditEntry, Job, Notice, Run
from inventory.records import AuditRecord


def head(conn: Connection) -> tuple[str, int]:
    """(hash of the last entry, how many there are)."""
    last = (
        conn.execute(select(AuditEntry.hash).order_by(AuditEntry.id.desc()).limit(1)).scalar()
        or audit_chain.START
    )
    return last, int(conn.execute(select(func.count()).select_from(AuditEntry)).scalar() or 0)


def entries(conn: Connection, *, after: int = 0, limit: int | None = None) -> Iterator[AuditRecord]:
    """Yield the entries in their order, so that the whole log is never in memory."""
    # By id and not by time: the chain follows the ids, and clocks may go back.
    query = select(AuditEntry).where(AuditEntry.id > after).order_by(AuditEntry.id)
    for row in conn.execute(query if limit is None else query.limit(limit)).mappings():
        yield AuditRecord(**row)


def last(conn: Connection, limit: int, kind: str | None = None) -> list[AuditRecord]:
    """Newest first."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if kind is not None:
        query = query.where(AuditEntry.kind == kind)
    return fetch(conn, AuditRecord, query)


def of_row(
    conn: Connection, kind: str, row_id: int, limit: int, *, edits_only: bool = False
) -> list[AuditRecord]:
    """Return the last entries about one record, the newest first.

    With ``edits_only``, its creation is left out.
    """
    query = (
        select(AuditEntry)
        .where(AuditEntry.kind == kind, AuditEntry.row_id == row_id)
        .order_by(AuditEntry.id.desc())
        .limit(limit)
    )
    if edits_only:
        # The creation has one column per entry and would hide the edits.
        query = query.where(AuditEntry.action != "add")
    return fetch(conn, AuditRecord, query)


def has(conn: Connection, digest: str) -> int | None:
    """Return the id of the entry with this hash, or None."""
    return conn.execute(select(AuditEntry.id).where(AuditEntry.hash == digest)).scalar()


def newest_instant(conn: Connection) -> int | None:
    """Return the latest time that the database contains. A clock that shows less was set back."""
    # Each of these is written with the time of the machine. Dates of certificates and deadlines are
    # not: they may lie in the future.
    queries = (
        select(func.max(AuditEntry.at)),
        select(func.max(Run.finished_at)),
        select(func.max(Notice.created_at)),
        select(func.max(Notice.sent_at)),
        select(func.max(Job.started_at)),
        select(func.max(Job.success_at)),
    )
    found = conn.execute(select(*(query.scalar_subquery() for query in queries))).one()
    return max((at for at in found if at is not None), default=None)
