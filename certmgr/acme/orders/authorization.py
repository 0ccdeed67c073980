"""Domain control validation for one order (RFC 8555 7.5).

It answers the authorizations of the order, and waits for the decisions of the CA.

This module performs I/O.
"""

from __future__ import annotations

import logging
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from acme import messages

from certmgr.acme.challenges.interface import (
    DNS_01,
    DNS_ACCOUNT_01,
    ChallengeProof,
    NotPublished,
    Solver,
    account_label,
    challenge_proof,
)
from certmgr.acme.challenges.persist import CHALLENGE
from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.ca_requests import CaRequests
from certmgr.acme.orders.order_errors import NamesFailed, OrderExpired, OrderPending
from certmgr.acme.orders.persist_records import record_for
from certmgr.acme.orders.proof_journal import ProofJournal
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.problems import AcmeError, AcmeProblem
from certmgr.acme.protocol.responses import RawPayload
from inventory.errors import UsageError
from inventory.names import display
from inventory.store import acme_orders
from inventory.text import printable
from inventory.vocabulary import RateEventKind

_log = logging.getLogger(__name__)

# How often, and for how long, the CA is asked whether it has begun a validation that it refuses to
# begin again.
BEGUN_CHECKS, BEGUN_SECONDS = 4, 20
# Seconds after which an order is tried again whose records have not reached each name server.
UNPUBLISHED_SECONDS = 600.0
# "processing" is no status of an authorization in RFC 8555, and some CAs report it.
UNDECIDED = (messages.STATUS_PENDING, messages.STATUS_PROCESSING)
ENDED = (
    messages.STATUS_DEACTIVATED,
    messages.Status("expired"),
    messages.STATUS_REVOKED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizations:
    """The authorizations of one order.

    Attributes:
        requests: Sends the requests of the account.
        order_id: The order, under which published answers are recorded.
        account_id: The account, for which failed authorizations are counted.
        solver: The name of the solver in the configuration.
        names: The names of the order.
        urgent: Whether only the CA's own answer may postpone the order.
    """

    requests: CaRequests
    order_id: int
    account_id: int
    solver: str
    names: Sequence[str]
    urgent: bool = False

    @property
    def _context(self) -> IssuanceContext:
        return self.requests.context

    def complete(self, body: messages.Order) -> None:
        """Answer every pending authorization, and remove the answers when all are final.

        Once the CA knows that an answer is published, it may validate it at any time: removing it
        earlier fails the authorization. If this run ends before, the answers stay published if the
        solver can do that, and the run that continues the order removes them.
        """
        solver = self._context.solvers.get(self.solver)
        self._context.checkpoint("authorizations")
        pending: list[tuple[str, ChallengeProof, Any]] = []
        failed: dict[str, str] = {}
        for url in body.authorizations:
            authorization = responses.authorization(self.requests.post(url))
            name = str(authorization.identifier.value)
            require_usable(authorization)
            if (why := failed_challenge(authorization, solver.challenge)) is not None:
                failed[name] = why
            elif authorization.status in UNDECIDED:
                pending.append((url, *self._challenge(authorization, solver)))
            elif authorization.status != messages.STATUS_VALID:
                failed[name] = failure_of(authorization)
        _log.info("%d authorization(s) to answer with %s", len(pending), self.solver)
        # With one failed authorization the order is invalid: no other is worth an attempt.
        if failed:
            raise self.failed(failed)
        # The place of each record is durable before the record is set, and is removed there.
        proofs = list(solver.locate([p for _, p, _ in pending]))
        journal = ProofJournal(self._context)
        journal.record(self.order_id, self.solver, proofs)
        # Another run may have notified the CA already.
        known_to_ca = any(c.status != messages.STATUS_PENDING for _, _, c in pending)
        final = held = False
        try:
            self._context.checkpoint("present")
            # If the CA validates already, only its decision can be awaited.
            _publish(solver, proofs, even_if_unpublished=self.urgent or known_to_ca)
            self._context.checkpoint("answer")
            for url, _, challenge in pending:
                if challenge.status == messages.STATUS_PENDING:
                    known_to_ca = True
                    # From this request on the CA may validate at any time, also after this process
                    # died.
                    self._answer(url, challenge)
            self._await_authorizations([(url, p.name) for url, p, _ in pending])
            final = True
        except NamesFailed:
            final = True
            raise
        except NotPublished as error:
            held = True
            raise OrderPending(error.what, error.why, error.todo, UNPUBLISHED_SECONDS) from None
        finally:
            # Records that are on their way to the other servers stay for the next run.
            if final or not (known_to_ca or held) or not solver.persistent:
                journal.remove(self.order_id)

    def _challenge(
        self, authorization: messages.Authorization, solver: Solver
    ) -> tuple[ChallengeProof, Any]:
        """Return the answer to the solver's challenge of an authorization, and the challenge."""
        name = str(authorization.identifier.value).removeprefix("*.")
        # The name becomes part of paths and records: only names of the order are accepted.
        if name not in {n.removeprefix("*.") for n in self.names}:
            raise AcmeError(
                "The CA requests validation of another name",
                AcmeProblem("unreadable", f"'{printable(name, 100)}' is not in the order"),
            )
        thumbprint = urlsafe_b64encode(self.requests.session.key.thumbprint()).rstrip(b"=").decode()
        offered: set[str] = set()
        by_account: tuple[ChallengeProof, Any] | None = None
        for challenge in authorization.challenges or ():
            document = challenge.chall.to_partial_json()
            if CHALLENGE == solver.challenge == document.get("type"):
                return self._persist_proof(name, authorization, document), challenge
            if challenge.chall.typ == solver.challenge:
                return challenge_proof(name, document.get("token"), thumbprint), challenge
            if solver.challenge == DNS_01 and document.get("type") == DNS_ACCOUNT_01:
                proof = challenge_proof(name, document.get("token"), thumbprint)
                label = account_label(self.requests.session.url)
                by_account = replace(proof, account_label=label), challenge
            offered.add(printable(str(document.get("type", challenge.chall.typ)), 30))
        # Only if there is no dns-01: its record may be delegated by a CNAME already.
        if by_account is not None:
            return by_account
        raise UsageError(
            f"{display(name)} cannot be validated",
            f"the CA offers {', '.join(sorted(offered)) or 'no challenge'}, and the solver"
            f" '{self.solver}' uses {solver.challenge}",
            "Give the lineage another solver; a wildcard needs dns-01.",
        )

    def _answer(self, url: str, challenge: Any) -> None:
        """Notify the CA that the answer of an authorization is published.

        A CA that began to validate already refuses a second notification, for example after the
        answer to the first one was lost. Its decision is then awaited like any other.
        """
        try:
            self.requests.post(responses.check_url(challenge.uri), RawPayload({}))
        except AcmeError as error:
            if error.problem.type != "malformed":
                raise
            if not self._has_begun(url, challenge):
                raise

    def _has_begun(self, url: str, challenge: Any) -> bool:
        """Return whether the CA validates a challenge already, or has decided about it."""
        end = self._context.now() + timedelta(seconds=BEGUN_SECONDS)
        for attempt in range(BEGUN_CHECKS):
            response = self.requests.post(url)
            authorization = responses.authorization(response)
            begun = any(
                c.uri == challenge.uri and c.status != messages.STATUS_PENDING
                for c in authorization.challenges or ()
            )
            if begun or authorization.status not in UNDECIDED:
                return True
            # Some CAs show a challenge as pending until its validation has ended.
            if attempt + 1 < BEGUN_CHECKS:
                self.requests.pause(response, attempt, end, "the challenge", stay=True)
        return False

    def _persist_proof(
        self, name: str, authorization: messages.Authorization, document: Any
    ) -> ChallengeProof:
        wildcard = bool(authorization.wildcard) or f"*.{name}" in self.names
        record = record_for(self.requests.session, name, wildcard=wildcard, offered=document)
        return ChallengeProof(name, "", "", record)

    def _await_authorizations(self, authorizations: Sequence[tuple[str, str]]) -> None:
        """Wait until the CA has decided about every authorization, given as (URL, name).

        Raises:
            NamesFailed: The CA could not validate a name.
            OrderPending: The CA has not decided within the time limit.
        """
        solver = self._context.solvers.get(self.solver)
        end = self._context.now() + timedelta(seconds=self._context.settings.acme.challenge_seconds)
        failed: dict[str, str] = {}
        for url, name in authorizations:
            for attempt in range(100_000):
                response = self.requests.post(url)
                authorization = responses.authorization(response)
                require_usable(authorization)
                if (why := failed_challenge(authorization, solver.challenge)) is not None:
                    failed[name] = why
                    break
                if authorization.status in UNDECIDED:
                    self.requests.pause(response, attempt, end, display(name), stay=True)
                    continue
                if authorization.status != messages.STATUS_VALID:
                    failed[name] = failure_of(authorization)
                break
        if failed:
            raise self.failed(failed)

    def failed(self, failed: dict[str, str]) -> NamesFailed:
        """Count the failed authorizations, and return the error to raise."""
        with self._context.write() as tx:
            acme_orders.count(
                tx,
                self.account_id,
                RateEventKind.FAILURE,
                [(n.removeprefix("*."), None) for n in failed],
            )
        return NamesFailed(failed)


def _publish(
    solver: Solver, proofs: Sequence[ChallengeProof], *, even_if_unpublished: bool
) -> None:
    """Publish the answers, and wait until each server has them.

    Args:
        even_if_unpublished: Go on if a server lacks an answer. Close to expiry, an authorization
            that may fail costs less than the wait.

    Raises:
        NotPublished: A server lacks an answer.
        CertmgrError: An answer cannot be published.
    """
    try:
        solver.present(proofs)
    except NotPublished as error:
        if not even_if_unpublished:
            raise
        _log.warning("%s: %s; the order continues", error.what, error.why)


def require_usable(authorization: messages.Authorization) -> None:
    """Raise unless an authorization is open or decided.

    Raises:
        OrderExpired: It ended without a decision about the name: the name did not fail, and a new
            order gets a new authorization (RFC 8555 7.1.6).
    """
    if authorization.status in ENDED:
        raise OrderExpired(
            "An authorization of the order ended",
            f"that of {display(str(authorization.identifier.value))} is"
            f" {authorization.status.name}",
        )


def _answers(kind: str, *types: str | None) -> bool:
    """Return whether a solver of a kind answers a challenge of one of these types."""
    return kind in types or (kind == DNS_01 and DNS_ACCOUNT_01 in types)


def failed_challenge(authorization: messages.Authorization, kind: str) -> str | None:
    """Return the CA's reason if the challenge failed that the solver answers, else None.

    Some CAs leave the authorization pending then, until its other challenges fail as well.
    """
    for challenge in authorization.challenges or ():
        document = challenge.chall.to_partial_json()
        if (
            _answers(kind, challenge.chall.typ, document.get("type"))
            and challenge.status == messages.STATUS_INVALID
        ):
            return failure_of(authorization)
    return None


def failure_of(authorization: messages.Authorization) -> str:
    """Return the CA's reason for an authorization that is not valid."""
    problems = [
        responses.problem_of(c.error) for c in authorization.challenges or () if c.error is not None
    ]
    if problems:
        return "; ".join(p.sentence for p in problems)
    return f"its authorization is {authorization.status.name}"
