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

import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Unpack

from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.authorization import Authorizations, failure_of
from certmgr.acme.orders.ca_requests import CaRequests
from certmgr.acme.orders.chain_download import fetch_chain
from certmgr.acme.orders.order_errors import OrderExpired, OrderPending
from certmgr.acme.orders.order_intent import dropped_profile
from certmgr.acme.orders.order_placement import OrderPlacement
from certmgr.acme.orders.order_result import store_certificate
from certmgr.acme.orders.proof_journal import ProofJournal
from certmgr.acme.orders.received import IssuedChain
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.problems import AcmeError, NextAction
from certmgr.acme.protocol.responses import RawPayload
from certmgr.acme.protocol.session import AccountSession
from certmgr.x509 import csr as requests_
from inventory.records import ListedLineage, OrderRecord
from inventory.store import acme_orders, domain_owners
from inventory.vocabulary import OrderState

_log = logging.getLogger(__name__)

# Seconds after which an unfinished order is given up.
# A day: the next nightly run continues an order of the last one, and the CA's authorizations are
# still pending then (Let's Encrypt keeps them for seven days).
MAX_ORDER_AGE = 86_400
# A validated order gets more time, because people of a CA may have to approve it.
MAX_DECISION_AGE = 3 * 86_400
# How often an order may be pending again within one run.
MAX_ROUNDS = 3
# Most CAs sign within seconds, and some queue for minutes. After that the next run continues.
FINALIZE_SECONDS = 300.0
# Requests to finalize an order that the CA reports as not ready.
FINALIZE_TRIES = 8


def _is_decided(order: messages.Order) -> bool:
    """Return whether the CA has decided: an order that is valid without a certificate lags."""
    if order.status == messages.STATUS_VALID:
        return bool(order.certificate)
    return order.status not in (messages.STATUS_READY, messages.STATUS_PROCESSING)


