"""Which lineages are due, with the reason and in which order. Pure, over what was read of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from certmgr.acme.renewal import CertificateLife, RenewalDue, due, is_near
from certmgr.acme.service import RenewalReason
from inventory.db.database import from_epoch

URGENT = 3600 + 360


@dataclass(frozen=True, slots=True)
class PlannedRenewal:
    """``id``, ``name``: of the lineage.

    ``due``: when and why. ``waits``: epoch seconds before which it is not tried, None: now.
    """

    id: int
    name: str
    client: str
    due: RenewalDue
    waits: int | None = None

    def why(self, replaces: str | None, ari_start: int | None, now: datetime) -> RenewalReason:
        begun = ari_start is not None and now.timestamp() >= ari_start
        return RenewalReason(
            self.due.reason, replaces, exempt=replaces is not None and begun, urgent=self.due.urgent
        )


def plan_one(
    row: Mapping[str, Any],
    now: datetime,
    bad: str = "",
    served: frozenset[str] | None = None,
    *,
    begun: bool = False,
) -> PlannedRenewal:
    """``row``: a lineage with ``names``.

    ``bad``: why its certificate must go at once. ``served``: the names of its certificate, None
    where it has none. ``begun``: an order was begun and did not end.
    """
    at = int(now.timestamp())
    waits = row["next_at"] if row["next_at"] is not None and row["next_at"] > at else None
    not_before, not_after = from_epoch(row["not_before"]), from_epoch(row["not_after"])
    if row["sha256"] is None or not_before is None or not_after is None:
        return PlannedRenewal(
            row["id"],
            row["name"],
            row["client"],
            RenewalDue(datetime.fromtimestamp(0, UTC), "there is no certificate yet"),
            waits,
        )
    life = CertificateLife(not_before, not_after, from_epoch(row["ari_at"]), bad)
    when = due(life)
    wanted = {n["name"] for n in row["names"] if n["state"] == "active"}
    if when.at > now and served is not None and wanted - served:
        when = RenewalDue(not_before, f"{len(wanted - served)} name(s) are not in the certificate")
    if not when.urgent and is_near(life, now):
        when = RenewalDue(when.at, "it is near its end", urgent=True)
    if begun and when.at > now:
        when = RenewalDue(not_before, "an order was begun", when.urgent)
    if when.urgent and waits is not None and waits > at + URGENT:
        waits = None  # near the end it is tried at least hourly, whatever was put off
    return PlannedRenewal(row["id"], row["name"], row["client"], when, waits)


def select(planned: Iterable[PlannedRenewal], now: datetime) -> list[PlannedRenewal]:
    """What is due and need not wait: urgent ones first, then the longest due."""
    found = [p for p in planned if p.due.at <= now and p.waits is None]
    return sorted(found, key=lambda p: (not p.due.urgent, p.due.at, p.name))
