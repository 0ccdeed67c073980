"""How long before an end, and how often after it, one is told.

Pure.

Thresholds are labels: ``30`` is thirty days before, ``+7`` seven days after. Only the most urgent
one that was crossed counts, so a missed week gives one notice, and a first sight that is past all
of them gives one too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

BEFORE = (60, 30, 14, 7, 3, 1, 0)
DAY = timedelta(days=1)
# ACME clients renew with a third of the lifetime left (RFC 9773, section 4.3, names no figure;
# certbot, lego and Caddy use a third).
USUAL_SHARE = 3
MARGIN = 7


@dataclass(frozen=True, slots=True)
class ThresholdRules:
    """``by_client`` and ``by_tag``: separate thresholds; a client's number goes before a tag."""

    before: tuple[int, ...] = BEFORE
    by_client: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    by_tag: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def of(self, client: str, tags: frozenset[str]) -> tuple[tuple[int, ...], bool]:
        """(thresholds, whether they were set for this client or tag)."""
        if client in self.by_client:
            return self.by_client[client], True
        for tag in sorted(tags):
            if tag in self.by_tag:
                return self.by_tag[tag], True
        return self.before, False

    @property
    def longest(self) -> int:
        every = [self.before, *self.by_client.values(), *self.by_tag.values()]
        return max((max(v, default=0) for v in every), default=0)


def before_end(
    life: timedelta,
    thresholds: Sequence[int],
    *,
    chosen: bool,
    lead_days: int,
    usual: timedelta | None,
) -> tuple[int, ...]:
    """The thresholds of one certificate, longest first.

    They scale with the lifetime: none lies further ahead than a third of it, unless the provider
    chose them for this client. Where purchase and installation take longer than the longest one,
    one is added a week before the last day to begin. ``usual``: how long before the end the robot
    renews; what lies before that day plus a margin is no news.
    """
    kept = [t for t in thresholds if chosen or t * DAY <= life / 3]
    if usual is not None:
        margin = min(2 * DAY, usual / 6)
        kept = [t for t in kept if t * DAY <= usual - margin]
    elif lead_days and max(kept, default=0) < lead_days and (lead_days + MARGIN) * DAY <= life / 2:
        kept.append(lead_days + MARGIN)
    return tuple(sorted({*kept, 0}, reverse=True))


def usual_lead(life: timedelta) -> timedelta:
    """How long before the end a robot renews, where nobody has seen it do so."""
    return life / USUAL_SHARE


@dataclass(frozen=True, slots=True)
class CrossedThreshold:
    """``label``: of the threshold; ``rank``: the higher the more urgent; ``days``: until the end,
    negative after it.
    """

    label: str
    rank: int
    days: float

    @property
    def critical(self) -> bool:
        """The last day, and every step after the end: not held back by the limits on how often one
        writes.
        """
        return self.rank >= -1


def rank_of(label: str) -> int:
    """Comparable urgency of a label of the same subject and round: -30 for ``30``, 7 for ``+7``."""
    return int(label) if label.startswith("+") else -int(label)


def crossed(end: datetime, thresholds: Sequence[int], now: datetime) -> CrossedThreshold | None:
    """The most urgent threshold that was crossed; None while none was.

    After the end: +1, +7, then weekly.
    """
    days = (end - now) / DAY
    if days < -1:
        after = 1 if days > -7 else int(-days // 7) * 7
        return CrossedThreshold(f"+{after}", after, days)
    hit = [t for t in thresholds if days <= t]
    return CrossedThreshold(str(min(hit)), -min(hit), days) if hit else None


def since(opened: datetime, now: datetime, every: int) -> CrossedThreshold:
    """For what has no date ahead: at once, then every ``every`` days.

    ``days`` is how long it has been open, negative.
    """
    passed = (now - opened) / DAY
    step = max(0, int(passed // every) * every)
    return CrossedThreshold(f"+{step}", step, -max(passed, 0.0))


# Two replacements at about the same time before the end are no accident.
LEARN_LIFE = timedelta(days=120)


def learnt(life: timedelta, leads: Sequence[timedelta]) -> timedelta | None:
    """``leads``: how long before its end each earlier certificate was replaced, oldest first.

    The usual lead of whatever robot does that; None where nothing shows one: fewer than two
    replacements, at different times, too late, or of certificates that people renew by hand.
    """
    if life > LEARN_LIFE or len(leads) < 2:
        return None
    last = list(leads[-2:])
    if min(last) <= timedelta(0):
        return None
    slack = max(3 * DAY, life / 10) if life > 10 * DAY else life / 6
    return min(last) if max(last) - min(last) <= slack else None
