"""Lineages: the standing arrangement for a certificate that is renewed, its names with those in
quarantine, and where it was brought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Executable, and_, delete, or_, select, update

from inventory.db.database import Tx
from inventory.db.sql import fetch, fetch_all, fetch_existing, insert_id
from inventory.errors import Conflict
from inventory.models import (
    AcmeAccount,
    Client,
    Deployment,
    Incident,
    IncidentItem,
    LineageName,
    ProbeState,
    RevocationCheck,
    StoredCertificate,
    StoredFinding,
    StoredLineage,
)
from inventory.records import (
    ExpectedLeaf,
    LineageRecord,
    ListedLineage,
)
from inventory.store import clients, editing, lineage_names


def _query() -> Any:
    return (
        select(
            StoredLineage,
            Client.number.label("client"),
            AcmeAccount.name.label("account"),
            StoredCertificate.not_before,
            StoredCertificate.not_after,
        )
        .join(Client, Client.id == StoredLineage.client_id)
        .join(AcmeAccount, AcmeAccount.id == StoredLineage.account_id)
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == StoredLineage.sha256)
    )


def find(conn: Connection, name: str, client_id: int | None = None) -> LineageRecord:
    """Raises :class:`NotFound`. ``client_id``: another client's is not found."""
    query = _query().where(StoredLineage.name == name.strip())
    if client_id is not None:
        query = query.where(StoredLineage.client_id == client_id)
    return editing.one(conn, LineageRecord, query, "lineage", name, "certmgr lineage list")


def by_id(conn: Connection, lineage_id: int) -> LineageRecord:
    return fetch_existing(conn, LineageRecord, _query().where(StoredLineage.id == lineage_id))


def listing(
    conn: Connection, *, client_id: int | None = None, states: Sequence[str] = ("active", "paused")
) -> list[ListedLineage]:
    """In the order of their names. Each with ``names``: [(name, state, reason, since)]."""
    query = _query().where(StoredLineage.state.in_(states)).order_by(StoredLineage.name)
    if client_id is not None:
        query = query.where(StoredLineage.client_id == client_id)
    return _with_names(conn, query)


def with_names(conn: Connection, lineage_id: int) -> ListedLineage:
    """The lineage with this id, which exists, and its names."""
    return _with_names(conn, _query().where(StoredLineage.id == lineage_id))[0]


def _with_names(conn: Connection, query: Executable) -> list[ListedLineage]:
    rows = fetch_all(conn, query)
    named = lineage_names.by_lineage(conn, [r["id"] for r in rows])
    return [ListedLineage(**r, names=tuple(named.get(r["id"], ()))) for r in rows]


def any_active(conn: Connection) -> bool:
    return (
        conn.execute(
            select(StoredLineage.id).where(StoredLineage.state == "active").limit(1)
        ).first()
        is not None
    )


def add(
    tx: Tx, name: str, client_number: str, names: Sequence[str], values: Mapping[str, Any]
) -> int:
    """``names``: normalised, DNS names (also ``*.``) and addresses.

    Raises :class:`Conflict`; :class:`UsageError` where a name is another client's.
    """
    who = clients.find(tx.conn, client_number)
    lineage_names.require_owned(tx.conn, who, names)
    if (
        tx.conn.execute(select(StoredLineage.id).where(StoredLineage.name == name)).scalar()
        is not None
    ):
        raise Conflict(
            f"There is a lineage '{name}' already",
            "",
            f"certmgr renew {name} renews it; --lineage gives another name.",
        )
    made = insert_id(
        tx.conn, StoredLineage, dict(name=name, client_id=who.id, created_at=tx.at, **values)
    )
    lineage_names.write(tx, made, names)
    tx.audit("add", "lineage", made, {"names": len(names)})
    return made


def edit(tx: Tx, lineage_id: int, **values: Any) -> None:
    """Audited."""
    editing.edit(tx, StoredLineage, by_id(tx.conn, lineage_id), values)


def note(tx: Tx, lineage_id: int, **values: Any) -> None:
    """What the machine found out: not audited."""
    tx.conn.execute(update(StoredLineage).where(StoredLineage.id == lineage_id).values(**values))


