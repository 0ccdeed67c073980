"""``make bench-compare BASE=COMMIT``: the cost of the working tree next to that of another commit.

Both run alternately on one machine, each with its modules and a database that it wrote, so that
only their ratio counts. The least CPU time of several rounds is compared: other programs on the
machine can only add to it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import farm
from bench.handshakes import OUT

ROOT = Path(__file__).parents[1]
ROUNDS = 5
ENDPOINTS = 2_000
STORED = 20_000
"""Endpoints of the scans, and of the commands that only read."""
NEW = ".new"
"""Suffix of a database that no command has changed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One version of the program.

    Attributes:
        label: The commit, or "here".
        code: The root of its modules.
        data: A folder for its databases.
    """

    label: str
    code: Path
    data: Path

    def cpu(self, *arguments: str) -> float:
        """Run Python in this version, and return the CPU seconds of it and its children.

        Raises:
            RuntimeError: It failed.
        """
        environment = {
            **os.environ,
            "CERTMGR_HTTP_RATE": "0",
            "CERTMGR_HTTP_PER_ADDRESS": "0",
            "CERTMGR_HTTP_PORT": str(farm.HTTP_PORT),
            "CERTMGR_NETWORK_ALLOW": "127.0.0.0/8",
            "CERTMGR_SCAN_RATE": "0",
            "CERTMGR_SCAN_PER_ADDRESS": "0",
            "CERTMGR_TRUST_CA_FILES": str((OUT / "farm" / "root.pem").resolve()),
        }
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.code,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in (0, 3):
                output.seek(0)
                raise RuntimeError(f"{self.label}: {arguments}: {output.read()[-2000:]}")
        return usage.ru_utime + usage.ru_stime

    def prepare(self) -> None:
        """Write the databases."""
        for name, module, arguments in (
            ("scan.db", "scans", f"{ENDPOINTS}"),
            ("stored.db", "notices", f"{STORED}, due=False"),
            ("due.db", "notices", "1_000, due=True"),
        ):
            call = f"inventory(Path({str(self.data / name) + NEW!r}), {arguments})"
            self.cpu(
                "-c", f"from pathlib import Path; from bench.{module} import inventory; {call}"
            )

    def restore(self) -> None:
        """Make the databases as they were prepared: a command may have changed them."""
        for source in self.data.glob(f"*{NEW}"):
            shutil.copy(source, source.with_suffix(""))


def commands(side: Side) -> dict[str, Sequence[str]]:
    """Return what is measured, each with the arguments of Python."""

    def certmgr(database: str, *arguments: str) -> Sequence[str]:
        return ("-m", "certmgr", "--database", str(side.data / database), *arguments)

    return {
        "--help": ("-m", "certmgr", "--help"),
        f"scan of {ENDPOINTS:,} endpoints without pages": certmgr(
            "scan.db", "scan", "--exit-zero", "--no-http", "--no-cache"
        ),
        f"scan of {ENDPOINTS:,} endpoints with pages": certmgr("scan.db", "scan", "--exit-zero"),
        f"status of {STORED:,} endpoints": certmgr("stored.db", "status", "--exit-zero"),
        f"notices of {STORED:,} endpoints, none due": (
            "-m",
            "bench.notices",
            str(side.data / "stored.db"),
        ),
        "1,000 notices decided": ("-m", "bench.notices", str(side.data / "due.db")),
    }


@contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out into a folder, for the duration of the block."""
    git = ["git", "-C", str(ROOT), "worktree"]
    # git states what is wrong with the commit.
    if subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit]).returncode:
        sys.exit(f"{commit} cannot be checked out; write a commit: make bench-compare BASE=HEAD~1")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def main(base: str) -> None:
    """Measure both versions, and print the ratios."""
    OUT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="certmgr-compare-") as name,
        checked_out(base, Path(name) / "base") as code,
        farm.running(OUT / "farm"),
    ):
        sides = [Side(base, code, Path(name) / "old"), Side("here", ROOT, Path(name) / "new")]
        for side in sides:
            side.data.mkdir()
            side.prepare()
        print(f"{'CPU s, least of ' + str(ROUNDS):48} {base[:12]:>12} {'here':>8} {'ratio':>6}")
        for what in commands(sides[0]):
            least = {side.label: float("inf") for side in sides}
            for _ in range(ROUNDS):
                for side in sides:
                    side.restore()
                    least[side.label] = min(least[side.label], side.cpu(*commands(side)[what]))
            old, new = (least[side.label] for side in sides)
            print(f"{what:48} {old:12.3f} {new:8.3f} {new / old:6.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "HEAD")
