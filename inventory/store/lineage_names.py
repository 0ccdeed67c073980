"""The names of lineages, with failed validations and quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, and_, insert, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks, fetch
from inventory.errors import UsageError
from inventory.models import (
    Client,
    LineageName,
    StoredLineage,
)
from inventory.names import as_ip, display, registered_domain
from inventory.records import (
    ClientRecord,
    LineageNameRecord,
    QuarantinedName,
)
from inventory.store import domain_owners

MAX_NAMES = 100


def by_lineage(conn: Connection, ids: Sequence[int]) -> dict[int, list[LineageNameRecord]]:
    """Lineage id -> its names in their order."""
    found: dict[int, list[LineageNameRecord]] = {}
    for part in chunks(ids):
        query = select(LineageName).where(LineageName.lineage_id.in_(part))
        for record in fetch(
            conn, LineageNameRecord, query.order_by(LineageName.lineage_id, LineageName.position)
        ):
            found.setdefault(record.lineage_id, []).append(record)
    return found


def write(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    if not names:
        raise UsageError("A lineage needs at least one name", "a certificate is issued for names")
    rows = [{"lineage_id": lineage_id, "name": n, "position": i} for i, n in enumerate(names)]
    tx.conn.execute(insert(LineageName), rows)


def require_owned(conn: Connection, who: ClientRecord, names: Sequence[str]) -> None:
    """Every name must lie under a domain that this client has: a certificate is never asked for in
    the name of another client.
    """
    for name in names:
        owner = domain_owners.owner_of(conn, name.removeprefix("*."))
        if owner is not None and owner.client_id == who.id:
            continue
        what = f"{display(name)} does not belong to client {who.number}"
        if owner is not None:
            raise UsageError(
                what,
                f"it belongs to client {owner.number}",
                "Ask for a certificate of that client's, or move the domain.",
            )
        host = name.removeprefix("*.")
        domain_name = host if as_ip(host) is not None else display(registered_domain(host))
        raise UsageError(
            what,
            "the inventory does not have it",
            f"certmgr domain add {domain_name} --client {who.number}",
        )


def failed(tx: Tx, lineage_id: int, name: str, reason: str, *, quarantine: bool) -> None:
    """Counts a failure; puts the name into quarantine where it is time.

    What was in quarantine keeps its date.
    """
    row = (
        tx.conn.execute(
            select(LineageName).where(
                LineageName.lineage_id == lineage_id, LineageName.name == name
            )
        )
        .mappings()
        .first()
    )
    if row is None:
        return
    values: dict[str, Any] = {"failures": row["failures"] + 1, "reason": reason[:600]}
    if quarantine and row["state"] == "active":
        values |= {"state": "quarantined", "since": tx.at}
        tx.audit("quarantine", "lineage", lineage_id, {"state": "quarantined"})
    tx.conn.execute(
        update(LineageName)
        .where(LineageName.lineage_id == lineage_id, LineageName.name == name)
        .values(**values)
    )


def returned(tx: Tx, lineage_id: int, name: str) -> None:
    """Out of quarantine."""
    changed = tx.conn.execute(
        update(LineageName)
        .where(
            LineageName.lineage_id == lineage_id,
            LineageName.name == name,
            LineageName.state == "quarantined",
        )
        .values(state="active", since=None, reason=None, failures=0)
    )
    if changed.rowcount:
        tx.audit("return", "lineage", lineage_id, {"state": "active"})


def issued(tx: Tx, lineage_id: int, names: Iterable[str]) -> None:
    """These stood in a certificate that was issued."""
    tx.conn.execute(
        update(LineageName)
        .where(
            LineageName.lineage_id == lineage_id,
            LineageName.name.in_(list(names)),
            LineageName.state == "active",
        )
        .values(failures=0, reason=None)
    )


def checked(tx: Tx, lineage_id: int, name: str) -> None:
    tx.conn.execute(
        update(LineageName)
        .where(LineageName.lineage_id == lineage_id, LineageName.name == name)
        .values(checked_at=tx.at)
    )


def quarantined(conn: Connection) -> list[QuarantinedName]:
    """Names in quarantine, with lineage and client."""
    query = (
        select(
            LineageName,
            StoredLineage.name.label("lineage"),
            StoredLineage.client_id,
            Client.number.label("client"),
        )
        .join(
            StoredLineage,
            and_(StoredLineage.id == LineageName.lineage_id, StoredLineage.state != "retired"),
        )
        .join(Client, Client.id == StoredLineage.client_id)
        .where(LineageName.state == "quarantined")
        .order_by(LineageName.since, LineageName.name)
    )
    return fetch(conn, QuarantinedName, query)
