"""What a failed order leads to: its end, the time of the next attempt, the scopes of the CA that
back off, and quarantined names.

This module performs I/O.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from certmgr.acme import backoff
from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.order_errors import NamesFailed, OrderPending
from certmgr.acme.protocol.problems import AcmeError, AcmeProblem, LimitScope, NextAction
from certmgr.acme.protocol.session import AccountSession
from certmgr.acme.results import IssueResult, IssueState, RenewalReason
from inventory.db.database import Tx
from inventory.errors import CertmgrError
from inventory.records import AccountRecord, LineageRecord, OrderRecord
from inventory.store import accounts, acme_orders, lineage_names, lineages
from inventory.vocabulary import OrderState

_log = logging.getLogger(__name__)

# Consecutive failures after which a name is quarantined. A single failure may be transient.
# Two, because each failure counts at the CA: Let's Encrypt allows five per name and hour.
QUARANTINE_AFTER = 2
# After these, the same order is continued: nothing about the order itself was refused. Terms that
# an administrator agrees to in time cost no second order.
_CONTINUED = (NextAction.BACK_OFF, NextAction.RETRY, NextAction.TERMS)
# A page of a proxy may ask for any time. A CA that is out of order is tried again each day.
LONGEST_PAUSE = 24 * backoff.HOUR
# A CA that asks for a longer pause is polled again after six hours: an order that is not continued
# for a day is given up.
LONGEST_POLL_DELAY = 6 * backoff.HOUR


@dataclass(frozen=True, slots=True)
class FailureLog:
    """Records failures of orders, and ends their backoffs after a success."""

    context: IssuanceContext

    def clear_backoffs(self, session: AccountSession, order: OrderRecord) -> None:
        """End the backoffs of the CA, the account and the names after a success."""
        names = order.names
        scopes = [
            "",
            f"account:{session.account.name}",
            *names,
            *(f"domain:{d}" for d in rate_limits.registered_domains(names)),
        ]
        with self.context.write() as tx:
            acme_orders.forgive(tx, session.account.directory, scopes)

    def record_error(
        self, row: LineageRecord, error: CertmgrError, next_at: int | None = None
    ) -> None:
        with self.context.write() as tx:
            lineages.note(tx, row.id, error=_error_document(error), next_at=next_at)

    def end_order(self, row: LineageRecord, state: OrderState, error: CertmgrError) -> None:
        with self.context.write() as tx:
            open_order = acme_orders.open_of(tx.conn, row.id)
            if open_order is not None:
                acme_orders.end(
                    tx, acme_orders.take(tx, open_order.id), state, error=_error_document(error)
                )

    def failed(self, row: LineageRecord, error: CertmgrError, reason: RenewalReason) -> IssueResult:
        """Record a failure in one transaction.

        It decides whether the order ends, when the next attempt takes place, which scopes of the CA
        back off, and which names are quarantined.
        """
        # After a transient failure the same order is continued by the next run.
        ends = isinstance(error, NamesFailed) or (
            isinstance(error, AcmeError) and error.problem.next_action not in _CONTINUED
        )
        with self.context.write() as tx:
            open_order = acme_orders.open_of(tx.conn, row.id)
            account = accounts.by_id(
                tx.conn, open_order.account_id if open_order else row.account_id
            )
            if open_order is not None and ends:
                acme_orders.end(
                    tx,
                    acme_orders.take(tx, open_order.id),
                    OrderState.FAILED,
                    error=_error_document(error),
                )
            failures = lineages.by_id(tx.conn, row.id).failures + 1
            wait = backoff.retry(failures, self.context.random())
            # Close to expiry the renewal is retried at least hourly.
            asked = error.retry_after if isinstance(error, OrderPending) else None
            wait = max(wait, min(asked or 0.0, LONGEST_POLL_DELAY))
            until = tx.at + int(min(wait, backoff.HOUR) if reason.urgent else wait)
            if isinstance(error, NamesFailed):
                self._names_failed(tx, row, error)
            if isinstance(error, AcmeError):
                until = self._back_off(tx, account, open_order, error.problem) or until
            lineages.note(
                tx, row.id, error=_error_document(error), failures=failures, next_at=until
            )
        _log.info("the order of %s failed; the next attempt is at %d", row.name, until)
        # A pause that the CA asks for is not a failure, and its answer stays published meanwhile.
        # A pending retry is no failure of the run, which would alarm cron.
        state = IssueState.WAITS if asked is not None else IssueState.FAILED
        return IssueResult(row.name, row.client, state, str(error), until)

    def _names_failed(self, tx: Tx, row: LineageRecord, error: NamesFailed) -> None:
        named = {n.name: n for n in lineage_names.by_lineage(tx.conn, [row.id]).get(row.id, [])}
        for failed, why in error.names.items():
            # The authorization of a wildcard has the bare name (RFC 8555 7.1.4).
            for name in (failed, f"*.{failed}"):
                if name in named:
                    lineage_names.failed(
                        tx,
                        row.id,
                        name,
                        why,
                        quarantine=named[name].failures + 1 >= QUARANTINE_AFTER,
                    )

    def _back_off(
        self, tx: Tx, account: AccountRecord, order: OrderRecord | None, problem: AcmeProblem
    ) -> int | None:
        """Record the backoff that a problem requires.

        Returns:
            The end of the backoff in epoch seconds; None if the problem requires none.
        """
        # A lost account is not used again until an administrator restores or replaces it.
        if problem.next_action is NextAction.ACCOUNT:
            accounts.edit(tx, account.id, state="lost")
        if problem.next_action is not NextAction.BACK_OFF:
            return None
        until = tx.at
        known = {b.scope: b for b in acme_orders.backoffs(tx.conn, account.directory)}
        for scope in _scopes(problem, account, order):
            before = known.get(scope)
            # Parallel orders get the same refusal. It counts once, so that the waiting time does
            # not double with each of them.
            running = before is not None and before.until > tx.at
            count, jitter = (
                (before.failures if before is not None else 0) + (not running),
                self.context.random(),
            )
            wait = (
                backoff.back_off(count, jitter, problem.retry_after)
                if problem.rate_limited
                else max(
                    backoff.retry(count, jitter), min(problem.retry_after or 0.0, LONGEST_PAUSE)
                )
            )
            end = max(tx.at + int(wait), before.until if before is not None and running else 0)
            until = max(until, end)
            acme_orders.back_off(tx, account.directory, scope, count, end, problem.sentence)
        return until


def _scopes(problem: AcmeProblem, account: AccountRecord, order: OrderRecord | None) -> list[str]:
    """Return the scopes to which a refusal applies.

    Pure. A scope is a name, ``domain:`` and a registered domain, ``account:`` and an account, or
    the empty string for the whole CA.
    """
    # Without a rate limit the CA itself is unavailable.
    if not problem.rate_limited:
        return [""]
    # A subproblem names its identifier (RFC 8555 6.7.1), so no other name has to wait.
    if names := [n for n in problem.names() if n]:
        return names
    whole_account = [f"account:{account.name}"]
    # A request without names, such as a registration, concerns the account alone.
    if order is None:
        return whole_account
    ordered = order.names
    domains = [f"domain:{d}" for d in rate_limits.registered_domains(ordered)]
    match problem.limit_scope:
        case LimitScope.NAMES:
            named = [n.removeprefix("*.") for n in ordered]
            # A text that mentions no name may mean any of them.
            return [n for n in named if problem.mentions(n)] or domains
        case LimitScope.DOMAINS:
            return domains
        # An unknown limit suspends the account: a repetition would extend the limit at some CAs.
        case LimitScope.ACCOUNT:
            return whole_account


def _error_document(error: CertmgrError) -> str:
    """Return an error as JSON, for the row of an order or lineage."""
    document: dict[str, Any] = {"sentence": str(error)[:1500], "kind": type(error).__name__}
    if isinstance(error, AcmeError):
        document["type"] = error.problem.type
    return json.dumps(document, sort_keys=True)
