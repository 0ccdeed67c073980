"""Hosts that programs request and visitors do not open, and what they are judged by. Pure.

Chrome shows an error page for an error status without a page, and so such an answer is critical
for a web host. The interface of a program (API) often has nothing at its home page: an empty 404
there is its usual answer, and no fault, as long as TLS is in order.
"""

from __future__ import annotations

import re

from certmgr.checks.transport import finding
from certmgr.scan import dead_ends
from certmgr.scan.visits import REFUSALS, Visit, VisitEnd
from inventory.names import as_ip, registered_domain
from inventory.vocabulary import Finding, Purpose, Severity

# The first word of a label below the registered domain, alone, numbered or with more words, and
# "api" as the last word: api, api2, rest-v1, shop-api.
_LABEL = re.compile(
    r"(?:apis?|rest|graphql|grpc|rpc|soap|webhooks?|websockets?|wss?)(?:v?\d+)?(?:[-_].*)?"
    r"|.*[-_]api(?:v?\d+)?"
)
BROWSER_ERRORS = {
    dead_ends.ERROR_WITHOUT_PAGE: "ERR_HTTP_RESPONSE_CODE_FAILURE",
    dead_ends.ERROR_AS_DOWNLOAD: "ERR_INVALID_RESPONSE",
}

PAGE_MISSING = "page-missing"
"""The finding about a host of programs that has no page."""


def is_named_for_programs(host: str) -> bool:
    """Return whether the name of a host states that programs request it, such as api.example.com.

    The registered domain does not count: rest.com may be a hotel.
    """
    if as_ip(host) is not None:
        return False
    below = host.removesuffix(registered_domain(host)).rstrip(".")
    return any(_LABEL.fullmatch(label) for label in below.split("."))


def page_missing(host: str, visit: Visit, purpose: str) -> Finding | None:
    """Return the finding about a host of programs without a page; None if another one applies.

    Only a status of 400 to 499 is the usual answer of an API. A server error is one for programs
    too, and so is everything that is no HTTP.
    """
    status = visit.last.status or 0
    if not 400 <= status < 500:
        return None
    known = purpose == Purpose.API
    # The address of a request that is refused may have a page for others, unless none is expected.
    refused = known and visit.end is VisitEnd.UNKNOWN and visit.why in REFUSALS
    broken = visit.end is VisitEnd.BROKEN and visit.why in BROWSER_ERRORS
    if not refused and not (broken and (known or is_named_for_programs(host))):
        return None
    evidence = {"browser_error": BROWSER_ERRORS[visit.why]} if broken else {}
    return finding(
        PAGE_MISSING,
        (visit.address,),
        Severity.INFO if known else None,
        url=visit.last.url,
        status=status,
        **evidence,
    )
