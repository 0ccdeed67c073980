"""Many renewed lineages: a handful of reloads, and each lineage verified for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from certmgr.acme.deployment import deployment_batch
from certmgr.acme.deployment.deployment_batch import deploy_together
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from tests.campaign import wait_until
from tests.certmgr.acme.shop import AcmeEnvironment
from tests.databases import write_sqlite

COUNT = 4
NAMES = tuple(f"n{i}.shop.test" for i in range(COUNT))


def target(folder: Path, line: str = "") -> TargetSettings:
    """Return a target whose reload notes its lineages."""
    program = folder / "reload"
    program.write_text(f'#!/bin/sh\necho "$CERTMGR_LINEAGES" >>{folder}/calls\n{line}\n')
    program.chmod(0o755)
    return TargetSettings("reload", reload=(str(program),), settle=0.0)


def calls(folder: Path) -> list[list[str]]:
    return [sorted(line.split()) for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One database only: batches do not depend on its kind, and each test places several orders."""
    return write_sqlite(tmp_path / "inventory.db")


@pytest.fixture
def fleet(env: AcmeEnvironment, tmp_path: Path) -> AcmeEnvironment:
    """Lineages of the client 1001 on one server, without endpoints."""
    env.configure(targets={"web": target(tmp_path)})
    for name in NAMES:
        env.lineage("1001", [name], targets="web")
    return env


def states(env: AcmeEnvironment) -> set[str]:
    with env.database.read() as conn:
        return {row[0] for row in conn.exec_driver_sql("SELECT state FROM deployment").fetchall()}


def test_renewed_lineages_of_one_server_are_one_reload(
    fleet: AcmeEnvironment, tmp_path: Path
) -> None:
    progress: list[tuple[int, int]] = []
    runner = RenewalRunner(fleet.context, lambda done, total: progress.append((done, total)))
    summary = runner.run_due()
    assert dict(summary.counts) == {"placed": COUNT}, summary
    assert (summary.issued, summary.renewed) == (COUNT, COUNT)
    assert calls(tmp_path) == [sorted(NAMES)]
    assert progress[-1] == (COUNT, COUNT) and len(progress) == COUNT
    assert states(fleet) == {"done"}
    for name in NAMES:
        live = Lineage(fleet.context.base, name).read_current()
        assert live is not None and live.leaf.names == (name,)


def test_batches_have_a_bound_of_number_and_of_time(
    fleet: AcmeEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment_batch, "BATCH_SIZE", 2)
    assert RenewalRunner(fleet.context).run_due().renewed == COUNT
    assert len(calls(tmp_path)) <= COUNT / 2 and sum(map(len, calls(tmp_path))) == COUNT
    # Without patience each is deployed as soon as it is issued.
    (tmp_path / "calls").unlink()
    monkeypatch.setattr(deployment_batch, "BATCH_SIZE", 50)
    monkeypatch.setattr(deployment_batch, "BATCH_SECONDS", -1.0)
    fleet.configure(at_once=1)
    assert RenewalRunner(fleet.context).run_named(NAMES[:2]).renewed == 2
    assert calls(tmp_path) == [[NAMES[0]], [NAMES[1]]]


def test_failed_reload_rolls_its_batch_back_and_a_later_run_deploys_it(
    fleet: AcmeEnvironment, tmp_path: Path
) -> None:
    RenewalRunner(fleet.context).run_due()
    before = {n: Lineage(fleet.context.base, n).current() for n in NAMES}
    fleet.configure(targets={"web": target(tmp_path, f"test -e {tmp_path}/works")})
    summary = RenewalRunner(fleet.context).run_named(NAMES)
    assert summary.failed and dict(summary.counts) == {"failed": COUNT}, summary
    assert summary.issued == COUNT, "the certificates are there"
    assert {n: Lineage(fleet.context.base, n).current() for n in NAMES} == before
    assert "pending" in states(fleet) or "failed" in states(fleet)
    (tmp_path / "works").touch()
    with fleet.database.read() as conn:
        ids = [r[0] for r in conn.exec_driver_sql("SELECT id FROM lineage").fetchall()]
    with fleet.database.write() as tx:
        tx.conn.exec_driver_sql("UPDATE deployment SET next_at = 0")
    (tmp_path / "calls").unlink()
    results = deploy_together(fleet.context, ids)
    assert {r.state for r in results} == {"placed"} and len(results) == COUNT
    assert calls(tmp_path) == [sorted(NAMES)]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["version", "end", "deliver web"])
def test_run_that_dies_before_its_batch_leaves_the_deployment_to_the_next_run(
    fleet: AcmeEnvironment, tmp_path: Path, step: str
) -> None:
    def checkpoint(name: str) -> None:
        if name == step:
            raise Killed

    fleet.given = {"checkpoint": checkpoint}
    with pytest.raises(Killed):
        RenewalRunner(fleet.context).run_due()
    fleet.given = {}

    # Threads of the interrupted run may still hold a lineage, in contrast to those of a killed one.
    def complete() -> bool:
        RenewalRunner(fleet.context).run_due()
        return sorted(n for call in calls(tmp_path) for n in call) == sorted(NAMES)

    wait_until(complete, "each lineage is deployed once")
    assert states(fleet) == {"done"}
    for name in NAMES:
        assert len(Lineage(fleet.context.base, name).versions()) == 1


def test_lineage_that_another_process_holds_does_not_stop_its_batch(
    fleet: AcmeEnvironment, tmp_path: Path
) -> None:
    RenewalRunner(fleet.context).run_due()
    with fleet.database.read() as conn:
        ids = [r[0] for r in conn.exec_driver_sql("SELECT id FROM lineage").fetchall()]
    with fleet.context.lineage_lock(NAMES[2]):
        results = {r.lineage: r.state for r in deploy_together(fleet.context, ids)}
    assert results.pop(NAMES[2]) == "busy"
    assert set(results.values()) == {"placed"} and len(results) == COUNT - 1
