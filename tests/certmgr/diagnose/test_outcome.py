"""Who has to act, and what they have to do, by what was found."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from certmgr.config.settings import Settings
from certmgr.demo import servers as demo_servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.diagnose import address_records, chrome, steps
from certmgr.diagnose.outcome import DiagnosisOutcome, OutcomeFacts, decide
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import ProbeContext, TargetProbe, probe_target
from inventory.targets import Target
from notifiers.wording.catalogue import ENGLISH, language
from tests.campaign import time_limits
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
    for limit in time_limits(1.5):
        chosen = replace(settings, scan=replace(settings.scan, timeout=limit))
        report = probe(chosen, port, ("127.0.0.1", "127.0.0.2"))
        if report.good:  # the other address answered in time
            break
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


def test_each_wrong_record_is_named_to_client_and_provider(
    settings: Settings, issuer: Authority, opened: contextlib.ExitStack
) -> None:
    """A record that is left would still lead some visitors to the wrong server."""
    port = served(issuer, opened)
    wrong = ("127.0.0.2", "127.0.0.3", "::1")
    report = probe(settings, port, ("127.0.0.1", *wrong))
    facts = OutcomeFacts(known=True, ours=frozenset({"127.0.0.1"}))
    for dns_is_ours in (False, True):
        outcome = decide(report, report.findings, replace(facts, dns_is_ours=dns_is_ours))
        for address in wrong:
            assert f"record {address} of {HOST}." in outcome.instruction
        assert "127.0.0.1 " not in outcome.instruction


@pytest.mark.parametrize(
    ("wrong", "own", "expected"),
    [
        (
            ("127.0.0.1", "127.0.0.2"),
            ("192.0.2.10",),
            "Please change the A record of H from 127.0.0.1 to 192.0.2.10. Please delete the A"
            " record 127.0.0.2 of H.",
        ),
        (
            ("::1", "127.0.0.1"),
            ("192.0.2.10",),
            "Please change the A record of H from 127.0.0.1 to 192.0.2.10. Please delete the AAAA"
            " record ::1 of H.",
        ),
        (
            ("::1", "127.0.0.1"),
            ("2001:db8::1", "192.0.2.10"),
            "Please change the A record of H from 127.0.0.1 to 192.0.2.10. Please change the AAAA"
            " record of H from ::1 to 2001:db8::1.",
        ),
        (
            ("::1",),
            ("192.0.2.10",),
            "Please create the A record 192.0.2.10 of H. Please delete the AAAA record ::1 of H.",
        ),
    ],
    ids=["two of IPv4", "no own IPv6", "both", "IPv6 only"],
)
def test_name_leads_to_its_own_server_alone(
    wrong: tuple[str, ...], own: tuple[str, ...], expected: str
) -> None:
    assert address_records.lead_to(HOST, wrong, own, ENGLISH) == expected.replace(" H", f" {HOST}")


def test_instruction_about_many_records_is_bounded() -> None:
    many = [f"192.0.2.{i}" for i in range(30)]
    for text in (
        address_records.delete_all(HOST, many, ENGLISH),
        address_records.lead_to(HOST, many, ("198.51.100.1",), ENGLISH),
    ):
        assert text.count(". Please ") == 7
        assert text.endswith(f"The same applies to 22 more wrong address records of {HOST}.")
    assert address_records.listed(many).endswith("192.0.2.7 (+22)")
    german = address_records.delete_all(HOST, many, language("de"))
    assert "22 weitere falsche" in german


def test_name_that_does_not_exist_is_the_cause(settings: Settings) -> None:
    from tests.servers import real

    with real.dns({}) as resolver:
        chosen = replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
        report = probe_target(
            ProbeContext(settings=chosen, database=None, clock=clock),
            ScanOptions(always_http=True),
            TargetProbe(target=Target("missing.example.test"), paths=("/",), purpose="site"),
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
    from inventory.finding_codes import CODES
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
