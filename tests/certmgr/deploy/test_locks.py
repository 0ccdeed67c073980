"""One lock for a switch and the reload after it."""

from __future__ import annotations

from threading import Thread

from certmgr.demo.authority import Authority
from certmgr.deploy.lineage import Lineage
from inventory.errors import Busy
from tests.certmgr.deploy.forks import Forks
from tests.certmgr.deploy.rig import NAME, stored


def test_lock_that_is_held_is_free_for_its_holder_alone(
    lineage: Lineage, issuer: Authority, forks: Forks
) -> None:
    """Neither another thread nor another process gets it, by the name of any lineage."""
    stored(lineage, issuer.issue(NAME))
    failures: list[Exception] = []

    def wait() -> None:
        try:
            with lineage.lock(0.1):
                pass
        except Busy as error:
            failures.append(error)

    with lineage.lock(), lineage.lock():
        thread = Thread(target=wait)
        thread.start()
        thread.join()
        assert len(failures) == 1
        assert forks.call("lock", base=str(lineage.base), name="other") == "busy"
    assert forks.call("lock", base=str(lineage.base), name="other") == "free"


def test_forked_child_neither_has_the_lock_nor_keeps_it(
    lineage: Lineage, issuer: Authority, forks: Forks
) -> None:
    stored(lineage, issuer.issue(NAME))
    assert forks.call("lock of a parent", base=str(lineage.base)) == "busy"
