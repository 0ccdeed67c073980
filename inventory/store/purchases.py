"""Purchases: what a client bought for a term, and the names that it covers.

``purchase_values`` checks what is stated, ``issuances`` has the certificates of a purchase.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import CHUNK, chunks, fetch, fetch_all
from inventory.errors import Conflict, NotFound, UsageError
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
from inventory.store import (
    clients,
    domain_owners,
    editing,
    purchase_values,
)
from inventory.store.purchase_values import PurchaseValues
from inventory.text import printable
from inventory.vocabulary import PurchaseState

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
    raise NotFound(
        f"There is no purchase '{printable(text, 60)}'", "", "See certmgr purchase list."
    )


def add(
    tx: Tx, client_key: str, given: Mapping[str, Any], names: Sequence[str]
) -> tuple[int, list[str]]:
    """Add a purchase of a client.

    Args:
        tx: The transaction.
        client_key: The number or id of the client.
        given: The stated values (:func:`inventory.store.purchase_values.column_values`). Missing
            ones follow from the names and from today's date.
        names: The names that the purchase covers.

    Returns:
        The id, and the names that the inventory does not have.

    Raises:
        UsageError: A value is invalid, or the client is retired.
        Conflict: A name belongs to another client, or the vendor's number is in use.
        NotFound: There is no such client or contact.
    """
    owner = clients.find(tx.conn, client_key)
    if owner.state == "retired":
        raise UsageError(f"The client {owner.number} is retired", "a retired client buys nothing")
    covered, unmanaged = domain_owners.names_of(tx.conn, owner.id, names)
    values = purchase_values.column_values(tx.conn, given, owner.id)
    if "vendor" not in values:
        raise UsageError("An order needs a vendor", "", "Give --vendor NAME.")
    # Vendors count the term from the order, which administrators record on the same day.
    defaults = {"kind": purchase_values.product_of(covered), "starts_at": tx.at}
    purchase = _with_end(defaults | values | {"client_id": owner.id})
    return _insert(tx, purchase, covered), unmanaged


def _with_end(values: dict[str, Any]) -> PurchaseValues:
    """Return the values of a new purchase; its end follows from its begin and years if missing."""
    begin, years, end = values.pop("starts_at"), values.pop("years", 1), values.pop("ends_at", None)
    # A stated end wins: vendors add the rest of an earlier term, so that a year may have 13 months.
    if end is None:
        end = purchase_values.term_end(begin, years)
    return PurchaseValues(**values, starts_at=begin, years=years, ends_at=end)


def _insert(tx: Tx, purchase: PurchaseValues, names: Sequence[str]) -> int:
    """Check and insert a purchase with its names, and return its id."""
    purchase_values.check(purchase, names, tx.at)
    _require_free_number(tx.conn, purchase, None)
    purchase_id = editing.add(tx, StoredPurchase, purchase.columns())
    tx.conn.execute(
        insert(PurchaseName), [{"order_id": purchase_id, "name": name} for name in names]
    )
    return purchase_id


def _require_free_number(
    conn: Connection, purchase: PurchaseValues, purchase_id: int | None
) -> None:
    """Raise :class:`Conflict` if another purchase of the client has this vendor and number."""
    # Two rows of one purchase would be billed and reissued twice.
    if purchase.number is None:
        return
    query = select(StoredPurchase.id).where(
        StoredPurchase.client_id == purchase.client_id,
        StoredPurchase.vendor == purchase.vendor,
        StoredPurchase.number == purchase.number,
    )
    other = next((i for i in conn.scalars(query) if i != purchase_id), None)
    if other is not None:
        raise Conflict(
            f"{purchase.vendor} {purchase.number} is a purchase already",
            f"it is {reference(other)}",
            f"See certmgr purchase show {reference(other)}.",
        )


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
    return next((i for i in conn.scalars(candidates) if _names_of(conn, i) == wanted), None)


def _names_of(conn: Connection, purchase_id: int) -> list[str]:
    """Return the names of a purchase in alphabetical order."""
    query = select(PurchaseName.name).where(PurchaseName.order_id == purchase_id)
    return sorted(conn.scalars(query))


def edit(
    tx: Tx, key: str, given: Mapping[str, Any], names: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """Change a purchase.

    Args:
        tx: The transaction.
        key: The id or the vendor's number.
        given: The values to change, as for :func:`add`.
        names: All names of the purchase from now on; None to keep them.

    Returns:
        Column (or ``names``) -> the value before and after.

    Raises:
        UsageError: A value is invalid.
        Conflict: A name belongs to another client, or the vendor's number is in use.
        NotFound: There is no such purchase or contact.
    """
    before = find(tx.conn, key)
    values = purchase_values.column_values(tx.conn, given, before.client_id)
    old_names = _names_of(tx.conn, before.id)
    new_names = old_names
    if names is not None:
        # The owner of today is checked again, because a domain may have been moved since.
        new_names = sorted(domain_owners.names_of(tx.conn, before.client_id, names)[0])
    after = replace(PurchaseValues.of(before), **values)
    # The whole purchase is checked, and not only what changes: values limit each other.
    purchase_values.check(after, new_names, tx.at)
    _require_free_number(tx.conn, after, before.id)
    changes = editing.edit(tx, StoredPurchase, before, values)
    if new_names != old_names:
        tx.conn.execute(delete(PurchaseName).where(PurchaseName.order_id == before.id))
        tx.conn.execute(
            insert(PurchaseName), [{"order_id": before.id, "name": name} for name in new_names]
        )
        changes["names"] = [old_names, new_names]
        # A purchase may cover 250 names: the audit log states how many there were.
        tx.audit("edit", "order", before.id, {"names": [len(old_names), len(new_names)]})
    return changes


def renew(tx: Tx, key: str, given: Mapping[str, Any]) -> int:
    """Add the purchase that follows another one, and return its id.

    Everything that is known is copied. The new purchase begins when the old one ends, unless
    ``starts_at`` is given. An open case for the renewal continues under the new purchase.

    Raises:
        UsageError: A value is invalid.
        Conflict: The purchase was cancelled or renewed already.
        NotFound: There is no such purchase.
    """
    before = find(tx.conn, key)
    if before.state != PurchaseState.ACTIVE:
        raise Conflict(
            f"The purchase {printable(key, 60)} was cancelled",
            "",
            "Add a new one: certmgr purchase add.",
        )
    # Two successors would both be planned, reissued and billed.
    if before.successor_id is not None:
        raise Conflict(
            f"The purchase {printable(key, 60)} was renewed already",
            f"by {reference(before.successor_id)}",
            "Edit that one.",
        )
    # The number and the documents belong to one order at the vendor, and its term is over.
    fresh = {"number": None, "documents": (), "starts_at": before.ends_at + 1, "ends_at": None}
    values = purchase_values.column_values(tx.conn, given, before.client_id)
    successor = _with_end(PurchaseValues.of(before).columns() | fresh | values)
    successor_id = _insert(tx, successor, _names_of(tx.conn, before.id))
    tx.conn.execute(
        update(StoredPurchase)
        .where(StoredPurchase.id == before.id)
        .values(successor_id=successor_id)
    )
    # An open case for this renewal continues under the new purchase, with the certificate that it
    # waits for. A case for a reissue belongs to the old term.
    renewals = select(Case.id).where(
        Case.order_id == before.id, Case.kind == "renewal", Case.closed_at.is_(None)
    )
    tx.conn.execute(
        update(Issuance).where(Issuance.case_id.in_(renewals)).values(order_id=successor_id)
    )
    tx.conn.execute(update(Case).where(Case.id.in_(renewals)).values(order_id=successor_id))
    tx.audit("renew", "order", before.id, {"successor": successor_id})
    return successor_id


def cancel(tx: Tx, key: str, reason: str) -> PurchaseRecord:
    """Cancel a purchase, and return it as it was before.

    Raises:
        Conflict: It was cancelled already.
        NotFound: There is no such purchase.
        UsageError: The reason is empty.
    """
    before = find(tx.conn, key)
    if before.state == PurchaseState.CANCELLED:
        raise Conflict(f"The purchase {printable(key, 60)} was cancelled already")
    # The purchase before it has no successor any more, so that it can be renewed again.
    tx.conn.execute(
        update(StoredPurchase)
        .where(StoredPurchase.successor_id == before.id)
        .values(successor_id=None)
    )
    values = {
        "state": PurchaseState.CANCELLED,
        "reason": editing.required(reason, "reason", 500),
        "retired_at": tx.at,
    }
    editing.edit(tx, StoredPurchase, before, values)
    return before


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
