"""Whether an order may be placed now, and the record of that intent.

This module performs I/O.
"""

from __future__ import annotations

from dataclasses import dataclass

from certmgr.acme import cas
from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders import rate_limits
from certmgr.acme.orders.rate_limits import Ledger, RateLimitEvent
from certmgr.acme.protocol.session import AccountSession
from certmgr.acme.results import Deferred, RenewalReason
from inventory.db.database import Tx
from inventory.errors import UsageError
from inventory.names import as_ip
from inventory.records import AccountRecord, LineageRecord, ListedLineage, OrderRecord
from inventory.store import accounts, acme_orders
from inventory.text import printable
from inventory.vocabulary import OrderState


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """Checks the rate limits of a CA, and records the orders that may be placed."""

    context: IssuanceContext

    def record(
        self, row: ListedLineage, session: AccountSession, names: list[str], reason: RenewalReason
    ) -> OrderRecord:
        """Check the rate limits and record the intent to order, in one transaction.

        The transaction makes the orders of other threads and machines count.

        Raises:
            Deferred: A rate limit is reached.
            UsageError: The CA does not offer the profile.
        """
        account = session.account
        # The fallback CA does not know the previous certificate, so it cannot be replaced there.
        same = account.id == row.account_id
        # What is requested is fixed here: a change of the lineage in the meantime does not alter an
        # open order.
        values = {
            "lineage_id": row.id,
            "account_id": account.id,
            "reason": reason.text[:200],
            "names": tuple(names),
            "profile": self._profile(row, session, names),
            "replaces": reason.replaces if same else None,
            "exempt": int(same and reason.exempt),
        }
        self.context.checkpoint("intend")
        with self.context.write() as tx:
            # The local ledger can be wrong. It never postpones an urgent renewal: there only the
            # answer of the CA counts.
            if not reason.urgent:
                allowed = self.ledger(tx, session.ca, account).allows(
                    account.id, names, tx.at, exempt=bool(values["exempt"])
                )
                if allowed.until is not None:
                    raise Deferred(allowed.reason, allowed.until)
            return acme_orders.intend(tx, values)

    def check_again(self, session: AccountSession, order: OrderRecord, *, urgent: bool) -> None:
        """Check the rate limits for an order that is recorded and is about to be requested again.

        Raises:
            Deferred: A rate limit is reached.
        """
        if urgent or order.exempt:
            return
        with self.context.write() as tx:
            allowed = self.ledger(tx, session.ca, session.account, but=order.id).allows(
                order.account_id, order.names, tx.at
            )
        if allowed.until is not None:
            raise Deferred(allowed.reason, allowed.until)

    def ledger(
        self, tx: Tx, ca: cas.CertificateAuthority, account: AccountRecord, *, but: int = 0
    ) -> Ledger:
        """Return the rate limit ledger of a CA.

        Open orders are counted as if each ended with a certificate, except the order ``but``.
        """
        conn, at = tx.conn, tx.at
        ids = [
            a.id for a in accounts.listing(conn, retired=True) if a.directory == account.directory
        ]
        ledger = Ledger(
            ca.limits,
            rate_limits.events_from_rows(
                acme_orders.events(conn, ids, at - max(rate_limits.longest_window(ca.limits), 1))
            ),
        )
        for order in acme_orders.unfinished(conn):
            if (
                order.id != but
                and order.account_id in ids
                and not order.exempt
                and order.state is not OrderState.ISSUED
            ):
                names = order.names
                # An order with a URL was counted when the CA accepted it.
                if order.url is None:
                    ledger.add(RateLimitEvent("order", str(order.account_id), at))
                for domain in rate_limits.registered_domains(names):
                    ledger.add(RateLimitEvent("certificate", domain, at))
                ledger.add(RateLimitEvent("exact", rate_limits.name_set_digest(names), at))
        return ledger

    def _profile(self, row: ListedLineage, session: AccountSession, names: list[str]) -> str | None:
        """Return the profile to request; None if the CA has none.

        A profile is always requested by name if the CA has several.

        Raises:
            UsageError: The CA does not offer the configured profile.
        """
        offered = session.profiles
        requested = _configured_profile(self.context, row, session.account.id)
        withdrawn = bool(requested) and requested not in offered
        # A CA may withdraw a profile between two renewals. An optional thing never costs a renewal:
        # it is ordered without the profile, and staff get a remark. Without a certificate that
        # could end, the name is more likely misspelt.
        if withdrawn and row.sha256 is not None:
            requested = ""
        elif withdrawn:
            known = f"it offers {', '.join(offered)}" if offered else "it offers none"
            raise UsageError(
                f"{session.ca.title} has no profile '{printable(requested, 40)}'",
                known,
                f"Change it: certmgr lineage edit {row.name} --profile NAME.",
            )
        if requested or not offered:
            return requested or None
        # Let's Encrypt issues certificates for addresses only under this profile.
        if any(as_ip(n) is not None for n in names) and "shortlived" in offered:
            return "shortlived"
        return session.ca.profile if session.ca.profile in offered else None


def _configured_profile(context: IssuanceContext, row: LineageRecord, account_id: int) -> str:
    """Return the profile that the administrator chose for orders of an account; empty for none."""
    # Profile names differ between CAs: the lineage's profile is not used at the fallback CA.
    if account_id != row.account_id:
        return ""
    return row.profile or context.settings.acme.profile or ""


def profile_is_required(context: IssuanceContext, row: LineageRecord, order: OrderRecord) -> bool:
    """Return whether an order without its profile would not be what the administrator asked for.

    That is a first certificate with a profile that the administrator named.
    """
    chosen = _configured_profile(context, row, order.account_id)
    return row.sha256 is None and order.profile == chosen


def dropped_profile(context: IssuanceContext, row: LineageRecord, order: OrderRecord) -> str:
    """Return a remark if an order went without the profile of its lineage; empty if not."""
    chosen = _configured_profile(context, row, order.account_id)
    if not chosen or order.profile == chosen:
        return ""
    return (
        f"the CA does not offer the profile '{printable(chosen, 40)}' any more, so the certificate"
        f" has {f'the profile {order.profile!r}' if order.profile else 'none'}"
    )
