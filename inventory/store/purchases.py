"""Orders: what a client bought for a term, which names it covers, and the certificates that were
issued under it.
"""

from __future__ import annotations

import json
from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from babel.core import get_global
from sqlalchemy import Connection, delete, insert, or_, select, update

from inventory.db.database import Tx, from_epoch, to_epoch
from inventory.db.sql import fetch
from inventory.errors import Conflict, NotFound, UsageError
from inventory.models import (
    Case,
    Client,
    Domain,
    Endpoint,
    Issuance,
    PurchaseName,
    ServedChain,
    StoredCertificate,
    StoredPurchase,
)
from inventory.names import as_ip, display, matches, normalise
from inventory.records import (
    CertificateRecord,
    DomainOwner,
    ListedPurchase,
    LiveCertificate,
    PurchasedLeaf,
    PurchaseRecord,
)
from inventory.store import clients, contacts, editing
from inventory.text import printable

VALIDATIONS = ("dv", "ov", "ev")
KINDS = ("single", "multi", "wildcard")
BUYERS = ("client", "us")
MAX_NAMES = 250
MAX_DOCUMENTS = 50
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def find(conn: Connection, key: str, client_id: int | None = None) -> PurchaseRecord:
    """By id (``12`` or ``#12``) or by the vendor's number.

    Raises NotFound; UsageError where several vendors gave that number.
    """
    text = key.strip()
    bare = text.removeprefix("#")
    as_id = int(bare) if bare.isascii() and bare.isdigit() and len(bare) < 19 else -1
    query = select(StoredPurchase, Client.number.label("client")).join(
        Client, Client.id == StoredPurchase.client_id
    )
    if client_id is not None:
        query = query.where(StoredPurchase.client_id == client_id)
    rows = (
        []
        if text.startswith("#")
        else conn.execute(query.where(StoredPurchase.number == text)).mappings().all()
    )
    if len(rows) > 1:
        ids = ", ".join(f"#{r['id']}" for r in rows)
        raise UsageError(
            f"{len(rows)} orders have the number '{printable(text, 60)}'",
            f"they are {ids}",
            "Name one by its id.",
        )
    if not rows:
        rows = conn.execute(query.where(StoredPurchase.id == as_id)).mappings().all()
    if not rows and text.startswith("#"):
        rows = conn.execute(query.where(StoredPurchase.number == text)).mappings().all()
    if not rows:
        raise NotFound(
            f"There is no order '{printable(text, 60)}'", "", "See certmgr purchase list."
        )
    return PurchaseRecord(**rows[0])


def amount(text: str | None, what: str) -> str | None:
    """A decimal amount as it is stored: ``49.90``."""
    value = editing.clean(text, what, 20)
    if value is None:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise UsageError(
            f"The {what} '{printable(value, 20)}' is not an amount", "", "Write 49.90."
        ) from None
    if (
        not number.is_finite()
        or number < 0
        or number >= 10**9
        or -int(number.as_tuple().exponent) > 4
    ):
        raise UsageError(
            f"The {what} '{printable(value, 20)}' cannot be so",
            "it is 0 to 999,999,999, with at most 4 decimals",
        )
    return format(number, "f")


def currency(text: str | None) -> str | None:
    """ISO 4217."""
    value = editing.clean(text, "currency", 3)
    if value is None:
        return None

    if value.upper() not in get_global("all_currencies"):
        raise UsageError(
            f"'{printable(value, 10)}' is not a currency",
            "",
            "Write a code of ISO 4217 such as EUR.",
        )
    return value.upper()


def pattern(text: str) -> str:
    """A name that a certificate can cover: a DNS name, ``*.example.com``, or an address."""
    value = text.strip()
    if value.startswith("*."):
        return f"*.{normalise(value[2:])}"
    address = as_ip(value)
    return str(address) if address is not None else normalise(value)


def years_later(start: datetime, years: int) -> datetime:
    """The last second of a term of whole years: 2026-03-01 and one year end on 2027-02-28 at
    23:59:59.
    """
    year = start.year + years
    day = min(start.day, monthrange(year, start.month)[1])
    return start.replace(year=year, day=day) - timedelta(seconds=1)


