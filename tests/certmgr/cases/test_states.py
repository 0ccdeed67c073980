"""The table of transitions, who is waited for, due dates and reminders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.cases.states import (
    ENDED,
    TABLE,
    TODO,
    Action,
    State,
    after,
    allowed,
    climbs,
    due,
    next_reminder,
    reminder,
    waits_for,
)
from certmgr.orders.model import Leads

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def row(state: str, **given: Any) -> dict[str, Any]:
    base = {
        "state": state,
        "own_csr": 0,
        "bought_by": "client",
        "approved_at": None,
        "ends_at": None,
        "window_end": None,
        "since": NOW.timestamp(),
        "due_at": None,
    }
    return base | given


def test_the_straight_way() -> None:
    state: State | None = State.REQUESTED
    for action in (
        Action.CSR,
        Action.SEND,
        Action.RECEIVE,
        Action.ACCEPT,
        Action.AGREE,
        Action.INSTALL,
        Action.SEE,
        Action.CLOSE,
    ):
        assert state is not None
        state = after(state, action)
    assert state is State.CLOSED


def test_closed_is_reached_from_seen_live_alone_and_that_by_a_look_alone() -> None:
    assert [k for k, v in TABLE.items() if v is State.CLOSED] == [(State.LIVE, Action.CLOSE)]
    assert {a for (_, a), v in TABLE.items() if v is State.LIVE} == {Action.SEE}


def test_every_state_can_be_left_or_reopened_and_open_ones_can_be_cancelled() -> None:
    for state in State:
        assert allowed(state), state
        assert (Action.CANCEL in allowed(state)) == (state not in ENDED)
        assert (state in TODO) == (state not in ENDED)
    for state in ENDED:
        assert allowed(state) == (Action.REOPEN,)


def test_a_certificate_that_was_installed_cannot_be_declined() -> None:
    assert after(State.INSTALLED, Action.DECLINE) is None
    assert after(State.LIVE, Action.DECLINE) is None


@pytest.mark.parametrize(
    ("state", "given", "who"),
    [
        ("requested", {}, "provider"), ("requested", {"own_csr": 1}, "client"), ("csr-ready", {}, "provider"), ("waiting-purchase", {}, "client"),
        ("waiting-purchase", {"bought_by": "us"}, "provider"), ("received", {}, "provider"), ("checked", {}, "client"), ("checked", {"approved_at": 1}, "provider"),
        ("window-agreed", {}, "provider"), ("installed", {}, "provider"), ("seen-live", {}, "provider"), ("reopened", {}, "provider"), ("closed", {}, "nobody"),
        ("declined", {}, "nobody"), ("cancelled", {}, "nobody"),
    ],
)  # fmt: skip
def test_who_is_waited_for(state: str, given: dict[str, Any], who: str) -> None:
    assert waits_for(row(state, **given)) == who


def test_due_dates_are_counted_backwards_from_the_end_of_what_is_replaced() -> None:
    leads, verify = Leads(7, 7, 7), timedelta(hours=24)
    assert due(row("waiting-purchase"), NOW, leads, verify) == NOW + 14 * DAY
    soon = (NOW + 12 * DAY).timestamp()
    assert due(row("waiting-purchase", ends_at=int(soon)), NOW, leads, verify) == NOW + 5 * DAY, (
        "the installation takes the last seven days"
    )
    past = (NOW - 3 * DAY).timestamp()
    assert due(row("waiting-purchase", ends_at=int(past)), NOW, leads, verify) == NOW + DAY, "never less than a day"
    assert due(row("installed"), NOW, leads, verify) == NOW + DAY
    assert due(row("window-agreed", window_end=int((NOW + 2 * DAY).timestamp())), NOW, leads, verify) == NOW + 2 * DAY
    for state in ENDED:
        assert due(row(state), NOW, leads, verify) is None


def test_reminders_every_week_and_every_two_days_when_it_presses() -> None:
    late = NOW + 10 * DAY
    days = [reminder(NOW, late, None, NOW + n * DAY) for n in range(20)]
    assert days[:11] == [0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7]
    assert days[11:] == [11, 11, 13, 13, 15, 15, 17, 17, 19]
    assert days == sorted(days), "it only grows, so that each is said once"
    ending = [reminder(NOW, NOW + 30 * DAY, NOW + 16 * DAY, NOW + n * DAY) for n in range(20)]
    assert ending[9] == 7
    assert ending[10:14] == [10, 10, 12, 12], "a week before the end of the certificate"
    assert reminder(NOW, None, None, NOW + 40 * DAY) == 35


def test_whom_a_case_climbs_to() -> None:
    waiting = row("waiting-purchase", due_at=(NOW + 14 * DAY).timestamp())
    assert [(c.who, c.at) for c in climbs(waiting, 7, UTC)] == [
        ("the client's fallback contact", NOW + 7 * DAY), ("the account manager, by telephone", NOW + 14 * DAY),
    ]  # fmt: skip
    ours = row("received", due_at=(NOW + DAY).timestamp())
    assert [c.who for c in climbs(ours, 7, UTC)] == [
        "all administrators, in their digest",
        "level 2: all administrators, by mail",
    ]
    assert climbs(row("closed"), 7, UTC) == ()


def test_when_the_next_reminder_comes() -> None:
    waiting = row("waiting-purchase", due_at=(NOW + 14 * DAY).timestamp())
    assert next_reminder(waiting, NOW + 2 * DAY) == NOW + 7 * DAY
    assert next_reminder(waiting, NOW + 8 * DAY) == NOW + 14 * DAY
    assert next_reminder(row("received"), NOW) is None
