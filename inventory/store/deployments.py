"""Deployments: which certificate of a lineage goes to which target, and with what result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, insert, select, update

from inventory.clock import Timestamp
from inventory.db.database import Tx
from inventory.db.sql import fetch
from inventory.models import (
    Client,
    Deployment,
    StoredLineage,
)
from inventory.records import (
    DeploymentRecord,
    FailingDeployment,
)


def schedule(tx: Tx, lineage_id: int, sha256: str, targets: Iterable[str]) -> None:
    """Schedule the deployment of a certificate: one row per target, each once.

    Deployments of earlier certificates of the lineage are no longer attempted.
    """
    # In the transaction that ends the order, so that no certificate is issued and never deployed.
    wanted = list(dict.fromkeys(targets))
    tx.conn.execute(
        update(Deployment)
        .where(
            Deployment.lineage_id == lineage_id,
            Deployment.sha256 != sha256,
            Deployment.state == "pending",
        )
        .values(state="superseded")
    )
    # A process that died after this step repeats it with the same result.
    have = set(
        tx.conn.scalars(
            select(Deployment.target).where(
                Deployment.lineage_id == lineage_id, Deployment.sha256 == sha256
            )
        )
    )
    new = [t for t in wanted if t not in have]
    if new:
        tx.conn.execute(
            insert(Deployment),
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
    # After a rollback, an earlier certificate may become the wanted one again.
    again = [t for t in wanted if t in have]
    if again:
        tx.conn.execute(
            update(Deployment)
            .where(
                Deployment.lineage_id == lineage_id,
                Deployment.sha256 == sha256,
                Deployment.target.in_(again),
                Deployment.state == "superseded",
            )
            .values(state="pending", next_at=tx.at)
        )


def schedule_again(tx: Tx, lineage_id: int, sha256: str, targets: Iterable[str]) -> None:
    """Schedule the deployment again, also to targets that have the certificate."""
    tx.conn.execute(
        update(Deployment)
        .where(
            Deployment.lineage_id == lineage_id,
            Deployment.sha256 == sha256,
            Deployment.target.in_(list(targets)),
        )
        .values(state="pending", next_at=tx.at)
    )


def listing(
    conn: Connection,
    *,
    lineage_id: int | None = None,
    due: int | None = None,
    states: Sequence[str] = ("pending",),
) -> list[DeploymentRecord]:
    """Return deployments in the order in which they were scheduled.

    Args:
        conn: The connection.
        lineage_id: Only deployments of this lineage.
        due: Only deployments that may be attempted at this time, in epoch seconds.
        states: Only deployments in these states.
    """
    query = select(Deployment).where(Deployment.state.in_(states)).order_by(Deployment.id)
    if lineage_id is not None:
        query = query.where(Deployment.lineage_id == lineage_id)
    if due is not None:
        query = query.where(Deployment.next_at <= due)
    return fetch(conn, DeploymentRecord, query)


def succeeded(tx: Tx, deployment_id: int) -> None:
    """Record that a target has the certificate."""
    tx.conn.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id)
        # The error of an earlier attempt would be shown as the state of the target.
        .values(state="done", done_at=tx.at, error=None, attempts=Deployment.attempts + 1)
    )


def failed(tx: Tx, deployment_id: int, error: str, next_at: Timestamp) -> None:
    """Record that a target could not be reached or refused the certificate.

    Args:
        tx: The transaction.
        deployment_id: The deployment.
        error: Why, for staff.
        next_at: When it is tried again, in epoch seconds.
    """
    tx.conn.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id)
        # It stays pending: a target that cannot be reached is tried again until a newer certificate
        # exists.
        .values(error=error[:1000], next_at=next_at, attempts=Deployment.attempts + 1)
    )


def failing(conn: Connection) -> list[FailingDeployment]:
    """Return the deployments that failed and wait, with the names of lineage and client."""
    query = (
        select(Deployment, StoredLineage.name, Client.number.label("client"))
        .join(StoredLineage, StoredLineage.id == Deployment.lineage_id)
        .join(Client, Client.id == StoredLineage.client_id)
        .where(
            Deployment.state == "pending",
            # A deployment without an error waits for its first attempt, which is no trouble.
            Deployment.error.is_not(None),
            StoredLineage.state != "retired",
        )
        .order_by(Deployment.id)
    )
    return fetch(conn, FailingDeployment, query)
