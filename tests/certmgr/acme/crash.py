"""Renewal of a lineage in child processes that end with SIGKILL before their N-th checkpoint.

``python -m tests.certmgr.acme.crash`` reads lines of JSON: the file of a pickled configuration
and database URL, the lineage, a number (0: the child is not killed), and the seconds by which its
clock is ahead. It answers each with a line of JSON: the child's exit code, its checkpoints, and the
summary of its run. With a clock that is ahead a pause moves the clock, and is a checkpoint as well.

The process has one thread, because a fork copies locks that other threads hold. It has imported all
modules, and completes the first renewal itself, so that a child neither imports them again nor
compiles the statements.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
import traceback
from datetime import datetime, timedelta
from pathlib import Path

from certmgr.acme.context import IssuanceContext
from certmgr.acme.renewal.renewal_run import RenewalRunner
from certmgr.config.settings import Settings
from inventory.clock import system_clock
from inventory.db.opening import open_database
from tests.databases import share_statements_with_forks

SUMMARY = "summary "


def renew(
    settings: Settings, url: str, lineage: str, number: int, ahead: int | None, steps: int
) -> int:
    """Renew, write each checkpoint to the descriptor ``steps``, and return the exit code."""
    count = 0

    def checkpoint(name: str) -> None:
        nonlocal count
        count += 1
        os.write(steps, f"{name}\n".encode())
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if ahead is None:
        database = open_database(url, actor="child")
        context = IssuanceContext(database, settings, database.clock, checkpoint=checkpoint)
    else:
        moved = [float(ahead)]

        def clock() -> datetime:
            return system_clock() + timedelta(seconds=moved[0])

        def wait(seconds: float) -> None:
            checkpoint("pause")
            moved[0] += seconds

        database = open_database(url, actor="child", clock=clock)
        context = IssuanceContext(database, settings, clock, checkpoint=checkpoint, wait=wait)
    summary = RenewalRunner(context).run_named([lineage])
    os.write(steps, f"{SUMMARY}{dict(summary.counts)} {summary.problems}\n".encode())
    return 3 if summary.failed else 0


def main() -> None:
    share_statements_with_forks()
    first = True
    for line in sys.stdin:
        order = json.loads(line)
        settings, url = pickle.loads(Path(order["state"]).read_bytes())
        if first and order["ahead"] is None and not order["number"]:
            renew(settings, url, order["lineage"], 0, None, os.open(os.devnull, os.O_WRONLY))
            assert threading.active_count() == 1
        first = False
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                os._exit(
                    renew(settings, url, order["lineage"], order["number"], order["ahead"], write)
                )
            except BaseException:
                traceback.print_exc()
                os._exit(99)
        os.close(write)
        with os.fdopen(read) as pipe:
            lines = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        steps = [x for x in lines if not x.startswith(SUMMARY)]
        answer = {"steps": steps, "summary": lines[len(steps) :]}
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), **answer}), flush=True)


if __name__ == "__main__":
    main()
