"""The findings of doctor about ACME."""

from __future__ import annotations

from certmgr.acme import health
from certmgr.config.context import Context
from certmgr.x509.key_store import local_path
from inventory.clock import system_clock
from tests.certmgr.acme.shop import AcmeEnvironment


def test_readable_key_and_missing_solver_and_target_are_faults(env: AcmeEnvironment) -> None:
    assert list(health.examine(Context(env.database, env.settings, system_clock))) == []
    env.lineage("1001", ["shop.test"], targets="gone", solver="lost")
    local_path(env.context.account(1).key_reference).chmod(0o644)
    found = [
        what
        for state, what, _ in health.examine(Context(env.database, env.settings, system_clock))
        if state == "fault"
    ]
    assert any("Other users can read" in w for w in found)
    assert any("no [acme.solver.lost]" in w for w in found) and any(
        "no [acme.target.gone]" in w for w in found
    )
