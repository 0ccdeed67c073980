"""Progress on standard error, in one line that is drawn again, on a terminal only.

In the mail of cron and in a pipe, the control characters of such a line would be noise.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import click

# Five updates per second are enough.
REDRAW_SECONDS = 0.2
# What takes less time than this shows no progress.
QUIET_SECONDS = 1.0


@dataclass
class ProgressLine:
    """One line of progress.

    Attributes:
        on: Whether standard error is a terminal.
        timer: Measures the time between two updates.
    """

    on: bool = field(default_factory=lambda: sys.stderr.isatty())
    timer: Callable[[], float] = time.monotonic
    _since: float = 0.0
    _drawn_at: float = 0.0
    _what: str = ""
    _width: int = 0

    def counted(self, what: str, done: int, planned: int, waits_for: str = "") -> None:
        """Draw how much of a piece of work is done, its rate and the remaining time.

        Args:
            what: What is counted, such as "scan".
            done: The number that is done.
            planned: The number that is planned; 0 if it is unknown.
            waits_for: What limits the speed, in a few words.
        """
        now = self.timer()
        if what != self._what:
            # Another piece of work has another rate, so its clock starts anew.
            self._what, self._since, self._drawn_at = what, now, 0.0
        # The last update is always drawn.
        if not self.on or (now - self._drawn_at < REDRAW_SECONDS and not 0 < planned <= done):
            return
        self._drawn_at = now
        self._draw(f"{what}: {_counts(done, planned, now - self._since)}", waits_for)

    def text(self, text: str) -> None:
        """Draw a text."""
        if self.on:
            self._draw(text, "")

    def end(self) -> None:
        """Clear the line."""
        if self.on and self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width = 0

    def _draw(self, text: str, waits_for: str) -> None:
        # A character in the last column makes some terminals begin a new line.
        columns = shutil.get_terminal_size().columns - 1
        whole = f"{text}; {waits_for}" if waits_for else text
        # What limits the speed is dropped first if the terminal is narrow.
        line = (whole if len(whole) <= columns else text)[:columns]
        # The blanks at the end overwrite what is left of a longer line before.
        click.echo("\r" + line.ljust(min(self._width, columns)), nl=False, err=True)
        self._width = len(line)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Draw what the block waits for, and since when. Not for work that starts processes."""
        ended, start = threading.Event(), self.timer()

        def draw() -> None:
            pause = QUIET_SECONDS
            while not ended.wait(pause):
                self.text(f"{what} ... {self.timer() - start:.0f} s")
                pause = 1.0

        if not self.on:
            yield
            return
        thread = threading.Thread(target=draw, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            # The thread is joined before the line is cleared, or it could draw once more after
            # that.
            thread.join()
            self.end()


def _counts(done: int, planned: int, seconds: float) -> str:
    if not planned:
        return f"{done:,}"
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{done:,} of {planned:,} ({100 * done // planned}%)"
    if not rate or done >= planned:
        return text
    speed = f"{rate:,.0f}/s" if rate >= 1 else f"{60 * rate:,.0f}/min"
    return f"{text}, {speed}, {(planned - done) / rate:,.0f} s left"


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """Open a line of progress, and clear it at the end."""
    line = ProgressLine()
    try:
        yield line
    finally:
        line.end()
