"""The all-day entries of a calendar have the day of its reader."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from certmgr.cases.calendars import calendar_entries
from certmgr.config.settings import ProviderSettings
from certmgr.demo.authority import Authority
from inventory.store import deadlines, purchase_changes
from tests.certmgr.cases.place import CaseEnvironment, serve

NAME = "third.example"
END = datetime(2027, 1, 1, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day"),
    [("Pacific/Auckland", 2), ("Europe/Berlin", 1), ("Europe/Kyiv", 2), ("America/Lima", 1)],
)
def test_certificate_and_purchase_end_on_the_day_of_the_client(
    env: CaseEnvironment, issuer: Authority, zone: str, day: int
) -> None:
    env.settings = replace(env.settings, provider=ProviderSettings(time_zone="Asia/Tokyo"))
    env.client("1003", NAME, zone=zone)
    serve(env.database, NAME, issuer.issue(NAME, not_after=END), env.now)
    with env.database.write(env.now) as tx:
        bought = {"vendor": "V", "starts_at": env.now, "ends_at": END}
        purchase_changes.add(tx, "1003", bought, [NAME])
        # The last second of 2 January in Tokyo.
        last = datetime(2027, 1, 2, 14, 59, 59, tzinfo=UTC)
        steps = dict.fromkeys(("purchase_days", "validation_days", "installation_days"), 1)
        values = {"at": last, "title": "T", "text": "", "rule": "https-only", **steps}
        deadlines.add(tx, "ours", values, ("https-only",), for_clients=(), tags=())

    def days(client: str | None) -> dict[str, datetime | date]:
        return {
            e.uid.partition("-")[0]: e.start
            for e in calendar_entries(env.context, client)
            if e.uid.startswith(("certificate-", "deadline-")) or "-order@" in e.uid
        }

    # The provider set its deadline by its own calendar, so it is the same day for every reader.
    deadline = date(2027, 1, 2)
    by_client = dict.fromkeys(("certificate", "order"), date(2027, 1, day))
    assert days("1003") == {**by_client, "deadline": deadline}
    assert days(None) == dict.fromkeys(("certificate", "order", "deadline"), date(2027, 1, 2))


@pytest.mark.parametrize(("hours", "entries"), [(160, 0), (11 * 24, 1)])
def test_end_of_a_certificate_of_six_days_is_no_date_to_plan_for(
    env: CaseEnvironment, issuer: Authority, hours: int, entries: int
) -> None:
    begin = env.now - timedelta(hours=1)
    issued = issuer.issue(NAME, not_before=begin, not_after=begin + timedelta(hours=hours))
    env.client("1003", NAME)
    serve(env.database, NAME, issued, env.now)
    found = [e for e in calendar_entries(env.context, None) if e.uid.startswith("certificate-")]
    assert len(found) == entries
