"""One case as a row, and with everything about it as a page of ``case show``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from certmgr.cases.states import (
    ENDED,
    NEXT_STEPS,
    is_overdue,
    waits_for,
)
from certmgr.cases.window import InstallationWindow
from certmgr.cli.output import (
    epoch_text,
)
from inventory.db.database import from_epoch
from inventory.records import CaseRecord, IssuanceRecord
from inventory.vocabulary import CaseState, WindowState


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """One case of ``certmgr.cases/1``; dates as RFC 3339 text, amounts as decimal text."""

    reference: str
    client: str
    state: str
    waits_for: str
    due: str | None
    overdue: bool
    names: tuple[str, ...]
    kind: str
    staff: str | None
    window: str | None
    todo: str | None
    id: int
    version: int
    since: str | None
    opened: str | None
    closed: str | None
    # The purchase. The key in JSON is older than that word, and programs read it.
    order_id: int | None
    contact: str | None
    approved_by: str | None
    price: str | None
    fee: str | None
    currency: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationRow:
    """One escalation of a case in the output."""

    who: str
    at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCertificateRow:
    """One certificate of a case in the output."""

    key_type: str
    key: str
    sha256: str | None
    serial: str | None
    not_after: str | None
    received: str | None
    seen_live: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """One message to the client in the output."""

    at: str | None
    contact: str | None
    state: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event of a case in the output."""

    at: str | None
    by: str
    action: str
    before: str | None
    after: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePage:
    """One case with everything that ``case show`` prints about it."""

    case: CaseRow
    can: list[str]
    reminds: str | None
    climbs: list[EscalationRow]
    certificates: list[CaseCertificateRow]
    messages: list[MessageRow]
    events: list[EventRow]


def case_row(row: CaseRecord, now: datetime) -> CaseRow:
    """Return one case for the output."""
    start, end = from_epoch(row.window_start), from_epoch(row.window_end)
    # A cancelled window keeps its dates in the row, but must not be shown as agreed.
    window = (
        InstallationWindow(start, end, row.window_zone or "UTC").text
        if start and end and row.window_state is WindowState.AGREED
        else None
    )
    state = CaseState(row.state)
    return CaseRow(
        reference=row.reference,
        client=row.client,
        state=str(state),
        waits_for=waits_for(row),
        due=epoch_text(row.due_at),
        # A case that ended has nothing due, so it is never overdue.
        overdue=state not in ENDED and is_overdue(row, now),
        names=row.names,
        kind=row.kind,
        staff=row.staff,
        window=window,
        todo=NEXT_STEPS.get(state, "").replace("REF", row.reference) or None,
        id=row.id,
        version=row.version,
        since=epoch_text(row.since),
        opened=epoch_text(row.opened_at),
        closed=epoch_text(row.closed_at),
        order_id=row.order_id,
        contact=row.contact,
        approved_by=row.approved_by,
        price=row.price,
        fee=row.fee,
        currency=row.currency,
        reason=row.reason,
    )


def certificate_row(issuance: IssuanceRecord) -> CaseCertificateRow:
    """Return one certificate of a case for the output."""
    return CaseCertificateRow(
        key_type=issuance.key_type,
        # Without a reference the client made the CSR, and never hands the key over.
        key=issuance.key_reference or "with the client",
        sha256=issuance.sha256,
        serial=issuance.serial,
        not_after=epoch_text(issuance.not_after),
        received=epoch_text(issuance.received_at),
        seen_live=epoch_text(issuance.live_at),
    )
