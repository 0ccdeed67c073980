"""The account that an order uses: that of its lineage, or the fallback while its CA backs off.

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.order_errors import OrderExpired
from certmgr.acme.protocol.session import AccountSession
from certmgr.acme.results import Deferred, RenewalReason
from inventory.errors import CertmgrError
from inventory.names import display
from inventory.records import ListedLineage, OrderRecord
from inventory.store import accounts, acme_orders


@dataclass(frozen=True, slots=True)
class AccountChoice:
    """Opens the session of the account that an order uses."""

    context: IssuanceContext

    def for_order(
        self, row: ListedLineage, order: OrderRecord, reason: RenewalReason
    ) -> AccountSession:
        """Return the session for an order that was interrupted.

        Raises:
            OrderExpired: The account is not active, or the CA never answered and another account
                can be used.
            CertmgrError: The CA cannot be used now.
        """
        account = self.context.account(order.account_id)
        # An order belongs to the account that placed it; no other account can continue it (RFC 8555
        # 7.1).
        if account.state != "active":
            raise OrderExpired(
                "The account of the order cannot be used any more",
                f"'{account.name}' is {account.state}",
            )
        try:
            self._require_no_backoff(order.account_id, order.names, reason)
            return self.context.session(order.account_id)
        except CertmgrError:
            with self.context.read() as conn:
                other = accounts.fallback(conn, self.context.account(row.account_id))
            # An order without a URL does not exist at the CA, so it can be given up without loss.
            if order.url is None and (
                row.account_id != order.account_id
                or (other is not None and other.id != order.account_id)
            ):
                raise OrderExpired(
                    "The CA never received this order", "the fallback account is used instead"
                ) from None
            raise

    def for_names(
        self, row: ListedLineage, names: Sequence[str], reason: RenewalReason
    ) -> AccountSession:
        """Return the session of the lineage's account, or of its fallback account.

        The fallback is used while the first CA backs off or cannot be reached.
        """
        first = self.context.account(row.account_id)
        try:
            self._require_no_backoff(first.id, names, reason)
            return self.context.session(first.id)
        except (Deferred, CertmgrError) as error:
            with self.context.read() as conn:
                other = accounts.fallback(conn, first)
            if other is None:
                raise
            try:
                self._require_no_backoff(other.id, names, reason)
                return self.context.session(other.id)
            except CertmgrError:
                # The administrator chose the first account, so its error is the one to report.
                raise error from None

    def _require_no_backoff(
        self, account_id: int, names: Sequence[str], reason: RenewalReason
    ) -> None:
        """Raise :class:`Deferred` if the CA, the account or a name backs off."""
        account = self.context.account(account_id)
        # The scope "" stands for a CA that could not be reached. An urgent renewal ignores it and
        # tries again; only rate limits of the CA itself postpone an urgent renewal.
        scopes = {} if reason.urgent else {"": account.ca}
        scopes |= {f"account:{account.name}": f"the account {account.name}"}
        scopes |= {n: display(n) for n in names} | {
            f"domain:{d}": display(d) for d in rate_limits.registered_domains(names)
        }
        with self.context.read() as conn:
            active = [
                b
                for b in acme_orders.backoffs(conn, account.directory)
                if b.scope in scopes and b.until > self.context.now_epoch
            ]
        if active:
            last = max(active, key=lambda b: b.until)
            raise Deferred(
                f"requests for {scopes[last.scope]} are suspended: {last.reason}",
                last.until,
            )
