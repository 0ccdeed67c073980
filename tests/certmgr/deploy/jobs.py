"""Jobs of these tests that run in a process with one thread (forks.py)."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from certmgr.deploy.lineage import Lineage
from certmgr.x509.bundle import build_bundle
from inventory.certificates import from_pem
from inventory.errors import Busy, CertmgrError
from tests.campaign import PATIENCE, wait_until
from tests.certmgr.deploy import dying
from tests.certmgr.deploy.forks import Child
from tests.certmgr.deploy.rig import NAME


def lock(base: str, name: str) -> str:
    """Try to acquire the lock of a folder, and return whether it is free."""
    try:
        with Lineage(Path(base), name).lock(0.1):
            return "free"
    except Busy:
        return "busy"


def lock_of_a_parent(base: str) -> str:
    """Fork while the lock is held. Return whether the child finds it free.

    Afterwards this process releases the lock and acquires it again, while the child still runs.
    """
    lineage = Lineage(Path(base), NAME)
    answered, answer = os.pipe()
    released, release = os.pipe()

    def find() -> str:
        found = lock(base, NAME)
        os.write(answer, found.encode())
        os.read(released, 1)  # the child still runs
        return found

    with lineage.lock():
        child = Child(find)
        os.close(answer)
        os.read(answered, 10)
    with lineage.lock(5):
        pass
    os.write(release, b"x")
    for descriptor in (answered, released, release):
        os.close(descriptor)
    return str(child.result())


def limited(base: str, key: str, chain: list[str], limit: int) -> Any:
    """Store and switch while no file may exceed ``limit`` bytes, and return the error.

    It runs in a child, since the limit applies to a process.
    """

    def store_and_switch() -> list[str]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        lineage = Lineage(Path(base), NAME)
        try:
            lineage.switch(lineage.store(key.encode(), [bytes.fromhex(c) for c in chain]))
        except CertmgrError as error:
            return [error.what, error.why, error.todo]
        return ["no error"]

    return Child(store_and_switch).result()


_BURST = 10


class Counts:
    """Numbers that this process and its children share."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, 8 * count)

    def __getitem__(self, index: int) -> int:
        return int.from_bytes(self._memory[8 * index : 8 * index + 8], "little")

    def __setitem__(self, index: int, value: int) -> None:
        self._memory[8 * index : 8 * index + 8] = value.to_bytes(8, "little")


def _read_combined(lineage: Lineage, known: dict[bytes, str]) -> str:
    data = (lineage.live / "combined.pem").read_bytes()
    if data not in known:
        key = data[: data.index(b"-----BEGIN CERT")]
        known[data] = build_bundle(key, [c.der for c in from_pem(data)]).sha256
    return known[data]


def _read_folder(lineage: Lineage, known: dict[bytes, str]) -> str:
    current = lineage.read_current()
    assert current is not None
    return current.sha256


_READERS = {"combined": _read_combined, "folder": _read_folder}
_STOP = len(_READERS)


def _reads(lineage: Lineage, how: str, index: int, counts: Counts) -> dict[str, Any]:
    known: dict[bytes, str] = {}
    seen: set[str] = set()
    failures: list[str] = []
    while not counts[_STOP]:
        signal.alarm(int(PATIENCE))
        try:
            seen.add(_READERS[how](lineage, known))
        except Exception:
            failures.append(traceback.format_exc())
        counts[index] += 1
    return {"reads": counts[index], "failures": failures, "seen": sorted(seen)}


def switches_under_readers(base: str, switches: int) -> Any:
    """Switch between versions while one process reads the combined file and one the folder.

    Return the reads, the failures and the observed versions of each process.
    """
    lineage = Lineage(Path(base), NAME)
    versions = lineage.versions()
    lineage.switch(versions[0])
    counts = Counts(len(_READERS) + 1)
    children = {
        how: Child(partial(_reads, lineage, how, index, counts))
        for index, how in enumerate(_READERS)
    }
    try:
        for n in range(switches):
            lineage.switch(versions[n % len(versions)])
            if n % _BURST == 0:  # each reader reads between switches, however busy the machine is
                _wait_for_reads(counts, 3)
    finally:
        counts[_STOP] = 1
    return {how: child.result() for how, child in children.items()}


def _wait_for_reads(counts: Counts, more: int) -> None:
    wanted = [counts[index] + more for index in range(len(_READERS))]
    wait_until(
        lambda: all(counts[index] >= count for index, count in enumerate(wanted)),
        f"{more} reads of each reader",
    )


JOBS = {
    "deaths": dying.deaths,
    "steps": dying.steps,
    "lock": lock,
    "lock of a parent": lock_of_a_parent,
    "limited": limited,
    "switches under readers": switches_under_readers,
}
