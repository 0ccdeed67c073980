"""Simulation of the orders per day at a future certificate lifetime, and of the rate limits that
they would reach.

Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.rate_limits import Ledger, RateLimitEvent
from certmgr.acme.renewal.renewal import CertificateLife, due

# The listing is for a person; the counters are complete.
MAX_HITS = 1000


@dataclass(frozen=True, slots=True)
class SimulatedLineage:
    """A lineage of the simulation.

    Attributes:
        name: Its name.
        names: The names of its certificate.
        account: The id of its account.
        ca: The key of its CA.
        not_before: The start of its certificate; None without a certificate.
        not_after: The end of its certificate; None without a certificate.
        ari: Whether its CA supports ARI, so that no rate limit counts its renewals.
    """

    name: str
    names: tuple[str, ...]
    account: int
    ca: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    ari: bool = False


@dataclass(frozen=True, slots=True)
class PostponedOrder:
    """An order that a rate limit would postpone.

    Attributes:
        at: When it would be due.
        lineage: The name of the lineage.
        until: When it could be placed.
        reason: The limit in words.
        late: Whether the certificate would expire before.
    """

    at: datetime
    lineage: str
    until: datetime
    reason: str
    late: bool


@dataclass(slots=True)
class Simulation:
    """The result of a simulation.

    Attributes:
        days: Date -> number of orders.
        orders: The number of orders.
        postponed: The number of postponed orders.
        expired: The lineages whose certificate would expire first.
        hits: The first thousand postponed orders.
    """

    days: Counter[date] = field(default_factory=Counter)
    orders: int = 0
    postponed: int = 0
    expired: set[str] = field(default_factory=set)
    hits: list[PostponedOrder] = field(default_factory=list)


# When a lineage is due in epoch seconds, a number against ties, the lineage, and when its
# certificate ends.
_Renewal = tuple[float, int, SimulatedLineage, float]


def _first_renewals(items: Iterable[SimulatedLineage], now: datetime) -> list[_Renewal]:
    """Return the first renewal of each lineage, as a heap."""
    queue: list[_Renewal] = []
    for number, item in enumerate(items):
        # A lineage without a certificate is due at once, and no certificate of it can expire.
        if item.not_before is None or item.not_after is None:
            heapq.heappush(queue, (now.timestamp(), number, item, float("inf")))
        else:
            when = max(due(CertificateLife(item.not_before, item.not_after)).at, now)
            heapq.heappush(queue, (when.timestamp(), number, item, item.not_after.timestamp()))
    return queue


def _postpone(
    result: Simulation,
    item: SimulatedLineage,
    timestamp: datetime,
    again: float,
    reason: str,
    end: float,
) -> None:
    """Count an order that a rate limit postpones to ``again``."""
    result.postponed += 1
    # The order comes too late if the certificate expires before the limit allows it.
    late = again >= end
    if late:
        result.expired.add(item.name)
    if len(result.hits) < MAX_HITS:
        until = datetime.fromtimestamp(again, UTC)
        result.hits.append(PostponedOrder(timestamp, item.name, until, reason, late))


def simulate(
    items: Iterable[SimulatedLineage],
    cas: dict[str, CertificateAuthority],
    lifetime: timedelta,
    now: datetime,
    until: datetime,
) -> Simulation:
    """Simulate the orders from ``now`` to ``until``.

    Existing certificates keep their dates. New certificates have the given lifetime.

    Args:
        items: The lineages.
        cas: The CAs by the key that the lineages use.
        lifetime: The lifetime of new certificates.
        now: The start.
        until: The end.
    """
    result = Simulation()
    ledgers = {name: Ledger(ca.limits) for name, ca in cas.items()}
    queue = _first_renewals(items, now)
    swept = 0.0
    while queue and queue[0][0] <= until.timestamp():
        at, number, item, end = heapq.heappop(queue)
        timestamp = datetime.fromtimestamp(at, UTC)
        ledger = ledgers[item.ca]
        # Old events are removed once a simulated week, which bounds the memory.
        if at - swept > 7 * 86_400:
            swept = at
            for each in ledgers.values():
                each.forget(int(at) - max(rate_limits.longest_window(each.limits), 1))
        allowed = ledger.allows(item.account, item.names, int(at), exempt=item.ari)
        if allowed.until is not None:
            # At least a minute later, so that a limit which is over at this second cannot repeat
            # for ever.
            again = max(float(allowed.until), at + 60)
            _postpone(result, item, timestamp, again, allowed.reason, end)
            heapq.heappush(queue, (again, number, item, end))
            continue
        # An exempt renewal uses no limit (RFC 9773 5).
        if item.ari:
            ledger.add(RateLimitEvent("exempt", "", int(at)))
        else:
            ledger.order(item.account, item.names, int(at))
        result.orders += 1
        result.days[timestamp.date()] += 1
        new_end = timestamp + lifetime
        heapq.heappush(
            queue,
            (
                due(CertificateLife(timestamp, new_end)).at.timestamp(),
                number,
                item,
                new_end.timestamp(),
            ),
        )
    return result
