"""``make bench``: performance of certmgr and other scanners, in one run on one machine.

Prints a table and writes bench/out/bench.json. The CPU time of an endpoint is also given as a
multiple of a handshake in a bare Go loop, so that figures of different machines can be compared.

The limits per address are raised, because four addresses serve 2,000 sites. HTTP is only measured
in the part "http". CPU time is that of all client processes. Compare figures of one run only.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import farm, reports
from bench.handshakes import HANDSHAKES, OUT, go_handshake, handshakes, nmap, sslyze, with_multiples
from bench.measuring import Row, measure
from bench.scans import scans, with_dead, with_http


def with_reports(folder: Path) -> list[Row]:
    """Measure HTML reports of 10,000 clients on one core, and the growth of memory."""
    peaks = []
    rows = []
    for count in (1_000, 10_000):
        path = folder / f"reports-{count}.db"
        reports.inventory(path, count)
        command = [
            sys.executable,
            "-m",
            "certmgr",
            "--database",
            str(path),
            "report",
            "--all",
            "--output",
            str(folder / f"reports-{count}"),
        ]
        measured = measure(["taskset", "-c", "0", *command])
        assert measured.code == 0, measured.out[-2000:]
        peaks.append(measured.peak_mb)
        rows.append(
            Row(
                f"certmgr report --all, {count:,} clients, HTML, one core",
                count,
                measured.cpu / count * 1000,
                count / measured.wall,
                measured.peak_mb,
                f"{measured.wall:.0f} s",
            )
        )
    rows[-1].goal, rows[-1].reached = (
        "under 300 s, memory flat",
        measured.wall < 300 and peaks[1] <= 1.5 * peaks[0],
    )
    return rows


def with_notices(folder: Path) -> list[Row]:
    """Measure notices if nothing is due, and if all clients have to be notified.

    The recheck is replaced by a constant result; over the network it costs as much as a scan.
    """
    from bench.notices import inventory

    rows = []
    for name, count, due, goal in (
        ("nothing due, 100,000 endpoints", 100_000, False, 10.0),
        ("10,000 notices queued", 10_000, True, 60.0),
    ):
        path = folder / f"notices-{count}.db"
        inventory(path, count, due=due)
        measured = measure([sys.executable, "-m", "bench.notices", str(path)])
        reached = measured.wall < goal and measured.peak_mb < 300
        rows.append(
            Row(
                f"certmgr notify, {name}",
                count,
                measured.cpu / count * 1000,
                count / measured.wall,
                measured.peak_mb,
                f"{measured.wall:.1f} s",
                f"under {goal:.0f} s, 300 MB",
                reached,
            )
        )
    return rows


def with_acme(folder: Path) -> list[Row]:
    """Measure the renewal of 1,000 certificates against pebble, which validates each challenge."""
    measured = measure([sys.executable, "-m", "bench.acme"])
    print(measured.out, end="")
    count = 1000
    return [
        Row(
            "certmgr renew --due, 1,000 certificates against pebble",
            count,
            measured.cpu / count * 1000,
            count / measured.wall,
            measured.peak_mb,
            f"{measured.wall:.0f} s",
            "under 900 s",
            measured.wall < 900,
        )
    ]


def help_() -> list[Row]:
    """Measure ``certmgr --help``, the start-up time of all commands."""
    runs = [measure([sys.executable, "-m", "certmgr", "--help"]) for _ in range(5)]
    cpu = statistics.median(r.cpu for r in runs)
    return [
        Row(
            "certmgr --help",
            1,
            cpu * 1000,
            1 / runs[0].wall,
            None,
            "",
            "at most 0.15 s CPU",
            cpu <= 0.15,
        )
    ]


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"\n{'what':76} {'CPU ms':>9} {'x Go':>6} {'per s':>8} {'MB':>6}  goal")
    for row in rows:
        goal = f"{row.goal}: {'reached' if row.reached else 'NOT REACHED'}" if row.goal else ""
        if row.times_go is not None and row.at_most is not None:
            reached = "reached" if row.times_go <= row.at_most else "NOT REACHED"
            goal = ", ".join(filter(None, (f"at most {row.at_most:g} x Go: {reached}", goal)))
        peak = f"{row.peak_mb:.0f}" if row.peak_mb else ""
        times = f"{row.times_go:.2f}" if row.times_go is not None else ""
        print(
            f"{row.what:76} {row.cpu_ms:9.3f} {times:>6} {row.per_second:8.0f} {peak:>6} "
            f" {goal}{' (' + row.note + ')' if row.note else ''}"
        )


def main() -> None:
    """Run the parts named as arguments, or all."""
    OUT.mkdir(exist_ok=True)
    print(
        "The limits per address are raised, because four loopback addresses serve 2,000 sites. HTTP"
        " is only measured in the part http."
    )
    wanted = set(sys.argv[1:])
    with (
        tempfile.TemporaryDirectory(prefix="certmgr-bench-") as name,
        farm.running(OUT / "farm") as roots,
    ):
        folder = Path(name)
        parts: dict[str, Callable[[], list[Row]]] = {
            "help": help_,
            "handshakes": lambda: handshakes(folder),
            "nmap": nmap,
            "sslyze": sslyze,
            "scans": lambda: scans(folder, roots.resolve()),
            "dead": lambda: with_dead(folder, roots.resolve()),
            "http": lambda: with_http(folder, roots.resolve()),
            "reports": lambda: with_reports(folder),
            "notices": lambda: with_notices(folder),
            "acme": lambda: with_acme(folder),
        }
        unit = go_handshake()
        rows: list[Row] = []
        if unit is not None:
            rows.append(
                Row("a bare loop of Go's crypto/tls, handshake only", HANDSHAKES, unit, 0.0)
            )
        for part, run in parts.items():
            if not wanted or part in wanted:
                print(f"... {part}", flush=True)
                rows += run()
    with_multiples(rows, unit)
    show(rows)
    (OUT / "bench.json").write_text(
        json.dumps({"schema": "certmgr.bench/1", "rows": [asdict(r) for r in rows]}, indent=1)
    )


if __name__ == "__main__":
    main()
