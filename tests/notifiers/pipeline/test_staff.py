"""What staff get: the digest and the list of clients to call."""

from __future__ import annotations

import shlex
from datetime import UTC, timedelta

from inventory.store import contacts, notices, releases, tickets
from inventory.targets import Target
from notifiers.pipeline.call_list import PhoneCall, call_lines, calls
from notifiers.pipeline.message import Message
from notifiers.pipeline.plan import Snapshot
from notifiers.pipeline.staff_causes import StaffReader, expiries
from notifiers.pipeline.topic import CoverFacts, ScheduledEnd, Topic
from tests.notifiers.sites import DAY, START, Leaf, SiteSimulation, add_expiring_site, fault


def test_unanswered_notice_goes_to_the_fallback_and_then_to_the_call_list(
    simulation: SiteSimulation,
) -> None:
    simulation.client("1", account_manager="Grace")
    with simulation.database.write(simulation.now) as tx:
        methods = ("email:deputy@client1.example", "phone:+49 30 1234567")
        contacts.add(tx, "1", {"name": "Deputy", "role": "technical"}, methods)
        contacts.edit(tx, "Owner of 1", {"fallback": "Deputy"})
    key = add_expiring_site(simulation, left=31)
    simulation.day()
    simulation.mark_sent()
    got = []
    for _ in range(16):
        outcome = simulation.day()
        got += [(d.person.name, i.label, i.step) for d, _ in outcome.drafts for i in d.items]
        simulation.mark_sent()
    assert ("Deputy", "30", "fallback") in got, "a week without an answer"
    assert ("Owner of 1", "14", "owner") in got
    assert ("Deputy", "14", "fallback") in got
    assert _calls(simulation)[0].phones == ("Deputy +49 30 1234567",)
    assert _calls(simulation)[0].manager == "Grace"
    with simulation.database.write(simulation.now) as tx:
        tickets.acknowledge(tx, [tickets.by_key(tx.conn, [key])[key].id], "Deputy")
    assert _calls(simulation) == []


def _calls(simulation: SiteSimulation) -> list[PhoneCall]:
    rules = simulation.rules
    with simulation.database.read() as conn:
        snapshot = Snapshot(simulation.now, rules.policy, rules.recipients(conn))
        return list(calls(tickets.listing(conn), notices.sent_about(conn), snapshot, rules.policy))


def test_undetermined_result_is_in_the_digest(simulation: SiteSimulation) -> None:
    simulation.staff()
    simulation.client("1")
    site = simulation.site("shop.example", "1")
    simulation.baseline()
    site.faults = {"scanner-error": fault("scanner-error", "undetermined", "staff")}
    simulation.day()
    outcome = simulation.day()
    assert any("scanner-error: shop.example, 1 endpoint(s)" in m.text for _, m in outcome.staff)


