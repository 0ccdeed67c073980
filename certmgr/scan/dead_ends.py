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
NO_ANSWER = "nothing: it closes the connection"
RESET = "a reset of the connection"
INVALID_TLS = "invalid TLS records or an alert"
CERTIFICATE = "browsers do not accept the certificate there"
TOO_MANY = "browsers follow no more redirects"
UNKNOWN_SCHEME = "its target has a scheme that browsers do not open"
CLOSED_HTTP2 = "nothing: it closes the connection (HTTP/2)"
ERROR_WITHOUT_PAGE = "an error status without a page"
ERROR_AS_DOWNLOAD = "an error status with a download"
PROXY_LOGIN = "a request for the password of a proxy (407)"

_FAILURES = {
    FailureKind.NOT_TLS: NOT_TLS,
    FailureKind.REFUSED: REFUSED,
    FailureKind.ALERT: HANDSHAKE,
    FailureKind.MALFORMED: HANDSHAKE,
}

# Some servers close the connections of programs that do not resemble a browser. So these are
# certain only after the request of a browser (redirects.py).
_WITHOUT_ANSWER = {
    FailureKind.CLOSED: NO_ANSWER,
    FailureKind.RESET: RESET,
    FailureKind.ALERT: INVALID_TLS,
    FailureKind.TLS: INVALID_TLS,
}


def dead_end(failure: Failure) -> str:
    """Return the phrase if a browser shows an error for certain; else an empty text.

    A time-out or a closed connection may be different for visitors.
    """
    return _FAILURES.get(failure.kind, "")


def without_answer(failure: Failure, *, http2: bool = False) -> str:
    """Return the phrase for a request after a handshake that got no answer; else an empty text.

    Args:
        failure: Why there is no answer.
        http2: Whether the server chose HTTP/2, for which browsers show another error.
    """
    if failure.layer != "http":
        return ""
    if http2 and failure.kind is FailureKind.CLOSED:
        return CLOSED_HTTP2
    return _WITHOUT_ANSWER.get(failure.kind, "")
