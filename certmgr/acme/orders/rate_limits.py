"""The ledger of a CA's rate limits: whether an order may be placed now, or from when.

Pure.

CAs do not report their counters to clients, so they are counted here: new orders per account,
certificates per registered domain and per exact set of names, and failed authorizations per name.
The window is a sliding window, which is never less strict than the refilling bucket of Let's
Encrypt. A renewal with ``replaces`` within its ARI window is exempt from all limits (RFC 9773 5;
Let's Encrypt's rate limits).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certmgr.acme.cas import RateLimit, RateLimits
from inventory.names import as_ip, display, registered_domain
from inventory.records import RateEventRecord
from inventory.vocabulary import RateEventKind


@dataclass(frozen=True, slots=True)
class RateLimitEvent:
    """An event that a CA counts.

    Attributes:
        kind: order, certificate, exact, failure or exempt.
        key: Respectively the account id, the registered domain, the digest of the set of names,
            ``account id:name``, or nothing.
        at: The time in epoch seconds.
    """

    kind: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class LimitDecision:
    """Whether an order may be placed now.

    Attributes:
        until: The time in epoch seconds from which it may be placed; None for now.
        reason: The limit that is reached, in words.
    """

    until: int | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.until is None


ALLOWED = LimitDecision()


def name_set_digest(names: Iterable[str]) -> str:
    """Return a digest of a set of names."""
    return hashlib.sha256(" ".join(sorted(set(names))).encode()).hexdigest()[:32]


def registered_domains(names: Iterable[str]) -> list[str]:
    """Return the registered domains by which a CA counts. An address counts separately."""
    return list(
        dict.fromkeys(
            # Let's Encrypt counts an IPv4 address and a /64 of IPv6 like a registered domain. Each
            # address for itself is less strict, and the CA decides.
            n if as_ip(n) is not None else registered_domain(n.removeprefix("*."))
            for n in names
        )
    )


def events_from_rows(rows: Iterable[RateEventRecord]) -> list[RateLimitEvent]:
    """Return the events of rows of the table acme_event, without exempt ones."""
    events = []
    for row in rows:
        # The CA does not count exempt orders, so they do not use up a limit here.
        if row.exempt:
            continue
        if row.kind is RateEventKind.ORDER:
            events.append(RateLimitEvent("order", str(row.account_id), row.at))
        elif row.kind is RateEventKind.FAILURE:
            events.append(RateLimitEvent("failure", f"{row.account_id}:{row.domain}", row.at))
        else:
            # One certificate counts per registered domain and once for its exact set of names.
            events += [RateLimitEvent("certificate", d, row.at) for d in (row.domain,) if d]
            events += [RateLimitEvent("exact", row.names, row.at)] if row.names else []
    return events


class Ledger:
    """The events that a CA has counted, and the decision about the next order.

    Open orders are added as well, so that parallel orders do not exceed a limit together.
    """

    def __init__(self, limits: RateLimits, events: Iterable[RateLimitEvent] = ()) -> None:
        self.limits = limits
        self._at: dict[tuple[str, str], list[int]] = {}
        for event in events:
            self.add(event)

    def add(self, event: RateLimitEvent) -> None:
        """Count an event."""
        insort(self._at.setdefault((event.kind, event.key), []), event.at)

    def forget(self, before: int) -> None:
        """Remove the events before a time in epoch seconds."""
        for key in list(self._at):
            kept = self._at[key][bisect_right(self._at[key], before) :]
            if kept:
                self._at[key] = kept
            else:
                del self._at[key]

    def order(self, account: int, names: Sequence[str], now: int) -> None:
        """Count an order that is placed now, as if it ended with a certificate."""
        self.add(RateLimitEvent("order", str(account), now))
        for domain in registered_domains(names):
            self.add(RateLimitEvent("certificate", domain, now))
        self.add(RateLimitEvent("exact", name_set_digest(names), now))

    def allows(
        self, account: int, names: Sequence[str], now: int, *, exempt: bool = False
    ) -> LimitDecision:
        """Return whether an order may be placed now, else the longest wait of all limits.

        Args:
            account: The id of the account.
            names: The names of the order.
            now: The current time in epoch seconds.
            exempt: Whether the order is exempt from rate limits.
        """
        if exempt:
            return ALLOWED
        limits = self.limits
        applicable: list[tuple[RateLimit | None, str, str, str]] = [
            (limits.account, "order", str(account), "orders of this account")
        ]
        applicable += [
            (limits.domain, "certificate", d, f"certificates of {display(d)}")
            for d in registered_domains(names)
        ]
        applicable += [
            (limits.exact, "exact", name_set_digest(names), "certificates of this set of names")
        ]
        applicable += [
            (
                # Only a name that failed often is held back, before it makes the CA pause the whole
                # account.
                limits.failure,
                "failure",
                f"{account}:{n.removeprefix('*.')}",
                f"failed authorizations of {display(n)}",
            )
            for n in names
        ]
        waits = [w for w in (self._wait(*item, now) for item in applicable) if not w]
        return max(waits, key=lambda w: w.until or 0, default=ALLOWED)

    def _wait(
        self, limit: RateLimit | None, kind: str, key: str, what: str, now: int
    ) -> LimitDecision:
        # An unknown limit never postpones an order; the CA refuses it if necessary.
        if limit is None:
            return ALLOWED
        counted = self._at.get((kind, key), [])
        # Events in the future count too: the clock of another machine may be ahead.
        within = counted[bisect_right(counted, now - limit.window) :]
        if len(within) < limit.count:
            return ALLOWED
        # The oldest event that has to leave the window before one more fits in.
        until = within[len(within) - limit.count] + limit.window
        return LimitDecision(
            until, f"the CA's limit of {limit} for {what} is reached ({len(within)})"
        )


def longest_window(limits: RateLimits) -> int:
    """Return the longest window in seconds: older events do not count."""
    return max(
        (
            x.window
            for x in (limits.account, limits.domain, limits.exact, limits.failure)
            if x is not None
        ),
        default=0,
    )
