"""What happened to a domain and its endpoints, from all tables, limited to its client.

The rows are facts; certmgr/diagnose/history.py words them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, or_, select, union

from inventory.clock import Timestamp
from inventory.models import (
    AcmeOrder,
    AuditEntry,
    Case,
    CaseEvent,
    CaseName,
    Contact,
    Deployment,
    DroppedItem,
    InboundMessage,
    LineageName,
    Notice,
    PurchaseName,
    SentItem,
    ServedChain,
    StoredCertificate,
    StoredFinding,
    StoredLineage,
    StoredPurchase,
    Ticket,
)


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One event.

    Attributes:
        at: Epoch seconds.
        kind: observation, finding, notice, answer, case, purchase, renewal or record.
        event: What happened, such as ``opened``; the values depend on the kind.
        values: Texts that the event names, in a fixed order per event.
        by: Who did it; empty for the program.
    """

    at: Timestamp
    kind: str
    event: str
    values: tuple[str, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class HistoryScope:
    """Whose history is read.

    Attributes:
        names: The names of the domain and of its endpoints, with the wildcards that cover them.
    """

    client_id: int
    domain_id: int
    endpoint_ids: tuple[int, ...]
    names: tuple[str, ...]


def rows(conn: Connection, scope: HistoryScope) -> list[HistoryRow]:
    """Return all events, oldest first."""
    # Each source asks for these endpoints, or for these names under this client alone.
    found = [
        *_observations(conn, scope.endpoint_ids),
        *_findings(conn, scope.endpoint_ids),
        *_notices(conn, scope),
        *_cases(conn, scope),
        *_purchases(conn, scope),
        *_renewals(conn, scope),
        *_records(conn, scope),
    ]
    return sorted(found, key=lambda r: r.at)


def _observations(conn: Connection, endpoint_ids: Sequence[int]) -> Iterator[HistoryRow]:
    query = (
        select(
            ServedChain.first_seen,
            ServedChain.address,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.not_after,
        )
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == ServedChain.leaf)
        .where(ServedChain.endpoint_id.in_(endpoint_ids))
    )
    for at, address, serial, issuer, end in conn.execute(query):
        # An observation may have no stored certificate, if it was too large or unreadable.
        values = (address, serial or "", issuer or "", "" if end is None else str(end))
        yield HistoryRow(at, "observation", "served", values)


def _findings(conn: Connection, endpoint_ids: Sequence[int]) -> Iterator[HistoryRow]:
    query = select(
        StoredFinding.opened_at,
        StoredFinding.closed_at,
        StoredFinding.code,
        StoredFinding.severity,
        StoredFinding.addresses,
        # Remarks ask for no action, and there are so many that they would hide the faults.
    ).where(StoredFinding.endpoint_id.in_(endpoint_ids), StoredFinding.severity != "info")
    for opened, closed, code, severity, addresses in conn.execute(query):
        values = (code, str(severity), ", ".join(addresses))
        yield HistoryRow(opened, "finding", "opened", values)
        # One row per event: opening and closing are apart in time.
        if closed is not None:
            yield HistoryRow(closed, "finding", "closed", values)


def _notices(conn: Connection, scope: HistoryScope) -> Iterator[HistoryRow]:
    about = or_(Ticket.domain_id == scope.domain_id, Ticket.endpoint_id.in_(scope.endpoint_ids))
    ids = union(
        *[
            select(item.notice_id).join(Ticket, Ticket.id == item.matter_id).where(about)
            # The items of a notice that was never sent or came back are kept apart.
            for item in (SentItem, DroppedItem)
        ]
    )
    query = (
        select(
            Notice.id,
            Notice.created_at,
            Notice.sent_at,
            Notice.state,
            Notice.subject,
            Notice.error,
            Notice.acked_at,
            Notice.sent_to,
            Contact.name,
        )
        .outerjoin(Contact, Contact.id == Notice.contact_id)
        .where(Notice.client_id == scope.client_id, Notice.id.in_(ids))
    )
    notices = conn.execute(query).all()
    for row in notices:
        # The address that it was sent to, since the contact may have another one today.
        to = row.sent_to or row.name or ""
        at = row.created_at if row.sent_at is None else row.sent_at
        yield HistoryRow(at, "notice", str(row.state), (row.subject, to, row.error or ""))
        if row.acked_at is not None:
            yield HistoryRow(row.acked_at, "answer", "acknowledged", (row.subject, to))
    received = select(InboundMessage.at, InboundMessage.kind, InboundMessage.text).where(
        InboundMessage.notice_id.in_([n.id for n in notices])
    )
    for at, kind, text in conn.execute(received):
        yield HistoryRow(at, "answer", str(kind), (text,))


