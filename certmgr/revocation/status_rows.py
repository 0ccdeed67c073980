"""The status of a leaf as a row of the database. Pure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from certmgr.revocation.list_source import SHORTEST, ListSource
from certmgr.x509.crl import RevocationStatus
from inventory.db.database import to_epoch
from inventory.records import RevocationRecord
from inventory.vocabulary import RevocationState

# How long a status holds without a valid list: CAs publish a new list at least every few days.
GRACE = timedelta(days=2)


def determined_row(
    sha256: str, source: ListSource, status: RevocationStatus, before: RevocationRecord | None
) -> dict[str, Any]:
    """Return the row of a leaf whose status is determined.

    A revoked certificate stays revoked, unless it was only on hold (RFC 5280 5.3.1). CAs may
    remove a certificate from their list after it has expired (RFC 5280 3.3).
    """
    if (
        before is not None
        and before.status is RevocationState.REVOKED
        and status.status is RevocationState.GOOD
        and before.reason != "certificateHold"
    ):
        return asdict(before) | {
            "next_at": source.next_at,
            "detail": "no longer on the list",
        }
    return {
        "sha256": sha256,
        "status": status.status,
        "reason": status.reason or None,
        "source": source.url,
        "detail": None,
        "revoked_at": to_epoch(status.revoked_at) if status.revoked_at else None,
        "checked_at": source.fetched_at,
        "next_at": source.next_at,
    }


def unknown_row(
    sha256: str,
    source: ListSource,
    status: RevocationStatus,
    before: RevocationRecord | None,
    at: int,
) -> dict[str, Any]:
    """Return the row of a leaf whose status could not be determined now.

    The last status stays, with the time when it was determined. ``good`` becomes ``unknown``
    if that is longer ago than ``GRACE``.
    """
    # A leaf is not checked again within an hour, even if its list is due earlier.
    next_at = max(source.next_at, at + int(SHORTEST.total_seconds()))
    if before is None:
        return {
            "sha256": sha256,
            "status": RevocationState.UNKNOWN,
            "reason": None,
            "revoked_at": None,
            "source": source.url,
            "detail": status.detail,
            "checked_at": at,
            "next_at": next_at,
        }
    # A failed check never erases what was known: status and time of the last good check stay.
    changed = asdict(before) | {"detail": status.detail, "next_at": next_at}
    if before.status is RevocationState.GOOD and at - before.checked_at > GRACE.total_seconds():
        changed |= {"status": RevocationState.UNKNOWN, "source": source.url}
    return changed
