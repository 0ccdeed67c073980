"""Input of a report, read from the inventory."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.compliance.assessment import judge
from certmgr.compliance.load import all_deadlines
from certmgr.compliance.rules import RULES
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.demo.authority import Authority
from certmgr.demo.pages import page, secure
from certmgr.demo.servers import Server, server_context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.operations import client_reports
from certmgr.operations.client_reports import ClientReports, ReportOptions
from certmgr.report.load import load_report_input
from certmgr.report.model import ClientReport
from certmgr.report.view import build
from inventory.db.database import Database
from inventory.store import clients, deadlines, domains, endpoints
from inventory.targets import Target
from tests.certmgr.report.provider import ReportProvider
from tests.clock import clock


def test_input_of_a_report_holds_no_other_client(provider: ReportProvider) -> None:
    for number in ("1", "2"):
        provider.client(number, f"Client {number}")
        provider.site(
            number,
            f"c{number}.example.test",
            server_context(provider.issuer.issue(f"c{number}.example.test")),
        )
    provider.scan()
    database: Database = provider.database
    report_input = load_report_input(
        Context(database, Settings(), clock),
        "1",
        as_of=None,
        deadlines=all_deadlines(database),
    )
    assert {s.name for s in report_input.domains} == {"c1.example.test"}
    assert {s.target.host for s in report_input.statuses} == {"c1.example.test"}
    assert {
        r.subject.client
        for r in judge(report_input.domains, report_input.deadlines, report_input.as_of)
    } == {"1"}


def test_reports_that_share_what_is_the_same_for_all_are_those_of_each_client_alone(
    provider: ReportProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in ("1", "2"):
        host = f"c{number}.example.test"
        provider.client(number, f"Client {number}")
        provider.site(number, host, server_context(provider.issuer.issue(host)))
    provider.scan()
    now = provider.clock()
    context = Context(provider.database, Settings(), lambda: now)
    options = ReportOptions("json")
    alone = {n: ClientReports(context, options).render(n).content for n in ("1", "2")}
    loaded: list[StoredTrust] = []

    class Counted(StoredTrust):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            loaded.append(self)

    monkeypatch.setattr(client_reports, "StoredTrust", Counted)
    reports = ClientReports(context, options)
    for number, other in (("1", "2"), ("2", "1"), ("1", "2")):
        content = reports.render(number).content
        assert content is not None
        assert content == alone[number]
        assert f"c{number}.example.test".encode() in content
        assert f"c{other}.example.test".encode() not in content
    assert len(loaded) == 1


def test_report_of_today_equals_the_current_one_on_both_databases(
    database: Database,
    settings: Settings,
    issuer: Authority,
    opened: contextlib.ExitStack,
    tmp_path: Path,
) -> None:
    server = Server(
        secure(server_context(issuer.issue("one.example.test")), lambda h, p: page("Welcome"))
    )
    opened.callback(server.close)
    with database.write() as tx:
        clients.add(tx, {"number": "1", "name": "One"})
        domains.add(tx, "one.example.test", {"client": "1"})
        endpoints.edit(
            tx, Target("one.example.test"), {"port": server.port, "addresses": ["127.0.0.1"]}
        )
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "x",
            "purchase_days": 1,
            "validation_days": 1,
            "installation_days": 1,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1"], tags=[])
    ScanRun(Context(database, settings, database.clock), ScanOptions(always_http=True)).run()
    now = clock()
    context = Context(database, Settings(), lambda: now)
    report_input = load_report_input(context, "1", as_of=None, deadlines=all_deadlines(database))
    assert build(report_input).counts["sites"] == 1
    past = load_report_input(context, "1", as_of=now, deadlines=all_deadlines(database, now))
    assert [s.state for s in build(past).sites] == [s.state for s in build(report_input).sites]


def test_report_of_a_past_date_shows_what_was_known_then(provider: ReportProvider) -> None:
    provider.client("1001", "Then")
    host = "then.example.test"
    provider.site("1001", host, server_context(provider.issuer.issue(host)))
    provider.plain[host] = page("Login", "<input type=password>", hsts=False)
    provider.scan()
    then = clock()
    before, _ = provider.report("1001", then)
    clock.advance(seconds=2)
    del provider.plain[host]
    provider.scan()
    after, _ = provider.report("1001")
    assert after.state == "ok"
    again, _ = provider.report("1001", then)

    def content(report: ClientReport) -> Any:
        """Return the report without the time of the probe, which observations do not keep."""
        sites = tuple(replace(site, measured=None, measured_text="") for site in report.sites)
        return replace(report, sites=sites, method=report.method[1:])

    assert content(again) == content(before)
    assert [a.code for a in again.escalated] == ["http-collects-secrets"]
