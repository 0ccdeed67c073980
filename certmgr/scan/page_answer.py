"""One HTTP answer, read for what a visitor meets: redirect, page, refusal or error. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from certmgr.net.http2_exchange import Http2Exchange
from certmgr.net.http_exchange import REDIRECTS, Exchange
from certmgr.scan import dead_ends
from certmgr.scan.cookies import cookie_headers
from certmgr.scan.dial_request import DialResult
from certmgr.scan.evidence import Failure, FailureKind
from certmgr.scan.visits import ANSWERS_TO_US, Hsts
from certmgr.scan.web_urls import (
    MAX_URL,
    is_impossible_name,
    opens_other_program,
    resolved,
)
from inventory.text import printable

_CHALLENGE = "a protection service asks for a browser (challenge page)"
# Headers of protection services that mark a challenge instead of the page.
_CHALLENGE_HEADERS = (
    ("cf-mitigated", "challenge"),
    ("x-amzn-waf-action", ""),
    ("x-datadome", "protected"),
)
# Of Imperva, Cloudflare and Sucuri.
_CHALLENGE_MARKERS = (
    b"_Incapsula_Resource",
    b"/cdn-cgi/challenge-platform/h/",
    b"sucuri_cloudproxy_js",
)
# nginx answers 400 with this text; 495 and 496 are its internal numbers, which error_page can send.
# IIS answers 403.7 and 403.16.
_NO_CLIENT_CERTIFICATE = (
    (frozenset({400}), b"No required SSL certificate was sent"),
    (frozenset({400}), b"The SSL certificate error"),
    (frozenset({403}), b"403.7 - Forbidden"),
    (frozenset({403}), b"SSL client certificate is required"),
)
# Chromium stores whatever else has this prefix.
_SHOWN_APPLICATIONS = re.compile(
    r"application/(x?html\+xml|xml|(atom|rss)\+xml|pdf|(x-)?(java|ecma)script|.*\bjson)"
)
_STORED_TEXTS = frozenset(
    {"text/csv", "text/calendar", "text/vcard", "text/rtf", "text/tab-separated-values"}
)
_CHARSET = re.compile(r";\s*charset\s*=[^;]*", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 5.6.2, in lower case
# MIME Sniffing standard, 7: bytes of no text, and the beginnings of what browsers show anyway.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_SHOWN_STARTS = (b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"%PDF-", b"\xfe\xff", b"\xff\xfe", b"RIFF")
_CLIENT_CERTIFICATE_STATUSES = frozenset({495, 496})
# RFC 6797 6.1: directives with a token or a quoted text as value.
_HSTS_PART = re.compile(r'(?:"[^"]*"|[^;"]|"(?![^"]*"))+')
_HSTS_DIRECTIVE = re.compile(
    r"""([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*("[^"]*"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+))?"""
)
# What a visit reads after the page, except for cookies.
_KEPT_HEADERS = frozenset(
    {
        "strict-transport-security",
        "www-authenticate",
        # Whether a browser stores a redirect (stored_redirects.py).
        *("age", "cache-control", "date", "expires", "pragma", "vary"),
    }
)
_MAX_KEPT_HEADERS = 32
_MAX_KEPT_HEADER = 1_000
CLIENT_CERTIFICATE_ALERTS = frozenset({116})  # certificate_required (RFC 8446 6.2)
# These mean the same if the server asked for a certificate before.
MISSING_CERTIFICATE_ALERTS = frozenset({40, 41, 42, 46, 48, 49})


@dataclass(slots=True)
class Answer:
    """What one answer means for a visitor.

    Attributes:
        status: The status code; None without an answer.
        location: The absolute URL of a redirect.
        headers: Names in lower case, values as text.
        body: Empty for a redirect.
        blocked: Why the answer does not show what a visitor sees; else empty.
        broken: Why a browser shows an error; else empty.
        client_certificate: Whether the site asks for a client certificate.
        failure: Why there is no answer.
        note: Why the body is not complete; else empty.
        invalid_location: The target of a redirect that no browser follows.
        as_browser: Whether the request was that of a browser.
        http2: Whether the server chose HTTP/2.
    """

    status: int | None = None
    location: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    blocked: str = ""
    broken: str = ""
    client_certificate: bool = False
    failure: Failure | None = None
    note: str = ""
    invalid_location: str = ""
    as_browser: bool = False
    http2: bool = False

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((v for n, v in self.headers if n == name), None)

    def values(self, name: str) -> list[str]:
        """Return all values of a header that is a list."""
        return [v.strip() for n, value in self.headers if n == name for v in value.split(",")]

    def release(self) -> None:
        """Free what is read once: the body, and the headers that no later step of a visit reads.

        A server sends up to 256 KB of headers, and a visit keeps its answers until its end.
        """
        self.body = b""
        kept = [(n, v[:_MAX_KEPT_HEADER]) for n, v in self.headers if n in _KEPT_HEADERS]
        self.headers = (*kept[:_MAX_KEPT_HEADERS], *cookie_headers(self.headers))

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""
        return 500 + len(self.location or "") + sum(100 + len(v) for _, v in self.headers)

    @property
    def problem(self) -> str:
        """Why the answer is not a page or a redirect; empty if it is."""
        if self.failure is not None:
            return self.failure.reason
        return self.broken or self.blocked

    @property
    def readable(self) -> bool:
        """Whether the answer shows what a visitor sees."""
        return not self.problem and not self.client_certificate

    @property
    def has_page(self) -> bool:
        """Whether a browser shows its body, even if that is not the page of the site.

        A challenge is no page of the site: a protection service sends it to us only.
        """
        if self.failure is not None or self.broken or self.client_certificate:
            return False
        return self.status is not None and self.location is None and self.blocked != _CHALLENGE


def read_answer(result: DialResult, url: str, *, own: bool = True) -> Answer:
    """Return what the result of one request means.

    Args:
        result: The result of the dial, with its exchange.
        url: The URL that was requested.
        own: Whether the URL belongs to the endpoint, so that its body was read.
    """
    exchange, failure = result.exchange, result.failure
    if exchange is None or (
        exchange.status is None and not exchange.error and not exchange.invalid
    ):
        failure = failure or Failure(
            "http", FailureKind.CLOSED, "the server closed the connection without an answer"
        )
        wants_certificate = failure.alert in CLIENT_CERTIFICATE_ALERTS or (
            # Servers such as IIS ask in a renegotiation, after they have read the request.
            result.client_certificate and failure.alert in MISSING_CERTIFICATE_ALERTS
        )
        return Answer(
            failure=failure,
            client_certificate=wants_certificate,
            as_browser=result.as_browser,
            http2=isinstance(exchange, Http2Exchange),
        )
    if exchange.invalid:
        return Answer(exchange.status, broken=exchange.invalid)
    if exchange.status is None:
        return Answer(blocked=f"it answers with {exchange.error}")
    answer = Answer(exchange.status, headers=tuple(exchange.headers))
    if exchange.status == 407:
        # Only a proxy may ask for this (RFC 9110 15.5.8), so browsers show an error instead of a
        # page.
        answer.broken = dead_ends.PROXY_LOGIN
        return answer
    location = exchange.header("location")
    # A browser ignores Location in answers with another status.
    if exchange.status in REDIRECTS and location:
        _read_location(answer, url, location)
        return answer
    answer.body = exchange.body
    answer.note = _incomplete(exchange, failure)
    secure = url.startswith("https:")
    answer.client_certificate = secure and _asks_for_certificate(answer)
    if own and secure and not answer.client_certificate:
        answer.broken = _error_without_page(answer, exchange, as_browser=result.as_browser)
    if not answer.client_certificate and not answer.broken:
        answer.blocked = blocked(exchange.status, answer.headers, answer.body)
    return answer


def is_error_without_page(exchange: Exchange) -> bool:
    """Return whether browsers show "HTTP ERROR 404" (or its status) instead of the answer.

    They do so for an error of HTTP whose body has no byte, whatever its type.
    """
    status = exchange.status or 0
    # Browsers ask for the password first.
    login = status == 401 and exchange.header("www-authenticate") is not None
    return 400 <= status < 600 and not exchange.body and not exchange.error and not login


def _error_without_page(answer: Answer, exchange: Exchange, *, as_browser: bool) -> str:
    """Return why browsers show an error page for an error of HTTP; else an empty text."""
    status = answer.status or 0
    # These may be different for visitors.
    if status in ANSWERS_TO_US or not 400 <= status < 600:
        return ""
    if is_download(answer) or _is_stored(answer):
        return dead_ends.ERROR_AS_DOWNLOAD
    # Some servers send an empty error to programs that do not resemble a browser.
    return dead_ends.ERROR_WITHOUT_PAGE if as_browser and is_error_without_page(exchange) else ""


def _is_stored(answer: Answer) -> bool:
    """Return whether browsers store a body because of its type."""
    essence = re.split(r"[ \t;(]", content_type(answer) or "", maxsplit=1)[0].lower()
    if essence in ("", "text/plain"):
        sniffed = (answer.header("x-content-type-options") or "").lower() != "nosniff"
        start = answer.body[:512]
        return sniffed and bool(_BINARY.search(start)) and not start.startswith(_SHOWN_STARTS)
    unknown = essence.startswith("application/") and not _SHOWN_APPLICATIONS.fullmatch(essence)
    stored = unknown or essence.startswith("font/") or essence in _STORED_TEXTS
    return stored and bool(answer.body)


def _read_location(answer: Answer, url: str, location: str) -> None:
    text = location.encode("latin-1", "replace").decode("utf-8", "replace")
    answer.location = resolved(url, text)
    if answer.location is not None:
        return
    answer.invalid_location = printable(text, 80)
    if len(text) > MAX_URL:
        answer.blocked = "it redirects to an address that is too long for this program"
        return
    if opens_other_program(text):
        answer.blocked = "it redirects to another program than the browser"
    elif re.match(r"(?i)\s*wss?:", text):
        answer.broken = dead_ends.UNKNOWN_SCHEME
    elif re.match(r"(?i)\s*(?!https?:|filesystem:)[a-z][a-z0-9+.\-]*:", text):
        answer.broken = dead_ends.UNSAFE_URL
    elif is_impossible_name(text):
        answer.broken = dead_ends.NO_ADDRESS
    else:
        answer.broken = dead_ends.INVALID_URL


def _incomplete(exchange: Exchange, failure: Failure | None) -> str:
    if exchange.error:
        return f"the page came with {exchange.error}"
    if failure is not None and failure.kind is FailureKind.TOO_LARGE:
        return failure.reason
    if failure is not None and failure.kind is FailureKind.TIMEOUT:
        return "the page did not load completely in time"
    if exchange.truncated:
        return "the page exceeds the size limit"
    if exchange.incomplete or failure is not None:
        return "the server closed the connection before the end of the page"
    return ""


def _asks_for_certificate(answer: Answer) -> bool:
    if answer.status in _CLIENT_CERTIFICATE_STATUSES:
        return True
    start = answer.body[:4096]
    return any(answer.status in codes and text in start for codes, text in _NO_CLIENT_CERTIFICATE)


def blocked(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> str:
    """Return why an answer does not show the page; empty if it does.

    The server refused the request, or a protection service requires a browser.
    """
    for name, value in _CHALLENGE_HEADERS:
        if any(n == name and value in v.lower() for n, v in headers):
            return _CHALLENGE
    if status in ANSWERS_TO_US:
        return ANSWERS_TO_US[status]
    # The page of the site without the error is unknown. A status of 600 or more is no error of
    # HTTP: browsers show its page, and it does not change by itself.
    if 500 <= status < 600:
        return "it answers with a server error"
    # Challenge pages are short. A long page may contain a marker for another reason.
    if len(body) < 20_000 and any(mark in body for mark in _CHALLENGE_MARKERS):
        return _CHALLENGE
    return ""


def content_type(answer: Answer) -> str | None:
    """Return the Content-Type that a browser uses: the last valid one of all.

    If it has no charset, that of an earlier one of the same type counts. Returns None if none is
    valid, and the browser examines the content.
    """
    valid, before, charset = None, "", ""
    for value in answer.values("content-type"):
        essence = re.split(r"[ \t;(]", value, maxsplit=1)[0]
        if "/" not in essence or essence == "*/*":
            continue
        own = _CHARSET.search(value)
        if own is not None or essence.lower() != before:
            charset = own[0] if own is not None else ""
        valid, before = value if own is not None else value + charset, essence.lower()
    return valid


def is_download(answer: Answer) -> bool:
    """Return whether a browser stores the answer instead of showing it (RFC 6266 4.2)."""
    kind = (answer.header("content-disposition") or "").partition(";")[0].strip().lower()
    # Some sites send the parameter without a type (filename=x), or the type in quotes. Chromium
    # takes what is not a token for inline.
    return kind != "inline" and _TOKEN.fullmatch(kind) is not None


def parse_hsts(value: str | None) -> Hsts | None:
    """Parse Strict-Transport-Security (RFC 6797 6.1).

    Returns None if the header is missing or has no valid max-age.
    """
    if value is None:
        return None
    directives: dict[str, str | None] = {}
    for part in _HSTS_PART.findall(value[:1000]):
        if not part.strip():
            continue
        match = _HSTS_DIRECTIVE.fullmatch(part.strip())
        name = match[1].lower() if match else ""
        # RFC 6797 6.1 forbids to repeat any directive. Browsers refuse only those that they know.
        if match is None or (name in directives and name in ("max-age", "includesubdomains")):
            return None
        directives[name] = match[2]
    if directives.get("includesubdomains") is not None:
        return None  # it has no value
    age = (directives.get("max-age") or "").strip('"')
    if not (age.isascii() and age.isdigit()):
        return None
    return Hsts(
        # RFC 6797 sets no upper limit, and the number is stored and shown.
        min(int(age[:12]), 10**10),
        "includesubdomains" in directives,
        "preload" in directives,
    )
