"""Migrations that are killed at some of their steps: ``python -m ...`` reads lines ``KILLS URL``.

A step is a statement of the migration, or its commit. The first kill is just before the commit, and
the others are spread over the steps before it. Each kill happens in a fork. For each, its signal,
its step, the number of steps, and the revision of the database afterwards are printed; an empty
line ends the answer. One process serves all databases, since importing takes longer than migrating.
"""

from __future__ import annotations

import os
import signal
import sys

from sqlalchemy import event

from inventory.db import maintenance
from inventory.db.database import make_engine, version


def _migrate(url: str, last: int | None, report: int) -> None:
    """Migrate until SIGKILL ends this process before step ``last``, or before the commit."""
    engine = make_engine(url)
    done = 0

    def step(*, commit: bool) -> None:
        nonlocal done
        done += 1
        if done == last or (last is None and commit):
            os.write(report, str(done).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(engine, "before_cursor_execute")
    def _statement(*_args: object) -> None:
        step(commit=False)

    @event.listens_for(engine, "commit")
    def _commit(_conn: object) -> None:
        step(commit=True)

    maintenance.migrate(engine)


def _killed(url: str, last: int | None) -> tuple[int, int]:
    """Run one migration in a child process; return the signal that ended it, and its steps."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _migrate(url, last, writer)
        finally:
            os._exit(1)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    steps = int(os.read(reader, 20) or b"0")
    os.close(reader)
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0), steps


def main(url: str, kills: int) -> None:
    """Kill ``kills`` migrations of the database, at most one per step."""
    planned: list[int | None] = [None]
    total = 0
    while planned:
        ended_by, steps = _killed(url, planned.pop(0))
        if not total:
            total, others = steps, min(kills, steps) - 1
            planned = [max(1, total * n // (others + 1)) for n in range(1, others + 1)]
        engine = make_engine(url)
        print(ended_by, steps, total, version(engine))
        engine.dispose()


if __name__ == "__main__":
    for line in sys.stdin:
        count, _, place = line.strip().partition(" ")
        main(place, int(count))
        print(flush=True)
