"""Purchases: what a client bought for a term, and the names that it covers.

``purchase_changes`` adds and changes them, ``purchase_values`` checks what is stated, and
``issuances`` has the certificates of a purchase.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from inventory.clock import Timestamp
from inventory.db.sql import CHUNK, chunks, fetch, fetch_all
from inventory.errors import UsageError
from inventory.models import (
    Case,
    Client,
    Issuance,
    PurchaseName,
    StoredCertificate,
    StoredPurchase,
)
from inventory.records import (
    ListedPurchase,
    PurchasedLeaf,
    PurchaseRecord,
)
from inventory.store import suggestions
from inventory.text import printable

ID_PREFIX = "id:"


def reference(purchase_id: int) -> str:
    """Return the id of a purchase as it is printed, and as :func:`find` takes it.

    ``#12`` begins a comment in a shell, and a bare ``12`` may be the number of another purchase at
    its vendor, so that a pasted one would show or cancel the wrong purchase.
    """
    return f"{ID_PREFIX}{purchase_id}"


def label(vendor: str, number: str | None, purchase_id: int) -> str:
    """Return the vendor with its order number, or with the id if there is no number."""
    # Clients read this: the id must not look like a number of the vendor.
    return f"{vendor} {number or f'(id {purchase_id})'}".strip()


def find(conn: Connection, key: str, client_id: int | None = None) -> PurchaseRecord:
    """Return a purchase by its id (``id:12``, ``#12`` or ``12``) or by the vendor's number.

    Args:
        conn: The connection.
        key: The id or the number.
        client_id: Only purchases of this client; None for all clients.

    Raises:
        NotFound: There is no such purchase.
        UsageError: Several vendors gave that number.
    """
    text = key.strip()
    means_id = text.startswith(("#", ID_PREFIX))
    bare = text.removeprefix("#").removeprefix(ID_PREFIX)
    # More digits than a 64-bit id has would overflow the column.
    as_id = int(bare) if bare.isascii() and bare.isdigit() and len(bare) < 19 else -1
    query = select(StoredPurchase, Client.number.label("client")).join(
        Client, Client.id == StoredPurchase.client_id
    )
    if client_id is not None:
        query = query.where(StoredPurchase.client_id == client_id)
    by_number = query.where(StoredPurchase.number == text)
    by_id = query.where(StoredPurchase.id == as_id)
    # Invoices show the vendor's number, so that it precedes the id, unless the id is asked for.
    for candidates in (by_id, by_number) if means_id else (by_number, by_id):
        found = fetch(conn, PurchaseRecord, candidates)
        if len(found) > 1:
            raise UsageError(
                f"{len(found)} purchases have the number '{printable(text, 60)}'",
                f"they are {', '.join(reference(purchase.id) for purchase in found)}",
                "Name one of these.",
            )
        if found:
            return found[0]
    raise suggestions.not_found(conn, "purchase", text, "certmgr purchase list")


def same_purchase(
    conn: Connection,
    client_id: int,
    *,
    vendor: str,
    number: str | None,
    starts_at: Timestamp | None,
    names: Sequence[str],
) -> int | None:
    """Return the id of the stored purchase that a row of a file describes; None if there is none.

    Args:
        conn: The connection.
        client_id: The client.
        vendor: The vendor.
        number: The vendor's number. Without it, ``starts_at`` and ``names`` must be the same.
        starts_at: The begin of the term, in epoch seconds.
        names: The names as they are stored, in any order.
    """
    query = select(StoredPurchase.id).where(
        StoredPurchase.client_id == client_id, StoredPurchase.vendor == vendor
    )
    if number is not None:
        return conn.scalar(query.where(StoredPurchase.number == number))
    # Without a number and a start, nothing identifies the purchase, so it is a new one.
    if starts_at is None:
        return None
    # A purchase with a number is not meant by a row without one: the row may be a second purchase
    # for the same names.
    candidates = query.where(StoredPurchase.starts_at == starts_at, StoredPurchase.number.is_(None))
    wanted = sorted(names)
    return next((i for i in conn.scalars(candidates) if names_of(conn, i) == wanted), None)


def names_of(conn: Connection, purchase_id: int) -> list[str]:
    """Return the names of a purchase in alphabetical order."""
    query = select(PurchaseName.name).where(PurchaseName.order_id == purchase_id)
    return sorted(conn.scalars(query))


def listing(
    conn: Connection,
    *,
    client_id: int | None = None,
    ids: Iterable[int] | None = None,
    ended: bool = True,
) -> list[ListedPurchase]:
    """Return purchases with their names and certificates, the first end first.

    Args:
        conn: The connection.
        client_id: Only purchases of this client; None for all clients.
        ids: Only purchases with these ids; None for all.
        ended: Whether to include cancelled purchases and those of retired clients.
    """
    query = (
        select(StoredPurchase, Client.number.label("client"), Client.name.label("client_name"))
        .join(Client, Client.id == StoredPurchase.client_id)
        .order_by(StoredPurchase.ends_at, StoredPurchase.id)
    )
    if client_id is not None:
        query = query.where(StoredPurchase.client_id == client_id)
    if not ended:
        # Nothing is planned or billed for what was cancelled, or for a client that has left.
        query = query.where(StoredPurchase.state == "active", Client.state != "retired")
    if ids is None:
        queries = [query]
    else:
        queries = [query.where(StoredPurchase.id.in_(part)) for part in chunks(sorted(set(ids)))]
    rows = [row for part in queries for row in fetch_all(conn, part)]
    # Most clients have none, and a report asks several times.
    if not rows:
        return []
    purchase_ids = [row["id"] for row in rows]
    # Without a filter, whole tables are read: an IN list of all ids would be slower.
    scope = purchase_ids if client_id is not None or ids is not None else None
    names = _names_by_purchase(conn, scope)
    issued = _issued_by_purchase(conn, scope)
    return [
        ListedPurchase(
            **row,
            names=tuple(names.get(purchase_id, ())),
            issued=tuple(issued.get(purchase_id, ())),
        )
        for purchase_id, row in zip(purchase_ids, rows, strict=True)
    ]


def _names_by_purchase(conn: Connection, purchase_ids: list[int] | None) -> dict[int, list[str]]:
    """Return purchase id -> names in alphabetical order."""
    query = select(PurchaseName.order_id, PurchaseName.name).order_by(PurchaseName.name)
    names: dict[int, list[str]] = {}
    for purchase_id, name in conn.execute(query.where(_among(PurchaseName.order_id, purchase_ids))):
        names.setdefault(purchase_id, []).append(name)
    return names


def _issued_by_purchase(
    conn: Connection, purchase_ids: list[int] | None
) -> dict[int, list[PurchasedLeaf]]:
    """Return purchase id -> the certificates that count as issued under it."""
    # A certificate of a case that was cancelled before its installation is not in use.
    counts = or_(
        Issuance.case_id.is_(None), Issuance.live_at.is_not(None), Case.closed_at.is_(None)
    )
    query = (
        select(
            Issuance.order_id,
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.not_before,
            StoredCertificate.not_after,
            StoredCertificate.names,
            Issuance.live_at,
        )
        .join(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
        .outerjoin(Case, Case.id == Issuance.case_id)
        .where(
            Issuance.order_id.is_not(None),
            # A certificate whose dates cannot be parsed has no place in a plan.
            StoredCertificate.not_before.is_not(None),
            StoredCertificate.not_after.is_not(None),
            counts,
        )
    )
    issued: dict[int, list[PurchasedLeaf]] = {}
    for leaf in fetch(conn, PurchasedLeaf, query.where(_among(Issuance.order_id, purchase_ids))):
        issued.setdefault(leaf.order_id, []).append(leaf)
    return issued


def _among(column: InstrumentedAttribute[Any], ids: list[int] | None) -> ColumnElement[bool]:
    """Return the condition that a column is one of these ids.

    Without ids, or with more than one statement takes, all rows are read.
    """
    return true() if ids is None or len(ids) > CHUNK else column.in_(ids)
