"""The one outcome of a message with several items."""

from __future__ import annotations

from datetime import UTC, date, datetime

from notifiers.pipeline.outcome import Escalated, Resolved, WeAct, YouAct, decides, name_of

END = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_what_is_asked_of_the_client_decides_then_the_most_severe_open_item() -> None:
    you, we, up = YouAct(date(2026, 12, 1)), WeAct("Ada", END), Escalated(date(2026, 12, 2))
    assert decides([("medium", you), ("critical", we)]) == you
    assert decides([("medium", we), ("critical", up)]) == up
    assert decides([("high", up), ("high", we), ("high", you)]) == you
    assert decides([("high", up), ("high", we)]) == we
    assert decides([("critical", Resolved()), ("medium", up)]) == up
    assert name_of(decides([("medium", Resolved())])) == "resolved"


def test_first_of_several_dates_is_the_day_to_act_by() -> None:
    you, earlier = YouAct(date(2026, 12, 1)), YouAct(date(2026, 11, 25))
    assert decides([("high", you), ("medium", earlier)]) == earlier
    assert decides([("high", you), ("medium", YouAct(None))]) == YouAct(None), "as soon as possible"
