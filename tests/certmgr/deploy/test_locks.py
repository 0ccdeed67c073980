"""One lock for a switch and the reload after it."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread

import pytest

from certmgr.demo.authority import Authority
from certmgr.deploy import locks
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


def test_time_of_a_reload_is_not_written_through_a_link_that_replaced_the_lock(
    tmp_path: Path,
) -> None:
    lock, other = tmp_path / "lock", tmp_path / "other"
    other.write_text("unchanged")
    with locks.exclusive_lock(lock):
        lock.unlink()
        lock.symlink_to(other)
        locks.record_reload(lock)
    assert other.read_text() == "unchanged"


def test_switch_waits_after_the_reload_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    lock = tmp_path / "lock"
    with locks.exclusive_lock(lock):
        locks.record_reload(lock)
    with locks.exclusive_lock(lock):
        locks.wait_after_reload(lock, 1000.0)
    (seconds,) = waits
    assert 0 < seconds <= 1000
