"""Contents of a report: summary, actions, dates and undetermined results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from certmgr.cases import new_case
from certmgr.cases.service import CaseService
from certmgr.compliance.rules import RULES
from certmgr.config.context import Context
from certmgr.demo.pages import PageResponse, page
from certmgr.demo.servers import server_context
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.scan_run import ScanRun
from certmgr.report import tabular
from inventory.store import clients, contacts, deadlines, findings
from inventory.vocabulary import FindingDecision
from tests.certmgr.report.provider import ReportProvider
from tests.clock import clock


def test_client_without_findings_does_not_need_to_act(provider: ReportProvider) -> None:
    provider.client("1001", "Good")
    provider.site(
        "1001", "good.example.test", server_context(provider.issuer.issue("good.example.test"))
    )
    provider.scan()
    report, _ = provider.report("1001")
    assert report.summary == (
        "Your sites comply with the rules for HTTPS today. You do not need to do anything."
    )
    assert (report.state, report.counts["ok"]) == ("ok", 1)
    assert report.you_act == report.we_act == report.escalated == ()
    assert [e.kind for e in report.events if e.kind == "certificate"] == ["certificate"]


def test_report_states_who_renews_each_certificate(provider: ReportProvider) -> None:
    provider.client("1001", "Shop")
    provider.client("1002", "Panel", renews="panel")
    for number, host in (("1001", "hand.example.test"), ("1002", "panel.example.test")):
        provider.site(number, host, server_context(provider.issuer.issue(host)))
    provider.scan()
    renewed = {}
    for number in ("1001", "1002"):
        report, _ = provider.report(number)
        (renewed[number],) = [f for s in report.sites for f in s.facts if " renew" in f]
    assert renewed == {
        "1001": "It does not renew automatically, and we know of no order that renews it.",
        "1002": "It is renewed by the hosting panel.",
    }


def test_action_of_the_client_has_a_due_date(provider: ReportProvider) -> None:
    now = clock()
    provider.client("1001", "Buyer", hosts="us", dns="client", buys="client", renews="client")
    context = server_context(
        provider.issuer.issue("shop.example.test", not_before=now - timedelta(days=85), days=5)
    )
    provider.site("1001", "shop.example.test", context)
    provider.scan()
    report, _ = provider.report("1001")
    (action,) = report.you_act
    assert (action.code, action.outcome) == ("certificate-expiring", "you-act")
    assert action.by is not None
    assert "ask us first for the request file (CSR)" in action.do
    assert report.summary.startswith("1 site needs your action by")


def test_fault_of_the_provider_is_escalated_until_it_is_assigned(provider: ReportProvider) -> None:
    provider.client("1001", "Cared", hosts="us", dns="us", buys="us", renews="us")
    provider.site(
        "1001", "login.example.test", server_context(provider.issuer.issue("login.example.test"))
    )
    provider.plain["login.example.test"] = page("Login", "<input type=password>", hsts=False)
    provider.scan()
    report, _ = provider.report("1001")
    assert [a.code for a in report.escalated] == ["http-collects-secrets"]
    assert "level 2" in report.escalated[0].do
    with provider.database.write() as tx:
        row = clients.find(tx.conn, "1001")
        until = clock() + timedelta(days=2)
        findings.accept(
            tx,
            "http-collects-secrets",
            frozenset({"http-collects-secrets"}),
            until,
            "redirect",
            client_id=row.id,
            kind=FindingDecision.ASSIGN,
            by="Ines",
        )
    report, _ = provider.report("1001")
    assert [a.person for a in report.we_act] == ["Ines"]
    assert report.escalated == ()
    assert "you do not need to do anything" in report.summary.lower()
    assert "January 2017" in report.why[1], "why HTTPS matters for this site"


@pytest.mark.parametrize(("language", "nothing"), [("en", "You do not"), ("de", "Sie müssen")])
@pytest.mark.parametrize("handled", ["unassigned", "assigned", "accepted", "case"])
def test_report_about_expired_sites_never_starts_with_nothing_to_do(
    provider: ReportProvider, handled: str, language: str, nothing: str
) -> None:
    now = clock()
    provider.client("1001", "Expired", hosts="us", dns="us", buys="us", renews="us")
    names = [f"n{i}.example.test" for i in range(3)]
    for name in names:
        begin, end = now - timedelta(days=90), now - timedelta(days=10)
        old = provider.issuer.issue(name, not_before=begin, not_after=end)
        provider.site("1001", name, server_context(old))
    provider.scan()
    code, until = "certificate-expired", now + timedelta(days=2)
    with provider.database.write() as tx:
        row = clients.find(tx.conn, "1001")
        if handled in ("assigned", "accepted"):
            assigned = handled == "assigned"
            kind = FindingDecision.ASSIGN if assigned else FindingDecision.ACCEPT
            codes, why = frozenset({code}), "our own words"
            findings.accept(tx, code, codes, until, why, client_id=row.id, kind=kind, by="Ines")
    if handled == "case":
        service = CaseService(Context(provider.database, provider.settings, lambda: now))
        new_case.open_case(service, "1001", names)
    report, _ = provider.report("1001", language_code=language)
    assert not report.summary.startswith(nothing), report.summary
    if handled != "accepted":
        assert report.summary.startswith("3 "), report.summary
        assert report.state == "fault"
    if handled == "accepted":
        facts = " ".join(report.sites[0].facts)
        assert (
            "Accepted by Example Hosting" if language == "en" else "Von Example Hosting"
        ) in facts
        # Who accepted it, and why, is for staff.
        assert "Ines" not in str(report) and "our own words" not in str(report)
    promised = "Ines" in str((report.we_act, report.escalated))
    assert promised == (handled == "assigned")


def test_undetermined_site_is_not_reported_as_good(provider: ReportProvider) -> None:
    provider.client("1001", "Silent")
    provider.site(
        "1001",
        "guarded.example.test",
        server_context(provider.issuer.issue("guarded.example.test")),
        PageResponse(403),
    )
    provider.scan()
    report, _ = provider.report("1001")
    assert report.state == "unknown"
    assert report.sites[0].state == "unknown"
    assert report.untested
    (provider.folder / "n").mkdir()
    never = ReportProvider(
        provider.settings, provider.issuer, provider.folder / "n", provider.stack
    )
    never.client("1", "Never")
    never.site(
        "1", "never.example.test", server_context(provider.issuer.issue("never.example.test"))
    )
    report, _ = never.report("1")
    assert (report.state, report.sites[0].untested) == (
        "unknown",
        ("never.example.test was not checked yet.",),
    )


def test_site_whose_pages_were_not_opened_is_not_reported_as_good(provider: ReportProvider) -> None:
    provider.client("1", "One")
    provider.site(
        "1", "one.example.test", server_context(provider.issuer.issue("one.example.test"))
    )
    provider.plain["one.example.test"] = page("Login", "<input type=password>", hsts=False)
    ScanRun(
        Context(provider.database, provider.settings, provider.database.clock),
        ScanOptions(http=False),
    ).run()
    report, _ = provider.report("1")
    assert report.state == "unknown"
    assert report.untested == ("one.example.test: Its pages were not opened yet.",)
    assert not any("in order" in f for s in report.sites for f in s.facts)
    assert "were not opened" in report.method[1]


def test_accepted_fault_is_not_reported_as_good(provider: ReportProvider) -> None:
    provider.client("1", "One")
    provider.site(
        "1", "one.example.test", server_context(provider.issuer.issue("other.example.test"))
    )
    provider.scan()
    with provider.database.write() as tx:
        row = clients.find(tx.conn, "1")
        for code in ("name-mismatch", "default-certificate"):
            findings.accept(
                tx,
                code,
                frozenset({code}),
                clock() + timedelta(days=9),
                "moves",
                client_id=row.id,
            )
    report, _ = provider.report("1")
    assert report.state != "ok"
    assert report.summary.startswith("1 site has a fault that was accepted."), report.summary


def test_deadline_ahead_has_its_text_sites_and_steps(provider: ReportProvider) -> None:
    provider.client("1001", "Late", hosts="us", buys="client")
    provider.site(
        "1001", "plain.example.test", server_context(provider.issuer.issue("plain.example.test"))
    )
    provider.plain["plain.example.test"] = page("Welcome", hsts=False)
    with provider.database.write() as tx:
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "All on HTTPS",
            "text": "In our own words",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 30,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1001"], tags=[])
    provider.scan()
    report, _ = provider.report("1001")
    (event,) = [e for e in report.events if e.kind == "own"]
    assert (event.title, event.note, event.affected) == (
        "All on HTTPS",
        "In our own words",
        ("plain.example.test",),
    )
    assert "late" in event.steps[0]


def test_deadline_of_another_client_is_not_shown(provider: ReportProvider) -> None:
    for number in ("1", "2"):
        provider.client(number, f"Client {number}")
        provider.site(
            number,
            f"c{number}.example.test",
            server_context(provider.issuer.issue(f"c{number}.example.test")),
        )
    with provider.database.write() as tx:
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "Private arrangement",
            "purchase_days": 1,
            "validation_days": 1,
            "installation_days": 1,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["2"], tags=[])
    provider.scan()
    assert "Private arrangement" in tabular.to_json(provider.report("2")[0])
    assert "Private arrangement" not in tabular.to_json(provider.report("1")[0])


def test_deadline_of_the_provider_is_the_same_day_in_each_time_zone(
    provider: ReportProvider,
) -> None:
    provider.client("1", "One")
    provider.site(
        "1", "one.example.test", server_context(provider.issuer.issue("one.example.test"))
    )
    provider.plain["one.example.test"] = page("x", hsts=False)
    with provider.database.write() as tx:
        contacts.add(tx, "1", {"name": "Ada", "role": "owner", "time_zone": "Pacific/Auckland"}, ())
        due = {
            "at": datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC),
            "rule": "https-only",
            "title": "Own",
            "purchase_days": 7,
            "validation_days": 7,
            "installation_days": 7,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=[], tags=[])
    provider.scan()
    report, _ = provider.report("1")
    days = {e.title: e.at_text for e in report.events}
    assert days["Own"] == "30 June 2027"
    assert days["New certificates live at most 100 days"] == "15 March 2027"


def test_deadline_stays_with_its_client_when_numbers_change(provider: ReportProvider) -> None:
    provider.client("1", "First")
    provider.site(
        "1", "one.example.test", server_context(provider.issuer.issue("one.example.test"))
    )
    with provider.database.write() as tx:
        due = {
            "at": clock() + timedelta(days=10),
            "rule": "https-only",
            "title": "Private",
            "purchase_days": 1,
            "validation_days": 1,
            "installation_days": 1,
        }
        deadlines.add(tx, "own", due, tuple(RULES), for_clients=["1"], tags=[])
        clients.edit(tx, "1", {"number": "77"})
    provider.client("1", "Second")
    provider.site(
        "1", "two.example.test", server_context(provider.issuer.issue("two.example.test"))
    )
    provider.scan()
    assert "Private" in tabular.to_json(provider.report("77")[0])
    assert "Private" not in tabular.to_json(provider.report("1")[0])
