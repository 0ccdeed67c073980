"""One lock for a switch and the reload that follows it.

It dies with its process, and no child ever has it.
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
class _Held:
    """Among threads of this process; the descriptor keeps other processes away while ``depth`` is
    above zero.
    """

    thread: threading.RLock = field(default_factory=threading.RLock)
    descriptor: int = -1
    depth: int = 0


_held: dict[str, _Held] = {}
_table = threading.Lock()


def _forget() -> None:
    """In a forked child: closing a copy leaves the parent's lock as it is, keeping it would make
    the lock outlive its holder.
    """
    global _table
    for state in _held.values():
        if state.descriptor >= 0:
            with suppress(OSError):
                os.close(state.descriptor)
    _held.clear()
    _table = threading.Lock()


os.register_at_fork(after_in_child=_forget)


@contextmanager
def alone(path: Path, seconds: float = 600.0) -> Iterator[None]:
    """Held by one thread of one process at a time; that thread may take it again.

    ``seconds``: how long to wait; then :class:`Busy`. Raises :class:`CertmgrError` where there can
    be no lock.
    """
    with _table:
        state = _held.setdefault(str(path.resolve()), _Held())
    end = time.monotonic() + seconds
    if not state.thread.acquire(timeout=seconds):
        raise _busy(path)
    try:
        if state.depth == 0:
            state.descriptor = _locked(path, end)
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


def _locked(path: Path, end: float) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        why = error.strerror or str(error)
        raise CertmgrError(
            f"The lock {path} cannot be taken", why, "Check the owner and the mode of its folder."
        ) from None
    try:
        while True:
            try:
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
        "it has not ended in time",
        "Run it again later.",
    )


# Most reload programs only send a signal. A switch right after it would let the server read one
# file of each version: nginx then keeps the old one, Apache ends.


def mark_reload(path: Path) -> None:
    """Record a reload. For the holder of the lock.

    The monotonic clock of Linux is the same for all processes since the start of the machine.
    """
    with suppress(OSError):  # a full disk: then the next switch waits for nothing
        path.write_text(f"{time.monotonic():.3f}")


def settle(path: Path, seconds: float) -> None:
    """Sleep until ``seconds`` have passed since the last reload. For the holder of the lock.

    Never longer than that: a mark from before the machine's last start may lie ahead.
    """
    with suppress(OSError, ValueError):
        left = float(path.read_text()[:40]) + seconds - time.monotonic()
        if left > 0:
            time.sleep(min(left, seconds))
