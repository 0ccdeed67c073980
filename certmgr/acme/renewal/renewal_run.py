"""Renewal of the lineages that are due: ARI, quarantine, orders, deployment and verification.

This module performs I/O. Lineages are processed in parallel within the limits of each CA. The
failure of one lineage does not affect others. The number of pending jobs is bounded, and results
are counted instead of kept.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice

from certmgr.acme import cas
from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment.deployment_batch import BATCH_SIZE, DeploymentQueue, deploy_together
from certmgr.acme.orders import persist_records
from certmgr.acme.orders.proof_journal import ProofJournal, leftovers
from certmgr.acme.orders.service import IssuanceService
from certmgr.acme.preflight.preflight_facts import FactCollector
from certmgr.acme.renewal import ari
from certmgr.acme.renewal.planning import PlannedRenewal, plan_one, select
from certmgr.acme.results import DeployResult, DeployState, IssueResult, IssueState
from inventory.db.database import to_epoch
from inventory.errors import (
    INTERNAL_ERROR,
    CertmgrError,
    abort_reason,
    log_internal_error,
)
from inventory.records import ListedLineage, QuarantinedName
from inventory.store import (
    acme_orders,
    certificates,
    domain_owners,
    jobs,
    lineage_names,
    lineages,
    servers,
)
from inventory.store.suggestions import missing_word
from inventory.threads import thread_pool

_log = logging.getLogger(__name__)

JOB = "renew"
# What needs no word from a person who runs certmgr.
_QUIET = (
    DeployState.LIVE,
    DeployState.PLACED,
    DeployState.NOTHING,
    IssueState.ISSUED,
    IssueState.CURRENT,
)
MAX_PROBLEMS = 200
# How often a run that waits for orders checks whether a batch of deployments is due.
POLL_SECONDS = 1.0
# Quarantined names per run, so that many of them do not delay the renewals.
MAX_RECHECKED = 200
# Less than a day, so that a daily run at a slightly earlier time still rechecks.
RECHECK_INTERVAL = timedelta(hours=20)


@dataclass(slots=True)
class RenewalSummary:
    """The result of a run.

    Attributes:
        planned: The number of lineages that were due.
        counts: State -> number of results.
        problems: The first problems: (lineage, state, message).
        failed: Whether a failure occurred that is not a pending retry.
        returned: The number of names that returned from quarantine.
        issued: The number of certificates that the CA issued, deployed or not.
        renewed: The number of certificates that were issued and deployed.
    """

    planned: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    failed: bool = False
    returned: int = 0
    issued: int = 0
    renewed: int = 0

    @property
    def sentence(self) -> str:
        """What was due, issued and deployed, in words."""
        text = f"{self.planned} due, {self.issued} issued"
        if self.renewed != self.issued:
            text += f", {self.renewed} deployed"
        return text + (f", {self.returned} name(s) returned" if self.returned else "")

    def add(self, lineage: str, state: str, message: str, *, ok: bool) -> None:
        """Count a result."""
        self.counts[state] += 1
        self.failed |= not ok
        if state not in _QUIET and len(self.problems) < MAX_PROBLEMS:
            self.problems.append((lineage, state, message))


@dataclass
class RenewalRunner:
    """Renews the lineages of an inventory. One run at a time is allowed per database.

    Attributes:
        context: The shared dependencies.
        progress: Called with the number of finished lineages and the total.
    """

    context: IssuanceContext
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        self.service = IssuanceService(self.context)
        self._gates: dict[int, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()
        with self.context.read() as conn:
            self._ours = servers.all_addresses(conn)

    def plan(self, names: Sequence[str] = ()) -> list[PlannedRenewal]:
        """Return the plan for every active lineage, or for those named.

        Raises:
            NotFound: There is no active or paused lineage of a given name.
        """
        now = self.context.now()
        with self.context.read() as conn:
            # A paused lineage is renewed only if an administrator names it.
            rows = lineages.listing(conn, states=("active",) if not names else ("active", "paused"))
            if names:
                rows = _select_named(rows, names)
            must_replace = lineages.must_replace(conn)
            served = certificates.names_of(conn, [r.sha256 for r in rows if r.sha256])
            with_open_order = {o.lineage_id for o in acme_orders.unfinished(conn)}
        return [
            plan_one(
                r,
                now,
                must_replace.get(r.sha256 or "", ""),
                served.get(r.sha256 or ""),
                order_open=r.id in with_open_order,
            )
            for r in rows
        ]

    def refresh_ari(self) -> None:
        """Request the renewal information of every lineage whose next request is due."""
        with self.context.read() as conn:
            rows = [
                r
                for r in lineages.listing(conn, states=("active",))
                if r.sha256 and (r.ari_next_at or 0) <= self.context.now_epoch
            ]
        with thread_pool(self.context.settings.acme.at_once) as pool:
            for _ in pool.map(lambda r: ari.refresh(self.context, r), rows, chunksize=1):
                pass

    def recheck_quarantine(self) -> int:
        """Recheck quarantined names once a day, and activate those that can be validated again.

        Returns:
            The number of names that returned.
        """
        now = self.context.now()
        collector = FactCollector(self.context.settings, self.context.solvers, ours=self._ours)
        with self.context.read() as conn:
            due = [
                n
                for n in lineage_names.quarantined(conn)
                if (n.checked_at or 0) <= to_epoch(now - RECHECK_INTERVAL)
            ]
            due = sorted(due, key=lambda n: n.checked_at or 0)[:MAX_RECHECKED]
            rows = {n.lineage_id: lineages.by_id(conn, n.lineage_id) for n in due}

        def recheck(name: QuarantinedName) -> bool:
            row = rows[name.lineage_id]
            try:
                recovered = self._is_still_ours(name) and collector.can_validate(
                    name.name, row.solver
                )
            except CertmgrError:
                recovered = False
            with self.context.write() as tx:
                lineage_names.checked(tx, row.id, name.name)
                if recovered:
                    # The lineage is due at once: its certificate lacks the name.
                    lineage_names.returned(tx, row.id, name.name)
                    lineages.note(tx, row.id, next_at=None)
            return recovered

        with thread_pool(self.context.settings.acme.at_once) as pool:
            return sum(pool.map(recheck, due))

    def _is_still_ours(self, name: QuarantinedName) -> bool:
        """Return whether the name still belongs to the client of its lineage."""
        with self.context.read() as conn:
            owner = domain_owners.owner_of(conn, name.name.removeprefix("*."))
        return owner is not None and owner.client_id == name.client_id

    def run_due(self) -> RenewalSummary:
        """Renew what is due, continue open orders and retry failed deployments: the run for cron.

        Raises:
            Busy: Another run is in progress.
        """
        with jobs.alone(self.context.database, JOB):
            _log.info("renewal run begins")
            with self.context.write() as tx:
                jobs.started(tx, JOB)
            summary = RenewalSummary()
            try:
                # Orders may have been ended without a run, such as with their lineage.
                ProofJournal(self.context).sweep()
                ProofJournal(self.context).retry()
                # Before the plan: a name that returned makes its lineage due in the same run.
                summary.returned = self.recheck_quarantine()
                # Also before the plan, because a CA announces a mass revocation by an earlier
                # window (RFC 9773 4.2).
                self.refresh_ari()
                chosen = select(self.plan(), self.context.now())
                self._run(chosen, summary)
                self._deploy_remaining({p.id for p in chosen}, summary)
                # Reported in each run, but no failure: the certificates do not depend on it.
                for left in leftovers(self.context.settings):
                    text = f"{left.what} is left: {left.reason}. {left.remedy}"
                    summary.add(left.proof.name, "left", text, ok=True)
                # A client may remove or change a record long before the renewal that needs it.
                for name, text, fails in persist_records.watch(self.context):
                    summary.add(name, "record", text, ok=not fails)
            except BaseException as error:
                with self.context.write() as tx:
                    jobs.failed(tx, JOB, abort_reason(error))
                raise
            with self.context.write() as tx:
                # The longest window of a known rate limit is seven days.
                acme_orders.forget_events(tx, self.context.now_epoch - 30 * 86_400)
                if summary.failed:
                    jobs.failed(
                        tx, JOB, "; ".join(f"{n}: {text}" for n, _, text in summary.problems[:3])
                    )
                else:
                    jobs.succeeded(tx, JOB)
        return summary

    def run_named(self, names: Sequence[str]) -> RenewalSummary:
        """Renew the named lineages now, whether they are due or not."""
        summary = RenewalSummary()
        self._run(self.plan(names), summary)
        return summary

    def _run(self, chosen: Sequence[PlannedRenewal], summary: RenewalSummary) -> None:
        summary.planned = len(chosen)
        finished = 0
        with DeploymentQueue.opened(self.context) as queue:
            for ended in self._issue_all(chosen):
                if ended is not None:
                    planned, result = ended
                    # What becomes of an issued certificate is the result of its deployment.
                    if result.state is IssueState.ISSUED:
                        summary.issued += 1
                        queue.add(planned.id)
                    else:
                        summary.add(result.lineage, result.state, result.message, ok=result.ok)
                        finished = self._report_progress(finished + 1, len(chosen))
                for deployed in queue.results():
                    _add_deployed(summary, deployed)
                    finished = self._report_progress(finished + 1, len(chosen))
            for deployed in queue.results(last=True):
                _add_deployed(summary, deployed)
                finished = self._report_progress(finished + 1, len(chosen))

    def _report_progress(self, finished: int, total: int) -> int:
        if self.progress is not None:
            self.progress(finished, total)
        return finished

    def _issue_all(
        self, chosen: Sequence[PlannedRenewal]
    ) -> Iterator[tuple[PlannedRenewal, IssueResult] | None]:
        """Yield the result of each order, computed in threads, and None at least every second.

        At most twice as many jobs are pending as there are threads, which bounds the memory.
        """
        at_once, remaining = self.context.settings.acme.at_once, iter(chosen)
        waiting: dict[Future[IssueResult], PlannedRenewal] = {}
        with thread_pool(at_once) as pool:
            while True:
                for planned in islice(remaining, 2 * at_once - len(waiting)):
                    waiting[pool.submit(self._issue_one, planned)] = planned
                if not waiting:
                    return
                ended, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in ended:
                    yield waiting.pop(future), future.result()
                # The caller begins a batch whose time has come, although no order has ended.
                yield None

    def _issue_one(self, planned: PlannedRenewal) -> IssueResult:
        try:
            return self._issue(planned)
        # An internal error is the result of this lineage only; the others continue.
        except Exception:
            log_internal_error(_log, f"the renewal of {planned.name}")
            return IssueResult(planned.name, planned.client, IssueState.FAILED, INTERNAL_ERROR)

    def _issue(self, planned: PlannedRenewal) -> IssueResult:
        context = self.context
        with context.read() as conn:
            row = lineages.with_names(conn, planned.id)
        self._quarantine_moved_away(row)
        with self._gate(row.account_id):
            reason = planned.renewal_reason(
                ari.replaces(context, row), row.ari_start, context.now()
            )
            return self.service.issue(row.id, reason)

    def _gate(self, account_id: int) -> threading.BoundedSemaphore:
        """Return the semaphore that limits the parallel orders of an account."""
        with self._lock:
            if account_id not in self._gates:
                account = self.context.account(account_id)
                ca = cas.find(self.context.settings.acme, account.ca, account.directory)
                self._gates[account_id] = threading.BoundedSemaphore(
                    ca.at_once or self.context.settings.acme.at_once
                )
            return self._gates[account_id]

    def _quarantine_moved_away(self, row: ListedLineage) -> None:
        """Quarantine names that no longer point to the provider, before the order.

        A failed authorization would fail the whole order and count against the rate limits.
        """
        try:
            collector = FactCollector(self.context.settings, self.context.solvers, ours=self._ours)
            plain = [
                n.name for n in row.names if n.state == "active" and not n.name.startswith("*.")
            ]
            moved = collector.moved_away(plain, row.solver)
        # Without an answer of the DNS no name is quarantined; the CA decides.
        except CertmgrError:
            return
        if moved:
            with self.context.write() as tx:
                for name, why in moved.items():
                    lineage_names.failed(tx, row.id, name, why, quarantine=True)

    def _deploy_remaining(self, done: set[int], summary: RenewalSummary) -> None:
        """Deploy and verify certificates of earlier runs whose deployment is not complete."""
        with self.context.read() as conn:
            rows = [
                r for r in lineages.undeployed(conn, self.context.now_epoch) if r.id not in done
            ]
        for first in range(0, len(rows), BATCH_SIZE):
            batch = [r.id for r in rows[first : first + BATCH_SIZE]]
            # These certificates have had their time to become live: a single check is enough.
            for result in deploy_together(self.context, batch, patience=0.0):
                summary.add(result.lineage, result.state, result.message, ok=result.ok)


def _add_deployed(summary: RenewalSummary, result: DeployResult) -> None:
    summary.add(result.lineage, result.state, result.message, ok=result.ok)
    summary.renewed += result.state in (
        DeployState.LIVE,
        DeployState.PLACED,
        DeployState.UNDETERMINED,
    )


def _select_named(rows: Sequence[ListedLineage], names: Sequence[str]) -> list[ListedLineage]:
    known = {r.name: r for r in rows}
    for name in names:
        if name not in known:
            raise missing_word("active lineage", name, known, "certmgr lineage list")
    return [known[n] for n in dict.fromkeys(names)]
