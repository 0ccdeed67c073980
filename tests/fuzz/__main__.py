"""Fuzz one target: coverage-guided with atheris if it is installed, else by mutations alone."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.limits import MEMORY, cpu_limit, peak_memory

# A failing input stays here.
ARTIFACTS = Path("build/fuzz")


def _with_atheris(name: str, seconds: int) -> None:
    import atheris

    # Only what is imported in this block reports its coverage.
    with atheris.instrument_imports(
        include=["certmgr", "inventory", "notifiers", "email", "icalendar", "crossplane", "dns"]
    ):
        from tests.fuzz import targets

    def one(data: bytes) -> None:
        with cpu_limit():
            targets.run(name, data)

    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(targets.corpus(name)):
            (Path(folder) / f"seed-{number}").write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            "-max_len=20000",
            f"-rss_limit_mb={1500}",
            "-timeout=60",
            "-verbosity=0",
            "-print_final_stats=1",
            f"-artifact_prefix={ARTIFACTS}/{name.replace(' ', '-')}-",
        ]
        atheris.Setup([sys.argv[0], *options, folder], one)
        atheris.Fuzz()


def _by_mutations(name: str, seconds: int) -> None:
    from tests.fuzz import mutations, targets

    end, count = time.monotonic() + seconds, 0
    before = peak_memory()
    for data in mutations.inputs(targets.corpus(name), time.monotonic_ns()):
        try:
            with cpu_limit():
                targets.run(name, data)
        except BaseException:
            print(f"{name}: this input fails: {data!r}", file=sys.stderr)
            raise
        count += 1
        if time.monotonic() > end:
            break
    assert peak_memory() - before < MEMORY, f"{name}: the inputs need too much memory"
    print(f"{name}: {count} inputs")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--no-coverage", action="store_true")
    given = parser.parse_args()
    # Libraries log what they catch themselves.
    logging.disable(logging.CRITICAL)
    try:
        import atheris  # noqa: F401
    except ImportError:
        given.no_coverage = True
    if given.no_coverage:
        _by_mutations(given.name, given.seconds)
    else:
        _with_atheris(given.name, given.seconds)


if __name__ == "__main__":
    main()
