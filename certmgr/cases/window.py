"""Installation windows: agreed in the client's time zone, checked against the change of clocks,
kept in UTC. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from inventory.errors import UsageError
from inventory.text import printable
from notifiers.calendar import CalendarWindow

LONGEST = timedelta(days=2)
AHEAD = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class InstallationWindow:
    """``start`` and ``end`` in UTC; ``zone`` is the client's."""

    start: datetime
    end: datetime
    zone: str

    @property
    def text(self) -> str:
        """In the client's time and in UTC."""
        local, stop = (
            self.start.astimezone(ZoneInfo(self.zone)),
            self.end.astimezone(ZoneInfo(self.zone)),
        )
        until = f"{stop:%H:%M}" if stop.date() == local.date() else f"{stop:%Y-%m-%d %H:%M}"
        return (
            f"{local:%Y-%m-%d %H:%M} to {until} {self.zone} ({self.start:%Y-%m-%d %H:%M} to"
            f" {self.end:%H:%M} UTC)"
        )


def local_instant(text: str, zone: str) -> datetime:
    """``2026-03-29T10:00`` in the zone, or with an offset of its own.

    Raises :class:`UsageError` for a time that the clocks skip, and for one that they show twice
    where no offset says which.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{printable(text, 40)}' is not a time",
            "",
            "Write 2026-11-30T10:00, in the client's time zone.",
        ) from None
    if len(text) <= 10:
        raise UsageError(
            f"'{printable(text, 40)}' is a day", "a window begins at a time", f"Write {text}T10:00."
        )
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    place = ZoneInfo(zone)
    first, second = moment.replace(tzinfo=place, fold=0), moment.replace(tzinfo=place, fold=1)
    if first.utcoffset() != second.utcoffset():
        back = first.astimezone(UTC).astimezone(place).replace(tzinfo=None)
        if back != moment:
            raise UsageError(
                f"{moment:%Y-%m-%d %H:%M} does not exist in {zone}",
                "the clocks are put forward and skip it",
                f"Choose {back:%H:%M}, for example.",
            )
        offsets = " or ".join(
            f"{moment.isoformat(timespec='minutes')}{_offset(t)}" for t in (first, second)
        )
        raise UsageError(
            f"{moment:%Y-%m-%d %H:%M} comes twice in {zone}",
            "the clocks are put back",
            f"Say which: {offsets}.",
        )
    return first.astimezone(UTC)


def _offset(moment: datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:]}"


def span(start: str, minutes: int, zone: str, now: datetime) -> InstallationWindow:
    """Raises :class:`UsageError`: in the past, too long, too far ahead, in a gap or an overlap of
    the clocks.
    """
    try:
        begin = local_instant(start, zone)
        end = begin + timedelta(minutes=minutes)
    except OverflowError:
        raise UsageError(
            f"'{printable(start, 40)}' cannot be so",
            "no calendar reaches that far",
            "Correct the year.",
        ) from None
    if begin <= now:
        raise UsageError(
            f"The window would begin at {begin.isoformat(' ', 'minutes')[:16]} UTC",
            "that has passed",
            "Choose a time ahead.",
        )
    if end - begin > LONGEST:
        raise UsageError(
            f"The window would take {minutes} minutes",
            f"the longest is {LONGEST.days} days",
            "Choose a shorter one.",
        )
    if begin - now > AHEAD:
        raise UsageError(
            f"The window would begin on {begin:%Y-%m-%d}",
            f"that is over {AHEAD.days} days ahead",
            "Correct the year.",
        )
    return InstallationWindow(begin, end, zone)


def entry(
    reference: str, sequence: int, start: int, end: int, *, cancelled: bool
) -> CalendarWindow:
    """The calendar's view of a case's window. Instants are epoch seconds."""
    return CalendarWindow(
        f"{reference.lower()}-window@certmgr",
        sequence,
        datetime.fromtimestamp(start, UTC),
        datetime.fromtimestamp(end, UTC),
        cancelled,
    )
