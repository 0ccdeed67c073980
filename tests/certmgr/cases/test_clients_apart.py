"""Calendars, notices and reports of one client hold nothing of another."""

from __future__ import annotations

from datetime import timedelta

from certmgr.cases.calendars import entries
from certmgr.cases.topics import gather
from certmgr.compliance.assessment import all_deadlines
from certmgr.demo.authority import Authority
from certmgr.purchases.model import LeadTimes
from certmgr.report.load import material
from certmgr.report.tabular import to_json
from certmgr.report.view import build
from inventory.store import purchases
from notifiers.calendar import publish
from tests.certmgr.cases.place import HOST, OTHER_HOST, Place, serve

DAY = timedelta(days=1)


def test_output_for_one_of_two_clients_with_a_shared_certificate_is_about_that_one(
    place: Place, issuer: Authority
) -> None:
    """Each of them has a case, an order and a window."""
    begin, soon, end = place.now - DAY, place.now + 30 * DAY, place.now + 100 * DAY
    shared = issuer.issue(HOST, OTHER_HOST, not_before=begin, not_after=end)
    for number, name in (("1001", HOST), ("1002", OTHER_HOST)):
        serve(place.database, name, shared, place.now)
        order = {"vendor": f"Vendor{number}", "number": f"N{number}", "ends_at": soon}
        with place.database.write(place.now) as tx:
            purchases.add(tx, number, order, [name])
        reference, _ = place.ready(issuer, name, client=number)
        place.desk.agree(reference, "2026-11-27T10:00", text=f"word of {number}")
    for client, other, other_name in (
        ("1001", "1002", "other.example"),
        ("1002", "1001", "shop.example"),
    ):
        dates = entries(place.database, place.settings, place.now, client)
        calendar = publish(dates, "c", place.now)
        report = to_json(
            build(
                material(
                    place.database,
                    client,
                    place.now,
                    as_of=None,
                    provider="P",
                    dues=all_deadlines(place.database),
                    default_language="en",
                    default_zone="UTC",
                )
            )
        )
        with place.database.read() as conn:
            news = gather(conn, place.now, {}, LeadTimes(), 60)
        notices = [repr(s) for s in news.subjects if s.client == client]
        assert notices
        for text in (calendar, report, *notices):
            assert client in text
            assert f"Vendor{other}" not in text
            assert other_name not in text
        assert "Installation window" in report or "installation" in report
