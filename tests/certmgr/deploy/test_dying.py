"""A crash at every step: one of the two versions is live and complete, and the next call completes
the work. In addition, the order in which the steps become durable.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaign import Campaign
from tests.certmgr.deploy.dying import SCENARIOS
from tests.certmgr.deploy.forks import Forks


@pytest.mark.campaign
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_crash_at_any_step_leaves_one_complete_version_and_next_call_completes(
    forks: Forks, campaign: Campaign, memory: Path, scenario: str
) -> None:
    rounds = campaign.size("rounds of a crash at every step", 1, 5)
    for number in range(rounds):
        (memory / str(number)).mkdir()
        deaths = forks.call("deaths", folder=str(memory / str(number)), scenario=scenario)
        assert deaths >= 15, "it has that many steps at least"
    campaign.report("crashes per round", deaths)


def test_each_step_is_durable_before_the_next_step_needs_it(forks: Forks, tmp_path: Path) -> None:
    found = forks.call("steps", folder=str(tmp_path))
    store, switch = found["store"], found["switch"]
    is_named = f"-> {found['version']}"
    rename = next(
        i for i, (what, of) in enumerate(store) if what == "rename" and of.endswith(is_named)
    )
    temporary = store[rename][1].split(" ")[0]
    for name in ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem"):
        made, written, synced = (store.index([w, name]) for w in ("fchmod", "write", "fsync"))
        assert made < written < synced < rename
    last_file = max(i for i, (_, of) in enumerate(store) if of.endswith(".pem"))
    assert last_file < store.index(["fsync", temporary]) < rename
    assert store[rename + 1] == ["fsync", "shop.example.com"], "the folder above keeps the name"
    last = [i for i, (what, _) in enumerate(switch) if what == "rename"][-1]
    assert switch[last][1].endswith("-> current")
    assert switch[last + 1] == ["fsync", "shop.example.com"]
