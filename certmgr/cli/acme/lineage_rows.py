"""Lineages as rows of tables and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from certmgr.acme.renewal.renewal import error_sentence
from certmgr.cli import output
from inventory.records import LineageRecord
from inventory.store import lineages

# The keys are part of the JSON output; the values are what a table shows.
STATES = {
    "live": "✓ live",
    "placed": "· deployed",
    "waiting": "… not deployed yet",
    "none": "✗ no certificate yet",
    "taken-back": "✗ rolled back",
    "paused": "· paused",
    "unproved": "? not verified live",
    "held": "! waits for your approval",
    "condemned": "✗ must be replaced",
    "retired": "· retired",
}


def rows_of(conn: Any, client_id: int | None, states: Sequence[str]) -> list[dict[str, Any]]:
    """Return lineages as rows of ``certmgr.lineages/1``.

    Args:
        conn: A read connection.
        client_id: Only lineages of this client; None for all clients.
        states: Only lineages in these states: active, paused, retired.
    """

    rows = []
    must_replace = lineages.must_replace(conn)
    for row in lineages.listing(conn, client_id=client_id, states=states):
        names = [n.name for n in row.names]
        quarantined = [n.name for n in row.names if n.state == "quarantined"]
        rows.append(
            {
                "lineage": row.name,
                "client": row.client,
                "state": _state(row, quarantined, must_replace),
                "ends": output.epoch_text(row.not_after),
                "names": names,
                "quarantined": quarantined,
                "account": row.account,
                "solver": row.solver,
                "targets": list(row.targets),
                "key": row.key_type,
                "sha256": row.sha256,
                "proof": row.proof,
                "error": error_sentence(row.error),
                "next_at": output.epoch_text(row.next_at),
                "renew_at": output.epoch_text(row.ari_at),
                "explanation": row.ari_url,
                "failures": row.failures,
            }
        )
    return rows


def _state(row: LineageRecord, quarantined: list[str], must_replace: Mapping[str, str]) -> str:
    """Return the most urgent state of a lineage; the order of the tests is the priority."""
    if row.state != "active":
        return str(row.state)
    # A revoked or distrusted certificate needs action even if it is deployed and live.
    if row.sha256 in must_replace:
        return "condemned"
    # The rollback restored the certificate before, so the newest one is not in use.
    if row.sha256 is not None and row.rolled_back == row.sha256:
        return "taken-back"
    # Quarantined names hold the next order unless an administrator allowed to leave them out.
    if quarantined and not (row.shrink == "auto" or set(quarantined) <= set(row.shrink_ok)):
        return "held"
    if row.sha256 is None:
        return "none"
    # The newest certificate is stored, but its deployment is pending or failed.
    if row.deployed != row.sha256:
        return "waiting"
    if row.proven_at is not None:
        return "live"
    # Without a state, no endpoint of the inventory serves these names: nothing can be verified.
    return "placed" if row.verification is None else "unproved"
