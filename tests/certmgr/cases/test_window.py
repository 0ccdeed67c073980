"""Windows: the change of clocks, the past, and calendar entries that update and cancel."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar

from certmgr.cases.window import build_window, calendar_window, parse_local_time
from inventory.errors import UsageError
from notifiers.calendar import CalendarEntry, invitation, publish

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)


def test_window_in_the_clients_time_is_kept_in_utc() -> None:
    found = build_window("2026-11-30T10:00", 60, "Europe/Berlin", NOW)
    assert found.start == datetime(2026, 11, 30, 9, tzinfo=UTC)
    assert found.end == datetime(2026, 11, 30, 10, tzinfo=UTC)
    local, utc = "2026-11-30 10:00 to 11:00 Europe/Berlin", "2026-11-30 09:00 to 10:00 UTC"
    assert found.text == f"{local} ({utc})"
    night = build_window("2026-11-30T23:30", 60, "America/New_York", NOW)
    assert "to 2026-12-01 00:30 America/New_York" in night.text


def test_window_across_a_change_of_clocks_has_its_real_length() -> None:
    found = build_window("2027-03-28T01:30", 60, "Europe/Berlin", NOW)
    assert found.end - found.start == timedelta(hours=1)
    assert "01:30 to 03:30" in found.text


@pytest.mark.parametrize(
    ("text", "zone", "reason"),
    [
        ("2027-03-28T02:30", "Europe/Berlin", "does not exist"),
        ("2027-03-14T02:15", "America/New_York", "does not exist"),
        ("2026-10-25T02:30", "Europe/Berlin", "occurs twice"),
        ("2027-04-04T02:30", "Australia/Melbourne", "occurs twice"),
        ("2026-11-24T10:00", "UTC", "has passed"),
        ("2028-11-24T10:00", "UTC", "days ahead"),
        ("2026-11-30", "UTC", "is a day"),
        ("tomorrow", "UTC", "not a time"),
        ("2026-13-30T10:00", "UTC", "not a time"),
    ],
)
def test_invalid_window_is_refused_with_the_reason(text: str, zone: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        build_window(text, 60, zone, NOW)
    assert reason in str(error.value)
    assert error.value.todo


def test_offset_selects_one_of_two_equal_times() -> None:
    times = [
        parse_local_time(f"2027-10-31T02:30{o}", "Europe/Berlin") for o in ("+02:00", "+01:00")
    ]
    assert times[1] - times[0] == timedelta(hours=1)


def test_window_of_more_than_two_days_is_refused() -> None:
    with pytest.raises(UsageError, match="longest"):
        build_window("2026-11-30T10:00", 2881, "UTC", NOW)


def events(text: str) -> list[Any]:
    return list(Calendar.from_ical(text).walk("VEVENT"))


def test_invitations_of_a_case_update_and_cancel_under_one_uid() -> None:
    hour = 3600
    start = int(NOW.timestamp()) + 24 * hour
    texts = []
    for n in range(3):
        begin = start + n * hour
        made = calendar_window("CM-7KQ4X2", n, begin, begin + hour, cancelled=n == 2)
        people = ("us@provider.example", "ada@client.example")
        texts.append(invitation(made, "Installation", "a\nb", *people, NOW))
    methods = [str(Calendar.from_ical(t)["METHOD"]) for t in texts]
    assert methods == ["REQUEST", "REQUEST", "CANCEL"]
    found = [e for t in texts for e in events(t)]
    assert {str(e["UID"]) for e in found} == {"cm-7kq4x2-window@certmgr"}
    assert [int(e["SEQUENCE"]) for e in found] == [0, 1, 2]
    assert [str(e["STATUS"]) for e in found] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    starts = [datetime.fromtimestamp(start + n * hour, UTC) for n in range(3)]
    assert [e["DTSTART"].dt for e in found] == starts
    assert str(found[0]["ORGANIZER"]) == "mailto:us@provider.example"
    assert str(found[0]["ATTENDEE"]) == "mailto:ada@client.example"


def test_hostile_text_cannot_leave_its_property() -> None:
    title = "x\r\nATTENDEE:mailto:eve@evil.example\r\nEND:VEVENT \x1b[31m"
    text = publish([CalendarEntry("u@x", title, title, date(2026, 12, 1))], title, NOW)
    (event,) = events(text)
    assert "ATTENDEE" not in event
    assert "\x1b" not in text


def test_entry_of_a_day_takes_the_whole_day_and_no_time() -> None:
    (event,) = events(
        publish([CalendarEntry("u@x", "Order ends", "", date(2026, 12, 1))], "c", NOW)
    )
    assert event["DTSTART"].dt == date(2026, 12, 1)
    assert event["DTEND"].dt == date(2026, 12, 2)
    assert str(event["TRANSP"]) == "TRANSPARENT"
