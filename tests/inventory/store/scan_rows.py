"""Rows as a scan writes them: certificates, observations and the state of endpoints."""

from __future__ import annotations

from typing import Any

from inventory.db.database import Tx
from inventory.store import (
    certificates,
    scan_results,
)
from tests.inventory.store.builders import AT, DAY, fingerprint


def certificate_row(label: str, *names: str, **columns: Any) -> dict[str, Any]:
    """Return the columns of a certificate that began 30 days ago and ends in 60 days."""
    sha256 = fingerprint(label)
    return {
        "sha256": sha256,
        "der": label.encode(),
        "serial": sha256[:16].lstrip("0"),
        "subject": f"CN={label}",
        "issuer": "CN=Test Issuer",
        "not_before": AT - 30 * DAY,
        "not_after": AT + 60 * DAY,
        "names": names,
        "key": "EC P-256",
        "is_ca": 0,
    } | columns


def add_leaf(tx: Tx, label: str, *names: str, **columns: Any) -> str:
    """Store a certificate with chosen columns, and return its SHA-256."""
    row = certificate_row(label, *names, **columns)
    certificates.add(tx, [row])
    return str(row["sha256"])


def facts(at: int, sha256: str | None, **changes: Any) -> dict[str, Any]:
    """Return what a scan finds at one address."""
    return {
        "at": at,
        "chain": (sha256,) if sha256 else (),
        "leaf": sha256,
        "tls_version": "TLSv1.3",
        "cipher": "x",
        "group_name": "x",
        "alpn": "",
        "ocsp": None,
        "trusted": 1,
        "public": 1,
    } | changes


def observe(
    tx: Tx,
    endpoint_id: int,
    sha256: str | None,
    *addresses: str,
    at: int | None = None,
    **changes: Any,
) -> None:
    """Store one scan that finds this certificate at these addresses and nothing at the others."""
    found = facts(tx.at if at is None else at, sha256, **changes)
    scan_results.write_observations(
        tx, {endpoint_id: dict.fromkeys(addresses or ("192.0.2.1",), found)}
    )


def status_row(endpoint_id: int, at: int, **columns: Any) -> dict[str, Any]:
    """Return the state of an endpoint whose scan succeeded and changed no finding."""
    return {
        "endpoint_id": endpoint_id,
        "fingerprint": "",
        "memo": "",
        "recheck_at": None,
        "judged_at": at,
        "last_run_id": None,
        "last_attempt": at,
        "error_layer": None,
        "error_reason": None,
        "failing_since": None,
        "failing_runs": 0,
        "last_good": at,
        "leaf": None,
        "not_after": None,
        "issuer": None,
    } | columns


def failure_row(endpoint_id: int, at: int, **columns: Any) -> dict[str, Any]:
    """Return the state of an endpoint that could not be reached."""
    failed = {
        "last_good": None,
        "error_layer": "tcp",
        "error_reason": "timeout",
        "failing_since": at,
        "failing_runs": 1,
    }
    return status_row(endpoint_id, at, **(failed | columns))


def add_status(tx: Tx, endpoint_id: int, **columns: Any) -> None:
    scan_results.write_endpoint_status(tx, [status_row(endpoint_id, tx.at, **columns)])
