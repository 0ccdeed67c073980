"""The table of transitions, the party that acts next, due dates, reminders and escalation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certmgr.cases.states import (
    ENDED,
    NEXT_STEPS,
    TABLE,
    CaseAction,
    allowed_actions,
    due_date,
    escalations,
    last_reminder_day,
    next_reminder,
    next_state,
    waits_for,
)
from certmgr.purchases.model import LeadTimes
from inventory.records import CaseRecord
from inventory.vocabulary import CaseState
from tests.records import record

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def row(state: str, **given: Any) -> CaseRecord:
    base = {"state": CaseState(state), "bought_by": "client", "since": int(NOW.timestamp())}
    return record(CaseRecord, **base | given)


def at(days: float) -> int:
    """Return the epoch seconds of a time that many days from now."""
    return int((NOW + days * DAY).timestamp())


def test_usual_actions_lead_from_requested_to_closed() -> None:
    state: CaseState | None = CaseState.REQUESTED
    for action in (
        CaseAction.CSR,
        CaseAction.SEND,
        CaseAction.RECEIVE,
        CaseAction.ACCEPT,
        CaseAction.AGREE,
        CaseAction.INSTALL,
        CaseAction.VERIFY,
        CaseAction.CLOSE,
    ):
        assert state is not None
        state = next_state(state, action)
    assert state is CaseState.CLOSED


def test_closed_follows_only_from_live_and_live_only_from_being_seen() -> None:
    closing = [k for k, v in TABLE.items() if v is CaseState.CLOSED]
    assert closing == [(CaseState.LIVE, CaseAction.CLOSE)]
    assert {a for (_, a), v in TABLE.items() if v is CaseState.LIVE} == {CaseAction.VERIFY}


@pytest.mark.parametrize("state", CaseState)
def test_each_state_has_a_next_action_and_only_open_ones_can_be_cancelled(state: CaseState) -> None:
    assert allowed_actions(state)
    assert (CaseAction.CANCEL in allowed_actions(state)) == (state not in ENDED)
    assert (state in NEXT_STEPS) == (state not in ENDED)
    if state in ENDED:
        assert allowed_actions(state) == (CaseAction.REOPEN,)


def test_installed_certificate_cannot_be_declined() -> None:
    assert next_state(CaseState.INSTALLED, CaseAction.DECLINE) is None
    assert next_state(CaseState.LIVE, CaseAction.DECLINE) is None


@pytest.mark.parametrize(
    ("state", "given", "party"),
    [
        ("requested", {}, "provider"),
        ("requested", {"own_csr": 1}, "client"),
        ("csr-ready", {}, "provider"),
        ("waiting-purchase", {}, "client"),
        ("waiting-purchase", {"bought_by": "us"}, "provider"),
        ("received", {}, "provider"),
        ("checked", {}, "client"),
        ("checked", {"approved_at": 1}, "provider"),
        ("window-agreed", {}, "provider"),
        ("installed", {}, "provider"),
        ("seen-live", {}, "provider"),
        ("reopened", {}, "provider"),
        ("closed", {}, "nobody"),
        ("declined", {}, "nobody"),
        ("cancelled", {}, "nobody"),
    ],
)
def test_state_determines_the_party_that_acts_next(
    state: str, given: dict[str, Any], party: str
) -> None:
    assert waits_for(row(state, **given)) == party


@pytest.mark.parametrize(
    ("state", "given", "days"),
    [
        ("waiting-purchase", {}, 14),
        # The certificate that is replaced ends in 12 days; the installation takes the last seven.
        ("waiting-purchase", {"ends_at": at(12)}, 5),
        ("waiting-purchase", {"ends_at": at(-3)}, 1),  # never less than a day
        ("installed", {}, 1),
        ("window-agreed", {"window_end": at(2)}, 2),
        *[(state, {}, None) for state in sorted(map(str, ENDED))],
    ],
)
def test_due_date_is_counted_backwards_from_the_end_of_the_replaced_certificate(
    state: str, given: dict[str, Any], days: int | None
) -> None:
    expected = NOW + days * DAY if days is not None else None
    case = row(state, **given)
    found = due_date(
        case.state,
        ends_at=case.ends_at,
        window_end=case.window_end,
        now=NOW,
        leads=LeadTimes(7, 7, 7),
        verify=timedelta(hours=24),
    )
    assert found == expected


def test_reminders_come_weekly_and_every_two_days_when_it_is_urgent() -> None:
    late = NOW + 10 * DAY
    days = [last_reminder_day(NOW, late, None, NOW + n * DAY) for n in range(20)]
    assert days[:11] == [0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7]
    assert days[11:] == [11, 11, 13, 13, 15, 15, 17, 17, 19]
    assert days == sorted(days), "it never decreases, so that each is sent once"
    ending = [
        last_reminder_day(NOW, NOW + 30 * DAY, NOW + 16 * DAY, NOW + n * DAY) for n in range(20)
    ]
    assert ending[9] == 7
    assert ending[10:14] == [10, 10, 12, 12], "a week before the end of the certificate"
    assert last_reminder_day(NOW, None, None, NOW + 40 * DAY) == 35


def test_next_reminder_of_a_client_is_weekly_and_staff_have_none() -> None:
    waiting = row("waiting-purchase", due_at=at(14))
    assert next_reminder(waiting, NOW + 2 * DAY) == NOW + 7 * DAY
    assert next_reminder(waiting, NOW + 8 * DAY) == NOW + 14 * DAY
    assert next_reminder(row("received"), NOW) is None


def test_overdue_case_escalates_to_those_who_can_act() -> None:
    waiting = escalations(row("waiting-purchase", due_at=at(14)), 7, UTC)
    assert [(c.who, c.at) for c in waiting] == [
        ("the client's fallback contact", NOW + 7 * DAY),
        ("the account manager, by telephone", NOW + 14 * DAY),
    ]
    assert [c.who for c in escalations(row("received", due_at=at(1)), 7, UTC)] == [
        "all administrators, in their digest",
        "level 2: all administrators, by mail",
    ]
    assert escalations(row("closed"), 7, UTC) == ()