def _cases(conn: Connection, scope: HistoryScope) -> Iterator[HistoryRow]:
    query = (
        select(Case.reference, CaseEvent)
        .join(CaseEvent, CaseEvent.case_id == Case.id)
        .where(
            Case.client_id == scope.client_id,
            # By name and client: a case covers names, and the domain may have been moved.
            Case.id.in_(select(CaseName.case_id).where(CaseName.name.in_(scope.names))),
        )
    )
    for row in conn.execute(query).mappings():
        values = (row["reference"], row["action"], row["after"] or "", row["text"])
        yield HistoryRow(row["at"], "case", "step", values, row["by"])


def _purchases(conn: Connection, scope: HistoryScope) -> Iterator[HistoryRow]:
    query = select(StoredPurchase).where(
        StoredPurchase.client_id == scope.client_id,
        StoredPurchase.id.in_(
            select(PurchaseName.order_id).where(PurchaseName.name.in_(scope.names))
        ),
    )
    for row in conn.execute(query).mappings():
        values = (str(row["id"]), row["vendor"], row["number"] or "", str(row["ends_at"]))
        yield HistoryRow(row["created_at"], "purchase", "recorded", values)
        if row["retired_at"] is not None:
            ended = (*values[:3], row["reason"] or "")
            yield HistoryRow(row["retired_at"], "purchase", "cancelled", ended)


def _renewals(conn: Connection, scope: HistoryScope) -> Iterator[HistoryRow]:
    lineages = (
        select(StoredLineage.id)
        .join(LineageName, LineageName.lineage_id == StoredLineage.id)
        .where(StoredLineage.client_id == scope.client_id, LineageName.name.in_(scope.names))
    )
    orders = select(
        AcmeOrder.created_at, AcmeOrder.ended_at, AcmeOrder.state, AcmeOrder.reason, AcmeOrder.error
    ).where(AcmeOrder.lineage_id.in_(lineages))
    for created, ended, state, reason, error in conn.execute(orders):
        yield HistoryRow(created, "renewal", "ordered", (reason,))
        if ended is not None:
            yield HistoryRow(ended, "renewal", str(state), (error or "",))
    deployments = select(
        Deployment.created_at,
        Deployment.done_at,
        Deployment.target,
        Deployment.state,
        Deployment.error,
    ).where(Deployment.lineage_id.in_(lineages))
    for created, done, target, outcome, error in conn.execute(deployments):
        # A deployment that waits is shown with the time at which it was scheduled.
        at, values = done or created, (target, error or "")
        yield HistoryRow(at, "renewal", f"deployment {outcome}", values)


def _records(conn: Connection, scope: HistoryScope) -> Iterator[HistoryRow]:
    query = select(AuditEntry).where(
        or_(
            # Audit entries have no client. Only those of these very records are read.
            (AuditEntry.kind == "domain") & (AuditEntry.row_id == scope.domain_id),
            (AuditEntry.kind == "endpoint") & AuditEntry.row_id.in_(scope.endpoint_ids),
        )
    )
    for row in conn.execute(query).mappings():
        values = (row["kind"], row["detail"])
        yield HistoryRow(row["at"], "record", row["action"], values, row["actor"])
