"""How long work ends early: by Ctrl-C, by SIGTERM, or because its time budget has ended.

All three reach the work as ``KeyboardInterrupt``, which every part of the program lets through:
transactions are rolled back, sockets are closed, and what was committed stays. asyncio handles it
too, if it comes from SIGINT; so the other signals raise SIGINT.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# An interrupt may be lost in a library. It is repeated until the part of the work has ended.
REPEAT_SECONDS = 60.0
# How often a wait in a thread sees that it is stopped.
POLL_SECONDS = 0.5
# 128 plus SIGINT (2) and SIGTERM (15).
INTERRUPTED, TERMINATED = 130, 143


@dataclass(slots=True)
class StopState:
    """Why the work was interrupted.

    Attributes:
        terminated: Whether SIGTERM was received, or a worker is stopped.
        late: Whether the time budget of the current part has ended.
    """

    terminated: bool = False
    late: bool = False

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal, as shells report it."""
        return TERMINATED if self.terminated else INTERRUPTED

    def on_terminate(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGTERM."""
        # Raised as SIGINT, the only signal that asyncio turns into an orderly end.
        self.terminated = True
        signal.raise_signal(signal.SIGINT)

    def on_alarm(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGALRM."""
        self.late = True
        signal.raise_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Sleep in any thread.

        Raises:
            KeyboardInterrupt: The work is stopped. Only the main thread is interrupted by a signal
                itself.
        """
        end = time.monotonic() + seconds
        while not self.terminated and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL_SECONDS))
        if self.terminated:
            raise KeyboardInterrupt

    @contextmanager
    def budget(self, seconds: float) -> Iterator[None]:
        """Interrupt the block after a number of seconds; 0: never. ``late`` shows it.

        Blocks are not nested. Outside of the main thread there is no budget.
        """
        self.late = False
        if not seconds or not _in_main_thread():
            yield
            return
        # A timer of the system also interrupts a library that blocks in a system call.
        before = signal.signal(signal.SIGALRM, self.on_alarm)
        interrupt = signal.getsignal(signal.SIGINT)
        # A background job of a shell starts with SIGINT ignored, and so would the budget be.
        if interrupt == signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
        try:
            yield
        finally:
            # First the timer, then the handler: an alarm in between must not meet the default
            # action, which ends the process.
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            if interrupt == signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_main_thread() -> bool:
    """Return whether this thread may set handlers of signals."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def stoppable() -> Iterator[StopState]:
    """Let SIGTERM, which a service manager sends, end the block like Ctrl-C.

    SIGINT also works if the shell started the process with SIGINT ignored.
    """
    state = StopState()
    if not _in_main_thread():
        yield state
        return
    # SIGINT is ignored in background jobs of a shell, so its handler is installed explicitly.
    before = signal.signal(signal.SIGTERM, state.on_terminate)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield state
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
