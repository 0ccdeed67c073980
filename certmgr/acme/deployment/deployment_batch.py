"""Deployment of many lineages together, so that a server reloads once for all of them.

This module performs I/O. All lineages of a batch are observed, then delivered target by target,
then verified, each for itself: a certificate that is not seen live, or that causes a regression,
concerns only its own lineage.

Each step is durable as for one lineage (deployment.py): a process that dies leaves rows that are
``pending``, which the next run delivers again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment.delivery import Delivery, deliver_together
from certmgr.acme.deployment.deployment import LineageDeployment, begin, deploy
from certmgr.acme.results import DeployResult, DeployState
from inventory.errors import INTERNAL_ERROR, Busy, CertmgrError, log_internal_error
from inventory.records import LineageRecord
from inventory.store import lineages
from inventory.threads import thread_pool

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# Lineages that are delivered together. Their locks are held meanwhile, so that the number and the
# time of a batch are bounded. A thousand renewed lineages are twenty batches.
BATCH_SIZE = 50
# How long an issued certificate waits for others, while orders are still under way.
BATCH_SECONDS = 30.0


def deploy_together(
    context: IssuanceContext, lineage_ids: Sequence[int], patience: float | None = None
) -> list[DeployResult]:
    """Deploy the newest certificates of lineages, and verify that each is live.

    Failures are results and not exceptions, and concern only their lineage.

    Args:
        context: The shared dependencies.
        lineage_ids: The lineages, each once.
        patience: As for :func:`~certmgr.acme.deployment.deployment.deploy`.
    """
    with context.read() as conn:
        rows = [lineages.by_id(conn, i) for i in lineage_ids]
    # One lineage needs no batch, and its reload program gets its name.
    if len(rows) == 1:
        return [_guarded(rows[0], partial(deploy, context, rows[0].id, patience=patience))]
    results: list[DeployResult] = []
    with ExitStack() as locks:
        begun = list(_begin_all(context, rows, locks, results))
        with thread_pool(context.settings.acme.at_once) as pool:
            observed = []
            for deployment in pool.map(lambda d: _guarded(d.row, partial(_observe, d)), begun):
                # Without an observation before the switch, no regression could be recognised.
                if isinstance(deployment, DeployResult):
                    results.append(deployment)
                else:
                    observed.append(deployment)
            # In this thread: the lock of a target is held once for all of its lineages.
            delivered = _deliver(context, observed)
            results += pool.map(
                lambda d: _guarded(d.row, partial(_finish, d, delivered[d.row.id], patience)),
                observed,
            )
    return results


def _observe(deployment: LineageDeployment) -> LineageDeployment:
    deployment.observe()
    return deployment


def _deliver(
    context: IssuanceContext, deployments: Sequence[LineageDeployment]
) -> dict[int, Delivery | CertmgrError]:
    try:
        return deliver_together(context, [d.item for d in deployments], again=False)
    # What was delivered is not known. The next run repeats what its rows call pending.
    except Exception:
        log_internal_error(_log, f"the delivery of {len(deployments)} lineages")
        return {d.row.id: CertmgrError(INTERNAL_ERROR) for d in deployments}


def _begin_all(
    context: IssuanceContext,
    rows: Sequence[LineageRecord],
    locks: ExitStack,
    results: list[DeployResult],
) -> Iterator[LineageDeployment]:
    """Lock each lineage and yield its deployment; add the result of one that has none."""
    for row in rows:
        begun = _guarded(row, partial(_begin, context, row, locks))
        if isinstance(begun, DeployResult):
            results.append(begun)
        else:
            yield begun


def _begin(
    context: IssuanceContext, row: LineageRecord, locks: ExitStack
) -> LineageDeployment | DeployResult:
    # Held to the end of the batch, so that no other process delivers an older version in between.
    locks.enter_context(context.lineage_lock(row.name))
    # Read again under the lock: another process may have deployed it in the meantime.
    with context.read() as conn:
        row = lineages.by_id(conn, row.id)
    return begin(context, row)


def _finish(
    deployment: LineageDeployment, delivery: Delivery | CertmgrError, patience: float | None
) -> DeployResult:
    if isinstance(delivery, CertmgrError):
        raise delivery
    return deployment.finish(delivery, patience)


def _guarded(row: LineageRecord, work: Callable[[], _T]) -> _T | DeployResult:
    """Return the result of ``work``, or the failure of this lineage."""
    try:
        return work()
    except Busy as error:
        return DeployResult(row.name, row.client, DeployState.BUSY, str(error))
    except CertmgrError as error:
        return DeployResult(row.name, row.client, DeployState.FAILED, str(error))
    # The certificate is issued and counts, whatever happens to its deployment.
    except Exception:
        log_internal_error(_log, f"the deployment of {row.name}")
        return DeployResult(row.name, row.client, DeployState.FAILED, INTERNAL_ERROR)


class DeploymentQueue:
    """Collects lineages whose certificates were issued, and deploys them in batches.

    A batch begins when it is full, when its first lineage has waited for :data:`BATCH_SECONDS`, or
    at the end. Batches follow each other in one thread, next to the orders that continue.
    """

    def __init__(self, context: IssuanceContext, pool: ThreadPoolExecutor) -> None:
        self._context, self._pool = context, pool
        self._waiting: list[int] = []
        self._since = 0.0
        self._running: list[Future[list[DeployResult]]] = []

    @classmethod
    @contextmanager
    def opened(cls, context: IssuanceContext) -> Iterator[DeploymentQueue]:
        """Open a queue. The caller takes all results before the end."""
        with thread_pool(1, "deployment") as pool:
            yield cls(context, pool)

    def add(self, lineage_id: int) -> None:
        """Add a lineage whose certificate is stored. Its delivery is recorded as due already."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(lineage_id)

    def results(self, *, last: bool = False) -> Iterator[DeployResult]:
        """Begin the batch that is due, and yield the results of batches that have ended.

        Args:
            last: Whether no lineage follows: begin the last batch, and wait for all results.
        """
        late = time.monotonic() - self._since > BATCH_SECONDS
        if self._waiting and (last or late or len(self._waiting) >= BATCH_SIZE):
            batch, self._waiting = self._waiting, []
            self._running.append(self._pool.submit(deploy_together, self._context, batch))
        while self._running and (last or self._running[0].done()):
            yield from self._running.pop(0).result()
