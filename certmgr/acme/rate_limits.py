"""The ledger of a CA's limits: whether an order may be placed now, else from when.

Pure.

What a CA counts is not told to clients, so it is counted here: new orders of an account,
certificates of a registered domain and of an exact set of names, failed authorizations of a name. A
window is taken as a sliding one, which is never less strict than a bucket that refills (Let's
Encrypt's). A renewal with ``replaces``, placed as ARI says, is exempt from all (RFC 9773 5; Let's
Encrypt's rate limits).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certmgr.acme.cas import RateLimit, RateLimits
from inventory.names import as_ip, display, registered_domain


@dataclass(frozen=True, slots=True)
class RateLimitEvent:
    """``kind``: order, certificate, failure.

    ``key``: account id, registered domain, digest of the set, or ``account id:name``. ``at``: epoch
    seconds.
    """

    kind: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class LimitDecision:
    """``until``: epoch seconds from which the order may be placed; None: now.

    ``limit`` and ``counted``: which one, and what stands against it.
    """

    until: int | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.until is None


YES = LimitDecision()


def exact(names: Iterable[str]) -> str:
    """Digest of a set of names."""
    return hashlib.sha256(" ".join(sorted(set(names))).encode()).hexdigest()[:32]


def domains(names: Iterable[str]) -> list[str]:
    """The registered domains by which a CA counts; an address counts by itself."""
    return list(
        dict.fromkeys(
            n if as_ip(n) is not None else registered_domain(n.removeprefix("*.")) for n in names
        )
    )


def of_rows(rows: Iterable[Mapping[str, Any]]) -> list[RateLimitEvent]:
    """From rows of acme_event; exempt ones count for nothing."""
    found = []
    for row in rows:
        if row["exempt"]:
            continue
        if row["kind"] == "order":
            found.append(RateLimitEvent("order", str(row["account_id"]), row["at"]))
        elif row["kind"] == "failure":
            found.append(
                RateLimitEvent("failure", f"{row['account_id']}:{row['domain']}", row["at"])
            )
        else:
            found += [RateLimitEvent("certificate", d, row["at"]) for d in (row["domain"],) if d]
            found += [RateLimitEvent("exact", row["names"], row["at"])] if row["names"] else []
    return found


class Ledger:
    """``add`` and ask; what is in flight is added too, so that orders that run at the same time do
    not overrun a limit together.
    """

    def __init__(self, limits: RateLimits, events: Iterable[RateLimitEvent] = ()) -> None:
        self.limits = limits
        self._at: dict[tuple[str, str], list[int]] = {}
        for event in events:
            self.add(event)

    def add(self, event: RateLimitEvent) -> None:
        insort(self._at.setdefault((event.kind, event.key), []), event.at)

    def forget(self, before: int) -> None:
        """What no window reaches any more."""
        for key in list(self._at):
            kept = self._at[key][bisect_right(self._at[key], before) :]
            if kept:
                self._at[key] = kept
            else:
                del self._at[key]

    def order(self, account: int, names: Sequence[str], now: int) -> None:
        """An order that is placed now, taken to end with a certificate."""
        self.add(RateLimitEvent("order", str(account), now))
        for domain in domains(names):
            self.add(RateLimitEvent("certificate", domain, now))
        self.add(RateLimitEvent("exact", exact(names), now))

    def allows(
        self, account: int, names: Sequence[str], now: int, *, exempt: bool = False
    ) -> LimitDecision:
        """The longest wait of all limits that are reached."""
        if exempt:
            return YES
        limits = self.limits
        asked: list[tuple[RateLimit | None, str, str, str]] = [
            (limits.account, "order", str(account), "orders of this account")
        ]
        asked += [
            (limits.domain, "certificate", d, f"certificates of {display(d)}")
            for d in domains(names)
        ]
        asked += [(limits.exact, "exact", exact(names), "certificates of this set of names")]
        asked += [
            (
                limits.failure,
                "failure",
                f"{account}:{n.removeprefix('*.')}",
                f"failed authorizations of {display(n)}",
            )
            for n in names
        ]
        waits = [w for w in (self._wait(*one, now) for one in asked) if not w]
        return max(waits, key=lambda w: w.until or 0, default=YES)

    def _wait(
        self, limit: RateLimit | None, kind: str, key: str, what: str, now: int
    ) -> LimitDecision:
        if limit is None:
            return YES
        counted = self._at.get((kind, key), [])
        within = counted[
            bisect_right(counted, now - limit.window) :
        ]  # later ones too: another machine's clock may be ahead
        if len(within) < limit.count:
            return YES
        until = within[len(within) - limit.count] + limit.window
        return LimitDecision(
            until, f"the CA's limit of {limit} for {what} is used up ({len(within)})"
        )


def longest(limits: RateLimits) -> int:
    """Seconds back to which events count."""
    return max(
        (
            x.window
            for x in (limits.account, limits.domain, limits.exact, limits.failure)
            if x is not None
        ),
        default=0,
    )
