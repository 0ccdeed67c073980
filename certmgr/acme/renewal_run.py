"""Renews what is due, many at once within what each CA allows: ARI, quarantine, orders, targets,
proof. An edge.

Every lineage is led by itself; a failure of one is its own. What is in flight is bounded, and what
is done is counted and not kept.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta

from certmgr.acme import ari, cas
from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment import DeployResult, deploy
from certmgr.acme.planning import PlannedRenewal, plan_one, select
from certmgr.acme.preflight_facts import FactCollector
from certmgr.acme.service import IssuanceService, IssueResult
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError, NotFound
from inventory.store import acme_orders, jobs, lineages, purchases, servers
from inventory.store.records import Row
from inventory.text import printable

JOB = "renew"
LISTED = 200
LOOKED_AT = 200
LOOK_AGAIN = timedelta(hours=20)


@dataclass(slots=True)
class RenewalSummary:
    """``counts``: state -> how many.

    ``troubles``: of the first of them in words; ``failed``: whether something failed that is no
    pending retry.
    """

    planned: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    troubles: list[tuple[str, str, str]] = field(default_factory=list)  # lineage, state, words
    failed: bool = False
    returned: int = 0
    renewed: int = 0

    def add(self, lineage: str, state: str, said: str, *, good: bool) -> None:
        self.counts[state] += 1
        self.failed |= not good
        if (
            state not in ("live", "placed", "issued", "nothing", "current")
            and len(self.troubles) < LISTED
        ):
            self.troubles.append((lineage, state, said))


@dataclass
class RenewalRunner:
    """``progress``: told (done, all). One run at a time for a database."""

    office: IssuanceContext
    progress: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        self.worker = IssuanceService(self.office)
        self._gates: dict[int, threading.BoundedSemaphore] = {}
        self._lock = threading.Lock()
        with self.office.database.read() as conn:
            self._ours = servers.all_addresses(conn)

    # -- what is due

    def plan(self, names: Sequence[str] = ()) -> list[PlannedRenewal]:
        """Every active lineage, or those named. Raises :class:`NotFound`."""
        now = self.office.now()
        with self.office.database.read() as conn:
            rows = lineages.listing(conn, states=("active",) if not names else ("active", "paused"))
            if names:
                rows = _chosen(rows, names)
            condemned = lineages.condemned(conn)
            served = lineages.served_names(conn, [r["sha256"] for r in rows if r["sha256"]])
            begun = {o["lineage_id"] for o in acme_orders.unfinished(conn)}
        return [
            plan_one(
                r,
                now,
                condemned.get(r["sha256"] or "", ""),
                served.get(r["sha256"] or ""),
                begun=r["id"] in begun,
            )
            for r in rows
        ]

    def ask_cas(self) -> None:
        """ARI of every lineage for which it is time."""
        with self.office.database.read() as conn:
            rows = [
                r
                for r in lineages.listing(conn, states=("active",))
                if r["sha256"] and (r["ari_next_at"] or 0) <= self.office.at
            ]
        with ThreadPoolExecutor(self.office.settings.acme.at_once) as pool:
            for _ in pool.map(lambda r: ari.refresh(self.office, r), rows, chunksize=1):
                pass

    def look_at_quarantine(self) -> int:
        """Names that can be had again return by themselves, looked at once a day. How many did."""
        now = self.office.now()
        gatherer = FactCollector(self.office.settings, self.office.solvers, ours=self._ours)
        with self.office.database.read() as conn:
            out = [
                t
                for t in lineages.troubled(conn)
                if (t["checked_at"] or 0) <= to_epoch(now - LOOK_AGAIN)
            ]
            out = sorted(out, key=lambda t: t["checked_at"] or 0)[
                :LOOKED_AT
            ]  # a run is not held up by very many of them
            rows = {t["lineage_id"]: lineages.by_id(conn, t["lineage_id"]) for t in out}

        def look(name: Row) -> bool:
            row = rows[name["lineage_id"]]
            try:
                good = self._ours_still(name) and gatherer.recovered(name["name"], row["solver"])
            except CertmgrError:
                good = False
            with self.office.write() as tx:
                lineages.name_checked(tx, row["id"], name["name"])
                if good:
                    lineages.name_returned(tx, row["id"], name["name"])
                    lineages.note(tx, row["id"], next_at=None)
            return good

        with ThreadPoolExecutor(self.office.settings.acme.at_once) as pool:
            return sum(pool.map(look, out))

    def _ours_still(self, name: Row) -> bool:
        with self.office.database.read() as conn:
            owner = purchases.owner_of(conn, name["name"].removeprefix("*."))
        return owner is not None and owner["client_id"] == name["client_id"]

    # -- a run

    def due(self) -> RenewalSummary:
        """One round for cron: what is due, what was begun, what could not be brought to its target.

        Raises :class:`Busy` while another one runs.
        """
        with jobs.alone(self.office.database, JOB):
            with self.office.write() as tx:
                jobs.started(tx, JOB)
            summary = RenewalSummary()
            try:
                summary.returned = self.look_at_quarantine()
                self.ask_cas()
                chosen = select(self.plan(), self.office.now())
                self._run(chosen, summary)
                self._bring_rest({p.id for p in chosen}, summary)
            except BaseException as error:
                with self.office.write() as tx:
                    jobs.failed(tx, JOB, f"it broke off: {type(error).__name__}")
                raise
            with self.office.write() as tx:
                acme_orders.forget_events(tx, self.office.at - 30 * 86_400)
                if summary.failed:
                    jobs.failed(
                        tx, JOB, "; ".join(f"{n}: {said}" for n, _, said in summary.troubles[:3])
                    )
                else:
                    jobs.succeeded(tx, JOB)
        return summary

    def named(self, names: Sequence[str]) -> RenewalSummary:
        """Now, due or not."""
        summary = RenewalSummary()
        self._run(self.plan(names), summary)
        return summary

    def _run(self, chosen: Sequence[PlannedRenewal], summary: RenewalSummary) -> None:
        summary.planned = len(chosen)
        for done in self._each(chosen, self._lead):
            for part in done:
                summary.add(part.lineage, part.state, part.said, good=part.good)
                summary.renewed += part.state in ("live", "placed", "untold")

    def _each(
        self,
        chosen: Sequence[PlannedRenewal],
        work: Callable[[PlannedRenewal], list[IssueResult | DeployResult]],
    ) -> Iterator[list[IssueResult | DeployResult]]:
        """In threads, at most twice as many waiting as work at once."""
        at_once, count, total = self.office.settings.acme.at_once, 0, len(chosen)
        waiting: set[Future[list[IssueResult | DeployResult]]] = set()
        with ThreadPoolExecutor(at_once) as pool:
            for one in chosen:
                waiting.add(pool.submit(work, one))
                while len(waiting) >= 2 * at_once:
                    ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in ended:
                        count += 1
                        yield self._told(future, count, total)
            for future in waiting:
                future.exception()
                count += 1
                yield self._told(future, count, total)

    def _told(
        self, future: Future[list[IssueResult | DeployResult]], count: int, total: int
    ) -> list[IssueResult | DeployResult]:
        if self.progress is not None:
            self.progress(count, total)
        return future.result()

    def _lead(self, planned: PlannedRenewal) -> list[IssueResult | DeployResult]:
        """One lineage: order, targets, proof.

        An error of ours is this lineage's, and the others go on.
        """
        try:
            return self._led(planned)
        except Exception as error:  # whatever it is: said, and written down, for one lineage
            words = (
                f"an error that should not be: {type(error).__name__}: {printable(str(error), 200)}"
            )
            return [IssueResult(planned.name, planned.client, "failed", words)]

    def _led(self, planned: PlannedRenewal) -> list[IssueResult | DeployResult]:
        office = self.office
        with office.database.read() as conn:
            row = lineages.by_id(conn, planned.id)
            row = {**row, "names": lineages.names_of(conn, [row["id"]]).get(row["id"], [])}
        self._leave_departed(row)
        with self._gate(row["account_id"]):
            why = planned.why(ari.replaces(office, row), row["ari_start"], office.now())
            done = self.worker.order(row["id"], why)
        if done.state != "issued":
            return [done]
        return [deploy(office, row["id"])]

    def _gate(self, account_id: int) -> threading.BoundedSemaphore:
        """As many orders at once as the account's CA is given."""
        with self._lock:
            if account_id not in self._gates:
                account = self.office.account(account_id)
                ca = cas.find(self.office.settings.acme, account["ca"], account["directory"])
                self._gates[account_id] = threading.BoundedSemaphore(
                    ca.at_once or self.office.settings.acme.at_once
                )
            return self._gates[account_id]

    def _leave_departed(self, row: Row) -> None:
        """A name that no longer points here goes into quarantine before the CA is asked: a failed
        authorization would count against the others.
        """
        try:
            gatherer = FactCollector(self.office.settings, self.office.solvers, ours=self._ours)
            plain = [
                n["name"]
                for n in row["names"]
                if n["state"] == "active" and not n["name"].startswith("*.")
            ]
            gone = gatherer.departed(plain, row["solver"])
        except CertmgrError:
            return
        if gone:
            with self.office.write() as tx:
                for name, why in gone.items():
                    lineages.name_failed(tx, row["id"], name, why, quarantine=True)

    def _bring_rest(self, done: set[int], summary: RenewalSummary) -> None:
        """What waits for a target or for its proof, from runs before."""
        with self.office.database.read() as conn:
            rows = [r for r in lineages.unbrought(conn, self.office.at) if r["id"] not in done]
        planned = [plan_one({**r, "names": []}, self.office.now()) for r in rows]
        for parts in self._each(planned, lambda p: [deploy(self.office, p.id, patience=0.0)]):
            for part in parts:
                summary.add(part.lineage, part.state, part.said, good=part.good)


def _chosen(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    known = {r["name"]: r for r in rows}
    for name in names:
        if name not in known:
            raise NotFound(
                f"There is no lineage '{printable(name, 60)}' to renew",
                "",
                "See certmgr lineage list.",
            )
    return [known[n] for n in dict.fromkeys(names)]
