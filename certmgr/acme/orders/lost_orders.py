"""Orders whose answer was lost, found in the CA's list of the account's orders.

This module performs I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from acme import messages

from certmgr.acme.orders.ca_requests import CaRequests
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.problems import AcmeError, NextAction
from inventory.names import as_ip
from inventory.store import acme_orders

_log = logging.getLogger(__name__)

# The newest orders are enough: only the last request of this account can have lost its answer.
MAX_LISTED = 1000


def identifiers(names: Sequence[str]) -> list[messages.Identifier]:
    """Return names, wildcards and addresses as ACME identifiers (RFC 8555, RFC 8738)."""
    result = []
    for name in names:
        address = as_ip(name)
        typ = messages.IDENTIFIER_FQDN if address is None else messages.IDENTIFIER_IP
        result.append(messages.Identifier(typ=typ, value=str(address or name)))
    return result


def find_lost_order(requests: CaRequests, account_id: int, names: Sequence[str]) -> str | None:
    """Return the URL of the order whose answer was lost.

    It comes from the CA's list of the account's orders (RFC 8555 7.1.2.1).

    Returns:
        None if the CA keeps no list or has no such order. Then the order is requested again;
        Boulder returns an open order for the same names instead of a new one.
    """
    requests.context.checkpoint("lost")
    _log.info("searching for an order whose answer was lost")
    with requests.context.read() as conn:
        known = acme_orders.urls(conn, account_id)
    # Compared as a set: a CA may return the names in another order. Some CAs call an address a
    # name.
    expected = {i.value for i in identifiers(names)}
    try:
        for url in _listed_orders(requests):
            if url in known:
                continue
            body = responses.order(requests.post(url))
            same = {i.value for i in body.identifiers or ()} == expected
            if same and body.status not in (messages.STATUS_INVALID,):
                return url
    except AcmeError as error:
        # Another error means that the CA keeps no list, as RFC 8555 permits. A CA that is
        # overloaded is not asked for a new order at once.
        if error.problem.next_action is NextAction.BACK_OFF:
            raise
    return None


def _listed_orders(requests: CaRequests) -> Sequence[str]:
    """Return the URLs of the account's orders, in the reverse order of the CA's list."""
    url = responses.document(requests.post(requests.session.url)).get("orders")
    urls: list[str] = []
    # RFC 8555 does not define the order of the list; the newest are assumed to come last.
    for _ in range(20):
        if not isinstance(url, str):
            break
        response = requests.post(responses.check_url(url))
        listed = responses.document(response).get("orders")
        urls += [u for u in listed if isinstance(u, str)] if isinstance(listed, list) else []
        url = next(iter(responses.links(response, "next")), None)
    return [responses.check_url(u) for u in reversed(urls[-MAX_LISTED:])]
