"""Lineages: the standing arrangement for a certificate that is renewed, its names with those in
quarantine, and where it was brought.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.models.acme_tables import acme_account, deployment, lineage, lineage_name, revocation
from inventory.models.tables import certificate, client, finding, incident, incident_item, standing
from inventory.names import as_ip, display, registered_domain
from inventory.store import clients, purchases, records
from inventory.store.records import Row
from inventory.store.scan_results import upsert

MAX_NAMES = 100


def _query() -> Any:
    return (
        select(
            lineage,
            client.c.number.label("client"),
            acme_account.c.name.label("account"),
            certificate.c.not_before,
            certificate.c.not_after,
        )
        .join(client, client.c.id == lineage.c.client_id)
        .join(acme_account, acme_account.c.id == lineage.c.account_id)
        .outerjoin(certificate, certificate.c.sha256 == lineage.c.sha256)
    )


def find(conn: Connection, name: str, client_id: int | None = None) -> Row:
    """Raises :class:`NotFound`. ``client_id``: another client's is not found."""
    query = _query().where(lineage.c.name == name.strip())
    if client_id is not None:
        query = query.where(lineage.c.client_id == client_id)
    return records.one(conn, query, "lineage", name, "certmgr lineage list")


def by_id(conn: Connection, lineage_id: int) -> Row:
    return dict(conn.execute(_query().where(lineage.c.id == lineage_id)).mappings().one())


def listing(
    conn: Connection, *, client_id: int | None = None, states: Sequence[str] = ("active", "paused")
) -> list[Row]:
    """In the order of their names. Each with ``names``: [(name, state, reason, since)]."""
    query = _query().where(lineage.c.state.in_(states)).order_by(lineage.c.name)
    if client_id is not None:
        query = query.where(lineage.c.client_id == client_id)
    rows = [dict(r) for r in conn.execute(query).mappings()]
    named = names_of(conn, [r["id"] for r in rows])
    return [r | {"names": named.get(r["id"], [])} for r in rows]


def any_active(conn: Connection) -> bool:
    return (
        conn.execute(select(lineage.c.id).where(lineage.c.state == "active").limit(1)).first()
        is not None
    )


def names_of(conn: Connection, ids: Sequence[int]) -> dict[int, list[Row]]:
    """Lineage id -> its names in their order."""
    found: dict[int, list[Row]] = {}
    for start in range(0, len(ids), 500):
        query = select(lineage_name).where(lineage_name.c.lineage_id.in_(ids[start : start + 500]))
        for row in conn.execute(
            query.order_by(lineage_name.c.lineage_id, lineage_name.c.position)
        ).mappings():
            found.setdefault(row["lineage_id"], []).append(dict(row))
    return found


def add(
    tx: Tx, name: str, client_number: str, names: Sequence[str], values: Mapping[str, Any]
) -> int:
    """``names``: normalised, DNS names (also ``*.``) and addresses.

    Raises :class:`Conflict`; :class:`UsageError` where a name is another client's.
    """
    who = clients.find(tx.conn, client_number)
    require_owned(tx.conn, who, names)
    if tx.conn.execute(select(lineage.c.id).where(lineage.c.name == name)).scalar() is not None:
        raise Conflict(
            f"There is a lineage '{name}' already",
            "",
            f"certmgr renew {name} renews it; --lineage gives another name.",
        )
    made = tx.conn.execute(
        insert(lineage).values(name=name, client_id=who["id"], created_at=tx.at, **values)
    ).inserted_primary_key
    assert made is not None
    _write_names(tx, made[0], names)
    tx.audit("add", "lineage", made[0], {"names": len(names)})
    return int(made[0])


