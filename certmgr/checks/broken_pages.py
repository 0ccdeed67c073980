"""Findings about visits that end with an error of the browser. Pure.

These are certain: a browser shows an error page, from any network. So they are faults with an
instruction, and not undetermined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from certmgr.checks import api_hosts
from certmgr.checks.transport import finding
from certmgr.net import http1, http2_frames
from certmgr.net.http_exchange import (
    INTERIM_ONLY,
    INVALID_ENCODING,
    NOT_HTTP,
    NOT_OFFERED_ENCODING,
    REDIRECTS,
    TRUNCATED_HEADERS,
)
from certmgr.scan import dead_ends
from certmgr.scan.visits import Visit
from inventory.vocabulary import Finding


class _DeadEnd(NamedTuple):
    """What a browser shows at the end of a redirect, and what to do about it."""

    browser_error: str
    advice: str


_CORRECT_TARGET = "correct the target of the redirect"
DEAD_ENDS = {
    dead_ends.NO_ADDRESS: _DeadEnd(
        "DNS_PROBE_FINISHED_NXDOMAIN",
        "create the A (and AAAA) record of that name, or redirect to a name that exists",
    ),
    dead_ends.NOT_TLS: _DeadEnd(
        "ERR_SSL_PROTOCOL_ERROR",
        "remove the port from the https:// address, since HTTPS is served on port 443",
    ),
    dead_ends.REFUSED: _DeadEnd(
        "ERR_CONNECTION_REFUSED",
        "start the web server there, or redirect to an address that is served",
    ),
    dead_ends.HANDSHAKE: _DeadEnd(
        "ERR_SSL_PROTOCOL_ERROR",
        "install a certificate for that name on its server, or redirect to a name that has one",
    ),
    dead_ends.BAD_PORT: _DeadEnd("ERR_UNSAFE_PORT", "use the usual port, 80 or 443"),
    dead_ends.INVALID_URL: _DeadEnd("ERR_INVALID_REDIRECT", _CORRECT_TARGET),
    dead_ends.UNSAFE_URL: _DeadEnd("ERR_UNSAFE_REDIRECT", _CORRECT_TARGET),
    dead_ends.UNKNOWN_SCHEME: _DeadEnd("ERR_UNKNOWN_URL_SCHEME", _CORRECT_TARGET),
    dead_ends.TOO_MANY: _DeadEnd(
        "ERR_TOO_MANY_REDIRECTS", "redirect to the final page directly, or end the loop"
    ),
}
BROWSER_ERRORS = {
    NOT_HTTP: "ERR_INVALID_HTTP_RESPONSE",
    NOT_OFFERED_ENCODING: "ERR_CONTENT_DECODING_FAILED",
    INVALID_ENCODING: "ERR_CONTENT_DECODING_FAILED",
    INTERIM_ONLY: "ERR_EMPTY_RESPONSE",
    TRUNCATED_HEADERS: "ERR_RESPONSE_HEADERS_TRUNCATED",
    http1.NUL_IN_HEADERS: "ERR_INVALID_HTTP_RESPONSE",
    http1.TWO_LENGTHS: "ERR_RESPONSE_HEADERS_MULTIPLE_CONTENT_LENGTH",
    http1.TWO_DISPOSITIONS: "ERR_RESPONSE_HEADERS_MULTIPLE_CONTENT_DISPOSITION",
    http1.TWO_LOCATIONS: "ERR_RESPONSE_HEADERS_MULTIPLE_LOCATION",
    http1.LARGE_HEADERS: "ERR_RESPONSE_HEADERS_TOO_BIG",
    http2_frames.HTTP2_PROTOCOL: "ERR_HTTP2_PROTOCOL_ERROR",
    http2_frames.HTTP2_FRAME_SIZE: "ERR_HTTP2_FRAME_SIZE_ERROR",
    http2_frames.HTTP2_COMPRESSION: "ERR_HTTP2_COMPRESSION_ERROR",
    http2_frames.HTTP2_FLOW_CONTROL: "ERR_HTTP2_FLOW_CONTROL_ERROR",
    http2_frames.HTTP2_REFUSED: "ERR_HTTP2_SERVER_REFUSED_STREAM",
    dead_ends.NO_ANSWER: "ERR_EMPTY_RESPONSE",
    dead_ends.CLOSED_HTTP2: "ERR_CONNECTION_CLOSED",
    **api_hosts.BROWSER_ERRORS,
    dead_ends.RESET: "ERR_CONNECTION_RESET",
    dead_ends.INVALID_TLS: "ERR_SSL_PROTOCOL_ERROR",
    dead_ends.PROXY_LOGIN: "ERR_UNEXPECTED_PROXY_AUTH",
}


def broken_findings(host: str, visit: Visit, purpose: str) -> Iterator[Finding]:
    """Yield the finding about a visit that ends with an error of the browser."""
    at, last = (visit.address,), visit.last
    if visit.why in DEAD_ENDS:
        end = DEAD_ENDS[visit.why]
        # The last request is the target, unless its URL is none that can be requested.
        invalid = last.status in REDIRECTS
        url, to = (last.url, last.why) if invalid else (visit.hops[-2].url, last.url)
        # Only redirects of this endpoint count: other hosts are responsible for theirs.
        if urlsplit(url).hostname == host:
            yield finding(
                "redirect-broken",
                at,
                url=url,
                to=to,
                why=visit.why,
                advice=end.advice,
                browser_error=end.browser_error,
            )
    # The answer of another host is not a fault of this endpoint.
    elif urlsplit(last.url).hostname == host:
        yield api_hosts.page_missing(host, visit, purpose) or finding(
            "answer-invalid",
            at,
            url=last.url,
            why=visit.why,
            browser_error=BROWSER_ERRORS.get(visit.why, "ERR_INVALID_HTTP_RESPONSE"),
        )
