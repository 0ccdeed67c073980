"""Why browsers show an error instead of a page, as fixed phrases.

notifiers/wording/values.py translates them. certmgr/checks/http.py gives the error code of the
browser and the advice for each.
"""

from certmgr.scan.evidence import Failure, FailureKind

NO_ADDRESS = "the name that it redirects to does not exist in the DNS"
NOT_TLS = "that port does not answer in TLS"
REFUSED = "nothing listens there"
HANDSHAKE = "the TLS handshake fails there"
BAD_PORT = "browsers do not open that port"
INVALID_URL = "its target is not a valid web address"
UNSAFE_URL = "its target is not a web page"
PROXY_LOGIN = "a request for the password of a proxy (407)"

_FAILURES = {
    FailureKind.NOT_TLS: NOT_TLS,
    FailureKind.REFUSED: REFUSED,
    FailureKind.ALERT: HANDSHAKE,
    FailureKind.MALFORMED: HANDSHAKE,
}


def dead_end(failure: Failure) -> str:
    """Return the phrase if a browser shows an error for certain; else an empty text.

    A time-out or a closed connection may be different for visitors.
    """
    return _FAILURES.get(failure.kind, "")
