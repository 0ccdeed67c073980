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

# Let's Encrypt issues for at most 100 names per certificate.
MAX_NAMES = 100


def by_lineage(conn: Connection, ids: Sequence[int]) -> dict[int, list[LineageNameRecord]]:
    """Return lineage id -> its names in their order."""
    found: dict[int, list[LineageNameRecord]] = {}
    for part in chunks(ids):
        query = select(LineageName).where(LineageName.lineage_id.in_(part))
        for record in fetch(
            conn, LineageNameRecord, query.order_by(LineageName.lineage_id, LineageName.position)
        ):
            found.setdefault(record.lineage_id, []).append(record)
    return found


def write(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    """Store the names of a lineage in their order.

    Raises:
        UsageError: There is no name.
    """
    # Without a name, nothing can be ordered, and the lineage would be due for ever.
    if not names:
        raise UsageError("A lineage needs at least one name", "a certificate is issued for names")
    # The position keeps the order in which the administrator listed them.
    rows = [{"lineage_id": lineage_id, "name": n, "position": i} for i, n in enumerate(names)]
    tx.conn.execute(insert(LineageName), rows)


def require_owned(conn: Connection, who: ClientRecord, names: Sequence[str]) -> None:
    """Check that each name is below a domain of the client.

    A certificate is never requested for the name of another client.

    Raises:
        UsageError: A name belongs to another client, or to none.
    """
    for name in names:
        owner = domain_owners.owner_of(conn, name.removeprefix("*."))
        if owner is not None and owner.client_id == who.id:
            continue
        what = f"{display(name)} does not belong to client {who.number}"
        # Two messages, as two different things have to be done: another client, or an unknown
        # domain.
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
    """Count a failed validation of a name.

    Args:
        tx: The transaction.
        lineage_id: The lineage.
        name: The name.
        reason: Why the CA did not validate it.
        quarantine: Whether the name is left out of the next certificate. A name that is in
            quarantine already keeps its date.
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
    # The name was removed from the lineage while its order ran.
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
    """Put a name back into the next certificate."""
    changed = tx.conn.execute(
        update(LineageName)
        .where(
            LineageName.lineage_id == lineage_id,
            LineageName.name == name,
            LineageName.state == "quarantined",
        )
        .values(state="active", since=None, reason=None, failures=0)
    )
    # Only a name that was in quarantine returns, so that a second call leaves no trace in the audit
    # log.
    if changed.rowcount:
        tx.audit("return", "lineage", lineage_id, {"state": "active"})


def issued(tx: Tx, lineage_id: int, names: Iterable[str]) -> None:
    """Record that a certificate with these names was issued, which ends their failures."""
    tx.conn.execute(
        update(LineageName)
        .where(
            LineageName.lineage_id == lineage_id,
            LineageName.name.in_(list(names)),
            # A name in quarantine was not part of the certificate, so nothing is known about it.
            LineageName.state == "active",
        )
        .values(failures=0, reason=None)
    )


def checked(tx: Tx, lineage_id: int, name: str) -> None:
    """Record that a name was checked now."""
    tx.conn.execute(
        update(LineageName)
        .where(LineageName.lineage_id == lineage_id, LineageName.name == name)
        .values(checked_at=tx.at)
    )


def quarantined(conn: Connection) -> list[QuarantinedName]:
    """Return the names in quarantine with lineage and client, the longest quarantined first."""
    query = (
        select(
            LineageName,
            StoredLineage.name.label("lineage"),
            StoredLineage.client_id,
            Client.number.label("client"),
        )
        .join(
            StoredLineage,
            # Staff cannot do anything about the names of a retired lineage.
            and_(StoredLineage.id == LineageName.lineage_id, StoredLineage.state != "retired"),
        )
        .join(Client, Client.id == StoredLineage.client_id)
        .where(LineageName.state == "quarantined")
        .order_by(LineageName.since, LineageName.name)
    )
    return fetch(conn, QuarantinedName, query)
