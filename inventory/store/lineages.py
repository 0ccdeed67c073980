"""Lineages: the permanent configuration of a certificate that is renewed by ACME.

``lineage_names`` has their names, and ``deployments`` has what was deployed to which target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from sqlalchemy import Connection, Executable, and_, delete, or_, select, update

from inventory.clock import Timestamp
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
from inventory.vocabulary import IncidentKind, OnFailedName, RevocationState, VerificationState


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
        # A lineage has no certificate before its first order succeeds.
        .outerjoin(StoredCertificate, StoredCertificate.sha256 == StoredLineage.sha256)
    )


def find(conn: Connection, name: str, client_id: int | None = None) -> LineageRecord:
    """Return the lineage with a name.

    Args:
        conn: The connection.
        name: The name.
        client_id: Only lineages of this client; None for all clients.

    Raises:
        NotFound: There is no such lineage.
    """
    query = _query().where(StoredLineage.name == name.strip())
    if client_id is not None:
        query = query.where(StoredLineage.client_id == client_id)
    return editing.one(conn, LineageRecord, query, "lineage", name, "certmgr lineage list")


def by_id(conn: Connection, lineage_id: int) -> LineageRecord:
    """Return a lineage that exists."""
    return fetch_existing(conn, LineageRecord, _query().where(StoredLineage.id == lineage_id))


def listing(
    conn: Connection, *, client_id: int | None = None, states: Sequence[str] = ("active", "paused")
) -> list[ListedLineage]:
    """Return lineages in the order of their names, each with the names of its certificate."""
    query = _query().where(StoredLineage.state.in_(states)).order_by(StoredLineage.name)
    if client_id is not None:
        query = query.where(StoredLineage.client_id == client_id)
    return _with_names(conn, query)


def with_names(conn: Connection, lineage_id: int) -> ListedLineage:
    """Return the lineage with this id, which exists, and its names."""
    return _with_names(conn, _query().where(StoredLineage.id == lineage_id))[0]


def _with_names(conn: Connection, query: Executable) -> list[ListedLineage]:
    # Two queries for all lineages, and not one per lineage.
    rows = fetch_all(conn, query)
    named = lineage_names.by_lineage(conn, [r["id"] for r in rows])
    return [ListedLineage(**r, names=tuple(named.get(r["id"], ()))) for r in rows]


def any_active(conn: Connection) -> bool:
    """Return whether there is an active lineage."""
    return (
        conn.execute(
            select(StoredLineage.id).where(StoredLineage.state == "active").limit(1)
        ).first()
        is not None
    )


def add(
    tx: Tx, name: str, client_number: str, names: Sequence[str], values: Mapping[str, Any]
) -> int:
    """Add a lineage, and return its id.

    Args:
        tx: The transaction.
        name: Its name.
        client_number: The client.
        names: DNS names (also wildcards) and addresses, normalised.
        values: The other columns.

    Raises:
        Conflict: The name of the lineage is in use.
        UsageError: A name belongs to another client, or to none.
    """
    who = clients.find(tx.conn, client_number)
    # Before anything is written: a certificate must never cover a name of another client.
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


class LineageColumns(TypedDict, total=False):
    """The columns of a lineage that may change. Times are in epoch seconds."""

    account_id: int
    key_type: str
    reuse_key: int
    csr: str | None
    solver: str
    profile: str | None
    preferred_chain: str | None
    targets: tuple[str, ...]
    shrink: OnFailedName
    shrink_ok: tuple[str, ...]
    sha256: str | None
    chain: tuple[str, ...]
    deployed: str | None
    proven_at: Timestamp | None
    proof: str | None
    verification: VerificationState | None
    rolled_back: str | None
    compromised: tuple[str, ...]
    ari_start: Timestamp | None
    ari_end: Timestamp | None
    ari_at: Timestamp | None
    ari_url: str | None
    ari_next_at: Timestamp | None
    failures: int
    next_at: Timestamp | None
    error: str | None
    state: str
    retired_at: Timestamp | None


def edit(tx: Tx, lineage_id: int, **values: Unpack[LineageColumns]) -> None:
    """Change what an administrator decides. It is audited."""
    editing.edit(tx, StoredLineage, by_id(tx.conn, lineage_id), dict(values))


def note(tx: Tx, lineage_id: int, **values: Unpack[LineageColumns]) -> None:
    """Record what the program observed, such as the times of ARI. It is not audited."""
    tx.conn.execute(update(StoredLineage).where(StoredLineage.id == lineage_id).values(**values))


def set_names(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    """Replace the names of a lineage.

    Raises:
        UsageError: There is no name.
    """
    tx.conn.execute(delete(LineageName).where(LineageName.lineage_id == lineage_id))
    lineage_names.write(tx, lineage_id, names)
    tx.audit("edit", "lineage", lineage_id, {"names": len(names)})


def must_replace(conn: Connection) -> dict[str, str]:
    """Return SHA-256 -> why the certificate of a lineage must be replaced at once.

    It is revoked, its CA is distrusted, or an open incident names it.
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
            Incident.kind != IncidentKind.SERVER_LOST,
        )
    ):
        # The condition excludes None, which the type checker does not know.
        assert sha is not None
        found[sha] = f"the incident {reference} asks for it"
    # By what endpoints serve now: the finding is about the endpoint, and its leaf may be a
    # lineage's.
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
            RevocationCheck.status == RevocationState.REVOKED, RevocationCheck.sha256.in_(mine)
        )
    ):
        found[sha] = "it is revoked"
    return found


def expected(conn: Connection) -> list[ExpectedLeaf]:
    """Return what servers may present under the names of lineages.

    It is the newest certificate, verified or not yet, and the one in use. The form is that of
    :func:`inventory.store.issuances.expected`.
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
            # One id for all, because several lineages of a client (one per key type) hold for a
            # name together.
            id=-1,
            client_id=row["client_id"],
            names=row["names"],
            sha256=row["sha256"],
            live_at=row["proven_at"],
            not_after=row["not_after"],
        )
        found.append(newest)
        # Until the newest one is deployed everywhere, the certificate in use is no surprise either.
        if row["deployed"] is not None and row["deployed"] != row["sha256"]:
            found.append(replace(newest, sha256=row["deployed"], live_at=None))
    return found


def undeployed(conn: Connection, at: Timestamp) -> list[ListedLineage]:
    """Return the active lineages whose newest certificate has to be deployed or verified.

    Args:
        conn: The connection.
        at: The time in epoch seconds. Targets that wait for a later time are left out.
    """
    # A target that failed is due again at its next attempt.
    waiting = select(Deployment.lineage_id).where(
        Deployment.state == "pending",
        Deployment.next_at <= at,
        Deployment.sha256 == StoredLineage.sha256,
    )
    fresh = or_(StoredLineage.deployed.is_(None), StoredLineage.deployed != StoredLineage.sha256)
    # The last verification did not show it at every address, so it is repeated.
    unproved = and_(StoredLineage.proven_at.is_(None), StoredLineage.proof.is_not(None))
    # What was rolled back caused a regression. An administrator decides whether it is tried again.
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


def covering(conn: Connection, host: str, client_id: int) -> list[LineageRecord]:
    """Return the client's active lineages that cover a host, by its name or by a wildcard."""
    # A wildcard covers exactly one label (RFC 9525 6.3), so only the one directly above can match.
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
