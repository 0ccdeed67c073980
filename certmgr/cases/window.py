"""Installation windows, entered in the client's time zone and stored in UTC.

Times that a change of the clocks skips or repeats are refused. All functions are pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from inventory.db.database import from_epoch
from inventory.errors import UsageError
from inventory.records import CaseRecord
from inventory.store.case_changes import CaseColumns
from inventory.text import printable
from inventory.vocabulary import WindowState
from notifiers.calendar import CalendarWindow

# Two days cover a weekend of maintenance. A longer window is most likely a typing error.
MAX_DURATION = timedelta(days=2)
MAX_AHEAD = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class InstallationWindow:
    """An agreed installation window.

    Attributes:
        start: The begin in UTC.
        end: The end in UTC.
        zone: The client's time zone.
    """

    start: datetime
    end: datetime
    zone: str

    @property
    def text(self) -> str:
        """The window in the client's time and in UTC."""
        local, stop = (
            self.start.astimezone(ZoneInfo(self.zone)),
            self.end.astimezone(ZoneInfo(self.zone)),
        )
        until = f"{stop:%H:%M}" if stop.date() == local.date() else f"{stop:%Y-%m-%d %H:%M}"
        return (
            f"{local:%Y-%m-%d %H:%M} to {until} {self.zone} ({self.start:%Y-%m-%d %H:%M} to"
            f" {self.end:%H:%M} UTC)"
        )


def parse_local_time(text: str, zone: str) -> datetime:
    """Parse a time such as ``2026-03-29T10:00`` in a time zone, or with an explicit offset.

    Returns:
        The time in UTC.

    Raises:
        UsageError: The text is not a time, the clocks skip that time, or they repeat it and the
            text has no offset.
    """
    try:
        local = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{printable(text, 40)}' is not a time",
            "",
            "Write 2026-11-30T10:00, in the client's time zone.",
        ) from None
    # Python parses a bare date as midnight, which the caller did not ask for.
    if len(text) <= 10:
        raise UsageError(
            f"'{printable(text, 40)}' is a day", "a window begins at a time", f"Write {text}T10:00."
        )
    if local.tzinfo is not None:
        # With an offset the time is unique, even if the clocks change.
        return local.astimezone(UTC)
    time_zone = ZoneInfo(zone)
    # PEP 495: the two folds have different offsets only in a gap or an overlap of the clocks.
    first, second = local.replace(tzinfo=time_zone, fold=0), local.replace(tzinfo=time_zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        existing = first.astimezone(UTC).astimezone(time_zone).replace(tzinfo=None)
        if existing != local:
            raise UsageError(
                f"{local:%Y-%m-%d %H:%M} does not exist in {zone}",
                "the clocks are put forward and skip it",
                f"Choose {existing:%H:%M}, for example.",
            )
        offsets = " or ".join(
            f"{local.isoformat(timespec='minutes')}{_offset(t)}" for t in (first, second)
        )
        raise UsageError(
            f"{local:%Y-%m-%d %H:%M} occurs twice in {zone}",
            "the clocks are put back",
            f"Add the offset: {offsets}.",
        )
    return first.astimezone(UTC)


def _offset(local: datetime) -> str:
    """Return the UTC offset as ISO 8601 writes it, such as +02:00."""
    text = local.strftime("%z")
    return f"{text[:3]}:{text[3:]}"


def build_window(start: str, minutes: int, zone: str, now: datetime) -> InstallationWindow:
    """Build an installation window.

    Args:
        start: The begin in the client's time zone.
        minutes: The duration.
        zone: The client's time zone.
        now: The current time.

    Raises:
        UsageError: The window is in the past, too long, too far ahead, or its begin is not a
            unique time (see :func:`parse_local_time`).
    """
    try:
        # The end is computed in UTC, so that a change of the clocks does not alter the duration.
        begin = parse_local_time(start, zone)
        end = begin + timedelta(minutes=minutes)
    except OverflowError:
        raise UsageError(
            f"'{printable(start, 40)}' is an invalid time",
            "the year is outside of the calendar",
            "Correct the year.",
        ) from None
    # A window that has begun could not be announced to both sides in time.
    if begin <= now:
        raise UsageError(
            f"The window would begin at {begin.isoformat(' ', 'minutes')[:16]} UTC",
            "that time has passed",
            "Choose a time in the future.",
        )
    if end - begin > MAX_DURATION:
        raise UsageError(
            f"The window would take {minutes} minutes",
            f"the longest window takes {MAX_DURATION.days} days",
            "Choose a shorter one.",
        )
    # A window so far ahead is nearly always a typing error in the year.
    if begin - now > MAX_AHEAD:
        raise UsageError(
            f"The window would begin on {begin:%Y-%m-%d}",
            f"that is over {MAX_AHEAD.days} days ahead",
            "Correct the year.",
        )
    return InstallationWindow(begin, end, zone)


def calendar_window(
    reference: str, sequence: int, start: int, end: int, *, cancelled: bool
) -> CalendarWindow:
    """Return the window of a case as a calendar object.

    Args:
        reference: The reference of the case. It is the stable part of the UID.
        sequence: The number of the revision (RFC 5545, SEQUENCE).
        start: The begin in epoch seconds.
        end: The end in epoch seconds.
        cancelled: Whether the window is cancelled.
    """
    return CalendarWindow(
        f"{reference.lower()}-window@certmgr",
        sequence,
        datetime.fromtimestamp(start, UTC),
        datetime.fromtimestamp(end, UTC),
        cancelled,
    )


def cancelled(row: CaseRecord) -> CaseColumns:
    """Return the columns that cancel an agreed window, so that calendars remove it too."""
    # After the installation the window took place, so that its calendar entry stays.
    if row.window_state is not WindowState.AGREED or row.installed_at is not None:
        return {}
    return _cancelled(row)


def cancelled_if_future(row: CaseRecord, now: datetime) -> CaseColumns:
    """Return the columns that cancel a window that has not begun when the case is live."""
    # A window that has begun took place, so that its calendar entry stays.
    if row.window_state is WindowState.AGREED and (row.window_start or 0) > now.timestamp():
        return _cancelled(row)
    return {}


def reset(row: CaseRecord, now: datetime) -> CaseColumns:
    """Return the window columns of a reopened case.

    A window that is not over is cancelled in the calendars. A past one is only removed.
    """
    if row.window_state is WindowState.AGREED and (row.window_end or 0) > now.timestamp():
        return _cancelled(row)
    return {"window_state": WindowState.NONE}


def _cancelled(row: CaseRecord) -> CaseColumns:
    # RFC 5545, 3.8.7.4: calendars ignore a cancellation unless its SEQUENCE is higher.
    return {"window_state": WindowState.CANCELLED, "window_sequence": row.window_sequence + 1}


def window_of(row: CaseRecord) -> InstallationWindow:
    """Return the window of a case that has one."""
    start, end = from_epoch(row.window_start), from_epoch(row.window_end)
    assert start is not None
    assert end is not None
    return InstallationWindow(start, end, row.window_zone or "UTC")


def calendar_window_of(row: CaseRecord, *, cancelled: bool) -> CalendarWindow:
    """Return the window of a case that has one, as a calendar entry or its cancellation."""
    assert row.window_start is not None
    assert row.window_end is not None
    return calendar_window(
        row.reference, row.window_sequence, row.window_start, row.window_end, cancelled=cancelled
    )
