"""Works on one lineage: whether it may order now, the order, and what becomes of a failure.

An edge; decisions are made by pure modules.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from certmgr.acme import backoff, cas, rate_limits
from certmgr.acme.accounts import AccountSession
from certmgr.acme.context import IssuanceContext
from certmgr.acme.order import NamesFailed, OrderExpired, OrderFlow
from certmgr.acme.problems import AcmeError, AcmeProblem, NextAction
from certmgr.acme.rate_limits import Ledger, RateLimitEvent
from certmgr.deploy.lineage import Lineage, Version
from certmgr.x509.key_store import local_path, pem
from inventory.db.database import Tx
from inventory.errors import Busy, CertmgrError, UsageError
from inventory.names import as_ip, display
from inventory.store import accounts, acme_orders, cases, lineages, purchases
from inventory.store.records import Row
from inventory.text import printable

# A name that failed so often in a row goes into quarantine: one failure may be a moment's.
QUARANTINE_AT = 2


@dataclass(frozen=True, slots=True)
class IssueResult:
    """``state``: issued, waits (``until``: epoch seconds), held (somebody has to approve), failed,
    busy, current (nothing to do).
    """

    lineage: str
    client: str
    state: str
    said: str
    until: int | None = None
    sha256: str | None = None

    @property
    def good(self) -> bool:
        """Whether nothing is the matter: a pending retry is no failure."""
        return self.state in ("issued", "current", "busy", "waits")


@dataclass(frozen=True, slots=True)
class RenewalReason:
    """``replaces``: ARI id of the certificate before.

    ``exempt``: placed as ARI says, so that no limit counts it. ``urgent``: near the end, or
    revoked.
    """

    reason: str
    replaces: str | None = None
    exempt: bool = False
    urgent: bool = False


class Deferred(CertmgrError):
    """Not now."""

    def __init__(self, why: str, until: int) -> None:
        super().__init__(
            "The order is put off",
            why,
            f"It is tried again from {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC.",
        )
        self.reason, self.until = why, until

    def __reduce__(self) -> Any:
        return Deferred, (self.reason, self.until)


class ApprovalRequired(CertmgrError):
    """Names are in quarantine, and nobody approved that they are left out."""


def names_to_ask(row: Row, *, urgent: bool = False) -> list[str]:
    """The names of the next certificate.

    Pure. Raises :class:`ApprovalRequired`: a name is never dropped silently. ``urgent``: the
    certificate is near its end, and the good names do not go down with one that staff were told of.
    """
    active = [n["name"] for n in row["names"] if n["state"] == "active"]
    out = [n for n in row["names"] if n["state"] == "quarantined"]
    approved = set(row["shrink_ok"].split())
    if row["csr"] and out:
        raise ApprovalRequired(
            f"'{row['name']}' waits",
            "one of its names cannot be had, and the client's CSR asks for all of them",
            "Ask the client for another CSR, without it.",
        )
    if row["csr"] and row["sha256"] is not None and row["sha256"] in row["compromised"].split():
        raise ApprovalRequired(
            f"'{row['name']}' waits",
            "the key of the client's CSR is compromised",
            "Ask the client for a CSR of a new key.",
        )
    if out and not (urgent or row["shrink"] == "auto" or {n["name"] for n in out} <= approved):
        said = "; ".join(
            f"{display(n['name'])}: {printable(n['reason'] or '', 200)}" for n in out[:5]
        )
        raise ApprovalRequired(
            f"'{row['name']}' waits",
            f"{len(out)} of its names cannot be had now ({said})",
            f"certmgr lineage approve {row['name']} leaves them out until they return.",
        )
    if not active:
        raise ApprovalRequired(
            f"'{row['name']}' has no name left that can be had",
            "all are in quarantine",
            "certmgr lineage show says why.",
        )
    return active


@dataclass
class IssuanceService:
    """``order`` and ``finish`` may be called from several threads, for different lineages."""

    office: IssuanceContext

    def order(self, lineage_id: int, why: RenewalReason) -> IssueResult:
        """Ends, or goes on with, the order of a lineage.

        Never raises for what the CA, the DNS or the disk says; errors of ours are raised.
        """
        with self.office.database.read() as conn:
            row = lineages.by_id(conn, lineage_id)
        try:
            with self.office.alone(row["name"]):
                return self._order(row, why)
        except Busy as error:
            return IssueResult(row["name"], row["client"], "busy", str(error))
        except CertmgrError as error:  # its lock cannot even be made
            return IssueResult(row["name"], row["client"], "failed", str(error))

    def _order(self, row: Row, why: RenewalReason) -> IssueResult:
        for attempt in (1, 2):
            try:
                order = self._led(row["id"], why)
            except OrderExpired as error:
                self._end(row, "abandoned", error)
                if attempt == 1:
                    continue
                return self._failed(row, error, why)
            except Deferred as error:
                self._note(row, error, next_at=error.until)
                return IssueResult(row["name"], row["client"], "waits", str(error), error.until)
            except ApprovalRequired as error:
                self._note(row, error)
                return IssueResult(row["name"], row["client"], "held", str(error))
            except CertmgrError as error:
                if isinstance(error, Busy):
                    raise
                return self._failed(row, error, why)
            try:
                self.finish(order)
            except (
                CertmgrError
            ) as error:  # the certificate is ours, and cannot be put on disk: the order stays open
                return self._failed(row, error, why)
            return IssueResult(
                row["name"], row["client"], "issued", why.reason, sha256=order["sha256"]
            )
        raise AssertionError

    # -- before

    def _led(self, lineage_id: int, why: RenewalReason) -> Row:
        with self.office.database.read() as conn:
            row = self._lineage(conn, lineage_id)
            begun = acme_orders.open_of(conn, lineage_id)
        if begun is not None:
            with self.office.write() as tx:
                order = acme_orders.take(tx, begun["id"])
            if order["state"] == "issued":
                return order  # nothing is asked of the CA any more
            session = self._session_of(row, order, why)
        else:
            self._leave_foreign(row)
            with self.office.database.read() as conn:
                row = self._lineage(conn, lineage_id)
            names = names_to_ask(row, urgent=why.urgent)
            session = self._session(row, names, why)
            order = self._intend(row, session, names, why)
        leader = OrderFlow(self.office, session, row, order)
        try:
            done = leader.lead()
        except BaseException:
            self._release(leader.row)
            raise
        self._forgive(session, leader.row)
        return done

    @staticmethod
    def _lineage(conn: Any, lineage_id: int) -> Row:
        row = lineages.by_id(conn, lineage_id)
        return {**row, "names": lineages.names_of(conn, [lineage_id]).get(lineage_id, [])}

    def _release(self, order: Row) -> None:
        with self.office.write() as tx:
            acme_orders.release(tx, order)

    def _session_of(self, row: Row, order: Row, why: RenewalReason) -> AccountSession:
        """Of an order that was begun.

        One that its CA never answered is given up for the account that stands in; so is one whose
        account is lost, or another by now.
        """
        account = self.office.account(order["account_id"])
        if account["state"] != "active":
            raise OrderExpired(
                "The order's account cannot be used any more",
                f"'{account['name']}' is {account['state']}",
            )
        try:
            self._not_backing_off(order["account_id"], order["names"].split(), why)
            return self.office.session(order["account_id"])
        except CertmgrError:
            with self.office.database.read() as conn:
                other = accounts.fallback(conn, self.office.account(row["account_id"]))
            if order["url"] is None and (
                row["account_id"] != order["account_id"]
                or (other is not None and other["id"] != order["account_id"])
            ):
                raise OrderExpired(
                    "The CA was never reached with this order", "another account stands in"
                ) from None
            raise

    def _leave_foreign(self, row: Row) -> None:
        """A name that moved to another client, or out of the inventory, goes into quarantine:
        nobody gets a certificate in the name of somebody else.
        """
        with self.office.database.read() as conn:
            active = [n["name"] for n in row["names"] if n["state"] == "active"]
            owners = {n: purchases.owner_of(conn, n.removeprefix("*.")) for n in active}
        foreign = {
            n: o for n, o in owners.items() if o is None or o["client_id"] != row["client_id"]
        }
        if foreign:
            with self.office.write() as tx:
                for name, owner in foreign.items():
                    why = (
                        "the inventory does not have it any more"
                        if owner is None
                        else "it belongs to another client now"
                    )
                    lineages.name_failed(tx, row["id"], name, why, quarantine=True)

    def _session(self, row: Row, names: list[str], why: RenewalReason) -> AccountSession:
        """The account's, else that of the account which stands in while its CA is left alone or
        cannot be reached.
        """
        first = self.office.account(row["account_id"])
        try:
            self._not_backing_off(first["id"], names, why)
            return self.office.session(first["id"])
        except (Deferred, CertmgrError) as error:
            with self.office.database.read() as conn:
                other = accounts.fallback(conn, first)
            if other is None:
                raise
            try:
                self._not_backing_off(other["id"], names, why)
                return self.office.session(other["id"])
            except CertmgrError:
                raise error from None

    def _not_backing_off(self, account_id: int, names: list[str], why: RenewalReason) -> None:
        """Raises :class:`Deferred`.

        Near the end of a certificate only what the CA itself said keeps it back, not that it could
        not be reached.
        """
        account = self.office.account(account_id)
        scopes = {} if why.urgent else {"": account["ca"]}
        scopes |= {f"account:{account['name']}": f"the account {account['name']}"}
        scopes |= {n: display(n) for n in names} | {
            f"domain:{d}": display(d) for d in rate_limits.domains(names)
        }
        with self.office.database.read() as conn:
            found = [
                b
                for b in acme_orders.backoffs(conn, account["directory"])
                if b["scope"] in scopes and b["until"] > self.office.at
            ]
        if found:
            last = max(found, key=lambda b: b["until"])
            raise Deferred(
                f"{scopes[last['scope']]} is left alone: {last['reason']}", last["until"]
            )

    def _intend(
        self, row: Row, session: AccountSession, names: list[str], why: RenewalReason
    ) -> Row:
        """The ledger is asked and the intent written in one transaction, so that orders of other
        threads and machines are counted.
        """
        account = session.row
        same = account["id"] == row["account_id"]
        values = {
            "lineage_id": row["id"],
            "account_id": account["id"],
            "reason": why.reason[:200],
            "names": " ".join(names),
            "profile": self._profile(row, session, names),
            "replaces": why.replaces if same else None,
            "exempt": int(same and why.exempt),
        }
        self.office.step("intend")
        with self.office.write() as tx:
            # Near its end the ledger, which can be wrong, keeps nothing back: what the CA itself
            # says does.
            if not why.urgent:
                allowed = self.ledger(tx, session.ca, account).allows(
                    account["id"], names, tx.at, exempt=bool(values["exempt"])
                )
                if allowed.until is not None:
                    raise Deferred(allowed.reason, allowed.until)
            return acme_orders.intend(tx, values)

    def ledger(self, tx: Tx, ca: cas.CertificateAuthority, account: Row) -> Ledger:
        """With what is in flight, taken to end with a certificate."""
        conn, at = tx.conn, tx.at
        ids = [
            a["id"]
            for a in accounts.listing(conn, retired=True)
            if a["directory"] == account["directory"]
        ]
        found = Ledger(
            ca.limits,
            rate_limits.of_rows(
                acme_orders.events(conn, ids, at - max(rate_limits.longest(ca.limits), 1))
            ),
        )
        for order in acme_orders.unfinished(conn):
            if order["account_id"] in ids and not order["exempt"] and order["state"] != "issued":
                names = order["names"].split()
                if order["url"] is None:
                    found.add(RateLimitEvent("order", str(order["account_id"]), at))
                for domain in rate_limits.domains(names):
                    found.add(RateLimitEvent("certificate", domain, at))
                found.add(RateLimitEvent("exact", rate_limits.exact(names), at))
        return found

    def _profile(self, row: Row, session: AccountSession, names: list[str]) -> str | None:
        """Always by name where the CA has several.

        Raises :class:`UsageError` for one that it does not offer.
        """
        offered = session.profiles
        asked = (
            (row["profile"] or self.office.settings.acme.profile)
            if session.row["id"] == row["account_id"]
            else None
        )
        if asked and asked not in offered:
            known = f"it offers {', '.join(offered)}" if offered else "it offers none"
            raise UsageError(
                f"{session.ca.title} has no profile '{printable(asked, 40)}'",
                known,
                f"certmgr lineage edit {row['name']} --profile NAME.",
            )
        if asked or not offered:
            return asked or None
        if any(as_ip(n) is not None for n in names) and "shortlived" in offered:
            return "shortlived"  # Let's Encrypt issues for addresses with no other
        return session.ca.profile if session.ca.profile in offered else None

    # -- after

    def finish(self, order: Row) -> Version:
        """Key and certificate as a version on disk, then the order ends.

        A death in between: the version is found again, and the order ends then.
        """
        with self.office.database.read() as conn:
            row = lineages.by_id(conn, order["lineage_id"])
            chain = cases.chain_of(conn, row["chain"].split())
        self.office.step("version")
        version = Lineage(self.office.base, row["name"]).store(self._key_pem(order), chain)
        self.office.step("end")
        with self.office.write() as tx:
            targets = row["targets"].split()
            lineages.to_deliver(tx, row["id"], order["sha256"], targets)
            acme_orders.end(tx, acme_orders.by_id(tx.conn, order["id"]), "done")
        return version

    def _key_pem(self, order: Row) -> bytes | None:
        if order["key_reference"] is None:
            return None
        return pem(self.office.keys.load(local_path(order["key_reference"])))

    def _forgive(self, session: AccountSession, order: Row) -> None:
        names = order["names"].split()
        scopes = [
            "",
            f"account:{session.row['name']}",
            *names,
            *(f"domain:{d}" for d in rate_limits.domains(names)),
        ]
        with self.office.write() as tx:
            acme_orders.forgive(tx, session.row["directory"], scopes)

    def _note(self, row: Row, error: CertmgrError, next_at: int | None = None) -> None:
        with self.office.write() as tx:
            lineages.note(tx, row["id"], error=_document(error), next_at=next_at)

    def _end(self, row: Row, state: str, error: CertmgrError) -> None:
        with self.office.write() as tx:
            begun = acme_orders.open_of(tx.conn, row["id"])
            if begun is not None:
                acme_orders.end(
                    tx, acme_orders.take(tx, begun["id"]), state, error=_document(error)
                )

    def _failed(self, row: Row, error: CertmgrError, why: RenewalReason) -> IssueResult:
        """Whether the order ends, how long it, its names and its CA are left alone, and which names
        go into quarantine: one transaction.
        """
        ends = isinstance(error, NamesFailed) or (
            isinstance(error, AcmeError)
            and error.problem.follows not in (NextAction.BACK_OFF, NextAction.RETRY)
        )
        with self.office.write() as tx:
            begun = acme_orders.open_of(tx.conn, row["id"])
            account = accounts.by_id(tx.conn, begun["account_id"] if begun else row["account_id"])
            if begun is not None and ends:
                acme_orders.end(
                    tx, acme_orders.take(tx, begun["id"]), "failed", error=_document(error)
                )
            failures = lineages.by_id(tx.conn, row["id"])["failures"] + 1
            wait = backoff.retry(failures, self.office.draw())
            until = tx.at + int(min(wait, backoff.HOUR) if why.urgent else wait)
            if isinstance(error, NamesFailed):
                self._names_failed(tx, row, error)
            if isinstance(error, AcmeError):
                until = self._refused(tx, account, begun, error.problem) or until
            lineages.note(tx, row["id"], error=_document(error), failures=failures, next_at=until)
        return IssueResult(row["name"], row["client"], "failed", str(error), until)

    def _names_failed(self, tx: Tx, row: Row, error: NamesFailed) -> None:
        named = {n["name"]: n for n in lineages.names_of(tx.conn, [row["id"]]).get(row["id"], [])}
        for failed, why in error.names.items():
            for name in (failed, f"*.{failed}"):
                if name in named:
                    lineages.name_failed(
                        tx,
                        row["id"],
                        name,
                        why,
                        quarantine=named[name]["failures"] + 1 >= QUARANTINE_AT,
                    )

    def _refused(self, tx: Tx, account: Row, begun: Row | None, problem: AcmeProblem) -> int | None:
        """Until when whoever was meant is left alone; None: nobody is."""
        if problem.follows is NextAction.ACCOUNT:
            accounts.edit(tx, account["id"], state="lost")
        if problem.follows is not NextAction.BACK_OFF:
            return None
        limited = problem.type == "rateLimited" or problem.status == 429
        until = tx.at
        known = {b["scope"]: b for b in acme_orders.backoffs(tx.conn, account["directory"])}
        for scope in _scopes(problem, account, begun, limited):
            before = known.get(scope)
            running = (
                before is not None and before["until"] > tx.at
            )  # many orders meet the same refusal: it counts once
            count, draw = (
                (before["failures"] if before is not None else 0) + (not running),
                self.office.draw(),
            )
            wait = (
                backoff.back_off(count, draw, problem.retry_after)
                if limited
                else max(backoff.retry(count, draw), problem.retry_after or 0.0)
            )
            end = max(tx.at + int(wait), before["until"] if before is not None and running else 0)
            until = max(until, end)
            acme_orders.back_off(tx, account["directory"], scope, count, end, problem.sentence)
        return until


def _scopes(problem: AcmeProblem, account: Row, begun: Row | None, limited: bool) -> list[str]:
    """Whom a refusal means: the names that it names, the account, the registered domains of the
    order, or the whole CA. Pure.
    """
    if not limited:
        return [""]
    if names := [n for n in problem.names() if n]:
        return names
    said = problem.detail.lower()
    asked = begun["names"].split() if begun is not None else []
    named = [n.removeprefix("*.") for n in asked if n.removeprefix("*.") in said]
    if problem.paused or "failed authorizations" in said:
        return named or (
            [f"domain:{d}" for d in rate_limits.domains(asked)]
            if asked
            else [f"account:{account['name']}"]
        )
    if asked and "account" not in said and ("certificates" in said or "domain" in said):
        return [f"domain:{d}" for d in rate_limits.domains(asked)]
    return [f"account:{account['name']}"]


def _document(error: CertmgrError) -> str:
    found: dict[str, Any] = {"sentence": str(error)[:1500], "kind": type(error).__name__}
    if isinstance(error, AcmeError):
        found["type"] = error.problem.type
    return json.dumps(found, sort_keys=True)


def default_name(names: list[str], key_type: str) -> str:
    """Of a new lineage: its first name, with the kind of the key where it is not the usual one.

    Pure.
    """
    first = names[0].removeprefix("*.").replace(":", "-")
    return first if key_type.startswith("ec-") else f"{first}-rsa"
