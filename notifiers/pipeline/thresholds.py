"""Thresholds: how long before an end, and how often after it, a contact is notified. Pure.

Thresholds are labels: ``30`` is thirty days before the end, ``+7`` seven days after it. Only the
most urgent one that was crossed counts. So a missed week gives one notice, and so does a new site
that is past all thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# Far ahead once for planning, and then ever closer.
BEFORE = (60, 30, 14, 7, 3, 1, 0)
DAY = timedelta(days=1)
MARGIN = 7


@dataclass(frozen=True, slots=True)
class ThresholdRules:
    """The configured thresholds, in days before the end.

    Attributes:
        before: The thresholds of all other clients.
        by_client: Thresholds by client number. They win over those of a tag.
        by_tag: Thresholds by tag.
    """

    before: tuple[int, ...] = BEFORE
    by_client: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    by_tag: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def of(self, client: str, tags: frozenset[str]) -> tuple[tuple[int, ...], bool]:
        """Return the thresholds, and whether they were set for this client or tag."""
        if client in self.by_client:
            return self.by_client[client], True
        # In a fixed order: the same certificate must not change its thresholds between runs.
        for tag in sorted(tags):
            if tag in self.by_tag:
                return self.by_tag[tag], True
        return self.before, False

    @property
    def longest(self) -> int:
        """The longest threshold of all, in days."""
        values = [self.before, *self.by_client.values(), *self.by_tag.values()]
        return max((max(v, default=0) for v in values), default=0)


def before_end(
    life: timedelta,
    thresholds: Sequence[int],
    *,
    chosen: bool,
    lead_days: int,
    renewal_lead: timedelta | None,
) -> tuple[int, ...]:
    """Return the thresholds of one certificate, longest first.

    Args:
        life: The lifetime of the certificate.
        thresholds: The configured thresholds in days.
        chosen: Whether the provider set them for this client. If so, they do not scale with the
            lifetime, but one that is longer than it would be crossed by each new certificate.
        lead_days: How long purchase and installation take.
        renewal_lead: How long before the end automation renews. None if people renew.
    """
    # A notice in the first two thirds of the lifetime would come too early to act on.
    kept = [t for t in thresholds if (t * DAY < life if chosen else t * DAY <= life / 3)]
    if renewal_lead is not None:
        # Automation that renews in time needs no notice.
        kept = [t for t in kept if t * DAY <= renewal_lead - renewal_margin(renewal_lead)]
    elif lead_days and max(kept, default=0) < lead_days and (lead_days + MARGIN) * DAY <= life / 2:
        # Purchase and installation take longer than the longest threshold: notify a week before
        # the last day to begin.
        kept.append(lead_days + MARGIN)
    return tuple(sorted({*kept, 0}, reverse=True))


def renewal_margin(renewal_lead: timedelta) -> timedelta:
    """Return how late automation may be before it counts as late, which allows for its schedule."""
    return min(2 * DAY, renewal_lead / 6)


@dataclass(frozen=True, slots=True)
class CrossedThreshold:
    """A threshold that was crossed.

    Attributes:
        rank: The urgency; a higher rank is more urgent.
        days: Days until the end, negative after it.
    """

    label: str
    rank: int
    days: float

    @property
    def critical(self) -> bool:
        """Whether it is the last day or later. Message limits do not delay such a notice."""
        return self.rank >= -1


def rank_of(label: str) -> int:
    """Return the urgency of a label: -30 for ``30``, 7 for ``+7``.

    Ranks are comparable within one topic and revision.
    """
    return int(label) if label.startswith("+") else -int(label)


def crossed(end: datetime, thresholds: Sequence[int], now: datetime) -> CrossedThreshold | None:
    """Return the most urgent threshold that was crossed, or None.

    After the end these are +1, +7 and then weekly ones.
    """
    days = (end - now) / DAY
    # Until a day after the end, the threshold 0 counts, so that a daily run cannot miss it.
    if days < -1:
        after = 1 if days > -7 else int(-days // 7) * 7
        return CrossedThreshold(f"+{after}", after, days)
    crossed_thresholds = [t for t in thresholds if days <= t]
    return (
        CrossedThreshold(str(min(crossed_thresholds)), -min(crossed_thresholds), days)
        if crossed_thresholds
        else None
    )


def since(opened: datetime, now: datetime, every: int) -> CrossedThreshold:
    """Return the threshold of a topic without a date ahead: at once, then every ``every`` days.

    The ``days`` of the result are the negative number of days since it was opened.
    """
    passed = (now - opened) / DAY
    # Counted from the opening, so that a missed run sends one reminder and no backlog.
    step = max(0, int(passed // every) * every)
    return CrossedThreshold(f"+{step}", step, -max(passed, 0.0))


# Longer certificates are renewed by people. For the others, two replacements at about the same time
# before the end show automation.
MAX_LEARNED_LIFE = timedelta(days=120)


def learned_lead(life: timedelta, leads: Sequence[timedelta]) -> timedelta | None:
    """Return how long before the end automation renews, learned from earlier replacements.

    Args:
        life: The lifetime of the certificate.
        leads: How long before its end each earlier certificate was replaced, oldest first.

    Returns:
        None if the replacements do not show automation: there were fewer than two, they came at
        different times or too late, or people renew certificates of this lifetime.
    """
    if life > MAX_LEARNED_LIFE or len(leads) < 2:
        return None
    last = list(leads[-2:])
    # A replacement after the end was done by a person who was late.
    if min(last) <= timedelta(0):
        return None
    slack = max(3 * DAY, life / 10) if life > 10 * DAY else life / 6
    return min(last) if max(last) - min(last) <= slack else None
