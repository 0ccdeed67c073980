"""Renews a lineage in children that kill themselves with SIGKILL right before their N-th recorded step: ``python -m tests.certmgr.issuance.crash STATE LINEAGE`` reads
a number a line (0: nobody dies) and answers with a line of JSON: how the child ended, and its steps.

A process of its own with one thread, which has imported everything: a fork copies locks that other threads hold, and a child need not import again.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import traceback
from pathlib import Path

from certmgr.config import Settings
from certmgr.issuance.office import Office
from certmgr.issuance.renewing import Fleet
from inventory.database import open_database


def renew(settings: Settings, url: str, lineage: str, number: int, steps: int) -> int:
    seen = 0

    def step(name: str) -> None:
        nonlocal seen
        seen += 1
        os.write(steps, f"{name}\n".encode())
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    summary = Fleet(Office(open_database(url, actor="child"), settings, step=step)).named([lineage])
    os.write(steps, f"{dict(summary.counts)} {summary.troubles}\n".encode())
    return 3 if summary.failed else 0


def main(state: Path, lineage: str) -> None:
    settings, url = pickle.loads(state.read_bytes())
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                os._exit(renew(settings, url, lineage, int(line), write))
            except BaseException:
                traceback.print_exc()
                os._exit(99)
        os.close(write)
        with os.fdopen(read) as pipe:
            steps = pipe.read().splitlines()
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "steps": steps}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
