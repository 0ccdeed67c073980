"""Comparison of purchases with served certificates. Pure.

It finds unused days, overlapping purchases, names without a purchase, and live certificates
without a purchase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations

from certmgr.purchases.model import Purchase, PurchasedCertificate
from certmgr.purchases.terms import DAY
from certmgr.renewers.renewer import RenewalFacts
from certmgr.x509.names import name_covers
from inventory.names import display, matches

USUAL_OVERLAP_DAYS = 45  # the usual lead of a renewal


def covered_by(purchase: Purchase, host: str) -> bool:
    """Return whether a name of the purchase covers the host."""
    return any(name_covers(n, host) for n in purchase.names)


def belongs(purchase: Purchase, issued: PurchasedCertificate, issuer: str) -> bool:
    """Return whether a served certificate can be recognised as part of a purchase.

    All of its names must be names of the purchase. It must have been issued within the term, and
    the organisation of its issuer must be the vendor.
    """
    if not issued.names or not purchase.starts - 2 * DAY <= issued.not_before <= purchase.ends:
        return False
    # "DigiCert" is the vendor of certificates from "DigiCert Inc": either text may be longer.
    vendor, organisation = purchase.vendor.casefold(), issuer.casefold()
    if not vendor or not organisation or not (vendor in organisation or organisation in vendor):
        return False
    # A certificate may contain the "www." form of a purchased name, or the name without it.
    return all(
        any(n == m or matches(m, n) for m in purchase.names)
        or f"www.{n}" in purchase.names
        or n.removeprefix("www.") in purchase.names
        for n in issued.names
    )


@dataclass(frozen=True, slots=True)
class Remark:
    """One result of the comparison.

    Attributes:
        kind: unused (paid days without a certificate), overlap, uncovered (a name without a
            purchase) or orphan (a live certificate without a purchase).
        client: Customer number.
        label: The purchase, or the name.
        days: Number of days, for unused and overlap.
        text: Explanation.
    """

    kind: str
    client: str
    label: str
    days: int = 0
    text: str = ""


def unused_days(purchase: Purchase, now: datetime) -> int:
    """Return the days of the term until now that no certificate of the purchase covered.

    After a cancellation, the rest of the term counts too.
    """
    # A cancelled purchase issues no more certificates, so the rest of its term is lost.
    end = purchase.ends if purchase.state == "cancelled" else min(now, purchase.ends)
    spans = sorted(
        (max(i.not_before, purchase.starts), min(i.not_after, purchase.ends))
        for i in purchase.issued
    )
    # Certificates overlap around each reissue, so each day is counted only once.
    used, last = timedelta(0), purchase.starts
    for start, stop in spans:
        start, stop = max(start, last), min(stop, end)
        if stop > start:
            used += stop - start
            last = stop
    return max(0, round((end - purchase.starts - used) / DAY)) if end > purchase.starts else 0


def overlaps(purchases: Sequence[Purchase], now: datetime) -> Iterator[Remark]:
    """Yield a remark per pair of purchases that pay for the same name at the same time.

    Only purchases of one client are compared. An overlap as long as the usual lead of a renewal is
    not reported.
    """
    by_name: dict[tuple[int, str], list[Purchase]] = {}
    for purchase in purchases:
        # Only terms that are still running can overlap from now on.
        if purchase.state == "active" and purchase.ends > now:
            for name in purchase.names:
                by_name.setdefault((purchase.client_id, name), []).append(purchase)
    reported: set[tuple[int, int]] = set()
    for (_, name), group in sorted(by_name.items()):
        for first, second in combinations(sorted(group, key=lambda o: (o.starts, o.id)), 2):
            days = (min(first.ends, second.ends) - max(first.starts, second.starts)) / DAY
            # Two purchases with several common names are reported once.
            if days > USUAL_OVERLAP_DAYS and (first.id, second.id) not in reported:
                reported.add((first.id, second.id))
                text = (
                    f"{first.label} and {second.label} both cover {display(name)} for {round(days)}"
                    " days"
                )
                yield Remark("overlap", first.client, display(name), round(days), text)


def remarks(
    purchases: Sequence[Purchase],
    names: Iterable[tuple[str, int, str]],
    live: Iterable[tuple[str, int, PurchasedCertificate, str]],
    facts: RenewalFacts,
    now: datetime,
) -> list[Remark]:
    """Return all remarks about purchases, names and live certificates.

    Args:
        purchases: The purchases to check.
        names: (client, client id, name) of the inventory.
        live: (client, client id, certificate, issuer) of served certificates.
        facts: Who renews which name.
        now: Time of the check.
    """
    results = [
        *_unused(purchases, now),
        *overlaps(purchases, now),
        *_uncovered(purchases, names, facts, now),
        *_orphans(purchases, live, facts),
    ]
    # Lost money first, then the findings that need a purchase or a link.
    sort_order = {"unused": 0, "overlap": 1, "uncovered": 2, "orphan": 3}
    return sorted(results, key=lambda r: (sort_order[r.kind], r.client, r.label))


def _unused(purchases: Sequence[Purchase], now: datetime) -> Iterator[Remark]:
    for purchase in purchases:
        # A single day is within rounding, and terms that ended long ago are no longer of interest.
        if (days := unused_days(purchase, now)) > 1 and purchase.ends > now - 400 * DAY:
            words = "were paid for, and no certificate of this purchase covered them"
            yield Remark("unused", purchase.client, purchase.label, days, f"{days} days {words}")


def _uncovered(
    purchases: Sequence[Purchase],
    names: Iterable[tuple[str, int, str]],
    facts: RenewalFacts,
    now: datetime,
) -> Iterator[Remark]:
    by_client: dict[int, list[Purchase]] = {}
    for purchase in purchases:
        # Only a term that is running now covers a name. It includes the second of its end.
        end = purchase.ends + timedelta(seconds=1)
        if purchase.state == "active" and purchase.starts <= now < end:
            by_client.setdefault(purchase.client_id, []).append(purchase)
    for client, client_id, name in names:
        # A name with automatic renewal needs no purchase.
        if not facts.renewer(client_id, name).automatic and not any(
            covered_by(o, name) for o in by_client.get(client_id, ())
        ):
            text = "no purchase covers it, and no automatic renewal is known"
            yield Remark("uncovered", client, display(name), 0, text)


def _orphans(
    purchases: Sequence[Purchase],
    live: Iterable[tuple[str, int, PurchasedCertificate, str]],
    facts: RenewalFacts,
) -> Iterator[Remark]:
    # A certificate counts as linked if it was recorded or recognised under any purchase.
    linked = {i.sha256 for o in purchases for i in o.issued}
    for client, client_id, issued, issuer in live:
        if issued.sha256 in linked or facts.all_automatic(client_id, issued.names):
            continue
        text = (
            f"serial {issued.serial}, until {issued.not_after:%Y-%m-%d}, issued by"
            f" {issuer or 'an unknown issuer'}"
        )
        label = display(issued.names[0]) if issued.names else issued.sha256[:16]
        yield Remark("orphan", client, label, 0, text)
