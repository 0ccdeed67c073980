"""A kill at every step: what is live is one of the two versions, whole, and the next call completes. And the order in which things become durable."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.certmgr.deploy.dying import SCENARIOS

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_death_at_any_step_leaves_one_version_whole(tmp_path: Path, scenario: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.certmgr.deploy.dying", str(tmp_path), scenario],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["deaths"] >= 15, "there are that many steps at least"


ORDER = """
import os, sys
from pathlib import Path
from certmgr.deploy.lineage import Lineage
from tests.certmgr.deploy import dying
from tests.certmgr.deploy.rig import NAME, stored
base = Path(sys.argv[1])
lineage = Lineage(base, NAME)
lineage.switch(stored(lineage, dying.OLD))
names, real_open = {}, os.open
def opened(path, *arguments, **named):
    handle = real_open(path, *arguments, **named)
    names[handle] = os.path.basename(str(path))
    return handle
def told(name):
    real = getattr(os, name)
    def call(first, *arguments, **named):
        what = names.get(first, "?") if isinstance(first, int) else os.path.basename(str(first)) + (" -> " + os.path.basename(str(arguments[0])) if name == "rename" else "")
        print(name, what)
        return real(first, *arguments, **named)
    setattr(os, name, call)
os.open = opened
for name in ("fsync", "rename", "fchmod", "write"):
    told(name)
version = stored(lineage, dying.NEW)
print("stored", version.name)
lineage.switch(version)
"""


def test_each_step_is_durable_before_the_next_needs_it(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ORDER, str(tmp_path / "base")], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = [line.split(" ", 1) for line in done.stdout.splitlines()]
    store, switch = steps[: [s[0] for s in steps].index("stored")], steps[[s[0] for s in steps].index("stored") + 1 :]
    version = steps[len(store)][1]
    rename = next(i for i, (what, of) in enumerate(store) if what == "rename" and of.endswith(f"-> {version}"))
    temporary = store[rename][1].split(" ")[0]
    for name in ("privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "combined.pem"):
        assert store.index(["fchmod", name]) < store.index(["write", name]) < store.index(["fsync", name]) < rename
    assert max(i for i, s in enumerate(store) if s[1].endswith(".pem")) < store.index(["fsync", temporary]) < rename
    assert store[rename + 1] == ["fsync", "shop.example.com"], "the folder above, so that the name is durable"
    last = [i for i, s in enumerate(switch) if s[0] == "rename"][-1]
    assert switch[last][1].endswith("-> current")
    assert switch[last + 1] == ["fsync", "shop.example.com"]
