"""The first steps of an ACME order: its key, its CSR, and the request that gives it a URL.

This module performs I/O. The process may die at every line; :mod:`certmgr.acme.orders.order`
documents the order of durability.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Unpack

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.ca_requests import CaRequests
from certmgr.acme.orders.lost_orders import find_lost_order, identifiers
from certmgr.acme.orders.order_intent import OrderIntent, profile_is_required
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.messages import NewOrder
from certmgr.acme.protocol.problems import AcmeError, AcmeProblem
from certmgr.acme.protocol.session import AccountSession
from certmgr.deploy.lineage import Lineage
from certmgr.x509 import csr as requests_
from certmgr.x509.key_store import key_reference
from certmgr.x509.private_keys import load_pem
from inventory.records import ListedLineage, OrderRecord
from inventory.store import acme_orders
from inventory.vocabulary import OrderState, RateEventKind

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class OrderPlacement:
    """Places an order that has no URL yet.

    Attributes:
        context: The shared dependencies.
        session: The session of the order's account.
        lineage: The row of the lineage.
        row: The row of the order, whose lease the caller holds.
        urgent: Whether only the CA's own answer may postpone the order.
    """

    context: IssuanceContext
    session: AccountSession
    lineage: ListedLineage
    row: OrderRecord
    urgent: bool = False

    def run(self) -> OrderRecord:
        """Store the key and the CSR, and request the order.

        Returns:
            The row of the order, with its CSR and URL.

        Raises:
            AcmeError: The CA refused the order or did not answer.
            Deferred: The order is requested again, and a rate limit is reached.
            CertmgrError: The key cannot be stored.
        """
        if self.row.csr is None:
            self._prepare()
        if self.row.url is None:
            self._place_order()
        return self.row

    def _record(self, step: str, **values: Unpack[acme_orders.OrderColumns]) -> None:
        self.context.checkpoint(step)
        with self.context.write() as tx:
            self.row = acme_orders.record(tx, self.row, **values)

    def _prepare(self) -> None:
        """Store the key, then record its CSR."""
        lineage, reference = self.lineage, self.row.key_name
        # With the client's own CSR there is no key on this machine.
        if lineage.csr:
            self._record("csr", state=OrderState.KEYED, csr=lineage.csr)
            return
        self.context.checkpoint("key")
        if lineage.reuse_key and (old := self._current_key()) is not None:
            path = self.context.keys.store_key(reference, lineage.key_type, old)
            key = old
        else:
            path, key = self.context.keys.make(reference, lineage.key_type)
        csr = requests_.make(key, self.row.names, True).decode()
        self._record("csr", state=OrderState.KEYED, key_reference=key_reference(path), csr=csr)

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
        if material.sha256 in self.lineage.compromised:
            return None  # a compromised key is never used again
        return None if pem is None else load_pem(pem)

    def _place_order(self) -> None:
        """Request the order, or find the one whose answer was lost, and record its URL."""
        requests = CaRequests(self.context, self.session)
        url = (
            find_lost_order(requests, self.row.account_id, self.row.names)
            if self.row.state is OrderState.ASKED
            else None
        )
        if url is None:
            asked: acme_orders.OrderColumns = {"state": OrderState.ASKED}
            if self.row.state is OrderState.ASKED:
                # An earlier request failed. Near the end of a certificate nothing optional is
                # risked again, such as with a CA that answers HTTP 500 to ``replaces``.
                if self.urgent and self.row.replaces is not None:
                    asked |= {"replaces": None, "exempt": 0}
                self._check_limits()
            self._record("ask", **asked)
            self.context.checkpoint("new-order")
            url = self._new_order(requests)
        self.context.checkpoint("url")
        with self.context.write() as tx:
            self.row = acme_orders.record(tx, self.row, state=OrderState.PENDING, url=url)
            acme_orders.count(
                tx,
                self.row.account_id,
                RateEventKind.ORDER,
                [(None, None)],
                exempt=bool(self.row.exempt),
            )

    def _new_order(self, requests: CaRequests) -> str:
        """Request an order and return its URL. What is optional is dropped if the CA refuses it."""
        while True:
            new = NewOrder(
                identifiers=identifiers(self.row.names),
                profile=self.row.profile,
                replaces=self.row.replaces,
            )
            try:
                response = requests.post(self.session.directory["newOrder"], new)
            except AcmeError as error:
                # Each is dropped at most once, so that this ends.
                if not self._drop_profile(error.problem) and not self._drop_replaces(error.problem):
                    raise
                _log.info("order %d is requested again: %s", self.row.id, error)
                continue
            responses.order(response)
            return responses.location(response)

    def _drop_profile(self, problem: AcmeProblem) -> bool:
        """Remove a profile that the CA refuses, and return whether the order is requested again.

        A CA may withdraw a profile between two renewals, or admit to it only some accounts. A
        certificate with other dates is better than none, and staff get a remark.
        """
        if self.row.profile is None or not problem.is_about_profile:
            return False
        if profile_is_required(self.context, self.lineage, self.row):
            return False
        self._record("without-profile", profile=None)
        return True

    def _drop_replaces(self, problem: AcmeProblem) -> bool:
        """Remove ``replaces``, and return whether the order is requested again.

        ``replaces`` is a hint, and a renewal never fails because of it. CAs refuse it for many
        reasons in as many words (another account's certificate, one that was replaced or expired,
        another CA's), so the refusal is not interpreted: the order is requested once more without
        it. It then counts against the rate limits.

        Raises:
            Deferred: A rate limit is reached.
        """
        if self.row.replaces is None or not problem.may_be_about_replaces:
            return False
        self._record("without-replaces", replaces=None, exempt=0)
        self._check_limits()
        return True

    def _check_limits(self) -> None:
        """Raise :class:`Deferred` if a rate limit is reached for a repeated request."""
        OrderIntent(self.context).check_again(self.session, self.row, urgent=self.urgent)
