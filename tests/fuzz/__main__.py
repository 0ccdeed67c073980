"""Fuzz one target: coverage-guided with atheris if it is installed, else by mutations alone."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from tests.fuzz.limits import MEMORY, cpu_limit, peak_memory

# A failing input stays here.
ARTIFACTS = Path("build/fuzz")


def _with_atheris(name: str, seconds: int, seed: int) -> None:
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
        for number, start in enumerate(targets.corpus(name)):
            (Path(folder) / f"seed-{number}").write_bytes(start)
        options = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            "-max_len=20000",
            f"-rss_limit_mb={1500}",
            "-timeout=60",
            "-verbosity=0",
            "-print_final_stats=1",
            f"-artifact_prefix={ARTIFACTS}/{name.replace(' ', '-')}-",
        ]
        atheris.Setup([sys.argv[0], *options, folder], one)
        atheris.Fuzz()


def _by_mutations(name: str, seconds: int, seed: int) -> None:
    from tests.fuzz import mutations, targets

    end, count = time.monotonic() + seconds, 0
    before = peak_memory()
    for data in mutations.inputs(targets.corpus(name), seed):
        try:
            with cpu_limit():
                targets.run(name, data)
        except BaseException:
            ARTIFACTS.mkdir(parents=True, exist_ok=True)
            kept = ARTIFACTS / f"{name.replace(' ', '-')}-{sha256(data).hexdigest()[:16]}"
            kept.write_bytes(data)
            print(f"{name}: input {count} fails, kept in {kept}", file=sys.stderr)
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
    parser.add_argument("--seed", type=int, default=0, help="default: a new one for each run")
    parser.add_argument("--input", type=Path, help="only this input, such as one that failed")
    given = parser.parse_args()
    if given.input is not None:
        from tests.fuzz import targets

        targets.run(given.name, given.input.read_bytes())
        return
    # libFuzzer takes 32 bits, and draws a seed itself for 0.
    seed = given.seed or secrets.randbelow(2**32 - 1) + 1
    # Libraries log what they catch themselves.
    logging.disable(logging.CRITICAL)
    try:
        import atheris  # noqa: F401
    except ImportError:
        given.no_coverage = True
    coverage = "" if not given.no_coverage else " --no-coverage"
    # At the beginning: an input may end the process.
    repeat = f"python -m tests.fuzz '{given.name}' --seconds={given.seconds}{coverage}"
    print(f"{given.name}: repeat with {repeat} --seed={seed}", file=sys.stderr, flush=True)
    if given.no_coverage:
        _by_mutations(given.name, given.seconds, seed)
    else:
        _with_atheris(given.name, given.seconds, seed)


if __name__ == "__main__":
    main()
