"""How many orders a day a fleet makes at a lifetime to come, and where a CA's limits would be in
the way. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from certmgr.acme import rate_limits
from certmgr.acme.cas import CertificateAuthority
from certmgr.acme.rate_limits import Ledger, RateLimitEvent
from certmgr.acme.renewal import CertificateLife, due

MAX_HITS = 1000
STEP = 3600


@dataclass(frozen=True, slots=True)
class SimulatedLineage:
    """One lineage.

    ``not_before``, ``not_after``: of its certificate, None where it has none. ``ari``: its CA takes
    ``replaces``, so that no limit counts it.
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
    """An order that would have to wait. ``late``: whether its certificate would end before."""

    at: datetime
    lineage: str
    until: datetime
    reason: str
    late: bool


@dataclass(slots=True)
class Simulation:
    """``days``: date -> orders.

    ``postponed``: all of them; ``hits``: the first thousand, with reason. ``expired``: lineages
    whose certificate would end first.
    """

    days: Counter[date] = field(default_factory=Counter)
    orders: int = 0
    postponed: int = 0
    expired: set[str] = field(default_factory=set)
    hits: list[PostponedOrder] = field(default_factory=list)


def simulate(
    items: Iterable[SimulatedLineage],
    cas: dict[str, CertificateAuthority],
    lifetime: timedelta,
    now: datetime,
    until: datetime,
) -> Simulation:
    """From now until then.

    Certificates that are there keep their dates; those that are ordered live ``lifetime``.
    """
    found = Simulation()
    ledgers = {name: Ledger(ca.limits) for name, ca in cas.items()}
    queue: list[tuple[float, int, SimulatedLineage, float]] = []
    for number, item in enumerate(items):
        if item.not_before is None or item.not_after is None:
            heapq.heappush(queue, (now.timestamp(), number, item, float("inf")))
        else:
            when = max(due(CertificateLife(item.not_before, item.not_after)).at, now)
            heapq.heappush(queue, (when.timestamp(), number, item, item.not_after.timestamp()))
    swept = 0.0
    while queue and queue[0][0] <= until.timestamp():
        at, number, item, end = heapq.heappop(queue)
        moment = datetime.fromtimestamp(at, UTC)
        ledger = ledgers[item.ca]
        if at - swept > 7 * 86_400:
            swept = at
            for one in ledgers.values():
                one.forget(int(at) - max(rate_limits.longest(one.limits), 1))
        allowed = ledger.allows(item.account, item.names, int(at), exempt=item.ari)
        if allowed.until is not None:
            again = max(float(allowed.until), at + 60)
            found.postponed += 1
            late = again >= end
            if late:
                found.expired.add(item.name)
            if len(found.hits) < MAX_HITS:
                found.hits.append(
                    PostponedOrder(
                        moment, item.name, datetime.fromtimestamp(again, UTC), allowed.reason, late
                    )
                )
            heapq.heappush(queue, (again, number, item, end))
            continue
        if item.ari:
            ledger.add(RateLimitEvent("exempt", "", int(at)))
        else:
            ledger.order(item.account, item.names, int(at))
        found.orders += 1
        found.days[moment.date()] += 1
        new_end = moment + lifetime
        heapq.heappush(
            queue,
            (
                due(CertificateLife(moment, new_end)).at.timestamp(),
                number,
                item,
                new_end.timestamp(),
            ),
        )
    return found
