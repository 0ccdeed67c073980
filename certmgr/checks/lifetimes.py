"""The maximum lifetime of a publicly trusted TLS certificate, by its date of issue. Pure.

Source: CA/Browser Forum TLS Baseline Requirements 6.3.2 (and its history). By 1.6.1, a validity
period is notBefore through notAfter inclusive; a day is 86,400 s, and any fraction counts as
another day. notBefore may differ from the time of issue by up to 48 h (7.1.2.7). Within 48 h after
a boundary, the earlier and longer limit may therefore apply.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from inventory.dates import shifted

DAY = 86_400
BACKDATING = timedelta(hours=48)

# (issued on or after, maximum days). Old rules count months; each counts with its longest length.
LIMITS: tuple[tuple[datetime, int], ...] = (
    (datetime(2012, 7, 1, tzinfo=UTC), 1827),
    # 39 months applied from 2015-04-01 on, with exceptions up to 60 months until this date.
    (datetime(2016, 7, 1, tzinfo=UTC), 1188),
    # Ballot 193: certificates that are issued after 1 March 2018.
    (datetime(2018, 3, 2, tzinfo=UTC), 825),
    # First a rule of Apple's root programme, then ballot SC031.
    (datetime(2020, 9, 1, tzinfo=UTC), 398),
    # Ballot SC081 for this limit and the two after it.
    (datetime(2026, 3, 15, tzinfo=UTC), 200),
    (datetime(2027, 3, 15, tzinfo=UTC), 100),
    (datetime(2029, 3, 15, tzinfo=UTC), 47),
)


# Chrome shows an error page for a lifetime above the limits up to this one
# (net/cert/cert_verify_proc.cc, HasTooLongValidity). The shorter ones are enforced on CAs.
_LAST_ENFORCED = datetime(2020, 9, 1, tzinfo=UTC)


def lifetime_seconds(not_before: datetime, not_after: datetime) -> int:
    """Return the lifetime in seconds, both ends included (BR 1.6.1)."""
    return int((not_after - not_before).total_seconds()) + 1


def limit_days(issued: datetime) -> int | None:
    """Return the limit at a date of issue; None before the first rule."""
    limit = None
    for since, days in LIMITS:
        if issued >= since:
            limit = days
    return limit


def too_long(not_before: datetime, not_after: datetime) -> tuple[int, int] | None:
    """Return (lifetime in days, allowed days) if a lifetime certainly exceeds the limit.

    None if it does not, or if a boundary within 48 h makes it uncertain.
    """
    allowed = limit_days(not_before)
    if allowed is None:
        return None
    earlier = limit_days(shifted(not_before, -BACKDATING))
    later = limit_days(shifted(not_before, BACKDATING))
    allowed = max(d for d in (allowed, earlier, later) if d is not None)
    seconds = lifetime_seconds(not_before, not_after)
    if seconds <= allowed * DAY:
        return None
    return -(-seconds // DAY), allowed


def refused_by_browsers(not_before: datetime, not_after: datetime) -> bool:
    """Return whether browsers refuse a lifetime, and not only the rules for CAs forbid it."""
    enforced = limit_days(min(not_before, _LAST_ENFORCED))
    return enforced is not None and lifetime_seconds(not_before, not_after) > enforced * DAY
