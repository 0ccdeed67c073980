"""Calendars, notices and reports of one client contain nothing of another."""

from __future__ import annotations

from datetime import timedelta

from certmgr.cases import agreement
from certmgr.cases.calendars import calendar_entries
from certmgr.cases.topics import gather
from certmgr.compliance.load import all_deadlines
from certmgr.demo.authority import Authority
from certmgr.purchases.model import LeadTimes
from certmgr.report.load import load_report_input
from certmgr.report.tabular import to_json
from certmgr.report.view import build
from inventory.store import purchase_changes
from notifiers.calendar import publish
from tests.certmgr.cases.place import HOST, OTHER_HOST, CaseEnvironment, serve

DAY = timedelta(days=1)


def test_output_for_one_of_two_clients_with_a_shared_certificate_is_about_that_one(
    env: CaseEnvironment, issuer: Authority
) -> None:
    """Each of them has a case, a purchase and a window."""
    begin, soon, end = env.now - DAY, env.now + 30 * DAY, env.now + 100 * DAY
    shared = issuer.issue(HOST, OTHER_HOST, not_before=begin, not_after=end)
    for number, name in (("1001", HOST), ("1002", OTHER_HOST)):
        serve(env.database, name, shared, env.now)
        purchase = {"vendor": f"Vendor{number}", "number": f"N{number}", "ends_at": soon}
        with env.database.write(env.now) as tx:
            purchase_changes.add(tx, number, purchase, [name])
        reference, _ = env.ready(issuer, name, client=number)
        agreement.agree_window(env.service, reference, "2026-11-27T10:00", text=f"word of {number}")
    for client, other, other_name in (
        ("1001", "1002", "other.example"),
        ("1002", "1001", "shop.example"),
    ):
        dates = calendar_entries(env.context, client)
        calendar = publish(dates, "c", env.now)
        report = to_json(
            build(
                load_report_input(
                    env.context,
                    client,
                    as_of=None,
                    deadlines=all_deadlines(env.database),
                )
            )
        )
        with env.database.read() as conn:
            news = gather(conn, env.now, {}, LeadTimes(), 60)
        notices = [repr(s) for s in news.topics if s.client == client]
        assert notices
        for text in (calendar, report, *notices):
            assert client in text
            assert f"Vendor{other}" not in text
            assert other_name not in text
        assert "Installation window" in report or "installation" in report