@dataclass(slots=True)
class OrderFlow:
    """The steps of one order.

    Attributes:
        context: The shared dependencies.
        session: The session of the order's account.
        lineage: The row of the lineage, with ``names``.
        row: The row of the order, whose lease the caller holds.
        urgent: Whether only the CA's own answer may postpone the order.
    """

    context: IssuanceContext
    session: AccountSession
    lineage: ListedLineage
    row: OrderRecord
    urgent: bool = False

    @property
    def _requests(self) -> CaRequests:
        return CaRequests(self.context, self.session)

    @property
    def _authorizations(self) -> Authorizations:
        return Authorizations(
            requests=self._requests,
            order_id=self.row.id,
            account_id=self.row.account_id,
            solver=self.lineage.solver,
            names=self.names,
            urgent=self.urgent,
        )

    def run(self) -> OrderRecord:
        """Place or continue the order until its certificate is stored.

        Returns:
            The row of the order, in the state ``issued``.

        Raises:
            AcmeError: The CA refused a request or did not answer.
            NamesFailed: The CA could not validate a name.
            OrderExpired: The order cannot be completed any more.
            OrderPending: The CA has not decided within the time limit.
            Deferred: The order is requested again, and a rate limit is reached.
            CertmgrError: A solver or the disk failed.
        """
        _log.info("ACME order %d: %s", self.row.id, self.row.state)
        if self.row.state is OrderState.ISSUED:
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
                raise self._authorizations.failed(failed) from None
            raise

    def _run(self) -> OrderRecord:
        old = self._age > MAX_ORDER_AGE
        if old and self.row.url is None:
            raise OrderExpired("The order is too old to continue", "the CA never received it")
        if self.row.csr is None or self.row.url is None:
            placement = OrderPlacement(
                self.context, self.session, self.lineage, self.row, urgent=self.urgent
            )
            self.row = placement.run()
        body = self._fetch_order()
        if old and body.status == messages.STATUS_PENDING:
            raise OrderExpired(
                "The order is too old to continue",
                f"it is {self._age // 3600} hours old, and its names are still not validated",
            )
        try:
            return self._complete(body)
        except OrderPending as error:
            # The certificate that is still served ends while a CA never decides.
            if self._age > MAX_DECISION_AGE:
                raise OrderExpired(
                    error.what, f"the order is {self._age // 86_400} days old"
                ) from None
            raise

    @property
    def _age(self) -> int:
        """The seconds since the order was placed."""
        return self.context.now_epoch - self.row.created_at

    def _complete(self, body: messages.Order) -> OrderRecord:
        """Do what the status of the order requires, until the certificate is stored."""
        for _ in range(MAX_ROUNDS):
            if body.status == messages.STATUS_PENDING:
                self._authorizations.complete(body)
                body = self._poll(
                    lambda b: b.status != messages.STATUS_PENDING,
                    self.context.settings.acme.challenge_seconds,
                )
            # Its authorizations are final: answers of an earlier run are not needed any more.
            ProofJournal(self.context).remove(self.row.id)
            # Ready: all names are validated, and the CSR can be sent. A later status means that an
            # earlier run sent it.
            if body.status == messages.STATUS_READY:
                self._finalize(body)
            if not _is_decided(body):
                body = self._poll(_is_decided, FINALIZE_SECONDS)
            if body.status == messages.STATUS_VALID:
                return self._fetch(responses.check_url(body.certificate))
            # A server of the CA that lags behind the others may report an earlier status.
            if body.status != messages.STATUS_PENDING:
                self._raise_failure(body)
        raise OrderPending(
            "The CA reports a status of the order that was over",
            f"it was pending again {MAX_ROUNDS} times",
            "The next run continues the order.",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the order."""
        return self.row.names

    def _record(self, step: str, **values: Unpack[acme_orders.OrderColumns]) -> None:
        self.context.checkpoint(step)
        with self.context.write() as tx:
            self.row = acme_orders.record(tx, self.row, **values)

    def _fetch_order(self) -> messages.Order:
        """Return the order as the CA has it.

        Raises:
            OrderExpired: The CA does not know the order any more.
        """
        self.context.checkpoint("order")
        try:
            return responses.order(self._requests.post(self._url))
        except AcmeError as error:
            # A proxy that refuses sends no problem document, and knows nothing about the order.
            refused = error.problem.type and error.problem.status in (404, 403)
            if (refused or error.problem.type == "malformed") and (
                error.problem.next_action is not NextAction.TERMS
            ):
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
            response = self._requests.post(self._url)
            body = responses.order(response)
            if done(body):
                return body
            self._requests.pause(response, attempt, end, "the order")
        raise OrderPending("The CA has not decided after 100,000 requests")

    def _finalize(self, body: messages.Order) -> None:
        self._record("finalize", state=OrderState.FINALIZING)
        der = x509.load_pem_x509_csr(self._csr).public_bytes(Encoding.DER)
        self.context.checkpoint("finalizing")
        end = self.context.now() + timedelta(seconds=FINALIZE_SECONDS)
        for attempt in range(FINALIZE_TRIES):
            try:
                self._requests.post(
                    responses.check_url(body.finalize),
                    RawPayload({"csr": urlsafe_b64encode(der).rstrip(b"=").decode()}),
                )
                break
            except AcmeError as error:
                if error.problem.type != "orderNotReady":
                    raise
            # Two cases. After a lost answer the CA may have accepted the CSR already. Or another of
            # its servers does not know yet that the order is ready: it is asked again.
            response = self._requests.post(self._url)
            body = responses.order(response)
            if body.status not in (messages.STATUS_READY, messages.STATUS_PENDING):
                break
            self._requests.pause(response, attempt, end, "the order")
        else:
            raise OrderPending(
                "The CA does not accept the CSR yet",
                f"it reported {FINALIZE_TRIES} times that the order is not ready",
                "The next run continues the order.",
            )
        self.context.checkpoint("finalized")

    def _raise_failure(self, body: messages.Order) -> None:
        """Raise the error that an invalid order reports."""
        problem = responses.problem_of(body.error)
        if names := problem.names():
            raise self._authorizations.failed(names)
        if body.error is None:
            failed = {}
            for url in body.authorizations:
                authorization = responses.authorization(self._requests.post(url))
                # A name that was not tried did not fail.
                if authorization.status == messages.STATUS_INVALID:
                    failed[str(authorization.identifier.value)] = failure_of(authorization)
            if failed:
                raise self._authorizations.failed(failed)
            raise OrderExpired(
                "The order ended without a certificate",
                f"its state is {body.status.name}, and the CA gave no reason",
            )
        if problem.next_action is NextAction.NAMES and len(self.names) == 1:
            raise self._authorizations.failed({self.names[0]: problem.sentence})
        raise OrderExpired("The order ended without a certificate", problem.sentence)

    def _fetch(self, url: str) -> OrderRecord:
        """Fetch the certificate, check it and store it."""
        self.context.checkpoint("fetch")
        csr = x509.load_pem_x509_csr(self._csr)
        chain, note = fetch_chain(
            self._requests,
            url,
            requests_.spki(csr.public_key()),
            self.names,
            self.lineage.preferred_chain or "",
            self._is_own,
        )
        remark = dropped_profile(self.context, self.lineage, self.row)
        return self._store(chain, url, "; ".join(part for part in (note, remark) if part))

    def _is_own(self, name: str) -> bool:
        """Return whether a name belongs to the client of the lineage."""
        with self.context.read() as conn:
            owner = domain_owners.owner_of(conn, name.removeprefix("*."))
        return owner is not None and owner.client_id == self.lineage.client_id

    def _store(self, chain: IssuedChain, url: str, note: str) -> OrderRecord:
        self.context.checkpoint("store")
        with self.context.write() as tx:
            self.row = store_certificate(tx, self.row, chain, url, note)
        self.context.checkpoint("stored")
        return self.row
