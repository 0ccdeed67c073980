"""Selection of the lineages that are due, with the reason and in order of urgency.

Pure: it decides over rows that were read before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from certmgr.acme.renewal.renewal import CertificateLife, RenewalDue, due, is_near
from certmgr.acme.requested_names import redundancy
from certmgr.acme.results import RenewalReason
from certmgr.x509.names import name_covers
from inventory.db.database import from_epoch
from inventory.records import ListedLineage

# An urgent renewal waits at most one hour and 10 % of jitter, whatever was recorded before.
URGENT_RETRY_LIMIT = 3600 + 360


@dataclass(frozen=True, slots=True)
class PlannedRenewal:
    """The plan for one lineage.

    Attributes:
        id: The id of the lineage.
        name: The name of the lineage.
        client: The number of the client.
        due: When and why it is renewed.
        deferred_until: The earliest time of the next attempt in epoch seconds; None for now.
        remark: What a CA may object to in its names.
    """

    id: int
    name: str
    client: str
    due: RenewalDue
    deferred_until: int | None = None
    remark: str = ""

    def renewal_reason(
        self, replaces: str | None, ari_start: int | None, now: datetime
    ) -> RenewalReason:
        """Return the reason for an order that is placed now."""
        # CAs exempt a renewal from their rate limits only within its ARI window.
        # RFC 9773 5 and Let's Encrypt's limits: a renewal before its window counts like any other
        # order.
        in_window = ari_start is not None and now.timestamp() >= ari_start
        return RenewalReason(
            self.due.reason,
            replaces,
            exempt=replaces is not None and in_window,
            urgent=self.due.urgent,
        )


def plan_one(
    row: ListedLineage,
    now: datetime,
    must_replace: str = "",
    served: frozenset[str] | None = None,
    *,
    order_open: bool = False,
) -> PlannedRenewal:
    """Return when and why a lineage is renewed.

    Args:
        row: The lineage.
        now: The current time.
        must_replace: Why its certificate must be replaced at once; empty if it need not.
        served: The names of its certificate; None if it has no certificate.
        order_open: Whether an order was placed and has not ended.
    """
    at = int(now.timestamp())
    deferred_until = row.next_at if row.next_at is not None and row.next_at > at else None
    active_names = {n.name for n in row.names if n.state == "active"}
    remark = redundancy(active_names)
    not_before, not_after = from_epoch(row.not_before), from_epoch(row.not_after)
    if row.sha256 is None or not_before is None or not_after is None:
        return PlannedRenewal(
            id=row.id,
            name=row.name,
            client=row.client,
            due=RenewalDue(datetime.fromtimestamp(0, UTC), "there is no certificate yet"),
            deferred_until=deferred_until,
            remark=remark,
        )
    life = CertificateLife(not_before, not_after, from_epoch(row.ari_at), must_replace)
    when = due(life)
    # A name that was added, or that returned from quarantine, needs a new certificate at once.
    missing = {n for n in active_names if not any(name_covers(s, n) for s in served or ())}
    if when.at > now and served is not None and missing:
        when = RenewalDue(not_before, f"{len(missing)} name(s) are not in the certificate")
    if not when.urgent and is_near(life, now):
        # An urgent renewal ignores the local ledger, an open quarantine and long pauses: only the
        # CA's own answer may stop it now.
        when = RenewalDue(when.at, "it expires soon", urgent=True)
    # An open order is continued: otherwise it would count against the rate limits for nothing.
    if order_open and when.at > now:
        when = RenewalDue(not_before, "an order is open", when.urgent)
    if when.urgent and deferred_until is not None and deferred_until > at + URGENT_RETRY_LIMIT:
        deferred_until = None  # close to expiry it is retried at least hourly
    return PlannedRenewal(
        id=row.id,
        name=row.name,
        client=row.client,
        due=when,
        deferred_until=deferred_until,
        remark=remark,
    )


def select(planned: Iterable[PlannedRenewal], now: datetime) -> list[PlannedRenewal]:
    """Return the lineages that are due and not deferred: urgent ones first, then the oldest."""
    selected = [p for p in planned if p.due.at <= now and p.deferred_until is None]
    return sorted(selected, key=lambda p: (not p.due.urgent, p.due.at, p.name))
