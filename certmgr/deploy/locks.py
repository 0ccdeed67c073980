"""A file lock for a switch and the reload that follows it.

The kernel releases it when its process ends. Child processes never inherit it.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from inventory.errors import Busy, CertmgrError


@dataclass(slots=True)
class _LockState:
    """The state of one lock in this process.

    Attributes:
        thread: Excludes the other threads of this process.
        descriptor: Excludes other processes while ``depth`` is above zero.
        depth: How many times the holder has acquired the lock.
    """

    thread: threading.RLock = field(default_factory=threading.RLock)
    descriptor: int = -1
    depth: int = 0


# One state per file for the whole process: flock() would let a second descriptor of the same
# process wait for itself.
_states: dict[str, _LockState] = {}
_table = threading.Lock()


def _close_inherited_locks() -> None:
    """Close the copies of the locks in a forked child.

    The parent's lock is not affected. With an open copy, the lock would outlive its holder.
    """
    global _table
    for state in _states.values():
        if state.descriptor >= 0:
            with suppress(OSError):
                os.close(state.descriptor)
    _states.clear()
    _table = threading.Lock()


os.register_at_fork(after_in_child=_close_inherited_locks)


@contextmanager
def exclusive_lock(path: Path, seconds: float = 600.0) -> Iterator[None]:
    """Hold a lock, which one thread of one process can have at a time.

    The holder may acquire it again.

    Args:
        path: The lock file.
        seconds: How long to wait.

    Raises:
        Busy: The lock was not free in time.
        CertmgrError: The lock file cannot be created.
    """
    with _table:
        state = _states.setdefault(_key(path), _LockState())
    # The threads of a process share one descriptor, so that they compete for the RLock first.
    end = time.monotonic() + seconds
    if not state.thread.acquire(timeout=seconds):
        raise _busy(path)
    try:
        if state.depth == 0:
            state.descriptor = _open_locked(path, end)
        state.depth += 1
        try:
            yield
        finally:
            state.depth -= 1
            if state.depth == 0:
                os.close(state.descriptor)
                state.descriptor = -1
    finally:
        state.thread.release()


def _open_locked(path: Path, end: float) -> int:
    """Lock a file exclusively and return its descriptor. ``end``: on the monotonic clock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = error.strerror or str(error)
        raise CertmgrError(
            f"The lock file {path} cannot be opened",
            why,
            "Check the owner and the mode of its folder.",
        ) from None
    try:
        while True:
            try:
                # Non-blocking, because a blocking flock() has no time limit.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > end:
                    raise _busy(path) from None
                time.sleep(0.02)
    except BaseException:
        os.close(descriptor)
        raise


def _busy(path: Path) -> Busy:
    return Busy(
        f"Another process is switching certificates ({path})",
        "it did not finish in time",
        "Run the command again later.",
    )


# Most reload programs only send a signal, and the server reads its files later. With a switch in
# between it would read one file of each version: nginx then keeps the old pair, Apache ends.


def record_reload(path: Path) -> None:
    """Record the time of a reload. The caller holds the lock.

    On Linux, the monotonic clock is the same for all processes since the start of the machine.
    """
    # The opened file: another one may have the name by now.
    descriptor = _held(path)
    with suppress(OSError):  # on a full disk the next switch does not wait
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{time.monotonic():.3f}".encode(), 0)


def wait_after_reload(path: Path, seconds: float) -> None:
    """Sleep until ``seconds`` have passed since the last reload. The caller holds the lock.

    The sleep is limited to ``seconds``: a time from before the last boot may be in the future.
    """
    with suppress(OSError, ValueError):
        left = float(os.pread(_held(path), 40, 0)) + seconds - time.monotonic()
        if left > 0:
            time.sleep(min(left, seconds))


def _held(path: Path) -> int:
    """Return the descriptor of a lock that this process holds."""
    with _table:
        state = _states.get(_key(path))
    return -1 if state is None else state.descriptor


def _key(path: Path) -> str:
    # The file itself is never a link.
    return str(path.parent.resolve() / path.name)
