"""A small fleet on PostgreSQL, its context and its queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certmgr.config.context import Context
from certmgr.demo.authority import Authority
from certmgr.workers.engine import WorkQueues, work_queues_of
from inventory.clock import system_clock
from tests.certmgr.workers.fleet import Fleet, fleet


@pytest.fixture
def small(
    tmp_path: Path, migrated_postgres: Callable[[], str], system_root: Authority
) -> Iterator[Fleet]:
    with fleet(tmp_path, migrated_postgres(), system_root, 40) as found:
        yield found


@pytest.fixture(scope="module")
def system_root() -> Authority:
    """A CA by the system's clock, which worker processes have."""
    return Authority("Fleet Root", clock=system_clock)


@pytest.fixture
def context(small: Fleet) -> Iterator[Context]:
    with small.context() as context:
        yield context


@pytest.fixture
def queues(context: Context) -> Iterator[WorkQueues]:
    with work_queues_of(context.database) as queues:
        yield queues
