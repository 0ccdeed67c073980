"""Results that are computed once per run of the suite, and not once per worker."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def once_per_run(factory: pytest.TempPathFactory, name: str, compute: Callable[[], T]) -> T:
    """Return what ``compute`` returns, which one worker calls while the others wait for it.

    Args:
        factory: Its base folder belongs to this run alone.
        name: A file name for the result, which must be picklable.
        compute: Called by the first worker that asks. If it fails, the next worker calls it.
            The other workers find its parts by keys of their own: build keys from names and
            constants only, not from a time, a random value or the order of a set.
    """
    base = factory.getbasetemp()
    # Each worker of pytest-xdist has a folder below that of the run.
    folder: Path = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    path = folder / f"{name}.pickle"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            found: T = pickle.loads(path.read_bytes())
            return found
        result = compute()
        path.write_bytes(pickle.dumps(result))
        return result
