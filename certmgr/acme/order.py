"""One ACME order, from the recorded intent to the stored certificate (RFC 8555 7.4).

This module performs I/O. The process may die at every line.

Order of durability:

1. the intent (a row) before the key,
2. the key (a file) before its CSR,
3. the CSR before the request for an order,
4. the state ``asked`` before that request is sent,
5. the order's URL before its challenges are answered,
6. the state ``finalizing`` before the CSR is sent,
7. the certificate before the order ends.

The next run continues with the same order and the same key. If an answer was lost, the CA's list of
the account's orders shows whether there is an order.
"""

from __future__ import annotations

import contextlib
import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certmgr.acme import rate_limits, responses
from certmgr.acme.challenges.interface import ChallengeProof, Solver, challenge_proof
from certmgr.acme.context import IssuanceContext
from certmgr.acme.messages import NewOrder
from certmgr.acme.problems import AcmeError, AcmeProblem, NextAction
from certmgr.acme.received import ClockFault, IssuedChain, choose
from certmgr.acme.received import read as read_chain
from certmgr.acme.responses import RawPayload
from certmgr.acme.session import AccountSession
from certmgr.deploy.lineage import Lineage
from certmgr.inspection.report import certificate_row
from certmgr.x509 import csr as requests_
from certmgr.x509.key_store import key_reference
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip, display
from inventory.records import ListedLineage, OrderRecord
from inventory.store import acme_orders, certificates, lineages
from inventory.text import printable

_log = logging.getLogger(__name__)

# Seconds after which an unfinished order is given up.
MAX_ORDER_AGE = 86_400
# Seconds between two requests if the CA sends no Retry-After. The first are short, since a CA on
# the same network decides within milliseconds.
POLL_INTERVALS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 5.0)
FINALIZE_SECONDS = 300.0
MAX_ALTERNATES = 5
MAX_LISTED = 1000


class NamesFailed(CertmgrError):
    """The CA could not validate some names.

    Attributes:
        names: Name -> the CA's reason.
    """

    def __init__(self, names: dict[str, str]) -> None:
        reasons = "; ".join(f"{display(n)}: {w}" for n, w in list(names.items())[:10])
        super().__init__(
            f"The CA could not validate {len(names)} name(s)",
            reasons,
            "Run certmgr issue --preflight to see what each name needs.",
        )
        self.names = names

    def __reduce__(self) -> Any:
        return NamesFailed, (self.names,)


class OrderExpired(CertmgrError):
    """The order cannot be completed any more; a new order is necessary."""


class OrderPending(CertmgrError):
    """The CA has not decided yet. A later run continues the order."""


