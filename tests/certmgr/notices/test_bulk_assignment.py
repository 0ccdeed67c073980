"""Assigning the faults of a server is work of staff, and mails no client unless asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.store import acceptance_ends, findings, servers
from inventory.vocabulary import FindingDecision
from tests import program
from tests.databases import open_sqlite
from tests.notifiers.sites import SiteSimulation, fault

CLIENTS = 12


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[SiteSimulation]:
    """Twelve clients with a site each on one server, which lost its virtual hosts."""
    simulation = SiteSimulation(open_sqlite(tmp_path / "simulation.db"))
    simulation.staff()
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1"})
    for n in range(CLIENTS):
        simulation.client(str(n))
        simulation.site(f"a{n}.example", str(n), server="web1")
    simulation.baseline()
    for site in simulation.sites.values():
        site.faults["not-tls"] = fault("not-tls", "critical", "provider")
    # The run that opens the faults is over: the guard against implausible runs has passed.
    assert simulation.day().drafts == []
    yield simulation
    simulation.database.close()


def assign(simulation: SiteSimulation, *options: str) -> str:
    path = str(simulation.database.engine.url.database)
    words = ("finding", "assign", "not-tls", "--by", "Ada", "--until", "2026-03-05", *options)
    ran = program.run(("--database", path, *words), lambda: simulation.now)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.mark.parametrize(
    "scope", [("--server", "web1"), ("--cause", "a3.example"), ("--everywhere",)]
)
def test_bulk_assignment_makes_no_client_due(lost: SiteSimulation, scope: tuple[str, ...]) -> None:
    assert "get no message; --inform-clients" in assign(lost, *scope)
    assert lost.notify().drafts == []
    assert lost.day().drafts == [], "nor on the next day"


def test_bulk_assignment_informs_clients_if_asked(lost: SiteSimulation) -> None:
    assign(lost, "--server", "web1", "--inform-clients")
    drafts = lost.notify().drafts
    assert len(drafts) == CLIENTS
    assert all(m.text.count("We are fixing it: Ada") == 1 for _, m in drafts)


def test_assignment_at_one_client_informs_that_client_only(lost: SiteSimulation) -> None:
    assert "--inform-clients" not in assign(lost, "--client", "3")
    assert [d.items[0].topic.client for d, _ in lost.notify().drafts] == ["3"]
    lost.mark_sent()
    assign(lost, "--client", "4", "--no-inform-clients")
    assert lost.day().drafts == []


def test_client_who_was_notified_of_the_fault_hears_that_it_is_assigned(
    lost: SiteSimulation,
) -> None:
    """The client was promised an update, so a bulk assignment is one for this client."""
    site = lost.sites["a3.example"]
    assign(lost, "--client", "3")
    assert len(lost.notify().drafts) == 1
    lost.mark_sent()
    with lost.database.write(lost.now) as tx:
        (first,) = findings.acceptances(tx.conn, kind=FindingDecision.ASSIGN)
        acceptance_ends.withdraw(tx, first.id)
    lost.advance(1)
    assign(lost, "--server", "web1", "--until", "2026-03-07")
    assert [d.items[0].topic.key for d, _ in lost.notify().drafts] == [site.fault_key("not-tls")]


def test_unassigned_critical_fault_of_unknown_actor_is_not_mailed_as_escalated_either(
    lost: SiteSimulation,
) -> None:
    """Confirmed faults without an actor are mailed as passed to level 2; assigned ones are not."""
    for site in lost.sites.values():
        site.faults = {"handshake-failed": fault("handshake-failed", "critical", "staff")}
    lost.scan()
    path = str(lost.database.engine.url.database)
    words = ("finding", "assign", "handshake-failed", "--by", "Ada", "--until", "2026-03-09")
    ran = program.run(("--database", path, *words, "--server", "web1"), lambda: lost.now)
    assert ran.code == 0, ran.err
    lost.day()
    assert lost.day().drafts == []
