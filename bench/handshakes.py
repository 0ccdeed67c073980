"""Handshakes: certmgr's dialler, limit.c, a bare Go loop, and other scanners."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import farm, go_loop
from bench.measuring import Measured, Row, measure
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialLimits, DialRequest

HERE = Path(__file__).parent
OUT = HERE / "out"
HANDSHAKES = 6000


def go_handshake() -> float | None:
    """Return the CPU time of one handshake in a bare Go loop, in ms; None without Go."""
    program = go_loop.build(OUT)
    if program is None:
        return None
    runs = [measure([str(program), str(HANDSHAKES), "64"]) for _ in range(3)]
    assert all(run.code == 0 for run in runs), runs[0].out[-500:]
    return statistics.median(run.cpu for run in runs) / HANDSHAKES * 1000


def with_multiples(rows: Sequence[Row], unit: float | None) -> None:
    """State the rows about endpoints as multiples of the unit."""
    for row in rows:
        if unit is not None and (row.compared or row.at_most is not None):
            row.times_go = row.cpu_ms / unit


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
            compared=True,
        ),
        Row(
            "certmgr's dialler, handshake and chain",
            HANDSHAKES,
            second,
            HANDSHAKES / pairs[0][1].wall,
            note=f"{ratio:.2f} of limit.c",
            goal=f"at most {goal:.2f} of limit.c",
            reached=ratio <= goal,
            at_most=1.1,
        ),
    ]


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