def test_critical_fault_of_an_unknown_actor_is_to_be_assigned_while_it_is_held_and_after_it(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", hosts=None, buys=None, renews=None)
    site = simulation.site("shop.example", "1")
    site.faults = {"not-tls": fault("not-tls", "critical", "staff")}
    simulation.baseline()
    for held in (True, False):
        (message,) = [m for _, m in simulation.day().staff if "Audit log" in m.text]
        assert "1 fault to assign" in message.subject
        to_assign, _, waiting = message.text.partition("Held until you release them")
        assert "- not-tls: shop.example; 1 Client 1" in to_assign
        assert "it is not known yet who has to act" in to_assign
        assert "finding assign not-tls --endpoint shop.example --by NAME" in to_assign
        assert ("shop.example" in waiting) is held
        with simulation.database.write(simulation.now) as tx:
            for ticket in tickets.listing(tx.conn, held=True):
                tickets.change(tx, ticket.id, released_at=tx.at)


def test_severe_fault_without_a_date_stands_before_what_ends_later(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", buys="us", renews="us")
    # A scan reports a certificate that ends in 15 days, and none that ends in 24.
    for days in (15, 24):
        site = simulation.site(f"in{days}.example", "1")
        site.serve(START - (90 - days) * DAY, 90 * DAY)
        if days == 15:
            site.faults = {"certificate-expiring": fault("certificate-expiring", "medium")}
    wrong = simulation.site("wrong.example", "1")
    wrong.faults = {"name-mismatch": fault("name-mismatch", "critical", "provider")}
    message = _digest(simulation)
    assert message.subject.startswith("[certmgr] 2 faults to assign (")
    faults, _, ahead = message.text.partition("Renewals ahead, to assign (1)")
    assert faults.index("wrong.example") < faults.index("in15.example")
    assert "in24.example" in ahead
    assert "in24.example" not in faults


def test_digest_names_host_client_and_time_and_gives_a_command_for_each_cause(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", buys="us", renews="us")
    simulation.client("2")
    shared = Leaf("cd" * 32, START - 398 * DAY, START - 2 * DAY)
    for i in range(8):
        simulation.site(f"n{i}.example", "1").leaves = {"192.0.2.1": shared}
    simulation.site("www.m\u00fcller.example".encode("idna").decode(), "2").serve(
        START - 393 * DAY, 398 * DAY
    )
    simulation.site("far.example", "2").serve(START - 300 * DAY, 398 * DAY)
    simulation.baseline()
    message = _digest(simulation)
    assert message.subject.startswith("[certmgr] 8 expired, 1 expires within a week (2026-03-0")
    lines = message.text.splitlines()
    expired = next(i for i, line in enumerate(lines) if "n0.example" in line)
    assert lines[expired] == (
        "- certificate-expired: n0.example and 7 more; 1 Client 1: expired on 2026-02-28, 3 days"
        " ago; it is our fault, and it is not assigned with a date"
    )
    assert lines[expired + 1] == (
        "  certmgr finding assign certificate-expired --cause n0.example --by NAME --until DATE"
    )
    soon = next(i for i, line in enumerate(lines) if "certificate-expiring: www.m" in line)
    assert lines[soon].endswith(
        "; 2 Client 2: expires on 2026-03-07, in 4 days; the client has to act"
    )
    assert lines[soon + 1] == "  certmgr domain show www.xn--mller-kva.example"
    assert "far.example" not in message.text
    held = next(i for i, line in enumerate(lines) if "held since" in line)
    assert lines[held] == (
        "- certificate-expiring: www.m\u00fcller.example; 2 Client 2: held since 2026-03-02"
    )
    assert lines[held + 1] == "  certmgr notice release www.xn--mller-kva.example"
    for command in (line.strip() for line in lines if line.startswith("  certmgr ")):
        assert "#" not in command
        assert shlex.split(command)[0] == "certmgr"


def test_subject_names_what_is_most_urgent_and_an_empty_digest_has_none(
    simulation: SiteSimulation,
) -> None:
    simulation.staff()
    simulation.client("1", buys="us", renews="us")
    site = simulation.site("shop.example", "1")
    site.serve(START, 398 * DAY)
    simulation.baseline()
    assert _digest(simulation).subject.startswith("[certmgr] Nothing for you (2026-03-0")
    site.faults = {"not-tls": fault("not-tls", "critical", "provider", reason="plain HTTP")}
    simulation.day()
    message = _digest(simulation)
    assert message.subject.startswith("[certmgr] 1 fault to assign (2026-03-0")
    assert "not-tls: shop.example; 1 Client 1: since " in message.text
    assert "certmgr finding assign not-tls --endpoint shop.example --by" in message.text


def test_certificate_of_automation_that_is_in_time_is_no_news() -> None:
    now = START

    def ends(in_days: float, lead: timedelta | None, reason: str = "") -> Topic:
        return Topic(
            key="cover:1:1",
            revision="r",
            client_id=1,
            client="1",
            domain_id=1,
            target=Target("short.example"),
            severity="high",
            actor="provider",
            code="certificate-expiring",
            opened=now,
            facts=CoverFacts(endpoint_id=1, server_id=None),
            schedule=ScheduledEnd(now + in_days * DAY, renewal_lead=lead),
            suppress_reason=reason,
        )

    reader = StaffReader(now, UTC, {})
    for topic, counted in (
        (ends(5, 2 * DAY), 0),  # renews two days before the end
        (ends(1.5, 2 * DAY), 1),  # and is late now
        (ends(5, None), 1),
        (ends(8, None), 0),
        (ends(5, None, "accepted"), 0),
    ):
        assert expiries([topic], {}, reader).soon_count == counted, topic


def _digest(simulation: SiteSimulation) -> Message:
    """Return the digest of the next day."""
    return [m for _, m in simulation.day().staff if m.reference == "digest"][-1]


def test_names_of_one_certificate_are_one_call_and_the_most_urgent_client_is_first(
    simulation: SiteSimulation,
) -> None:
    for number in ("1", "2"):
        simulation.client(number, account_manager=f"Manager {number}")
    shared = Leaf("ab" * 32, START - 385 * DAY, START + 25 * DAY)
    for i in range(8):
        site = simulation.site(f"n{i}.example", "1")
        site.leaves = {"192.0.2.1": shared}
    simulation.site("other.example", "2").serve(START - 390 * DAY, 403 * DAY)
    simulation.baseline()
    with simulation.database.write(simulation.now) as tx:
        for cause in {t.cause for t in tickets.listing(tx.conn, held=True)}:
            releases.add(tx, cause, 100, "Ada")
    simulation.days(12)
    found = _calls(simulation)
    assert [(c.client, len(c.hosts)) for c in found] == [("2", 1), ("1", 8)]
    assert [c.urgency for c in found] == ["ends in 1 day(s)", "ends in 13 day(s)"]
    assert [line.partition(":")[0][12:] for line in call_lines(found)] == [
        "client 2, Manager 2",
        "client 1, Manager 1",
    ]
    with simulation.database.write(simulation.now) as tx:
        same = tickets.of_same_reference(tx.conn, tickets.find(tx.conn, found[1].reference))
        tickets.acknowledge(tx, [t.id for t in same], "Owner of 1")
    assert [c.client for c in _calls(simulation)] == ["2"], "one acknowledgement for all names"