def set_names(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    tx.conn.execute(delete(LineageName).where(LineageName.lineage_id == lineage_id))
    lineage_names.write(tx, lineage_id, names)
    tx.audit("edit", "lineage", lineage_id, {"names": len(names)})


def must_replace(conn: Connection) -> dict[str, str]:
    """SHA-256 -> why it must be replaced at once: certificates of lineages that are revoked, whose
    CA is distrusted, or that an open incident names.
    """
    mine = select(StoredLineage.sha256).where(
        StoredLineage.sha256.is_not(None), StoredLineage.state == "active"
    )
    found: dict[str, str] = {}
    for sha, reference in conn.execute(
        select(IncidentItem.sha256, Incident.reference)
        .join(Incident, Incident.id == IncidentItem.incident_id)
        .where(
            IncidentItem.sha256.in_(mine),
            Incident.closed_at.is_(None),
            # The certificates of a lost server are good, and only have to be installed again.
            Incident.kind != "server-lost",
        )
    ):
        assert sha is not None
        found[sha] = f"the incident {reference} asks for it"
    for sha in conn.scalars(
        select(ProbeState.leaf)
        .join(StoredFinding, StoredFinding.endpoint_id == ProbeState.endpoint_id)
        .where(
            StoredFinding.code == "ca-distrusted",
            StoredFinding.closed_at.is_(None),
            ProbeState.leaf.in_(mine),
        )
    ):
        assert sha is not None
        found[sha] = "its CA is distrusted"
    for sha in conn.scalars(
        select(RevocationCheck.sha256).where(
            RevocationCheck.status == "revoked", RevocationCheck.sha256.in_(mine)
        )
    ):
        found[sha] = "it is revoked"
    return found


def expected(conn: Connection) -> list[ExpectedLeaf]:
    """What may be served under the names of lineages, in the shape of cases.expected: the newest
    certificate, proved or about to be, and the one in use. All with one id, since several lineages
    of a client (one a kind of key) hold for a name together.
    """
    query = (
        select(
            StoredLineage.client_id,
            StoredLineage.id,
            StoredLineage.sha256,
            StoredLineage.deployed,
            StoredLineage.proven_at,
            StoredCertificate.not_after,
            StoredCertificate.names,
        )
        .join(StoredCertificate, StoredCertificate.sha256 == StoredLineage.sha256)
        .where(StoredLineage.state == "active")
    )
    found: list[ExpectedLeaf] = []
    for row in conn.execute(query.order_by(StoredLineage.id)).mappings():
        newest = ExpectedLeaf(
            id=-1,
            client_id=row["client_id"],
            names=row["names"],
            sha256=row["sha256"],
            live_at=row["proven_at"],
            not_after=row["not_after"],
        )
        found.append(newest)
        if row["deployed"] is not None and row["deployed"] != row["sha256"]:
            found.append(replace(newest, sha256=row["deployed"], live_at=None))
    return found


def undeployed(conn: Connection, at: int) -> list[ListedLineage]:
    """Active lineages whose newest certificate is not in use, not proved, or not at a target that
    may be tried at ``at``.
    """
    waiting = select(Deployment.lineage_id).where(
        Deployment.state == "pending",
        Deployment.next_at <= at,
        Deployment.sha256 == StoredLineage.sha256,
    )
    fresh = or_(StoredLineage.deployed.is_(None), StoredLineage.deployed != StoredLineage.sha256)
    unproved = and_(StoredLineage.proven_at.is_(None), StoredLineage.proof.is_not(None))
    taken_back = and_(
        StoredLineage.rolled_back.is_not(None), StoredLineage.rolled_back == StoredLineage.sha256
    )
    query = _query().where(
        StoredLineage.state == "active",
        StoredLineage.sha256.is_not(None),
        ~taken_back,
        or_(StoredLineage.id.in_(waiting), fresh, unproved),
    )
    return _with_names(conn, query.order_by(StoredLineage.id))


# -- where it was brought


def covering(conn: Connection, host: str, client_id: int) -> list[LineageRecord]:
    """The client's active lineages that have this very name, or a wildcard above it."""
    wild = f"*.{host.partition('.')[2]}"
    query = (
        _query()
        .join(LineageName, LineageName.lineage_id == StoredLineage.id)
        .where(
            StoredLineage.client_id == client_id,
            StoredLineage.state == "active",
            or_(LineageName.name == host, LineageName.name == wild),
        )
    )
    return fetch(conn, LineageRecord, query)