@dataclass(slots=True)
class OrderFlow:
    """The steps of one order.

    Attributes:
        context: The shared dependencies.
        session: The session of the order's account.
        lineage: The row of the lineage, with ``names``.
        row: The row of the order, whose lease the caller holds.
    """

    context: IssuanceContext
    session: AccountSession
    lineage: ListedLineage
    row: OrderRecord

    def run(self) -> OrderRecord:
        """Place or continue the order until its certificate is stored.

        Returns:
            The row of the order, in the state ``issued``.

        Raises:
            AcmeError: The CA refused a request or did not answer.
            NamesFailed: The CA could not validate a name.
            OrderExpired: The order cannot be completed any more.
            OrderPending: The CA has not decided within the time limit.
            CertmgrError: A solver or the disk failed.
        """
        _log.info("ACME order %d: %s", self.row.id, self.row.state)
        if self.row.state == "issued":
            return self.row
        try:
            return self._run()
        except AcmeError as error:
            failed = {
                n: w
                for n, w in error.problem.names().items()
                if n in self.names or f"*.{n}" in self.names
            }
            # The names that a refusal lists count as failed authorizations.
            if error.problem.next_action is NextAction.NAMES and failed:
                raise self._failed(failed) from None
            raise

    def _run(self) -> OrderRecord:
        old = self.context.now_epoch - self.row.created_at > MAX_ORDER_AGE
        if old and self.row.url is None:
            raise OrderExpired("The order is too old to continue", "the CA never received it")
        if self.row.csr is None:
            self._prepare()
        if self.row.url is None:
            self._place_order()
        body = self._fetch_order()
        if old and body.status == messages.STATUS_PENDING:
            raise OrderExpired(
                "The order is too old to continue",
                f"it is {(self.context.now_epoch - self.row.created_at) // 3600} hours old, and"
                " its names are still not validated",
            )
        if body.status == messages.STATUS_PENDING:
            self._authorize(body)
            body = self._poll(
                lambda b: b.status != messages.STATUS_PENDING,
                self.context.settings.acme.challenge_seconds,
            )
        if body.status == messages.STATUS_READY:
            self._finalize(body)
        if body.status in (messages.STATUS_READY, messages.STATUS_PROCESSING):
            body = self._poll(
                lambda b: b.status not in (messages.STATUS_READY, messages.STATUS_PROCESSING),
                FINALIZE_SECONDS,
            )
        if body.status != messages.STATUS_VALID or not body.certificate:
            self._raise_failure(body)
        return self._fetch(responses.check_url(body.certificate))

    # -- before the first request

    @property
    def names(self) -> list[str]:
        """The names of the order."""
        return str(self.row.names).split()

    def _record(self, step: str, **values: Any) -> None:
        self.context.checkpoint(step)
        with self.context.write() as tx:
            self.row = acme_orders.record(tx, self.row, **values)

    def _prepare(self) -> None:
        """Store the key, then record its CSR."""
        lineage, reference = self.lineage, self.row.key_name
        # With the client's own CSR there is no key on this machine.
        if lineage.csr:
            self._record("csr", state="keyed", csr=lineage.csr)
            return
        self.context.checkpoint("key")
        if lineage.reuse_key and (old := self._current_key()) is not None:
            path = self.context.keys.store_key(reference, lineage.key_type, old)
            key = old
        else:
            path, key = self.context.keys.make(reference, lineage.key_type)
        csr = requests_.make(key, self.names, True).decode()
        self._record("csr", state="keyed", key_reference=key_reference(path), csr=csr)

    def _current_key(self) -> Any:
        """Return the key of the current certificate.

        Returns:
            None if there is no certificate, its key is not stored here, or it is compromised.
        """

        folder = Lineage(self.context.base, self.lineage.name)
        current = folder.current()
        if current is None:
            return None
        material = folder.read(current)
        pem = material.key_pem
        if material.sha256 in self.lineage.compromised.split():
            return None  # a compromised key is never used again
        return None if pem is None else load_pem_private_key(pem, None)

    # -- the order

    def _place_order(self) -> None:
        """Request the order, or find the one whose answer was lost, and record its URL."""
        url = self._find_lost_order() if self.row.state == "asked" else None
        if url is None:
            self._record("ask", state="asked")
            self.context.checkpoint("new-order")
            url = self._new_order()
        self.context.checkpoint("url")
        with self.context.write() as tx:
            self.row = acme_orders.record(tx, self.row, state="pending", url=url)
            acme_orders.count(
                tx, self.row.account_id, "order", [(None, None)], exempt=bool(self.row.exempt)
            )

    def _new_order(self) -> str:
        """Request an order and return its URL."""
        new = NewOrder(
            identifiers=identifiers(self.names),
            profile=self.row.profile,
            replaces=self.row.replaces,
        )
        try:
            response = self._post(self.session.directory["newOrder"], new)
        except AcmeError as error:
            if (
                self.row.replaces is None
                or error.problem.next_action is not NextAction.WITHOUT_REPLACES
            ):
                raise
            # A renewal must not fail because the CA rejects ``replaces``: it is requested again
            # without it, and then counts against the rate limits.
            self._record("without-replaces", replaces=None, exempt=0)
            response = self._post(
                self.session.directory["newOrder"],
                NewOrder(identifiers=identifiers(self.names), profile=self.row.profile),
            )
        responses.order(response)
        return responses.check_url(response.headers.get("Location"))

    def _post(self, url: str, obj: Any = None) -> Any:
        return self.session.net.post(url, obj, new_nonce_url=self.session.directory["newNonce"])

    def _find_lost_order(self) -> str | None:
        """Return the URL of the order whose answer was lost.

        It comes from the CA's list of the account's orders (RFC 8555 7.1.2.1).

        Returns:
            None if the CA keeps no list or has no such order. Then the order is requested again;
            Boulder returns an open order for the same names instead of a new one.
        """
        self.context.checkpoint("lost")
        with self.context.read() as conn:
            known = acme_orders.urls(conn, self.row.account_id)
        expected = {(i.typ.name, i.value) for i in identifiers(self.names)}
        try:
            for url in self._listed_orders():
                if url in known:
                    continue
                body = responses.order(self._post(url))
                same = {(i.typ.name, i.value) for i in body.identifiers or ()} == expected
                if same and body.status not in (messages.STATUS_INVALID,):
                    return url
        except AcmeError as error:
            if error.problem.next_action is NextAction.BACK_OFF:
                raise
        return None

    def _listed_orders(self) -> Sequence[str]:
        """Return the URLs of the account's orders, in the reverse order of the CA's list."""
        url = responses.document(self._post(self.session.url)).get("orders")
        urls: list[str] = []
        # RFC 8555 does not define the order of the list; the newest are assumed to come last.
        for _ in range(20):
            if not isinstance(url, str):
                break
            response = self._post(responses.check_url(url))
            listed = responses.document(response).get("orders")
            urls += [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
            url = next(iter(self.session.acme._get_links(response, "next")), None)
        return [responses.check_url(u) for u in reversed(urls[-MAX_LISTED:])]

    def _fetch_order(self) -> messages.Order:
        """Return the order as the CA has it.

        Raises:
            OrderExpired: The CA does not know the order any more.
        """
        self.context.checkpoint("order")
        try:
            return responses.order(self._post(self._url))
        except AcmeError as error:
            if error.problem.status in (404, 403) or error.problem.type == "malformed":
                raise OrderExpired(
                    "The CA does not know the order any more", error.problem.sentence
                ) from None
            raise

    @property
    def _url(self) -> str:
        """The URL of the order, which the CA gave when it was placed."""
        assert self.row.url is not None
        return self.row.url

    @property
    def _csr(self) -> bytes:
        """The CSR as PEM, which was stored before the order was placed."""
        assert self.row.csr is not None
        return self.row.csr.encode()

    def _poll(self, done: Callable[[messages.Order], bool], seconds: float) -> messages.Order:
        """Poll the order until ``done`` accepts it, at the intervals that Retry-After asks for.

        Raises:
            OrderPending: The order is not done within the given seconds.
        """
        end = self.context.now() + timedelta(seconds=seconds)
        for attempt in range(100_000):
            response = self._post(self._url)
            body = responses.order(response)
            if done(body):
                return body
            self._pause(response, attempt, end, "the order")
        raise OrderPending("The CA has not decided after 100,000 requests")

    def _pause(self, response: Any, attempt: int, end: Any, what: str) -> None:
        wait = responses.retry_after_seconds(response, self.context.now())
        wait = (
            POLL_INTERVALS[min(attempt, len(POLL_INTERVALS) - 1)]
            if wait is None
            else max(wait, 0.1)
        )
        left = (end - self.context.now()).total_seconds()
        # A CA that asks for a long pause must not block this worker: the next run continues.
        if left <= 0 or wait > max(left, 0) + 60:
            why = (
                f"it asks to retry in {wait:.0f} seconds"
                if wait > max(left, 0)
                else "the time limit is reached"
            )
            raise OrderPending(
                f"The CA has not decided about {what}", why, "The next run continues the order."
            )
        self.context.wait(min(wait, max(left, 0.1)))

    # -- domain control validation

    def _authorize(self, body: messages.Order) -> None:
        """Answer every pending authorization, and always remove the answers afterwards."""
        solver = self.context.solvers.get(self.lineage.solver)
        self.context.checkpoint("authorizations")
        pending: list[tuple[str, ChallengeProof, Any]] = []
        failed: dict[str, str] = {}
        for url in body.authorizations:
            authorization = responses.authorization(self._post(url))
            if authorization.status == messages.STATUS_PENDING:
                pending.append((url, *self._challenge(authorization, solver)))
            elif authorization.status != messages.STATUS_VALID:
                failed[authorization.identifier.value] = _failure_of(authorization)
        # With one failed authorization the order is invalid: no other is worth an attempt.
        if failed:
            raise self._failed(failed)
        proofs = [p for _, p, _ in pending]
        try:
            self.context.checkpoint("present")
            solver.present(proofs)
            self.context.checkpoint("answer")
            for _, _, challenge in pending:
                if challenge.status == messages.STATUS_PENDING:
                    self._post(responses.check_url(challenge.uri), RawPayload({}))
            self._await_authorizations([(url, p.name) for url, p, _ in pending])
        finally:
            solver.clean(proofs)

    def _challenge(
        self, authorization: messages.Authorization, solver: Solver
    ) -> tuple[ChallengeProof, Any]:
        """Return the answer to the solver's challenge of an authorization, and the challenge."""
        name = str(authorization.identifier.value).removeprefix("*.").lower()
        # The name becomes part of paths and records: only names of the order are accepted.
        if name not in {n.removeprefix("*.") for n in self.names}:
            raise AcmeError(
                "The CA requests validation of another name",
                AcmeProblem("unreadable", f"'{printable(name, 100)}' is not in the order"),
            )
        for challenge in authorization.challenges or ():
            if challenge.chall.typ == solver.challenge:
                thumbprint = urlsafe_b64encode(self.session.key.thumbprint()).rstrip(b"=").decode()
                return (
                    challenge_proof(
                        name, challenge.chall.to_partial_json().get("token"), thumbprint
                    ),
                    challenge,
                )
        offered = (
            ", ".join(
                sorted(
                    {
                        printable(str(c.chall.to_partial_json().get("type", c.chall.typ)), 30)
                        for c in authorization.challenges or ()
                    }
                )
            )
            or "no challenge"
        )
        why = (
            f"the CA offers {offered}, and the solver '{self.lineage.solver}' uses"
            f" {solver.challenge}"
        )
        raise UsageError(
            f"{display(name)} cannot be validated",
            why,
            "Give the lineage another solver; a wildcard needs dns-01.",
        )

    def _await_authorizations(self, authorizations: Sequence[tuple[str, str]]) -> None:
        """Wait until the CA has decided about every authorization, given as (URL, name).

        Raises:
            NamesFailed: The CA could not validate a name.
            OrderPending: The CA has not decided within the time limit.
        """
        end = self.context.now() + timedelta(seconds=self.context.settings.acme.challenge_seconds)
        failed: dict[str, str] = {}
        for url, name in authorizations:
            for attempt in range(100_000):
                response = self._post(url)
                authorization = responses.authorization(response)
                if authorization.status == messages.STATUS_PENDING:
                    self._pause(response, attempt, end, display(name))
                    continue
                if authorization.status != messages.STATUS_VALID:
                    failed[name] = _failure_of(authorization)
                break
        if failed:
            raise self._failed(failed)

    def _failed(self, failed: dict[str, str]) -> NamesFailed:
        """Count the failed authorizations, and return the error to raise."""
        with self.context.write() as tx:
            acme_orders.count(
                tx,
                self.row.account_id,
                "failure",
                [(n.removeprefix("*."), None) for n in failed],
            )
        return NamesFailed(failed)

    # -- the certificate

    def _finalize(self, body: messages.Order) -> None:
        self._record("finalize", state="finalizing")
        der = x509.load_pem_x509_csr(self._csr).public_bytes(Encoding.DER)
        self.context.checkpoint("finalizing")
        try:
            self._post(
                responses.check_url(body.finalize),
                RawPayload({"csr": urlsafe_b64encode(der).rstrip(b"=").decode()}),
            )
        except AcmeError as error:
            # After a lost answer the CA may have accepted the CSR already.
            if error.problem.type != "orderNotReady":
                raise
        self.context.checkpoint("finalized")

    def _raise_failure(self, body: messages.Order) -> None:
        """Raise the error that an invalid order reports."""
        problem = responses.problem_of(body.error)
        if names := problem.names():
            raise self._failed(names)
        if body.error is None:
            failed = {}
            for url in body.authorizations:
                authorization = responses.authorization(self._post(url))
                if authorization.status != messages.STATUS_VALID:
                    failed[str(authorization.identifier.value)] = _failure_of(authorization)
            if failed:
                raise self._failed(failed)
            raise OrderExpired(
                "The order ended without a certificate",
                f"its state is {body.status.name}, and the CA gave no reason",
            )
        if problem.next_action is NextAction.NAMES and len(self.names) == 1:
            raise self._failed({self.names[0]: problem.sentence})
        raise OrderExpired("The order ended without a certificate", problem.sentence)

    def _fetch(self, url: str) -> OrderRecord:
        """Fetch the certificate, check it and store it."""
        self.context.checkpoint("fetch")
        response = self._post(responses.check_url(url))
        csr = x509.load_pem_x509_csr(self._csr)
        public = requests_.spki(csr.public_key())
        now = self.context.now()
        try:
            chains = [read_chain(response.content, public, self.names, now)]
        except ClockFault:
            # The certificate is good and the clock is wrong: another order would not help.
            raise
        except CertmgrError as error:
            raise OrderExpired(error.what, error.why, error.todo) from None
        note = ""
        if preferred := self.lineage.preferred_chain:
            for alternate in self.session.acme._get_links(response, "alternate")[:MAX_ALTERNATES]:
                # The CA's default chain is good: a failure of an alternate chain is no failure.
                with contextlib.suppress(CertmgrError):
                    chains.append(
                        read_chain(
                            self._post(responses.check_url(alternate)).content,
                            public,
                            self.names,
                            now,
                        )
                    )
            chosen, note = choose(chains, preferred)
        else:
            chosen = chains[0]
        return self._store(chosen, url, note)

    def _store(self, chain: IssuedChain, url: str, note: str) -> OrderRecord:
        """Store the certificate, its rate limit events and the lineage in one transaction."""
        self.context.checkpoint("store")
        leaf = chain.leaf
        with self.context.write() as tx:
            certificates.add(tx, [asdict(certificate_row(c)) for c in chain.certificates])
            self.row = acme_orders.record(
                tx,
                self.row,
                state="issued",
                sha256=leaf.sha256,
                certificate_url=url,
                error=note or None,
            )
            exempt = bool(self.row.exempt)
            rows: list[tuple[str | None, str | None]] = [
                (d, None) for d in rate_limits.registered_domains(self.names)
            ]
            acme_orders.count(
                tx,
                self.row.account_id,
                "certificate",
                [*rows, (None, rate_limits.name_set_digest(self.names))],
                exempt=exempt,
            )
            hashes = " ".join(c.sha256 for c in chain.certificates)
            lineages.note(
                tx,
                self.lineage.id,
                sha256=leaf.sha256,
                chain=hashes,
                failures=0,
                next_at=None,
                error=note or None,
                ari_start=None,
                ari_end=None,
                ari_at=None,
                ari_url=None,
                ari_next_at=None,
                proven_at=None,
                proof=None,
            )
            lineages.names_good(tx, self.lineage.id, self.names)
        self.context.checkpoint("stored")
        return self.row


def identifiers(names: Sequence[str]) -> list[messages.Identifier]:
    """Return names, wildcards and addresses as ACME identifiers (RFC 8555, RFC 8738)."""
    result = []
    for name in names:
        address = as_ip(name)
        typ = messages.IDENTIFIER_FQDN if address is None else messages.IDENTIFIER_IP
        result.append(messages.Identifier(typ=typ, value=str(address or name)))
    return result


def _failure_of(authorization: messages.Authorization) -> str:
    """Return the CA's reason for an authorization that is not valid."""
    problems = [
        responses.problem_of(c.error) for c in authorization.challenges or () if c.error is not None
    ]
    if problems:
        return "; ".join(p.sentence for p in problems)
    return f"its authorization is {authorization.status.name}"
