"""The chain of an issued certificate: downloaded, checked, and chosen among the alternates.

This module performs I/O.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from certmgr.acme.orders.ca_requests import CaRequests
from certmgr.acme.orders.order_errors import OrderExpired, OrderPending
from certmgr.acme.orders.received import ClockFault, IssuedChain, choose
from certmgr.acme.orders.received import read as read_chain
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.problems import AcmeError, NextAction
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

MAX_ALTERNATES = 5


def _download(requests: CaRequests, url: str) -> Any:
    """Download the certificate of an order.

    Raises:
        AcmeError: The CA or the account is not available.
        OrderPending: The certificate exists, and its URL does not give it yet.
    """
    # The certificate is issued and counts against the limits, so that the order is never given up
    # because of an answer of its URL: a server behind a balancer may not have it yet.
    try:
        response = requests.post(url)
    except AcmeError as error:
        if error.problem.next_action not in (
            NextAction.STAFF,
            NextAction.NAMES,
            NextAction.WITHOUT_REPLACES,
        ):
            raise
        why = error.problem.sentence
    else:
        if b"-----BEGIN" in response.content:
            return response
        why = "the answer has no certificate"
    raise OrderPending(
        "The CA does not give the issued certificate yet", why, "The next run continues the order."
    )


def fetch_chain(
    requests: CaRequests,
    url: str,
    public_key: str,
    names: Sequence[str],
    preferred: str,
    is_own: Callable[[str], bool],
) -> tuple[IssuedChain, str]:
    """Fetch the chain of a certificate, and check it against the request.

    Args:
        requests: Sends the requests of the account.
        url: The URL of the certificate.
        public_key: The fingerprint of the CSR's SubjectPublicKeyInfo.
        names: The names of the order.
        preferred: The topmost issuer of the preferred chain; empty for the CA's default chain.
        is_own: Whether a name that was not requested belongs to the client of the lineage.

    Returns:
        The chain, and a note for staff: what differs from the request.

    Raises:
        ClockFault: The certificate is not valid yet: the clock of this machine is wrong.
        OrderExpired: The CA sent another certificate than was requested.
        OrderPending: The certificate cannot be downloaded yet.
    """
    _log.info("fetching %s", url)
    response = _download(requests, responses.check_url(url))
    now = requests.context.now()
    try:
        chains = [read_chain(response.content, public_key, names, now, is_own)]
    except ClockFault:
        # The certificate is good and the clock is wrong: another order would not help.
        raise
    except CertmgrError as error:
        raise OrderExpired(error.what, error.why, error.todo) from None
    # The default chain is what the CA recommends, so no alternate is fetched without a reason.
    if not preferred:
        return chains[0], chains[0].remark
    # Each once, and not the default chain again: some CAs link to the document itself.
    alternates = dict.fromkeys(responses.links(response, "alternate"))
    alternates.pop(response.url, None)
    for alternate in list(alternates)[:MAX_ALTERNATES]:
        # The CA's default chain is good: a failure of an alternate chain is no failure.
        with contextlib.suppress(CertmgrError):
            content = requests.post(responses.check_url(alternate)).content
            chains.append(read_chain(content, public_key, names, now, is_own))
    chain, note = choose(chains, preferred)
    return chain, "; ".join(part for part in (chain.remark, note) if part)
