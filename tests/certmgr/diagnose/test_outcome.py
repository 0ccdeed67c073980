"""Who has to act, and what they have to do, by what was found."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime

from certmgr.config.settings import Settings
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.diagnose import chrome, steps
from certmgr.diagnose.outcome import DiagnosisOutcome, OutcomeFacts, decide
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import probe_targets
from inventory.targets import Target
from tests.certmgr.diagnose.probed_site import HOST, probe, served
from tests.clock import clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_wrong_aaaa_record_should_be_deleted(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    """The client reads one sentence that names the record."""
    port = served(issuer, opened)
    report = probe(settings, port, ("127.0.0.1", "::1"))
    outcome = decide(report, report.findings, OutcomeFacts(ours=frozenset({"127.0.0.1"})))
    assert (outcome.outcome, outcome.partial) == ("you-act", ("::1",))
    assert outcome.instruction.startswith(f"Please delete the AAAA record ::1 of {HOST}.")
    known = decide(report, report.findings, OutcomeFacts(known=True, ours=frozenset({"127.0.0.1"})))
    assert known.instruction == f"Please delete the AAAA record ::1 of {HOST}."
    assert "at ::1" in chrome.browser_view(
        report.findings, [a.address for a in report.addresses], plain=False
    )


def test_record_of_a_silent_address_should_not_be_deleted(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    """A time-out is undetermined, so no client is asked to change the DNS for it."""
    port = served(issuer, opened)
    silent = Server(demo_servers.silent, address="127.0.0.2", port=port)
    opened.callback(silent.close)
    chosen = replace(settings, scan=replace(settings.scan, timeout=1.5))
    report = probe(chosen, port, ("127.0.0.1", "127.0.0.2"))
    outcome = decide(
        report, report.findings, OutcomeFacts(known=True, ours=frozenset({"127.0.0.1"}))
    )
    assert (outcome.outcome, outcome.code) == ("escalated", "connection-timeout")
    assert "could not be determined" in chrome.browser_view(
        report.findings, [a.address for a in report.addresses], plain=False
    )


def test_record_of_our_own_address_should_not_be_deleted(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    port = served(issuer, opened)
    report = probe(settings, port, ("127.0.0.1", "127.0.0.2"))
    outcome = decide(
        report,
        report.findings,
        OutcomeFacts(known=True, ours=frozenset({"127.0.0.1", "127.0.0.2"})),
    )
    assert outcome.outcome == "escalated"
    assert "delete" not in outcome.instruction.lower()


def test_record_that_points_to_another_server_should_be_changed(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    strange = Server(demo_servers.tls(server_context(issuer.issue("panel.other.test"))))
    opened.callback(strange.close)
    report = probe(settings, strange.port, ("127.0.0.1",), provider=("192.0.2.0/24",))
    facts = OutcomeFacts(known=True, own_addresses=("192.0.2.10",))
    outcome = decide(report, report.findings, facts)
    assert (outcome.outcome, outcome.code) == ("you-act", "points-elsewhere")
    assert (
        outcome.instruction == f"Please change the A record of {HOST} from 127.0.0.1 to 192.0.2.10."
    )
    ours = decide(report, report.findings, replace(facts, dns_is_ours=True))
    assert (ours.outcome, ours.who) == ("escalated", "provider")


def test_name_that_does_not_exist_is_the_cause(settings: Settings) -> None:
    from tests.servers import real

    with real.dns({}) as resolver:
        chosen = replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
        report = probe_targets(
            chosen,
            ScanOptions(always_http=True),
            Target("missing.example.test"),
            ("/",),
            None,
            "site",
            None,
            clock=clock,
        )
    outcome = decide(report, report.findings, OutcomeFacts())
    assert (outcome.outcome, outcome.code) == ("you-act", "name-not-found")
    visit_steps = steps.steps(report, "https://missing.example.test/", NOW)
    assert visit_steps[0].state == "fault"
    assert [s.state for s in visit_steps[1:]] == ["not reached"] * 4


def test_each_code_has_one_outcome_with_cause_and_instruction(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    """For each actor, and for hosts inside and outside the inventory."""
    from certmgr.checks.codes import CODES
    from inventory.vocabulary import Actor, Finding

    report = probe(settings, served(issuer, opened), ("127.0.0.1",))
    for code, meta in CODES.items():
        for actor in Actor:
            for known in (True, False):
                finding = Finding(code, meta.severity, ("127.0.0.1",), {}, actor)
                outcome: DiagnosisOutcome = decide(report, [finding], OutcomeFacts(known=known))
                assert outcome.outcome in ("you-act", "we-act", "escalated"), code
                if outcome.code:
                    assert outcome.cause, code
                    assert outcome.instruction, code
