"""Run the test suite under moved clocks and time zones: ``make test-clocks``.

usage: python tools/clocks.py [NAME ...] [-- PYTEST-ARGUMENT ...]

Each run moves the clock of all processes by one offset (libfaketime), so that parents and children
agree; the monotonic clock stays. Tests marked ``real_clock`` talk to a server that libfaketime
cannot move: they are skipped, and printed by name with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
# The purpose of each run: closed offices, the end of a year, a leap day, a clock change, shorter
# lifetimes, and time zones far from UTC or with an unusual offset.
TIMES: dict[str, datetime] = {
    "saturday-night": datetime(2027, 1, 9, 3, tzinfo=BERLIN),
    "christmas-eve": datetime(2026, 12, 24, 23, 30, tzinfo=BERLIN),
    "leap-day": datetime(2028, 2, 29, 12, tzinfo=UTC),
    "clock-change": datetime(2027, 3, 28, 1, 57, tzinfo=BERLIN),
    "hundred-days": datetime(2027, 3, 20, 9, tzinfo=UTC),
}
ZONES = {"auckland": "Pacific/Auckland", "st-johns": "America/St_Johns"}
ROOT = Path(__file__).parents[1]


def library() -> str:
    """Return the path of libfaketime for programs with threads."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        sys.exit(
            "libfaketime is missing: apt-get install faketime (make test-clocks does it as root)"
        )
    return str(libraries[0])


def environment(name: str) -> dict[str, str]:
    """Return the environment of one run."""
    if name in ZONES:
        return os.environ | {"TZ": ZONES[name]}
    # The offset is from the real time.
    offset = int(TIMES[name].timestamp() - time.time())  # noqa: TID251
    zone = "Europe/Berlin" if TIMES[name].tzinfo is BERLIN else "UTC"
    return os.environ | {
        "TZ": zone,
        "LD_PRELOAD": library(),
        "FAKETIME": f"{offset:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "CERTMGR_MOVED_CLOCK": "1",
        "PYTHONPATH": str(ROOT / "tools" / "moved_clock"),
    }


def main(arguments: list[str]) -> int:
    """Run the suite once per name and return the exit code."""
    separator = arguments.index("--") if "--" in arguments else len(arguments)
    names, options = arguments[:separator] or [*TIMES, *ZONES], arguments[separator + 1 :]
    if unknown := [n for n in names if n not in TIMES and n not in ZONES]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join([*TIMES, *ZONES])}")
    failed = []
    for name in names:
        print(f"== {name}: {TIMES.get(name) or ZONES[name]}", flush=True)
        command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", *options]
        if subprocess.run(command, cwd=ROOT, env=environment(name)).returncode:
            failed.append(name)
    print(
        f"{len(names) - len(failed)} of {len(names)} runs"
        f" passed{': failed ' + ', '.join(failed) if failed else ''}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
