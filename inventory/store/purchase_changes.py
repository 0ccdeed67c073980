"""Changes of purchases: adding, editing, renewal and cancellation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.models import (
    Case,
    Issuance,
    PurchaseName,
    StoredPurchase,
)
from inventory.records import (
    PurchaseRecord,
)
from inventory.store import (
    clients,
    domain_owners,
    editing,
    purchase_values,
    purchases,
)
from inventory.store.purchase_values import PurchaseValues
from inventory.text import printable
from inventory.vocabulary import PurchaseState


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
        raise UsageError("A purchase needs a vendor", "", "Give --vendor NAME.")
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
            f"it is {purchases.reference(other)}",
            f"See certmgr purchase show {purchases.reference(other)}.",
        )


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
    before = purchases.find(tx.conn, key)
    values = purchase_values.column_values(tx.conn, given, before.client_id)
    old_names = purchases.names_of(tx.conn, before.id)
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
    before = purchases.find(tx.conn, key)
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
            f"by {purchases.reference(before.successor_id)}",
            "Edit that one.",
        )
    # The number and the documents belong to one order at the vendor, and its term is over.
    fresh = {"number": None, "documents": (), "starts_at": before.ends_at + 1, "ends_at": None}
    values = purchase_values.column_values(tx.conn, given, before.client_id)
    successor = _with_end(PurchaseValues.of(before).columns() | fresh | values)
    successor_id = _insert(tx, successor, purchases.names_of(tx.conn, before.id))
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
    before = purchases.find(tx.conn, key)
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
