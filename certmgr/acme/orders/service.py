"""Issuance for one lineage: whether an order may be placed now, the order, and failure handling.

This module performs I/O. Pure modules make the decisions.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.account_choice import AccountChoice
from certmgr.acme.orders.failures import FailureLog
from certmgr.acme.orders.order import OrderFlow
from certmgr.acme.orders.order_errors import OrderExpired
from certmgr.acme.orders.order_intent import OrderIntent
from certmgr.acme.orders.proof_journal import ProofJournal
from certmgr.acme.requested_names import ApprovalRequired, names_to_request
from certmgr.acme.results import Deferred, IssueResult, IssueState, RenewalReason
from certmgr.deploy.lineage import Lineage, Version
from certmgr.x509.key_store import local_path, pem
from inventory.errors import Busy, CertmgrError
from inventory.records import LineageRecord, ListedLineage, OrderRecord
from inventory.store import (
    acme_orders,
    certificates,
    deployments,
    domain_owners,
    lineage_names,
    lineages,
)
from inventory.vocabulary import OrderState

_log = logging.getLogger(__name__)


@dataclass
class IssuanceService:
    """Issues certificates.

    Several threads may call :meth:`issue` and :meth:`finish` for different lineages.
    """

    context: IssuanceContext

    @property
    def _accounts(self) -> AccountChoice:
        return AccountChoice(self.context)

    @property
    def _failures(self) -> FailureLog:
        return FailureLog(self.context)

    def issue(self, lineage_id: int, reason: RenewalReason) -> IssueResult:
        """Place the order of a lineage, or continue the one that was interrupted.

        Failures of the CA, the DNS or the disk are results. Only internal errors are raised.
        """
        with self.context.read() as conn:
            row = lineages.by_id(conn, lineage_id)
        try:
            with self.context.lineage_lock(row.name):
                try:
                    return self._issue(row, reason)
                finally:
                    # Under the lock of the lineage, so that the answers of an order that another
                    # process runs stay.
                    ProofJournal(self.context).sweep()
        except Busy as error:
            return IssueResult(row.name, row.client, IssueState.BUSY, str(error))
        except CertmgrError as error:  # the lock cannot be created
            return IssueResult(row.name, row.client, IssueState.FAILED, str(error))

    def _issue(self, row: LineageRecord, reason: RenewalReason) -> IssueResult:
        # An expired order is replaced by a new one, once per run.
        for attempt in (1, 2):
            try:
                order = self._run_order(row.id, reason)
            except OrderExpired as error:
                self._failures.end_order(row, OrderState.ABANDONED, error)
                # Abandoned means that this order can never be completed; a second order within the
                # same run costs the client nothing and saves a night.
                if attempt == 1:
                    continue
                return self._failures.failed(row, error, reason)
            except Deferred as error:
                # Postponed: a limit or a backoff ends at a known time. The lineage is taken up
                # again by the first run after it, and the wait counts as no failure.
                self._failures.record_error(row, error, next_at=error.until)
                return IssueResult(row.name, row.client, IssueState.WAITS, str(error), error.until)
            except ApprovalRequired as error:
                # Held for a person: without a time, because only an approval or a new CSR changes
                # anything. Each run checks again.
                self._failures.record_error(row, error)
                return IssueResult(row.name, row.client, IssueState.HELD, str(error))
            except CertmgrError as error:
                if isinstance(error, Busy):
                    raise
                return self._failures.failed(row, error, reason)
            try:
                self.finish(order)
            except CertmgrError as error:
                # The certificate is issued but cannot be written to disk: the order stays open, so
                # that the next run stores it instead of ordering another one.
                return self._failures.failed(row, error, reason)
            return IssueResult(
                row.name, row.client, IssueState.ISSUED, reason.text, sha256=order.sha256
            )
        raise AssertionError

    def _run_order(self, lineage_id: int, reason: RenewalReason) -> OrderRecord:
        with self.context.read() as conn:
            row = self._lineage(conn, lineage_id)
            open_order = acme_orders.open_of(conn, lineage_id)
        if open_order is not None:
            with self.context.write() as tx:
                # The lease keeps another machine from the same order. It expires if this process
                # dies.
                order = acme_orders.take(tx, open_order.id)
            if order.state is OrderState.ISSUED:
                return order  # the certificate is stored: no further request to the CA
            session = self._accounts.for_order(row, order, reason)
        else:
            self._quarantine_foreign_names(row)
            with self.context.read() as conn:
                row = self._lineage(conn, lineage_id)
            names = names_to_request(row, urgent=reason.urgent)
            session = self._accounts.for_names(row, names, reason)
            order = OrderIntent(self.context).record(row, session, names, reason)
        flow = OrderFlow(self.context, session, row, order, urgent=reason.urgent)
        try:
            issued = flow.run()
        except BaseException:
            # Given back at once, so that the next run need not wait for the end of the lease.
            self._release(flow.row)
            raise
        self._failures.clear_backoffs(session, flow.row)
        return issued

    @staticmethod
    def _lineage(conn: Any, lineage_id: int) -> ListedLineage:
        return lineages.with_names(conn, lineage_id)

    def _release(self, order: OrderRecord) -> None:
        with self.context.write() as tx:
            acme_orders.release(tx, order)

    def _quarantine_foreign_names(self, row: ListedLineage) -> None:
        """Quarantine names that belong to another client or left the inventory.

        A client must never get a certificate for another client's name.
        """
        with self.context.read() as conn:
            active = [n.name for n in row.names if n.state == "active"]
            owners = {n: domain_owners.owner_of(conn, n.removeprefix("*.")) for n in active}
        foreign = {n: o for n, o in owners.items() if o is None or o.client_id != row.client_id}
        if foreign:
            _log.info("%s: %d name(s) no longer belong to its client", row.name, len(foreign))
            with self.context.write() as tx:
                for name, owner in foreign.items():
                    why = (
                        "it is not in the inventory any more"
                        if owner is None
                        else "it belongs to another client now"
                    )
                    lineage_names.failed(tx, row.id, name, why, quarantine=True)

    def finish(self, order: OrderRecord) -> Version:
        """Store key and certificate as a version on disk, then end the order.

        If the process dies in between, the next run finds the version again and ends the order.
        """
        with self.context.read() as conn:
            row = lineages.by_id(conn, order.lineage_id)
            chain = certificates.ders_in_order(conn, row.chain)
        assert order.sha256 is not None
        self.context.checkpoint("version")
        version = Lineage(self.context.base, row.name).store(self._key_pem(order), chain)
        self.context.checkpoint("end")
        with self.context.write() as tx:
            targets = row.targets
            # The deliveries are due with the end of the order: a death before the deployment leaves
            # them to the next run.
            deployments.schedule(tx, row.id, order.sha256, targets)
            acme_orders.end(tx, acme_orders.by_id(tx.conn, order.id), OrderState.DONE)
        return version

    def _key_pem(self, order: OrderRecord) -> bytes | None:
        if order.key_reference is None:
            return None
        return pem(self.context.keys.load(local_path(order.key_reference)))
