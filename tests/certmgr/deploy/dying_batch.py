"""A batch of deployments in children that are killed at each step.

Jobs of ``python -m tests.certmgr.deploy.forks tests.certmgr.deploy.dying_batch``.
"""

from __future__ import annotations

import signal
from pathlib import Path

from certmgr.config.acme import TargetSettings
from certmgr.deploy.batch import BatchMember, deploy_batch
from certmgr.deploy.lineage import Lineage
from tests.certmgr.deploy.forks import Child, die_at, without_sync
from tests.certmgr.deploy.rig import authority, leftovers, make_bundle, read_by_links

NAMES = ("a.example.com", "b.example.com", "c.example.com")
issuer = authority()
OLD, NEW = ([BatchMember(n, make_bundle(issuer.issue(n))) for n in NAMES] for _ in range(2))
TARGET = TargetSettings("reload", test=("/bin/true",), reload=("/bin/true",), settle=0.0)


def batch(folder: str, stride: int) -> int:
    """Kill a batch at every ``stride``-th step, complete it, and return the number of kills."""
    kills = 0
    for step in range(1, 5000, stride):
        base = Path(folder) / str(step) / "base"
        with without_sync():
            for one in OLD:
                lineage = Lineage(base, one.name)
                lineage.switch(lineage.store(one.bundle.key_pem, one.bundle.chain_der))

            def act() -> None:
                die_at(step)  # noqa: B023
                assert all(r.ok for r in deploy_batch(TARGET, NEW, base).values())  # noqa: B023

            ended_by = Child(act).ended_by()
            assert ended_by in (0, signal.SIGKILL), ended_by
            for old, new in zip(OLD, NEW, strict=True):
                found = read_by_links(base / "live" / old.name).sha256
                assert found in (old.bundle.sha256, new.bundle.sha256)
            # The next run repeats it, in a batch or alone.
            for part in (NEW, NEW[:1]):
                assert all(r.ok for r in deploy_batch(TARGET, part, base).values())
        for new in NEW:
            assert read_by_links(base / "live" / new.name).sha256 == new.bundle.sha256
            assert len(Lineage(base, new.name).versions()) == 2
        assert leftovers(base) == []
        kills += bool(ended_by)
        if not ended_by:
            break
    return kills


JOBS = {"batch": batch}
