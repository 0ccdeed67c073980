"""What is paid for and what is served, side by side: unused days, overlaps, names without an order,
certificates of none. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations

from certmgr.purchases.model import Purchase, PurchasedCertificate
from certmgr.purchases.terms import DAY
from certmgr.x509.names import name_covers
from inventory.names import display, matches


def covered_by(order: Purchase, host: str) -> bool:
    return any(name_covers(n, host) for n in order.names)


def belongs(order: Purchase, issued: PurchasedCertificate, issuer: str) -> bool:
    """Whether a certificate that is served may be counted to an order nobody linked it to: all its
    names are the order's, it was issued within the term, and its issuer's organisation is the
    vendor.
    """
    if not issued.names or not order.starts - 2 * DAY <= issued.not_before <= order.ends:
        return False
    vendor, maker = order.vendor.casefold(), issuer.casefold()
    if not vendor or not maker or not (vendor in maker or maker in vendor):
        return False
    return all(
        any(n == m or matches(m, n) for m in order.names)
        or f"www.{n}" in order.names
        or n.removeprefix("www.") in order.names
        for n in issued.names
    )


@dataclass(frozen=True, slots=True)
class Remark:
    """``kind``: unused (days that were paid and no certificate covered, or will cover), overlap,
    uncovered (a name without an order), orphan (a live certificate of no order). ``days``: of
    unused and overlap.
    """

    kind: str
    client: str
    what: str
    days: int = 0
    text: str = ""


def unused_days(order: Purchase, now: datetime) -> int:
    """Days of the term until now that no certificate of the order covered, and after a cancellation
    the rest of it.
    """
    end = order.ends if order.state == "cancelled" else min(now, order.ends)
    spans = sorted(
        (max(i.not_before, order.starts), min(i.not_after, order.ends)) for i in order.issued
    )
    used, last = timedelta(0), order.starts
    for start, stop in spans:
        start, stop = max(start, last), min(stop, end)
        if stop > start:
            used += stop - start
            last = stop
    return max(0, round((end - order.starts - used) / DAY)) if end > order.starts else 0


def overlaps(orders: Sequence[Purchase], now: datetime) -> Iterator[Remark]:
    """Two orders of one client that are paid for one name at the same time, by more than the usual
    lead of a renewal.
    """
    by_name: dict[tuple[int, str], list[Purchase]] = {}
    for order in orders:
        if order.state == "active" and order.ends > now:
            for name in order.names:
                by_name.setdefault((order.client_id, name), []).append(order)
    told: set[tuple[int, int]] = set()
    for (_, name), group in sorted(by_name.items()):
        for first, second in combinations(sorted(group, key=lambda o: (o.starts, o.id)), 2):
            days = (min(first.ends, second.ends) - max(first.starts, second.starts)) / DAY
            if days > 45 and (first.id, second.id) not in told:
                told.add((first.id, second.id))
                text = (
                    f"{first.label} and {second.label} both cover {display(name)} for {round(days)}"
                    " days"
                )
                yield Remark("overlap", first.client, display(name), round(days), text)


def remarks(
    orders: Sequence[Purchase],
    names: Iterable[tuple[str, int, str]],
    live: Iterable[tuple[str, int, PurchasedCertificate, str]],
    automatic: Mapping[tuple[int, str], str],
    now: datetime,
) -> list[Remark]:
    """``names``: (client, client id, name) of the inventory.

    ``live``: (client, client id, certificate, issuer). ``automatic``: names that a robot renews,
    and which.
    """
    found: list[Remark] = []
    by_client: dict[int, list[Purchase]] = {}
    for order in orders:
        if order.state == "active" and order.starts <= now < order.ends + timedelta(seconds=1):
            by_client.setdefault(order.client_id, []).append(order)
        if (days := unused_days(order, now)) > 1 and order.ends > now - 400 * DAY:
            words = "were paid and not covered by a certificate of this order"
            found.append(Remark("unused", order.client, order.label, days, f"{days} days {words}"))
    found += overlaps(orders, now)
    for client, client_id, name in names:
        if (client_id, name) not in automatic and not any(
            covered_by(o, name) for o in by_client.get(client_id, ())
        ):
            found.append(
                Remark(
                    "uncovered",
                    client,
                    display(name),
                    0,
                    "no order covers it, and no robot is known to renew it",
                )
            )
    linked = {i.sha256 for o in orders for i in o.issued}
    for client, client_id, issued, issuer in live:
        robots = all((client_id, n) in automatic for n in issued.names) and issued.names
        if issued.sha256 not in linked and not robots:
            text = (
                f"serial {issued.serial}, until {issued.not_after:%Y-%m-%d}, of"
                f" {issuer or 'an unknown issuer'}"
            )
            found.append(
                Remark(
                    "orphan",
                    client,
                    display(issued.names[0]) if issued.names else issued.sha256[:16],
                    0,
                    text,
                )
            )
    order_of = {"unused": 0, "overlap": 1, "uncovered": 2, "orphan": 3}
    return sorted(found, key=lambda r: (order_of[r.kind], r.client, r.what))