def _write_names(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    if not names:
        raise UsageError("A lineage needs at least one name", "a certificate is issued for names")
    rows = [{"lineage_id": lineage_id, "name": n, "position": i} for i, n in enumerate(names)]
    tx.conn.execute(insert(lineage_name), rows)


def require_owned(conn: Connection, who: Row, names: Sequence[str]) -> None:
    """Every name must lie under a domain that this client has: a certificate is never asked for in
    the name of somebody else.
    """
    for name in names:
        owner = purchases.owner_of(conn, name.removeprefix("*."))
        if owner is not None and owner["client_id"] == who["id"]:
            continue
        what = f"{display(name)} does not belong to client {who['number']}"
        if owner is not None:
            raise UsageError(
                what,
                f"it belongs to client {owner['number']}",
                "Ask for a certificate of that client's, or move the domain.",
            )
        host = name.removeprefix("*.")
        domain_name = host if as_ip(host) is not None else display(registered_domain(host))
        raise UsageError(
            what,
            "the inventory does not have it",
            f"certmgr domain add {domain_name} --client {who['number']}",
        )


def edit(tx: Tx, lineage_id: int, **values: Any) -> None:
    """Audited."""
    before = dict(
        tx.conn.execute(select(lineage).where(lineage.c.id == lineage_id)).mappings().one()
    )
    records.edit(tx, lineage, before, values)


def note(tx: Tx, lineage_id: int, **values: Any) -> None:
    """What the machine found out: not audited."""
    tx.conn.execute(update(lineage).where(lineage.c.id == lineage_id).values(**values))


def set_names(tx: Tx, lineage_id: int, names: Sequence[str]) -> None:
    tx.conn.execute(delete(lineage_name).where(lineage_name.c.lineage_id == lineage_id))
    _write_names(tx, lineage_id, names)
    tx.audit("edit", "lineage", lineage_id, {"names": len(names)})


def name_failed(tx: Tx, lineage_id: int, name: str, reason: str, *, quarantine: bool) -> None:
    """Counts a failure; puts the name into quarantine where it is time.

    What was in quarantine keeps its date.
    """
    row = (
        tx.conn.execute(
            select(lineage_name).where(
                lineage_name.c.lineage_id == lineage_id, lineage_name.c.name == name
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
        update(lineage_name)
        .where(lineage_name.c.lineage_id == lineage_id, lineage_name.c.name == name)
        .values(**values)
    )


def name_returned(tx: Tx, lineage_id: int, name: str) -> None:
    """Out of quarantine."""
    changed = tx.conn.execute(
        update(lineage_name)
        .where(
            lineage_name.c.lineage_id == lineage_id,
            lineage_name.c.name == name,
            lineage_name.c.state == "quarantined",
        )
        .values(state="active", since=None, reason=None, failures=0)
    )
    if changed.rowcount:
        tx.audit("return", "lineage", lineage_id, {"state": "active"})


def names_good(tx: Tx, lineage_id: int, names: Iterable[str]) -> None:
    """These stood in a certificate that was issued."""
    tx.conn.execute(
        update(lineage_name)
        .where(
            lineage_name.c.lineage_id == lineage_id,
            lineage_name.c.name.in_(list(names)),
            lineage_name.c.state == "active",
        )
        .values(failures=0, reason=None)
    )


def siblings(conn: Connection, row: Row) -> list[Row]:
    """Other lineages of the client that share a name with this one: the other key type."""
    mine = select(lineage_name.c.name).where(lineage_name.c.lineage_id == row["id"])
    query = _query().where(
        lineage.c.client_id == row["client_id"],
        lineage.c.id != row["id"],
        lineage.c.state != "retired",
        lineage.c.id.in_(select(lineage_name.c.lineage_id).where(lineage_name.c.name.in_(mine))),
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def name_checked(tx: Tx, lineage_id: int, name: str) -> None:
    tx.conn.execute(
        update(lineage_name)
        .where(lineage_name.c.lineage_id == lineage_id, lineage_name.c.name == name)
        .values(checked_at=tx.at)
    )


def condemned(conn: Connection) -> dict[str, str]:
    """SHA-256 -> why it must be replaced at once: certificates of lineages that are revoked, whose
    CA is distrusted, or that an open incident names.
    """
    mine = select(lineage.c.sha256).where(
        lineage.c.sha256.is_not(None), lineage.c.state == "active"
    )
    found: dict[str, str] = {}
    for sha, reference in conn.execute(
        select(incident_item.c.sha256, incident.c.reference)
        .join(incident, incident.c.id == incident_item.c.incident_id)
        .where(incident_item.c.sha256.in_(mine), incident.c.closed_at.is_(None))
    ):
        found[sha] = f"the incident {reference} asks for it"
    for sha in conn.scalars(
        select(standing.c.leaf)
        .join(finding, finding.c.endpoint_id == standing.c.endpoint_id)
        .where(
            finding.c.code == "ca-distrusted",
            finding.c.closed_at.is_(None),
            standing.c.leaf.in_(mine),
        )
    ):
        found[sha] = "its CA is distrusted"
    for sha in conn.scalars(
        select(revocation.c.sha256).where(
            revocation.c.status == "revoked", revocation.c.sha256.in_(mine)
        )
    ):
        found[sha] = "it is revoked"
    return found


def served_names(conn: Connection, hashes: Sequence[str]) -> dict[str, frozenset[str]]:
    """SHA-256 -> the names of that certificate."""
    found = {}
    for start in range(0, len(hashes), 500):
        query = select(certificate.c.sha256, certificate.c.names).where(
            certificate.c.sha256.in_(hashes[start : start + 500])
        )
        for sha, names in conn.execute(query):
            found[sha] = frozenset(json.loads(names))
    return found


def expected(conn: Connection) -> list[Row]:
    """What may be served under the names of lineages, in the shape of cases.expected: the newest
    certificate, proved or about to be, and the one in use. All with one id, since several lineages
    of a client (one a kind of key) hold for a name together.
    """
    query = (
        select(
            lineage.c.client_id,
            lineage.c.id,
            lineage.c.sha256,
            lineage.c.deployed,
            lineage.c.proven_at,
            certificate.c.not_after,
            certificate.c.names,
        )
        .join(certificate, certificate.c.sha256 == lineage.c.sha256)
        .where(lineage.c.state == "active")
    )
    found: list[Row] = []
    for row in conn.execute(query.order_by(lineage.c.id)).mappings():
        names = json.loads(row["names"])
        common = {
            "id": -1,
            "client_id": row["client_id"],
            "names": names,
            "not_after": row["not_after"],
        }
        found.append({**common, "sha256": row["sha256"], "live_at": row["proven_at"]})
        if row["deployed"] is not None and row["deployed"] != row["sha256"]:
            found.append({**common, "sha256": row["deployed"], "live_at": None})
    return found


def unbrought(conn: Connection, at: int) -> list[Row]:
    """Active lineages whose newest certificate is not in use, not proved, or not at a target that
    may be tried at ``at``.
    """
    waiting = select(deployment.c.lineage_id).where(
        deployment.c.state == "pending",
        deployment.c.next_at <= at,
        deployment.c.sha256 == lineage.c.sha256,
    )
    fresh = or_(lineage.c.deployed.is_(None), lineage.c.deployed != lineage.c.sha256)
    unproved = and_(lineage.c.proven_at.is_(None), lineage.c.proof.is_not(None))
    taken_back = and_(lineage.c.rolled_back.is_not(None), lineage.c.rolled_back == lineage.c.sha256)
    query = _query().where(
        lineage.c.state == "active",
        lineage.c.sha256.is_not(None),
        ~taken_back,
        or_(lineage.c.id.in_(waiting), fresh, unproved),
    )
    return [dict(r) for r in conn.execute(query.order_by(lineage.c.id)).mappings()]


# -- where it was brought


def to_deliver(tx: Tx, lineage_id: int, sha256: str, targets: Iterable[str]) -> None:
    """One row a target, once; those of certificates before are no longer tried."""
    wanted = list(dict.fromkeys(targets))
    tx.conn.execute(
        update(deployment)
        .where(
            deployment.c.lineage_id == lineage_id,
            deployment.c.sha256 != sha256,
            deployment.c.state == "pending",
        )
        .values(state="superseded")
    )
    have = set(
        tx.conn.scalars(
            select(deployment.c.target).where(
                deployment.c.lineage_id == lineage_id, deployment.c.sha256 == sha256
            )
        )
    )
    new = [t for t in wanted if t not in have]
    if new:
        tx.conn.execute(
            insert(deployment),
            [
                {
                    "lineage_id": lineage_id,
                    "sha256": sha256,
                    "target": t,
                    "state": "pending",
                    "next_at": tx.at,
                    "created_at": tx.at,
                }
                for t in new
            ],
        )
    again = [t for t in wanted if t in have]
    if again:
        tx.conn.execute(
            update(deployment)
            .where(
                deployment.c.lineage_id == lineage_id,
                deployment.c.sha256 == sha256,
                deployment.c.target.in_(again),
                deployment.c.state == "superseded",
            )
            .values(state="pending", next_at=tx.at)
        )


def deliver_again(tx: Tx, lineage_id: int, sha256: str, targets: Iterable[str]) -> None:
    """Also to those that have it."""
    tx.conn.execute(
        update(deployment)
        .where(
            deployment.c.lineage_id == lineage_id,
            deployment.c.sha256 == sha256,
            deployment.c.target.in_(list(targets)),
        )
        .values(state="pending", next_at=tx.at)
    )


def deliveries(
    conn: Connection,
    *,
    lineage_id: int | None = None,
    due: int | None = None,
    states: Sequence[str] = ("pending",),
) -> list[Row]:
    """``due``: not before which instant they may be tried."""
    query = select(deployment).where(deployment.c.state.in_(states)).order_by(deployment.c.id)
    if lineage_id is not None:
        query = query.where(deployment.c.lineage_id == lineage_id)
    if due is not None:
        query = query.where(deployment.c.next_at <= due)
    return [dict(r) for r in conn.execute(query).mappings()]


def delivered(tx: Tx, deployment_id: int) -> None:
    tx.conn.execute(
        update(deployment)
        .where(deployment.c.id == deployment_id)
        .values(state="done", done_at=tx.at, error=None, attempts=deployment.c.attempts + 1)
    )


def not_delivered(tx: Tx, deployment_id: int, error: str, next_at: int) -> None:
    tx.conn.execute(
        update(deployment)
        .where(deployment.c.id == deployment_id)
        .values(error=error[:1000], next_at=next_at, attempts=deployment.c.attempts + 1)
    )


def failing(conn: Connection) -> list[Row]:
    """Deliveries that failed and wait, with the name of their lineage and client."""
    query = (
        select(deployment, lineage.c.name, client.c.number.label("client"))
        .join(lineage, lineage.c.id == deployment.c.lineage_id)
        .join(client, client.c.id == lineage.c.client_id)
        .where(
            deployment.c.state == "pending",
            deployment.c.error.is_not(None),
            lineage.c.state != "retired",
        )
        .order_by(deployment.c.id)
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def revoked(tx: Tx, sha256: str, reason: str) -> None:
    """We revoked it: known before any CRL says so."""
    values = {
        "status": "revoked",
        "reason": reason,
        "revoked_at": tx.at,
        "source": "us",
        "detail": None,
        "checked_at": tx.at,
        "next_at": tx.at,
    }
    statement = upsert(tx.conn, revocation).values(sha256=sha256, **values)
    tx.conn.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=values))


def revocation_of(conn: Connection, sha256: str) -> bool | None:
    """Whether a certificate is revoked; None where nobody asked, or it could not be told."""
    status = conn.execute(select(revocation.c.status).where(revocation.c.sha256 == sha256)).scalar()
    return None if status in (None, "unknown") else status == "revoked"


def covering(conn: Connection, host: str, client_id: int) -> list[Row]:
    """The client's active lineages that have this very name, or a wildcard above it."""
    wild = f"*.{host.partition('.')[2]}"
    query = (
        _query()
        .join(lineage_name, lineage_name.c.lineage_id == lineage.c.id)
        .where(
            lineage.c.client_id == client_id,
            lineage.c.state == "active",
            or_(lineage_name.c.name == host, lineage_name.c.name == wild),
        )
    )
    return [dict(r) for r in conn.execute(query).mappings()]


def troubled(conn: Connection) -> list[Row]:
    """Names in quarantine, with lineage and client."""
    query = (
        select(
            lineage_name,
            lineage.c.name.label("lineage"),
            lineage.c.client_id,
            client.c.number.label("client"),
        )
        .join(
            lineage, and_(lineage.c.id == lineage_name.c.lineage_id, lineage.c.state != "retired")
        )
        .join(client, client.c.id == lineage.c.client_id)
        .where(lineage_name.c.state == "quarantined")
        .order_by(lineage_name.c.since, lineage_name.c.name)
    )
    return [dict(r) for r in conn.execute(query).mappings()]
