"""What doctor finds about ACME."""

from __future__ import annotations

from certmgr.acme import health
from certmgr.x509.key_store import local_path
from inventory.clock import system_clock
from tests.certmgr.acme.shop import Shop


def test_readable_key_and_missing_solver_and_target_are_faults(place: Shop) -> None:
    assert list(health.examine(place.database, place.settings, system_clock())) == []
    place.lineage("1001", ["shop.test"], targets="gone", solver="lost")
    local_path(place.office.account(1)["key_reference"]).chmod(0o644)
    found = [
        what
        for state, what, _ in health.examine(place.database, place.settings, system_clock())
        if state == "fault"
    ]
    assert any("can be read by others" in w for w in found)
    assert any("no [acme.solver.lost]" in w for w in found) and any(
        "no [acme.target.gone]" in w for w in found
    )