def names_of(
    conn: Connection, client_id: int, texts: Sequence[str], limit: int = MAX_NAMES
) -> tuple[list[str], list[str]]:
    """(names as they are stored, those of them that are none of the client's).

    A name of another client is refused.
    """
    found = list(
        dict.fromkeys(pattern(t) for text in texts for t in text.replace(",", " ").split())
    )
    if len(found) > limit:
        raise UsageError(
            f"There are {len(found)} names", f"one certificate covers at most {limit} here"
        )
    strange = []
    for name in found:
        host = name.removeprefix("*.")
        owner = owner_of(conn, host)
        if owner is not None and owner.client_id != client_id:
            raise Conflict(
                f"{display(host)} belongs to the client {owner.number}",
                "an order covers the names of one client",
                "Name the right client, or move the domain first: certmgr domain edit.",
            )
        if owner is None:
            strange.append(name)
    return found, strange


def owner_of(conn: Connection, host: str) -> DomainOwner | None:
    """The active domain that the host is or is below: id, client_id, number, server_id, name."""
    labels = host.split(".")
    parents = [".".join(labels[i:]) for i in range(len(labels) - 1 or 1)]
    query = (
        select(Domain.id, Domain.name, Domain.client_id, Domain.server_id, Client.number)
        .join(Client, Client.id == Domain.client_id)
        .where(Domain.name.in_(parents), Domain.state != "retired")
    )
    rows = fetch(conn, DomainOwner, query)
    return max(rows, key=lambda r: len(r.name), default=None)


