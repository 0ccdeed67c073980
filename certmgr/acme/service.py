"""Issuance for one lineage: whether an order may be placed now, the order, and failure handling.

This module performs I/O. Pure modules make the decisions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from certmgr.acme import backoff, cas, rate_limits
from certmgr.acme.context import IssuanceContext
from certmgr.acme.order import NamesFailed, OrderExpired, OrderFlow
from certmgr.acme.problems import AcmeError, AcmeProblem, NextAction
from certmgr.acme.rate_limits import Ledger, RateLimitEvent
from certmgr.acme.session import AccountSession
from certmgr.deploy.lineage import Lineage, Version
from certmgr.x509.key_store import local_path, pem
from inventory.db.database import Tx
from inventory.errors import Busy, CertmgrError, UsageError
from inventory.names import as_ip, display
from inventory.records import AccountRecord, LineageRecord, ListedLineage, OrderRecord
from inventory.store import accounts, acme_orders, cases, lineages, purchases
from inventory.text import printable

# Consecutive failures after which a name is quarantined. A single failure may be transient.
QUARANTINE_AFTER = 2


@dataclass(frozen=True, slots=True)
class IssueResult:
    """The result of one attempt to issue a certificate.

    Attributes:
        lineage: The name of the lineage.
        client: The number of the client.
        state: issued, waits (postponed until ``until``), held (waits for an administrator's
            approval), failed, busy (another process works on the lineage) or current (nothing to
            do).
        message: The reason in words.
        until: The time of the next attempt in epoch seconds.
        sha256: The fingerprint of the issued certificate.
    """

    lineage: str
    client: str
    state: str
    message: str
    until: int | None = None
    sha256: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the result is not a failure. A pending retry is not one."""
        return self.state in ("issued", "current", "busy", "waits")


@dataclass(frozen=True, slots=True)
class RenewalReason:
    """Why a certificate is renewed.

    Attributes:
        text: The reason in words.
        replaces: The ARI id of the previous certificate.
        exempt: Whether the renewal follows ARI, so that no rate limit counts it.
        urgent: Whether the certificate expires soon or is revoked.
    """

    text: str
    replaces: str | None = None
    exempt: bool = False
    urgent: bool = False


class Deferred(CertmgrError):
    """The order must wait until a given time."""

    def __init__(self, why: str, until: int) -> None:
        super().__init__(
            "The order is postponed",
            why,
            "It is retried automatically after"
            f" {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC.",
        )
        self.reason, self.until = why, until

    def __reduce__(self) -> Any:
        return Deferred, (self.reason, self.until)


class ApprovalRequired(CertmgrError):
    """Names are in quarantine, and no administrator has approved leaving them out."""


def names_to_request(row: ListedLineage, *, urgent: bool = False) -> list[str]:
    """Return the names of the next certificate.

    Pure.

    Args:
        row: The lineage, with ``names``.
        urgent: Whether the certificate expires soon.

    Raises:
        ApprovalRequired: A name would be left out without approval, no name is left, or the CSR
            cannot be used.
    """
    active = [n.name for n in row.names if n.state == "active"]
    quarantined = [n for n in row.names if n.state == "quarantined"]
    approved = set(row.shrink_ok.split())
    # The names of a CSR are fixed, so no name can be left out.
    if row.csr and quarantined:
        raise ApprovalRequired(
            f"The lineage '{row.name}' needs another CSR",
            "one of its names is quarantined, and the client's CSR contains all names",
            "Ask the client for a CSR without that name.",
        )
    # A new certificate for a compromised key would be revoked at once.
    if row.csr and row.sha256 is not None and row.sha256 in row.compromised.split():
        raise ApprovalRequired(
            f"The lineage '{row.name}' needs another CSR",
            "the key of the client's CSR is compromised",
            "Ask the client for a CSR with a new key.",
        )
    # A name is never dropped silently. Close to expiry the remaining names are renewed without
    # approval, because otherwise all of them would expire; staff were notified of the quarantine.
    if quarantined and not (
        urgent or row.shrink == "auto" or {n.name for n in quarantined} <= approved
    ):
        reasons = "; ".join(
            f"{display(n.name)}: {printable(n.reason or '', 200)}" for n in quarantined[:5]
        )
        raise ApprovalRequired(
            f"The lineage '{row.name}' waits for approval",
            f"{len(quarantined)} of its names are quarantined ({reasons})",
            f"Run certmgr lineage approve {row.name} to leave them out until they recover.",
        )
    if not active:
        raise ApprovalRequired(
            f"The lineage '{row.name}' has no active name",
            "all its names are quarantined",
            f"See the reasons with certmgr lineage show {row.name}.",
        )
    return active


