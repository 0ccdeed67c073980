"""The chain of an issued certificate: downloaded, checked, and chosen among the alternates.

This module performs I/O.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence

from certmgr.acme import responses
from certmgr.acme.ca_requests import CaRequests
from certmgr.acme.order_errors import OrderExpired
from certmgr.acme.received import ClockFault, IssuedChain, choose
from certmgr.acme.received import read as read_chain
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

MAX_ALTERNATES = 5


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
    """
    _log.info("fetching %s", url)
    response = requests.post(responses.check_url(url))
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
    for alternate in responses.links(response, "alternate")[:MAX_ALTERNATES]:
        # The CA's default chain is good: a failure of an alternate chain is no failure.
        with contextlib.suppress(CertmgrError):
            content = requests.post(responses.check_url(alternate)).content
            chains.append(read_chain(content, public_key, names, now, is_own))
    chain, note = choose(chains, preferred)
    return chain, "; ".join(part for part in (chain.remark, note) if part)
