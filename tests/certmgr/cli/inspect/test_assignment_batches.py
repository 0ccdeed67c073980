"""What one command assigned or accepted in bulk, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory.store import servers
from tests import program
from tests.databases import open_sqlite
from tests.notifiers.sites import SiteSimulation, fault
from tests.program import Ran

CODE = "not-tls"


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[SiteSimulation]:
    """Three clients with a faulty site each on one server, and one whose site is healthy."""
    simulation = SiteSimulation(open_sqlite(tmp_path / "simulation.db"))
    with simulation.database.write(simulation.now) as tx:
        servers.add(tx, {"name": "web1"})
    for n in range(4):
        simulation.client(str(n))
        site = simulation.site(f"a{n}.example", str(n), server="web1")
        if n < 3:
            site.faults[CODE] = fault(CODE, "critical", "provider")
    simulation.scan()
    yield simulation
    simulation.database.close()


def run(simulation: SiteSimulation, *words: str, expect: int = 0) -> Ran:
    path = str(simulation.database.engine.url.database)
    ran = program.run(("--database", path, *words), lambda: simulation.now)
    assert ran.code == expect, (ran.out, ran.err)
    return ran


def assign(simulation: SiteSimulation, by: str, *scope: str, until: str = "2026-03-09") -> str:
    return run(simulation, "finding", "assign", CODE, "--by", by, "--until", until, *scope).out


def assignees(simulation: SiteSimulation) -> dict[str, str]:
    """Return host -> who fixes its fault, as the list of assignments states it."""
    listed = run(simulation, "finding", "list", "--assigned", "--format", "json").json
    return {a["target"].partition(":")[0]: a["by"] for a in listed["acceptances"]}


def of_causes(simulation: SiteSimulation) -> set[str]:
    """Return who fixes the faults, as the causes state it."""
    ran = run(simulation, "status", "--causes", "--format", "json", expect=1)
    return {a["by"] for c in ran.json["causes"] for a in c["assigned"]}


def rescan(simulation: SiteSimulation, **faulty: bool) -> None:
    """Let an hour pass, and scan with other faults at some sites."""
    simulation.advance(hours=1)
    for name, is_faulty in faulty.items():
        site = simulation.sites[f"{name}.example"]
        site.faults = {CODE: fault(CODE, "critical", "provider")} if is_faulty else {}
    simulation.scan()


def test_fault_that_is_found_later_on_the_server_is_assigned_to_nobody(
    lost: SiteSimulation,
) -> None:
    assert "Assignments 1 to 3, for 3 endpoints" in assign(lost, "Ada", "--server", "web1")
    rescan(lost, a3=True)
    assert set(assignees(lost)) == {"a0.example", "a1.example", "a2.example"}
    for scope in (("--client", "1"), ("--domain", "a1.example")):
        words = ("finding", "list", "--assigned", *scope, "--format", "json")
        (one,) = run(lost, *words).json["acceptances"]
        assert one["target"] == "a1.example:443"


def test_fault_that_was_fixed_and_came_back_is_another_one(lost: SiteSimulation) -> None:
    assign(lost, "Ada", "--server", "web1")
    rescan(lost, a1=False)
    rescan(lost, a1=True)
    assert set(assignees(lost)) == {"a0.example", "a2.example"}
    # The past shows what was in force then.
    ran = run(
        lost, "status", "--causes", "--as-of", "2026-03-02T10:30", "--format", "json", expect=1
    )
    (cause,) = ran.json["causes"]
    assert (cause["endpoints"], [a["by"] for a in cause["assigned"]]) == (3, ["Ada"])


def test_fault_that_no_scan_could_disprove_stays_assigned(lost: SiteSimulation) -> None:
    assign(lost, "Ada", "--server", "web1")
    lost.sites["a1.example"].blind = True
    rescan(lost)
    lost.scan(state="suspect")
    assert set(assignees(lost)) == {"a0.example", "a1.example", "a2.example"}


@pytest.mark.parametrize("scope", [("--endpoint", "a1.example"), ("--client", "1")])
def test_place_that_was_named_keeps_its_assignee(
    lost: SiteSimulation, scope: tuple[str, ...]
) -> None:
    """Who assigns a place, and not the faults of now, assigns what is found there later."""
    assign(lost, "Ada", *scope)
    rescan(lost, a1=False)
    rescan(lost, a1=True)
    assert of_causes(lost) == {"Ada"}


def test_withdrawal_of_all_covers_what_the_command_assigned(lost: SiteSimulation) -> None:
    assign(lost, "Ada", "--server", "web1")
    assign(lost, "Eve", "--client", "3")
    assert "3 were withdrawn" in run(lost, "finding", "withdraw", "2", "--all").out
    listed = run(lost, "finding", "list", "--assigned", "--format", "json").json["acceptances"]
    assert [(a["by"], a["client"]) for a in listed] == [("Eve", "3")]
    assert of_causes(lost) == set()
    # That one is found by the client whose site it is about, as those of a batch are.
    for number, found in (("1", 0), ("3", 1)):
        words = ("finding", "list", "--assigned", "--client", number, "--format", "json")
        assert len(run(lost, *words).json["acceptances"]) == found
    # Nothing is left to withdraw, and an assignment of its own is not a batch.
    assert "in force" in run(lost, "finding", "withdraw", "2", "--all", expect=2).err
    assert "was recorded alone" in run(lost, "finding", "withdraw", "4", "--all", expect=2).err
    assert "in force" in run(lost, "finding", "withdraw", "99", "--all", expect=2).err


def test_withdrawal_of_one_leaves_the_others_of_its_batch(lost: SiteSimulation) -> None:
    assign(lost, "Ada", "--cause", "a1.example")
    assert "2 was withdrawn" in run(lost, "finding", "withdraw", "2").out
    assert set(assignees(lost)) == {"a0.example", "a2.example"}
    # Its number still names the batch.
    assert "2 were withdrawn" in run(lost, "finding", "withdraw", "2", "--all").out


def test_second_bulk_assignment_takes_over_the_faults_that_both_select(
    lost: SiteSimulation,
) -> None:
    assign(lost, "Ada", "--server", "web1", until="2026-03-20")
    rescan(lost, a0=False, a3=True)
    assign(lost, "Bob", "--server", "web1")
    assert assignees(lost) == {"a1.example": "Bob", "a2.example": "Bob", "a3.example": "Bob"}
    assert of_causes(lost) == {"Bob"}
    # Ada was relieved of them: they do not come back to her.
    run(lost, "finding", "withdraw", "4", "--all")
    assert assignees(lost) == {}


def test_narrow_assignment_counts_before_a_wide_one(lost: SiteSimulation) -> None:
    assign(lost, "Ada", "--endpoint", "a1.example")
    assign(lost, "Bob", "--everywhere", until="2026-03-20")
    assert of_causes(lost) == {"Ada", "Bob"}
    # Her date has passed and his has not, so he is the one who fixes it.
    lost.now += lost.now.replace(day=10) - lost.now
    lost.scan()
    assert of_causes(lost) == {"Bob"}


def test_accepted_faults_stay_accepted_until_their_date_and_end_together(
    lost: SiteSimulation,
) -> None:
    """A fault that comes and goes must not alarm each time: its place was accepted."""
    words = ("finding", "accept", CODE, "--until", "2026-03-09", "--reason", "moves")
    assert "withdraw 1 --all" in run(lost, *words, "--server", "web1").out
    rescan(lost, a1=False)
    rescan(lost, a1=True)
    assert run(lost, "status", "--format", "json").json["summary"]["fault"] == 0
    run(lost, "finding", "withdraw", "3", "--all")
    assert run(lost, "status", "--format", "json", expect=1).json["summary"]["fault"] == 3
