"""Which scanning process gets which jobs."""

from __future__ import annotations

import pytest

from certmgr.inspection.pool import next_batch


def distributed(jobs: int, processes: int, ahead: int) -> list[int]:
    """Return how many jobs each process gets before the first one ends."""
    outstanding = [0] * processes
    while jobs:
        process, size = next_batch(jobs, outstanding, ahead)
        if not size:
            break
        outstanding[process] += size
        jobs -= size
    return outstanding


@pytest.mark.parametrize("jobs", [65, 200, 1_000, 2_500])
@pytest.mark.parametrize("processes", [2, 3, 8])
def test_jobs_of_a_short_run_are_divided_among_all_processes(jobs: int, processes: int) -> None:
    counts = distributed(jobs, processes, ahead=3_000)
    assert sum(counts) == jobs
    assert max(counts) - min(counts) <= 1


def test_process_with_enough_jobs_gets_no_more() -> None:
    assert distributed(10_000, 2, ahead=650) == [600, 600]
    assert next_batch(50, [640, 600], 650) == (1, 25)


def test_only_process_gets_all_jobs() -> None:
    assert distributed(1_234, 1, ahead=3_000) == [1_234]
