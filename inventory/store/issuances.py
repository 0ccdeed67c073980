"""Issuances: certificates that were requested in a case, or linked to a purchase by hand.

An issuance begins with a public key and its CSR. The certificate follows when the vendor's
files arrive, and the time at which it was verified live comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch, insert_id
from inventory.errors import Conflict
from inventory.models import (
    Case,
    Issuance,
    PurchaseName,
    StoredCertificate,
    StoredPurchase,
)
from inventory.records import (
    ExpectedLeaf,
    IssuanceRecord,
    LiveLeaf,
)
from inventory.store import (
    cases,
)
from inventory.vocabulary import CaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIssuance:
    """A certificate that is requested, or linked to a purchase.

    Attributes:
        case_id: The case that requests it.
        order_id: The purchase that pays for it.
        key_type: Such as ``ec-p256``.
        spki: SHA-256 of the public key.
        csr: The CSR in PEM.
        key_reference: ``machine:path``; None: the client has the key.
        sha256: The certificate, if it is known already.
        live_at: When it was verified live, in epoch seconds.
    """

    case_id: int | None = None
    order_id: int | None = None
    key_type: str = ""
    spki: str | None = None
    csr: str | None = None
    key_reference: str | None = None
    sha256: str | None = None
    live_at: Timestamp | None = None


def of_cases(conn: Connection, case_ids: Sequence[int]) -> dict[int, list[IssuanceRecord]]:
    """Return case id -> its issuances, oldest first.

    The fields of the certificate are None until it was received.
    """
    found: dict[int, list[IssuanceRecord]] = {}
    columns = (
        StoredCertificate.der,
        StoredCertificate.serial,
        StoredCertificate.not_before,
        StoredCertificate.not_after,
        StoredCertificate.issuer,
    )
    for part in chunks(case_ids):
        query = (
            select(Issuance, *columns)
            .outerjoin(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
            .where(Issuance.case_id.in_(part))
            .order_by(Issuance.id)
        )
        for record in fetch(conn, IssuanceRecord, query):
            # Only an issuance of a purchase has no case, and the query leaves those out.
            assert record.case_id is not None
            found.setdefault(record.case_id, []).append(record)
    return found


def of_case(conn: Connection, case_id: int) -> list[IssuanceRecord]:
    """Return the issuances of one case, oldest first."""
    return of_cases(conn, [case_id]).get(case_id, [])


def add(tx: Tx, issuance: NewIssuance) -> int:
    """Insert an issuance, and return its id.

    The key must be on disk before (certmgr/x509/key_store.py): a row without its key would be a
    certificate that cannot be installed.
    """
    # The clock of the transaction, so that row and event of the case have one time.
    return insert_id(tx.conn, Issuance, asdict(issuance) | {"created_at": tx.at})


def drop(tx: Tx, case_id: int, *, also_received: bool = False, key_type: str | None = None) -> None:
    """Delete requests of a case that a new CSR replaces.

    Args:
        tx: The transaction.
        case_id: The case.
        also_received: Whether to delete certificates that were received and never verified live.
        key_type: Only requests with this key type; None for all.
    """
    # A certificate that was live is part of the history, and revocation may need it.
    query = delete(Issuance).where(Issuance.case_id == case_id, Issuance.live_at.is_(None))
    # A received certificate may be what the client paid for, so it is kept unless asked for.
    if not also_received:
        query = query.where(Issuance.sha256.is_(None))
    if key_type is not None:
        query = query.where(Issuance.key_type == key_type)
    tx.conn.execute(query)


def set_key_reference(tx: Tx, issuance_id: int, key_reference: str) -> None:
    """Record where the key is (``machine:path``), after it was written."""
    tx.conn.execute(
        update(Issuance).where(Issuance.id == issuance_id).values(key_reference=key_reference)
    )


def record_received(tx: Tx, issuance_id: int, sha256: str, chain: Sequence[str]) -> None:
    """Record the received certificate, which must be stored before.

    Args:
        tx: The transaction.
        issuance_id: The issuance.
        sha256: The leaf.
        chain: SHA-256 of the issuers, from the leaf upwards.
    """
    tx.conn.execute(
        update(Issuance)
        .where(Issuance.id == issuance_id)
        # The chain is stored as it was received: it is what will be installed.
        .values(sha256=sha256, chain=tuple(chain), received_at=tx.at)
    )


def record_live(tx: Tx, case_id: int) -> None:
    """Record that the received certificates of a case were verified live.

    The first time is kept, because lead times are measured by it.
    """
    tx.conn.execute(
        update(Issuance)
        .where(
            Issuance.case_id == case_id,
            Issuance.sha256.is_not(None),
            Issuance.live_at.is_(None),
        )
        .values(live_at=tx.at)
    )


def last_of_purchase(conn: Connection, order_id: int) -> list[LiveLeaf]:
    """Return the certificate of a purchase that ends last, as a list of at most one.

    Only certificates that were verified live count: another one has never replaced anything.
    """
    query = (
        select(StoredCertificate.sha256, StoredCertificate.not_after)
        .join(Issuance, Issuance.sha256 == StoredCertificate.sha256)
        .where(
            Issuance.order_id == order_id,
            Issuance.live_at.is_not(None),
            # A certificate without a readable end cannot be ordered among the others.
            StoredCertificate.not_after.is_not(None),
        )
        .order_by(StoredCertificate.not_after.desc())
        .limit(1)
    )
    return fetch(conn, LiveLeaf, query)


def expected(conn: Connection) -> list[ExpectedLeaf]:
    """Return the certificates that servers may present: those of cases, then linked ones.

    Those of cases are in the order in which the cases were opened. ``live_at`` is None for a
    certificate that is not verified yet.
    """
    query = (
        select(
            Case.id,
            Case.client_id,
            Issuance.sha256,
            Issuance.live_at,
            StoredCertificate.not_after,
        )
        .join(Issuance, Issuance.case_id == Case.id)
        .join(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
        # What was received in a case that was stopped must not be installed.
        .where(
            # A request without a certificate allows nothing to be served.
            Issuance.sha256.is_not(None),
            Case.state.not_in((CaseState.DECLINED, CaseState.CANCELLED)),
        )
        .order_by(Case.id)
    )
    rows = conn.execute(query).all()
    names = cases.names_of(conn, [row.id for row in rows])
    of_cases = [ExpectedLeaf(**row._asdict(), names=names.get(row.id, ())) for row in rows]
    # A certificate that was linked to a purchase by hand is the client's own renewal. It must not
    # be reported as unexpected.
    linked = (
        select(StoredPurchase.client_id, PurchaseName.name, Issuance.sha256)
        .join(StoredPurchase, StoredPurchase.id == Issuance.order_id)
        .join(PurchaseName, PurchaseName.order_id == StoredPurchase.id)
        .where(Issuance.case_id.is_(None), Issuance.sha256.is_not(None))
    )
    by_hand = [
        ExpectedLeaf(id=0, client_id=i, names=(name,), sha256=sha, live_at=None, not_after=None)
        for i, name, sha in conn.execute(linked)
        if sha is not None
    ]
    return [*of_cases, *by_hand]


def attach(tx: Tx, order_id: int, sha256: str) -> None:
    """Link a stored certificate to a purchase, without a case.

    Raises:
        Conflict: It is linked already.
    """
    known = tx.conn.execute(
        select(Issuance).where(Issuance.order_id == order_id, Issuance.sha256 == sha256)
    ).first()
    # The same certificate twice would be counted as two reissues of the term.
    if known is not None:
        raise Conflict(
            "The certificate is linked to this purchase already",
            "",
            f"See certmgr purchase show id:{order_id}.",
        )
    values = {"order_id": order_id, "sha256": sha256, "created_at": tx.at, "received_at": tx.at}
    tx.conn.execute(insert(Issuance).values(values))
    tx.audit("attach", "order", order_id, {"fingerprint": sha256})