@dataclass
class IssuanceService:
    """Issues certificates.

    Several threads may call :meth:`issue` and :meth:`finish` for different lineages.
    """

    context: IssuanceContext

    def issue(self, lineage_id: int, reason: RenewalReason) -> IssueResult:
        """Place the order of a lineage, or continue the one that was interrupted.

        Failures of the CA, the DNS or the disk are results. Only internal errors are raised.
        """
        with self.context.read() as conn:
            row = lineages.by_id(conn, lineage_id)
        try:
            with self.context.lineage_lock(row.name):
                return self._issue(row, reason)
        except Busy as error:
            return IssueResult(row.name, row.client, "busy", str(error))
        except CertmgrError as error:  # the lock cannot be created
            return IssueResult(row.name, row.client, "failed", str(error))

    def _issue(self, row: LineageRecord, reason: RenewalReason) -> IssueResult:
        # An expired order is replaced by a new one, once per run.
        for attempt in (1, 2):
            try:
                order = self._run_order(row.id, reason)
            except OrderExpired as error:
                self._end_order(row, "abandoned", error)
                if attempt == 1:
                    continue
                return self._failed(row, error, reason)
            except Deferred as error:
                self._record_error(row, error, next_at=error.until)
                return IssueResult(row.name, row.client, "waits", str(error), error.until)
            except ApprovalRequired as error:
                self._record_error(row, error)
                return IssueResult(row.name, row.client, "held", str(error))
            except CertmgrError as error:
                if isinstance(error, Busy):
                    raise
                return self._failed(row, error, reason)
            try:
                self.finish(order)
            except CertmgrError as error:
                # The certificate is issued but cannot be written to disk: the order stays open, so
                # that the next run stores it instead of ordering another one.
                return self._failed(row, error, reason)
            return IssueResult(row.name, row.client, "issued", reason.text, sha256=order.sha256)
        raise AssertionError

    # -- before the order

    def _run_order(self, lineage_id: int, reason: RenewalReason) -> OrderRecord:
        with self.context.read() as conn:
            row = self._lineage(conn, lineage_id)
            open_order = acme_orders.open_of(conn, lineage_id)
        if open_order is not None:
            with self.context.write() as tx:
                order = acme_orders.take(tx, open_order.id)
            if order.state == "issued":
                return order  # the certificate is stored: no further request to the CA
            session = self._session_of_order(row, order, reason)
        else:
            self._quarantine_foreign_names(row)
            with self.context.read() as conn:
                row = self._lineage(conn, lineage_id)
            names = names_to_request(row, urgent=reason.urgent)
            session = self._session(row, names, reason)
            order = self._record_intent(row, session, names, reason)
        flow = OrderFlow(self.context, session, row, order)
        try:
            issued = flow.run()
        except BaseException:
            self._release(flow.row)
            raise
        self._clear_backoffs(session, flow.row)
        return issued

    @staticmethod
    def _lineage(conn: Any, lineage_id: int) -> ListedLineage:
        return lineages.with_names(conn, lineage_id)

    def _release(self, order: OrderRecord) -> None:
        with self.context.write() as tx:
            acme_orders.release(tx, order)

    def _session_of_order(
        self, row: ListedLineage, order: OrderRecord, reason: RenewalReason
    ) -> AccountSession:
        """Return the session for an order that was interrupted.

        Raises:
            OrderExpired: The account is not active, or the CA never answered and another account
                can be used.
            CertmgrError: The CA cannot be used now.
        """
        account = self.context.account(order.account_id)
        if account.state != "active":
            raise OrderExpired(
                "The account of the order cannot be used any more",
                f"'{account.name}' is {account.state}",
            )
        try:
            self._require_no_backoff(order.account_id, order.names.split(), reason)
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

    def _quarantine_foreign_names(self, row: ListedLineage) -> None:
        """Quarantine names that belong to another client or left the inventory.

        A client must never get a certificate for another client's name.
        """
        with self.context.read() as conn:
            active = [n.name for n in row.names if n.state == "active"]
            owners = {n: purchases.owner_of(conn, n.removeprefix("*.")) for n in active}
        foreign = {n: o for n, o in owners.items() if o is None or o.client_id != row.client_id}
        if foreign:
            with self.context.write() as tx:
                for name, owner in foreign.items():
                    why = (
                        "it is not in the inventory any more"
                        if owner is None
                        else "it belongs to another client now"
                    )
                    lineages.name_failed(tx, row.id, name, why, quarantine=True)

    def _session(
        self, row: ListedLineage, names: list[str], reason: RenewalReason
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

    def _require_no_backoff(self, account_id: int, names: list[str], reason: RenewalReason) -> None:
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

    def _record_intent(
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
        values = {
            "lineage_id": row.id,
            "account_id": account.id,
            "reason": reason.text[:200],
            "names": " ".join(names),
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

    def ledger(self, tx: Tx, ca: cas.CertificateAuthority, account: AccountRecord) -> Ledger:
        """Return the rate limit ledger of a CA.

        Open orders are counted as if each ended with a certificate.
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
            if order.account_id in ids and not order.exempt and order.state != "issued":
                names = order.names.split()
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
        # Profile names differ between CAs: the lineage's profile is not used at the fallback CA.
        requested = (
            (row.profile or self.context.settings.acme.profile)
            if session.account.id == row.account_id
            else None
        )
        if requested and requested not in offered:
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

    # -- after the order

    def finish(self, order: OrderRecord) -> Version:
        """Store key and certificate as a version on disk, then end the order.

        If the process dies in between, the next run finds the version again and ends the order.
        """
        with self.context.read() as conn:
            row = lineages.by_id(conn, order.lineage_id)
            chain = cases.chain_of(conn, row.chain.split())
        assert order.sha256 is not None
        self.context.checkpoint("version")
        version = Lineage(self.context.base, row.name).store(self._key_pem(order), chain)
        self.context.checkpoint("end")
        with self.context.write() as tx:
            targets = row.targets.split()
            lineages.to_deliver(tx, row.id, order.sha256, targets)
            acme_orders.end(tx, acme_orders.by_id(tx.conn, order.id), "done")
        return version

    def _key_pem(self, order: OrderRecord) -> bytes | None:
        if order.key_reference is None:
            return None
        return pem(self.context.keys.load(local_path(order.key_reference)))

    def _clear_backoffs(self, session: AccountSession, order: OrderRecord) -> None:
        """End the backoffs of the CA, the account and the names after a success."""
        names = order.names.split()
        scopes = [
            "",
            f"account:{session.account.name}",
            *names,
            *(f"domain:{d}" for d in rate_limits.registered_domains(names)),
        ]
        with self.context.write() as tx:
            acme_orders.forgive(tx, session.account.directory, scopes)

    def _record_error(
        self, row: LineageRecord, error: CertmgrError, next_at: int | None = None
    ) -> None:
        with self.context.write() as tx:
            lineages.note(tx, row.id, error=_error_document(error), next_at=next_at)

    def _end_order(self, row: LineageRecord, state: str, error: CertmgrError) -> None:
        with self.context.write() as tx:
            open_order = acme_orders.open_of(tx.conn, row.id)
            if open_order is not None:
                acme_orders.end(
                    tx, acme_orders.take(tx, open_order.id), state, error=_error_document(error)
                )

    def _failed(
        self, row: LineageRecord, error: CertmgrError, reason: RenewalReason
    ) -> IssueResult:
        """Record a failure in one transaction.

        It decides whether the order ends, when the next attempt takes place, which scopes of the CA
        back off, and which names are quarantined.
        """
        # After a transient failure the same order is continued by the next run.
        ends = isinstance(error, NamesFailed) or (
            isinstance(error, AcmeError)
            and error.problem.next_action not in (NextAction.BACK_OFF, NextAction.RETRY)
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
                    "failed",
                    error=_error_document(error),
                )
            failures = lineages.by_id(tx.conn, row.id).failures + 1
            wait = backoff.retry(failures, self.context.random())
            # Close to expiry the renewal is retried at least hourly.
            until = tx.at + int(min(wait, backoff.HOUR) if reason.urgent else wait)
            if isinstance(error, NamesFailed):
                self._names_failed(tx, row, error)
            if isinstance(error, AcmeError):
                until = self._back_off(tx, account, open_order, error.problem) or until
            lineages.note(
                tx, row.id, error=_error_document(error), failures=failures, next_at=until
            )
        return IssueResult(row.name, row.client, "failed", str(error), until)

    def _names_failed(self, tx: Tx, row: LineageRecord, error: NamesFailed) -> None:
        named = {n.name: n for n in lineages.names_of(tx.conn, [row.id]).get(row.id, [])}
        for failed, why in error.names.items():
            # The authorization of a wildcard has the bare name (RFC 8555 7.1.4).
            for name in (failed, f"*.{failed}"):
                if name in named:
                    lineages.name_failed(
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
        limited = problem.type == "rateLimited" or problem.status == 429
        until = tx.at
        known = {b.scope: b for b in acme_orders.backoffs(tx.conn, account.directory)}
        for scope in _scopes(problem, account, order, limited):
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
                if limited
                else max(backoff.retry(count, jitter), problem.retry_after or 0.0)
            )
            end = max(tx.at + int(wait), before.until if before is not None and running else 0)
            until = max(until, end)
            acme_orders.back_off(tx, account.directory, scope, count, end, problem.sentence)
        return until


def _scopes(
    problem: AcmeProblem, account: AccountRecord, order: OrderRecord | None, limited: bool
) -> list[str]:
    """Return the scopes to which a refusal applies.

    Pure. A scope is a name, ``domain:`` and a registered domain, ``account:`` and an account, or
    the empty string for the whole CA.
    """
    # Without a rate limit the CA itself is unavailable.
    if not limited:
        return [""]
    if names := [n for n in problem.names() if n]:
        return names
    # CAs describe a rate limit only in the text of the problem, so the scope is derived from it.
    detail = problem.detail.lower()
    ordered = order.names.split() if order is not None else []
    named = [n.removeprefix("*.") for n in ordered if n.removeprefix("*.") in detail]
    if problem.paused or "failed authorizations" in detail:
        return named or (
            [f"domain:{d}" for d in rate_limits.registered_domains(ordered)]
            if ordered
            else [f"account:{account.name}"]
        )
    if ordered and "account" not in detail and ("certificates" in detail or "domain" in detail):
        return [f"domain:{d}" for d in rate_limits.registered_domains(ordered)]
    return [f"account:{account.name}"]


def _error_document(error: CertmgrError) -> str:
    """Return an error as JSON, for the row of an order or lineage."""
    document: dict[str, Any] = {"sentence": str(error)[:1500], "kind": type(error).__name__}
    if isinstance(error, AcmeError):
        document["type"] = error.problem.type
    return json.dumps(document, sort_keys=True)


def default_name(names: list[str], key_type: str) -> str:
    """Return the name of a new lineage: its first name, with a suffix for an RSA key.

    Pure.
    """
    first = names[0].removeprefix("*.").replace(":", "-")
    return first if key_type.startswith("ec-") else f"{first}-rsa"