def _values(conn: Connection, given: Mapping[str, Any], client_id: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "vendor" in given:
        values["vendor"] = editing.required(given["vendor"], "vendor", 120)
    if "number" in given:
        values["number"] = editing.clean(given["number"], "order number", 120)
    for key, what, allowed in (
        ("validation", "kind of validation", VALIDATIONS),
        ("kind", "kind of certificate", KINDS),
        ("bought_by", "buyer", BUYERS),
    ):
        if given.get(key):
            values[key] = editing.choice(str(given[key]).lower(), what, allowed)
    if given.get("years") is not None:
        if not 1 <= given["years"] <= 5:
            raise UsageError(
                f"A term of {given['years']} years", "vendors sell 1 to 3, and resellers up to 5"
            )
        values["years"] = given["years"]
    for key in ("starts_at", "ends_at", "dcv_at", "organisation_at"):
        if given.get(key) is not None:
            if not EARLIEST <= given[key] < LATEST:
                raise UsageError(
                    f"The date {given[key].year:04}-{given[key].month:02}-{given[key].day:02}"
                    " cannot be so",
                    "orders lie between 2000 and 2100",
                )
            values[key] = to_epoch(given[key])
    for key, what in (("price", "price"), ("fee", "installation fee"), ("warranty", "warranty")):
        if key in given:
            values[key] = amount(given[key], what)
    if "currency" in given:
        values["currency"] = currency(given["currency"])
    if given.get("contact"):
        values["contact_id"] = contacts.find(conn, given["contact"], client_id).id
    if "documents" in given:
        paths = [editing.required(d, "document", 500) for d in given["documents"]]
        if len(paths) > MAX_DOCUMENTS:
            raise UsageError(
                f"There are {len(paths)} documents", f"an order has at most {MAX_DOCUMENTS}"
            )
        values["documents"] = json.dumps(paths)
    if given.get("auto_renew") is not None:
        values["auto_renew"] = int(given["auto_renew"])
    if "note" in given:
        values["note"] = editing.clean(given["note"], "note", editing.MAX_TEXT)
    return values


def _check(row: Mapping[str, Any], names: Sequence[str], now: int) -> None:
    for key in ("dcv_at", "organisation_at"):
        if (row.get(key) or 0) > now + 2 * 86_400:
            raise UsageError(
                "A validation lies in the future",
                "what is meant is when it was last done",
                "Correct the date.",
            )
    if row["ends_at"] <= row["starts_at"]:
        raise UsageError("The order ends before it starts", "", "Correct --start or --end.")
    if row["ends_at"] - row["starts_at"] > 6 * 366 * 86_400:
        raise UsageError(
            "The order runs for more than six years",
            "no vendor sells that",
            "Correct --start or --end.",
        )
    if (row.get("price") or row.get("fee")) and not row.get("currency"):
        raise UsageError("An amount needs a currency", "", "Give --currency EUR, for example.")
    if not names:
        raise UsageError(
            "An order covers at least one name", "", "Name them: --name shop.example.com."
        )
    wild = [n for n in names if n.startswith("*.")]
    if row["kind"] == "single" and (len({n.removeprefix("www.") for n in names}) > 1 or wild):
        raise UsageError(
            f"A single-name product covers {len(names)} names", "", "Give --kind multi or wildcard."
        )
    if row["validation"] == "ev" and wild:
        raise UsageError(
            "There are no EV wildcards",
            "EV Guidelines 3.2.2.13",
            "Choose --validation ov, or list the names.",
        )


def add(
    tx: Tx, client_key: str, given: Mapping[str, Any], names: Sequence[str]
) -> tuple[int, list[str]]:
    """``given``: vendor, number, validation, kind, years, starts_at, ends_at, price, ...

    Returns (id, names that are none of the inventory's).
    """
    row = clients.find(tx.conn, client_key)
    if row.state == "retired":
        raise UsageError(f"The client {row.number} is retired", "a retired client buys nothing")
    found, strange = names_of(tx.conn, row.id, names)
    wild = any(n.startswith("*.") for n in found)
    one = len({n.removeprefix("www.") for n in found}) <= 1
    base = {
        "number": None,
        "validation": "dv",
        "kind": "wildcard" if wild else "single" if one else "multi",
        "years": 1,
        "bought_by": "client",
        "documents": "[]",
        "auto_renew": 0,
    }
    values = base | {"client_id": row.id} | _values(tx.conn, given, row.id)
    values.setdefault("starts_at", tx.at)
    if "ends_at" not in values:
        start = from_epoch(values["starts_at"])
        assert start is not None
        values["ends_at"] = to_epoch(years_later(start, values["years"]))
    if "vendor" not in values:
        raise UsageError("An order needs a vendor", "", "Give --vendor NAME.")
    _check(values, found, tx.at)
    _free(tx.conn, values, None)
    row_id = editing.add(tx, StoredPurchase, values)
    tx.conn.execute(insert(PurchaseName), [{"order_id": row_id, "name": n} for n in found])
    return row_id, strange


def _free(conn: Connection, values: Mapping[str, Any], row_id: int | None) -> None:
    if values.get("number") is None:
        return
    query = select(StoredPurchase.id).where(
        StoredPurchase.client_id == values["client_id"],
        StoredPurchase.vendor == values["vendor"],
        StoredPurchase.number == values["number"],
    )
    other = next((i for i in conn.scalars(query) if i != row_id), None)
    if other is not None:
        raise Conflict(
            f"{values['vendor']} {values['number']} is an order already",
            f"it is #{other}",
            f"See certmgr purchase show {other}.",
        )


def edit(
    tx: Tx, key: str, given: Mapping[str, Any], names: Sequence[str] | None = None
) -> dict[str, list[Any]]:
    """``names``: replaces them all."""
    before = find(tx.conn, key)
    values = _values(tx.conn, given, before.client_id)
    had = sorted(
        tx.conn.scalars(select(PurchaseName.name).where(PurchaseName.order_id == before.id))
    )
    found = had if names is None else sorted(names_of(tx.conn, before.client_id, names)[0])
    after = asdict(before) | values
    _check(after, found, tx.at)
    _free(tx.conn, after, before.id)
    changes = editing.edit(tx, StoredPurchase, before, values)
    if found != had:
        tx.conn.execute(delete(PurchaseName).where(PurchaseName.order_id == before.id))
        tx.conn.execute(insert(PurchaseName), [{"order_id": before.id, "name": n} for n in found])
        changes["names"] = [had, found]
        tx.audit("edit", "order", before.id, {"names": [len(had), len(found)]})
    return changes


def renew(tx: Tx, key: str, given: Mapping[str, Any]) -> int:
    """A new purchase that succeeds this one, with everything known filled in; it begins when the
    old one ends, unless ``starts_at`` is given.
    """
    before = find(tx.conn, key)
    if before.state != "active":
        raise Conflict(f"The order {key} was cancelled", "", "Add a new one: certmgr purchase add.")
    if before.successor_id is not None:
        raise Conflict(
            f"The order {key} was renewed already",
            f"by #{before.successor_id}",
            "Edit that one.",
        )
    names = list(
        tx.conn.scalars(select(PurchaseName.name).where(PurchaseName.order_id == before.id))
    )
    kept = (
        "client_id",
        "vendor",
        "validation",
        "kind",
        "years",
        "price",
        "fee",
        "currency",
        "warranty",
        "bought_by",
        "contact_id",
        "auto_renew",
        "note",
        "organisation_at",
        "dcv_at",
    )
    values = (
        {k: getattr(before, k) for k in kept}
        | {"number": None, "documents": "[]"}
        | _values(tx.conn, given, before.client_id)
    )
    values.setdefault("starts_at", before.ends_at + 1)
    if "ends_at" not in values:
        start = from_epoch(values["starts_at"])
        assert start is not None
        values["ends_at"] = to_epoch(years_later(start, values["years"]))
    _check(values, names, tx.at)
    _free(tx.conn, values, None)
    row_id = editing.add(tx, StoredPurchase, values)
    tx.conn.execute(insert(PurchaseName), [{"order_id": row_id, "name": n} for n in names])
    tx.conn.execute(
        update(StoredPurchase).where(StoredPurchase.id == before.id).values(successor_id=row_id)
    )
    # A renewal that is led already goes on under the new order, with the certificate that it waits
    # for.
    led = select(Case.id).where(
        Case.order_id == before.id, Case.kind == "renewal", Case.closed_at.is_(None)
    )
    tx.conn.execute(update(Issuance).where(Issuance.case_id.in_(led)).values(order_id=row_id))
    tx.conn.execute(update(Case).where(Case.id.in_(led)).values(order_id=row_id))
    tx.audit("renew", "order", before.id, {"successor": row_id})
    return row_id


def cancel(tx: Tx, key: str, reason: str) -> PurchaseRecord:
    before = find(tx.conn, key)
    if before.state == "cancelled":
        raise Conflict(f"The order {key} was cancelled already")
    tx.conn.execute(
        update(StoredPurchase)
        .where(StoredPurchase.successor_id == before.id)
        .values(successor_id=None)
    )
    editing.edit(
        tx,
        StoredPurchase,
        before,
        {
            "state": "cancelled",
            "reason": editing.required(reason, "reason", 500),
            "retired_at": tx.at,
        },
    )
    return before


def listing(
    conn: Connection,
    *,
    client_id: int | None = None,
    ids: Iterable[int] | None = None,
    ended: bool = True,
) -> list[ListedPurchase]:
    """Orders with ``client`` (number), ``names`` and ``issued`` (rows of their certificates); of
    every client where ``client_id`` is None.
    """
    query = select(
        StoredPurchase, Client.number.label("client"), Client.name.label("client_name")
    ).join(Client, Client.id == StoredPurchase.client_id)
    if client_id is not None:
        query = query.where(StoredPurchase.client_id == client_id)
    if not ended:
        query = query.where(StoredPurchase.state == "active", Client.state != "retired")
    wanted = None if ids is None else sorted(set(ids))
    parts = (
        [query]
        if wanted is None
        else [
            query.where(StoredPurchase.id.in_(wanted[i : i + 500]))
            for i in range(0, len(wanted), 500)
        ]
    )
    rows = [
        dict(r)
        for part in parts
        for r in conn.execute(part.order_by(StoredPurchase.ends_at, StoredPurchase.id)).mappings()
    ]
    keep = {r["id"] for r in rows}
    narrow = keep if client_id is not None or wanted is not None else None
    names: dict[int, list[str]] = {}
    for order_id, name in conn.execute(
        _scoped(
            select(PurchaseName.order_id, PurchaseName.name).order_by(PurchaseName.name),
            PurchaseName.order_id,
            narrow,
        )
    ):
        names.setdefault(order_id, []).append(name)
    issued: dict[int, list[PurchasedLeaf]] = {}
    columns = (
        Issuance.order_id,
        StoredCertificate.sha256,
        StoredCertificate.serial,
        StoredCertificate.not_before,
        StoredCertificate.not_after,
        StoredCertificate.names,
        Issuance.live_at,
    )
    # What came in a case counts when it was installed, or still may be.
    counts = or_(
        Issuance.case_id.is_(None), Issuance.live_at.is_not(None), Case.closed_at.is_(None)
    )
    query_ = (
        select(*columns)
        .join(StoredCertificate, StoredCertificate.sha256 == Issuance.sha256)
        .outerjoin(Case, Case.id == Issuance.case_id)
        .where(Issuance.order_id.is_not(None), counts)
    )
    for row in conn.execute(_scoped(query_, Issuance.order_id, narrow)).mappings():
        if row["not_before"] is not None and row["not_after"] is not None:
            issued.setdefault(row["order_id"], []).append(PurchasedLeaf(**row))
    return [
        ListedPurchase(
            **r, names=tuple(names.get(r["id"], ())), issued=tuple(issued.get(r["id"], ()))
        )
        for r in rows
    ]


def _scoped(query: Any, column: Any, keep: set[int] | None) -> Any:
    if keep is None:
        return query
    return query.where(column.in_(sorted(keep))) if len(keep) <= 500 else query


def attach(tx: Tx, order_id: int, sha256: str) -> None:
    """Links a certificate that is stored to an order."""
    known = tx.conn.execute(
        select(Issuance).where(Issuance.order_id == order_id, Issuance.sha256 == sha256)
    ).first()
    if known is not None:
        raise Conflict("That certificate belongs to this order already")
    values = {"order_id": order_id, "sha256": sha256, "created_at": tx.at, "received_at": tx.at}
    tx.conn.execute(insert(Issuance).values(values))
    tx.audit("attach", "order", order_id, {"fingerprint": sha256})


def find_certificate(conn: Connection, key: str) -> CertificateRecord:
    """By SHA-256 or serial number, or the beginning of either (8 characters at least).

    Raises NotFound, UsageError.
    """
    bare = key.strip().lower().replace(":", "")
    if len(bare) < 8 or not all(c in "0123456789abcdef" for c in bare):
        raise UsageError(
            f"'{printable(key, 60)}' is no fingerprint and no serial number",
            "",
            "Give 8 hexadecimal digits of it at least.",
        )
    # Serial numbers are stored without leading zeros. If fewer than 8 digits are left, they must be
    # the whole number: the beginning "1" of "00000001" would match certificates at random.
    serial = bare.lstrip("0") or "0"
    by_serial = StoredCertificate.serial == serial
    if len(serial) >= 8:
        by_serial = StoredCertificate.serial.startswith(serial)
    query = select(StoredCertificate)
    query = query.where(
        StoredCertificate.is_ca == 0, or_(StoredCertificate.sha256.startswith(bare), by_serial)
    )
    rows = conn.execute(query.limit(3)).mappings().all()
    if len(rows) > 1:
        raise UsageError(f"Several certificates begin with '{bare}'", "", "Give more of it.")
    if not rows:
        raise NotFound(
            f"There is no certificate '{printable(bare, 70)}'",
            "",
            "Give the file in its place, or scan first.",
        )
    return CertificateRecord(**rows[0])


def live(
    conn: Connection, client_id: int | None = None, *, buyers: bool = False
) -> list[LiveCertificate]:
    """Leaves that are served now: sha256, serial, issuer, dates, names (JSON), client (number),
    client_id; a row a client and certificate. ``buyers``: only of clients that have orders.
    """
    query = (
        select(
            StoredCertificate.sha256,
            StoredCertificate.serial,
            StoredCertificate.issuer,
            StoredCertificate.not_before,
            StoredCertificate.not_after,
            StoredCertificate.names,
            Domain.client_id,
            Client.number.label("client"),
        )
        .join(ServedChain, ServedChain.leaf == StoredCertificate.sha256)
        .join(Endpoint, Endpoint.id == ServedChain.endpoint_id)
        .join(Domain, Domain.id == Endpoint.domain_id)
        .join(Client, Client.id == Domain.client_id)
        .where(
            ServedChain.open == 1,
            ServedChain.live == 1,
            Endpoint.state == "active",
            Domain.state != "retired",
            Client.state != "retired",
            StoredCertificate.not_before.is_not(None),
            StoredCertificate.not_after.is_not(None),
        )
        .distinct()
    )
    if client_id is not None:
        query = query.where(Domain.client_id == client_id)
    elif buyers:
        query = query.where(Domain.client_id.in_(select(StoredPurchase.client_id)))
    return fetch(conn, LiveCertificate, query)


def own_names(names: Iterable[str], mine: Iterable[str]) -> tuple[str, ...]:
    """Of a certificate's names those that are the client's: what a certificate that clients share
    states about the others stays out.
    """
    hosts = set(mine)
    return tuple(n for n in names if n in hosts or any(matches(n, h) for h in hosts if "*" in n))
