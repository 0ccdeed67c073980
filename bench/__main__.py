"""``make bench``: performance of certmgr and other scanners, in one run on one machine.

Prints a table and writes bench/out/bench.json.

The limits per address are raised, because four addresses serve 2,000 sites. HTTP is only measured
in the part "http". CPU time is that of all client processes. Compare figures of one run only.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from bench import dead, farm, reports
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialLimits, DialRequest
from inventory.db.opening import open_database
from inventory.models import Domain, Endpoint
from inventory.store import clients

HERE = Path(__file__).parent
OUT = HERE / "out"
HANDSHAKES = 6000


@dataclass(slots=True)
class Row:
    """One row of the result.

    Attributes:
        what: What was measured.
        endpoints: The number of endpoints, or of other units.
        cpu_ms: Client CPU time per unit, in milliseconds.
        per_second: Units per second.
        peak_mb: Peak memory.
        note: A remark.
        goal: The required figure.
        reached: Whether the goal was reached.
    """

    what: str
    endpoints: int
    cpu_ms: float
    per_second: float
    peak_mb: float | None = None
    note: str = ""
    goal: str = ""
    reached: bool | None = None


@dataclass(slots=True)
class Measured:
    """CPU and wall time in seconds, peak memory, exit code, and output of a command."""

    cpu: float
    wall: float
    peak_mb: float
    code: int
    out: str


def _tree_mb(pid: int) -> float:
    """Return the proportional memory (PSS) of a process and its children, in MB."""
    total = 0.0
    waiting = [pid]
    while waiting:
        current = waiting.pop()
        try:
            waiting += [
                int(p) for p in Path(f"/proc/{current}/task/{current}/children").read_text().split()
            ]
            for line in Path(f"/proc/{current}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except (OSError, ValueError):
            continue
    return total


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command and measure it with its children."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        peak = [0.0]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.25):
                peak[0] = max(peak[0], _tree_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watcher.join()
        output.seek(0)
        text = output.read()
    return Measured(
        usage.ru_utime + usage.ru_stime, time.monotonic() - begun, peak[0], process.returncode, text
    )


# -- handshakes


# The groups of a browser, as certmgr offers them, and those that OpenSSL before 3.5 has.
BROWSER_GROUPS = "*X25519MLKEM768 / *X25519:P-256:P-384"
CLASSICAL_GROUPS = "X25519:P-256:P-384"


def limit_program(folder: Path) -> tuple[Callable[[], Measured], str]:
    """Compile limit.c, and return a function that runs it, and its groups.

    Without post-quantum key exchange in the OpenSSL of the system, it makes a cheaper handshake
    than certmgr. BENCH_LIBSSL names a folder with libssl.so.3 and libcrypto.so.3 of OpenSSL 3.5 or
    later, to compare the same handshake.
    """
    binary = folder / "limit"
    subprocess.run(
        ["cc", "-O2", "-w", str(HERE / "limit.c"), "-o", str(binary), "-lssl", "-lcrypto"],
        check=True,
    )
    library = os.environ.get("BENCH_LIBSSL")
    environment = {"LD_LIBRARY_PATH": library} if library else {}

    def command(count: int, groups: str) -> list[str]:
        return [str(binary), str(count), "64", "auto", "mix", groups]

    accepts = measure(command(0, BROWSER_GROUPS), environment).code == 0
    groups = BROWSER_GROUPS if accepts else CLASSICAL_GROUPS
    return (lambda: measure(command(HANDSHAKES, groups), environment)), groups


def run_dialler() -> Measured:
    """Run handshakes with the dialler of certmgr in this process."""
    cpu, begun = time.process_time(), time.monotonic()
    good = asyncio.run(_handshakes(HANDSHAKES, 64))
    assert good == HANDSHAKES, f"{HANDSHAKES - good} handshakes failed"
    return Measured(time.process_time() - cpu, time.monotonic() - begun, 0.0, 0, "")


async def _handshakes(count: int, at_once: int) -> int:
    dialler = Dialler(DialLimits(timeout=30, in_flight=at_once, per_address=0, rate=0))
    remaining = iter(range(count))

    async def work() -> int:
        good = 0
        for i in remaining:
            result = await dialler.dial(
                DialRequest(farm.ADDRESSES[i % 4], farm.PORT, "tls", farm.name_of(i))
            )
            good += result.failure is None and len(result.chain) == 2
        return good

    good = sum(await asyncio.gather(*[work() for _ in range(at_once)]))
    dialler.close()
    return good


def handshakes(folder: Path) -> list[Row]:
    """Compare the dialler with limit.c.

    Both run three times in turn, so that other load affects both.
    """
    run_limit, groups = limit_program(folder)
    # certmgr always makes the handshake of a browser, and OpenSSL before 3.5 costs more per
    # handshake of any kind. Each comparison therefore has a separate goal.
    same = groups == BROWSER_GROUPS
    goal = 1.4 if same else 0.95
    pairs = [(run_limit(), run_dialler()) for _ in range(3)]
    limits = [a.cpu / HANDSHAKES * 1000 for a, _ in pairs]
    dialler = [b.cpu / HANDSHAKES * 1000 for _, b in pairs]
    ratio = statistics.median(m / c for m, c in zip(dialler, limits, strict=True))
    first, second = statistics.median(limits), statistics.median(dialler)
    return [
        Row(
            "limit.c, handshake and chain",
            HANDSHAKES,
            first,
            HANDSHAKES / pairs[0][0].wall,
            note="the groups of a browser" if same else "classical groups",
        ),
        Row(
            "certmgr's dialler, handshake and chain",
            HANDSHAKES,
            second,
            HANDSHAKES / pairs[0][1].wall,
            note=f"{ratio:.2f} of limit.c",
            goal=f"at most {goal:.2f} of limit.c",
            reached=ratio <= goal,
        ),
    ]


# -- other scanners


def nmap() -> list[Row]:
    """Measure nmap with the script ssl-cert."""
    if shutil.which("nmap") is None:
        raise SystemExit("nmap is missing: apt-get install nmap (make bench does it as root)")
    measured = measure(
        ["nmap", "-n", "-Pn", "-p", str(farm.PORT), "--script", "ssl-cert", *farm.SPREAD]
    )
    count = measured.out.count("ssl-cert:")
    assert count == len(farm.SPREAD), measured.out[-1000:]
    return [
        Row("nmap --script ssl-cert", count, measured.cpu / count * 1000, count / measured.wall)
    ]


def sslyze() -> list[Row]:
    """Measure sslyze in a separate virtual environment, because it is AGPL and no dependency."""
    venv = HERE.parent / ".venv-sslyze"
    binary = venv / "bin" / "sslyze"
    if not binary.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run(
            [str(venv / "bin" / "pip"), "install", "--quiet", "sslyze==6.3.1"], check=True
        )
    targets = [f"{farm.name_of(i)}:{farm.PORT}{{{farm.ADDRESSES[i % 4]}}}" for i in range(40)]
    measured = measure([str(binary), "--certinfo", "--mozilla_config=disable", *targets])
    count = measured.out.count("SHA1 Fingerprint")
    assert count, measured.out[-1000:]
    return [
        Row(
            "sslyze --certinfo",
            len(targets),
            measured.cpu / len(targets) * 1000,
            len(targets) / measured.wall,
        )
    ]


# -- scans


def inventory(path: Path, count: int, dead_share: float = 0.0) -> None:
    """Write an inventory of endpoints with fixed addresses of the farm.

    Args:
        path: The database.
        count: The number of endpoints.
        dead_share: The share of unreachable endpoints, half of them silent.
    """
    database = open_database(str(path))
    every = int(1 / dead_share) if dead_share else 0
    with database.write() as tx:
        client = clients.add(tx, {"number": "1", "name": "Bench", "hosts": "us", "renews": "us"})
        tx.conn.execute(
            insert(Domain),
            [
                {"id": i + 1, "name": f"d{i}.farm.test", "client_id": client, "created_at": 1}
                for i in range(count)
            ],
        )
        rows: list[dict[str, Any]] = []
        for i in range(count):
            row = {
                "domain_id": i + 1,
                "host": farm.name_of(i),
                "port": farm.PORT,
                "protocol": "https",
                "addresses": farm.ADDRESSES[i % 4],
                "created_at": 1,
            }
            if every and i % every == 0:
                n = i // every
                silent = n % 2 == 0
                row["port"] = dead.SILENT if silent else dead.UNREACHABLE
                row["addresses"] = f"127.{78 if silent else 79}.{n // 250 % 250}.{n % 250 + 1}"
            rows.append(row)
        tx.conn.execute(insert(Endpoint), rows)
    database.close()


def scan(
    database: Path,
    roots: Path,
    *options: str,
    in_flight: int = 200,
    timeout: int = 20,
    http: bool = False,
) -> Measured:
    environment = {
        "CERTMGR_HTTP_RATE": "0",
        "CERTMGR_HTTP_PER_ADDRESS": "0",
        "CERTMGR_HTTP_PORT": str(farm.HTTP_PORT),
        "CERTMGR_NETWORK_ALLOW": "127.0.0.0/8",
        "CERTMGR_SCAN_RATE": "0",
        "CERTMGR_SCAN_PER_ADDRESS": "0",
        "CERTMGR_SCAN_CONCURRENCY": str(in_flight),
        "CERTMGR_TRUST_CA_FILES": str(roots),
        "CERTMGR_SCAN_TIMEOUT": str(timeout),
    }
    command = [
        sys.executable,
        "-m",
        "certmgr",
        "--database",
        str(database),
        "scan",
        "--exit-zero",
        *([] if http else ["--no-http"]),
        *options,
    ]
    measured = measure(command, environment)
    assert measured.code in (0, 3), measured.out[-2000:]
    return measured


def scans(folder: Path, roots: Path) -> list[Row]:
    rows = []
    path = folder / "scan.db"
    inventory(path, 20_000)
    first = scan(path, roots, "--no-cache")
    rows.append(
        Row(
            "certmgr scan, 20,000 endpoints, first",
            20_000,
            first.cpu / 20,
            20_000 / first.wall,
            first.peak_mb,
            "verification cache off",
            "at most 1.0 ms",
            first.cpu / 20 <= 1.0,
        )
    )
    again = scan(path, roots)
    rows.append(
        Row(
            "certmgr scan, 20,000 endpoints, repeated",
            20_000,
            again.cpu / 20,
            20_000 / again.wall,
            again.peak_mb,
            "",
            "at most 0.6 ms",
            again.cpu / 20 <= 0.6,
        )
    )
    path = folder / "large.db"
    inventory(path, 100_000)
    large = scan(path, roots)
    rows.append(
        Row(
            "certmgr scan, 100,000 endpoints, first",
            100_000,
            large.cpu / 100,
            100_000 / large.wall,
            large.peak_mb,
            f"{large.peak_mb / first.peak_mb:.2f} of the memory for 20,000",
            "at most 400 MB, and flat",
            large.peak_mb <= 400 and large.peak_mb <= 1.25 * first.peak_mb,
        )
    )
    status = measure(
        [sys.executable, "-m", "certmgr", "--database", str(path), "status", "--exit-zero"]
    )
    rows.append(
        Row(
            "certmgr status of 100,000 endpoints",
            100_000,
            status.cpu / 100,
            100_000 / status.wall,
            status.peak_mb,
            f"{status.wall:.2f} s",
            "under 2 s",
            status.wall < 2,
        )
    )
    return rows


def with_http(folder: Path, roots: Path) -> list[Row]:
    """Compare scans with and without HTTP.

    HTTP adds two requests per endpoint, one of them over TLS, and 20 KB of HTML to parse.
    """
    path = folder / "http.db"
    inventory(path, 10_000)
    without = scan(path, roots, "--no-cache")
    rows = [
        Row(
            "certmgr scan, 10,000 endpoints, without HTTP",
            10_000,
            without.cpu / 10,
            10_000 / without.wall,
            without.peak_mb,
        )
    ]
    for what in ("first", "repeated"):
        measured = scan(path, roots, http=True)
        rows.append(
            Row(
                f"certmgr scan, 10,000 endpoints, with HTTP, {what}",
                10_000,
                measured.cpu / 10,
                10_000 / measured.wall,
                measured.peak_mb,
                f"{measured.cpu / without.cpu:.1f} times the CPU without",
            )
        )
    return rows


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


def with_dead(folder: Path, roots: Path) -> list[Row]:
    """Measure a scan in which every tenth endpoint is unreachable."""
    path = folder / "dead.db"
    count = 40_000
    inventory(path, count, 0.1)
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.dead"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        measured = scan(path, roots, in_flight=2000, timeout=5)
    finally:
        server.terminate()
    rate = count / measured.wall
    return [
        Row(
            "certmgr scan, 40,000 endpoints, 10% dead, 2,000 in flight, time-out 5 s",
            count,
            measured.cpu / count * 1000,
            rate,
            measured.peak_mb,
            "half silent, half unreachable",
            "at least 1,000/s",
            rate >= 1000,
        )
    ]


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
            "under 0.3 s CPU",
            cpu < 0.3,
        )
    ]


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    print(f"\n{'what':76} {'CPU ms':>9} {'per s':>8} {'MB':>6}  goal")
    for row in rows:
        goal = f"{row.goal}: {'reached' if row.reached else 'NOT REACHED'}" if row.goal else ""
        peak = f"{row.peak_mb:.0f}" if row.peak_mb else ""
        print(
            f"{row.what:76} {row.cpu_ms:9.3f} {row.per_second:8.0f} {peak:>6} "
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
        rows: list[Row] = []
        for part, run in parts.items():
            if not wanted or part in wanted:
                print(f"... {part}", flush=True)
                rows += run()
    show(rows)
    (OUT / "bench.json").write_text(
        json.dumps({"schema": "certmgr.bench/1", "rows": [asdict(r) for r in rows]}, indent=1)
    )


if __name__ == "__main__":
    main()
