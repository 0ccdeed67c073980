"""Fetch the pages of one address of an endpoint, over http:// and https://.

Redirects are followed as a browser does, within bounds. The address of the endpoint is pinned for
its host. The target of a redirect is untrusted: another host is resolved once, internal addresses
are refused unless configured, and content there is never attributed to this endpoint. Only GET is
sent. By default, one address gets 2 fetches at once and 5 per second, since thousands of shops
share a machine.
"""

from __future__ import annotations

import asyncio
import email.message
import http.cookiejar
import re
import urllib.request
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit

from certmgr.net.addresses import Network, refusal
from certmgr.net.http_exchange import HttpExchange
from certmgr.scan.dial import Dialler
from certmgr.scan.dial_request import DialRequest, DialResult
from certmgr.scan.evidence import Failure, FailureKind
from certmgr.scan.page_process import PageParserProcess
from certmgr.scan.rate_limits import AddressRateLimiter
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import Hop, Hsts, Page, Visit, VisitEnd
from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host, registered_domain
from inventory.targets import Target
from inventory.text import printable

MAX_REDIRECTS = 10
MAX_URL = 2000
MAX_BODIES = 100  # answers in memory at once, in one process
MAX_COOKIES = 8000  # characters of a Cookie header; beyond it none is sent
# Ports that browsers never open (Fetch standard, "bad port").
BAD_PORTS = frozenset(
    {
        0,
        1,
        7,
        9,
        11,
        13,
        15,
        17,
        19,
        20,
        21,
        22,
        23,
        25,
        37,
        42,
        43,
        53,
        69,
        77,
        79,
        87,
        95,
        101,
        102,
        103,
        104,
        109,
        110,
        111,
        113,
        115,
        117,
        119,
        123,
        135,
        137,
        139,
        143,
        161,
        179,
        389,
        427,
        465,
        512,
        513,
        514,
        515,
        526,
        530,
        531,
        532,
        540,
        548,
        554,
        556,
        563,
        587,
        601,
        636,
        989,
        990,
        993,
        995,
        1719,
        1720,
        1723,
        2049,
        3659,
        4045,
        4190,
        5060,
        5061,
        6000,
        6566,
        6665,
        6666,
        6667,
        6668,
        6669,
        6679,
        6697,
        10080,
    }
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BLOCKED = {
    403: "it refuses our request (403)",
    406: "it refuses our request (406)",
    451: "it refuses our request (451)",
    429: "it limits the rate of our requests (429)",
    503: "it is temporarily unavailable (503)",
}
# Headers of protection services that mark a challenge instead of the page.
_CHALLENGE_HEADERS = (
    ("cf-mitigated", "challenge"),
    ("x-amzn-waf-action", ""),
    ("x-datadome", "protected"),
)
_CHALLENGE_MARKERS = (
    b"_Incapsula_Resource",
    b"/cdn-cgi/challenge-platform/h/",
    b"sucuri_cloudproxy_js",
)


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Options of page fetches.

    Attributes:
        port: The port of plain HTTP.
        per_address: Fetches at once per address; 0 means no limit.
        rate: Fetches per second and address; 0 means no limit.
    """

    port: int = 80
    user_agent: str = "certmgr"
    per_address: int = 2
    rate: float = 5.0


@dataclass(slots=True)
class _FetchResult:
    """The relevant parts of one answer, or the reason why there is none."""

    status: int | None = None
    location: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    page: Page | None = None
    blocked: str = ""
    failure: Failure | None = None

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n == name), None)


@dataclass(slots=True)
class _TimeBudget:
    """The seconds that remain for all pages of one address."""

    left: float


@dataclass(slots=True, eq=False)
class _WaitingFetch:
    """A fetch that waits for a slot of its address."""

    address: str
    future: asyncio.Future[None]


class PageFetcher:
    """Visits pages with one dialler and one resolver. The resolver must be guarded."""

    def __init__(
        self,
        dialler: Dialler,
        resolver: Resolver,
        allowed: tuple[Network, ...],
        options: WebOptions,
    ) -> None:
        self._dialler, self._resolver, self._allowed, self._options = (
            dialler,
            resolver,
            allowed,
            options,
        )
        self._reader = PageParserProcess()
        self._bodies = asyncio.Semaphore(MAX_BODIES)
        self._rate_limiter: AddressRateLimiter[_WaitingFetch] = AddressRateLimiter(
            options.per_address,
            options.rate,
            dialler.loop,
            lambda w: w.future.set_result(None),
            self._enter_queue,
        )

    def _enter_queue(self, waiting: _WaitingFetch) -> None:
        self._rate_limiter.enter(waiting, waiting.address)

    async def visit(
        self, target: Target, address: str, paths: tuple[str, ...], *, secure: bool
    ) -> tuple[Visit, ...]:
        """Visit the home page, then the further paths.

        Plain HTTP is visited always. HTTPS is visited if ``secure``, which states that a handshake
        succeeds.
        """
        # Several paths often redirect to the same page.
        known: dict[str, _FetchResult] = {}
        visits = []
        # One budget for all paths: a slow site must not delay the run once per path.
        budget = _TimeBudget(self._dialler.limits.timeout)
        for path in dict.fromkeys(("/", *paths)):
            visits.append(
                await self._follow_redirects(
                    _url("http", target.host, self._options.port, path),
                    target.host,
                    address,
                    known,
                    budget,
                )
            )
            if secure:
                visits.append(
                    await self._follow_redirects(
                        _url("https", target.host, target.port, path),
                        target.host,
                        address,
                        known,
                        budget,
                    )
                )
        return tuple(visits)

    def failed(self, target: Target, address: str, error: BaseException) -> Visit:
        """Return the visit of an endpoint whose visit ended with an internal error."""
        url = _url("http", target.host, self._options.port, "/")
        hop = Hop(url, address, why=printable(f"{type(error).__name__}: {error}", 200))
        return Visit(
            url,
            address,
            VisitEnd.UNKNOWN,
            (hop,),
            why="the visit failed because of an internal error",
        )

    async def _follow_redirects(
        self,
        url: str,
        host: str,
        own_address: str,
        known: dict[str, _FetchResult],
        budget: _TimeBudget,
    ) -> Visit:
        """Follow the redirects from one URL.

        Args:
            known: Answers to requests without cookies at this address, to avoid repeated requests.
            budget: The remaining time for all pages of this address. The wait for a slot does not
                count.
        """
        jar: http.cookiejar.CookieJar | None = None
        hops: list[Hop] = []
        seen: set[tuple[str, str | None]] = set()
        current, address, first, answer = url, own_address, _FetchResult(), _FetchResult()
        while True:
            cookies = _cookies_for(jar, current)
            if (current, cookies) in seen:
                return self._visit(
                    url, own_address, VisitEnd.LOOP, hops, first, None, "the redirects form a loop"
                )
            if len(hops) > MAX_REDIRECTS:  # browsers follow some more, so the end is undetermined
                return self._visit(
                    url,
                    own_address,
                    VisitEnd.UNKNOWN,
                    hops,
                    first,
                    None,
                    f"more than {MAX_REDIRECTS} redirects",
                )
            # The cookies are part of the key: some sites redirect to the same URL to set a cookie.
            seen.add((current, cookies))
            # The resolution of a redirect's host counts towards the budget too.
            started = self._dialler.loop.time()
            if len(hops):
                target = await self._redirect_target(current, host, own_address)
                if target.why:
                    hops.append(target)
                    return self._visit(
                        url, own_address, VisitEnd.UNKNOWN, hops, first, None, target.why
                    )
                address = target.address
            if budget.left <= 0 and current not in known:
                why = (
                    "the time limit was reached while its redirects were followed"
                    if hops
                    else "the time limit was reached"
                )
                return self._visit(
                    url,
                    own_address,
                    VisitEnd.UNKNOWN,
                    hops or [Hop(current, address, why=why)],
                    first,
                    None,
                    why,
                )
            # A known answer costs no time, so it is used even after the budget ends.
            # With cookies, or at another address, the same URL may give another answer.
            if cookies is None and address == own_address and current in known:
                answer = known[current]
            else:
                answer, waited = await self._fetch(
                    current, address, cookies, budget.left, own=_host(current) == host
                )
                budget.left -= self._dialler.loop.time() - started - waited
                if cookies is None and address == own_address:
                    known[current] = answer
            # HSTS is valid only in the answer of the URL that was visited (RFC 6797 8.1).
            first = answer if not hops else first
            location = answer.location if answer.failure is None and not answer.blocked else None
            problem = answer.failure.reason if answer.failure is not None else answer.blocked
            hops.append(Hop(current, address, answer.status, location, problem))
            if location is None:
                return self._end(url, own_address, hops, first, answer, host)
            jar = _store_cookies(jar, current, answer)
            # Another site is not this endpoint, so the visit ends before it is requested.
            if _leaves_site(location, host):
                return self._visit(url, own_address, VisitEnd.LEFT, hops, first, None)
            current = location

    def _end(
        self,
        url: str,
        address: str,
        hops: list[Hop],
        first: _FetchResult,
        answer: _FetchResult,
        host: str,
    ) -> Visit:
        failure = answer.failure
        if failure is not None:
            end = VisitEnd.UNKNOWN
            if len(hops) > 1:
                # The target of a redirect does not open. A visitor sees an error, so the end stays
                # unknown.
                pass
            elif failure.kind is FailureKind.REFUSED:
                end = VisitEnd.CLOSED
            elif (
                failure.kind in (FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.NO_ROUTE)
                and not failure.accepted
            ):
                end = VisitEnd.SILENT  # a slow server that accepts connections may serve a page
            return self._visit(url, address, end, hops, first, None, failure.reason)
        if answer.blocked:
            return self._visit(url, address, VisitEnd.UNKNOWN, hops, first, None, answer.blocked)
        # A page of another host is not attributed to this endpoint.
        own = _host(hops[-1].url) == host
        visit = self._visit(url, address, VisitEnd.PAGE, hops, first, answer.page if own else None)
        offered = [v.strip().lower() for n, v in answer.headers if n == "www-authenticate"]
        # One header may offer several schemes (RFC 9110 11.6.1).
        basic = any(v.startswith("basic") or ", basic " in v for v in offered)
        asks = own and basic and answer.status == 401 and hops[-1].url.startswith("http:")
        return replace(visit, asks_password=asks)

    def _visit(
        self,
        url: str,
        address: str,
        end: VisitEnd,
        hops: list[Hop],
        first: _FetchResult,
        page: Page | None,
        why: str = "",
    ) -> Visit:
        secure = url.startswith("https:")
        answered = (
            secure and first.failure is None and not first.blocked and first.status is not None
        )
        hsts = parse_hsts(first.header("strict-transport-security")) if answered else None
        return Visit(
            url=url,
            address=address,
            end=end,
            hops=tuple(hops),
            page=page,
            hsts=hsts,
            hsts_seen=answered,
            why=printable(why, 200),
        )

    async def _redirect_target(self, url: str, host: str, own_address: str) -> Hop:
        """Return a hop with the address to request, or with the reason why it is not visited."""
        parts = urlsplit(url)
        name = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        # A browser does not open it, and a mail server, for example, must not get our request.
        if port in BAD_PORTS:
            return Hop(url, "", why="it redirects to a port that browsers do not open")
        if name == host:
            return Hop(url, own_address)
        ip = as_ip(name)
        if ip is not None:
            reason = refusal(str(ip), self._allowed)
            refused = f"it redirects to {ip}, which is not visited ({reason})"
            return Hop(url, str(ip)) if reason is None else Hop(url, "", why=refused)
        resolution = await self._resolver.resolve(name, port)
        if resolution.addresses:
            return Hop(url, resolution.addresses[0])
        if resolution.refused:
            return Hop(
                url,
                "",
                why=(
                    f"it redirects to {name}, whose address is not visited"
                    f" ({resolution.refused[0][1]})"
                ),
            )
        return Hop(
            url, "", why=f"it redirects to {name}, which has no address ({resolution.reason})"
        )

    async def _fetch(
        self, url: str, address: str, cookies: str | None, timeout: float, *, own: bool
    ) -> tuple[_FetchResult, float]:
        """Fetch one URL.

        The page is parsed only if the URL belongs to the endpoint.

        Returns:
            The answer, and the seconds that the fetch waited for its slot.
        """
        parts = urlsplit(url)
        loop = self._dialler.loop
        arrived = loop.time()
        slot = _WaitingFetch(address, loop.create_future())
        self._enter_queue(slot)
        await slot.future
        # A body stays in memory until the page is parsed, so the number of bodies is limited.
        async with self._bodies:
            waited = loop.time() - arrived
            try:
                request = self._request(parts, address, cookies, max(timeout, 0.5), own)
                dial_result = await self._dialler.dial(request)
            finally:
                self._rate_limiter.leave(address)
            return await self._read_answer(dial_result, url, own), waited

    async def _read_answer(self, dial_result: DialResult, url: str, own: bool) -> _FetchResult:
        exchange = dial_result.exchange
        if exchange is None or (exchange.status is None and not exchange.error):
            failure = dial_result.failure or Failure(
                "http", FailureKind.CLOSED, "the server closed the connection without an answer"
            )
            return _FetchResult(failure=failure)
        if exchange.status is None:
            return _FetchResult(blocked="its answer is not HTTP")
        answer = _FetchResult(exchange.status, headers=tuple(exchange.headers))
        location = exchange.header("location")
        # A browser ignores Location in answers with another status.
        if exchange.status in _REDIRECTS and location:
            answer.location = _resolved(url, location)
            if answer.location is None:
                answer.blocked = (
                    f"it redirects to an invalid web address: {printable(location, 80)}"
                )
            return answer
        body = exchange.body
        answer.blocked = blocked(exchange.status, answer.headers, body)
        if own and not answer.blocked:
            answer.page = await self._page(exchange, dial_result.failure, body, url)
        return answer

    async def _page(
        self, exchange: HttpExchange, failure: Failure | None, body: bytes, url: str
    ) -> Page | None:
        if exchange.error:
            return Page(note=f"the page came with {exchange.error}")
        policies = tuple(
            p for n, v in exchange.headers if n == "content-security-policy" for p in v.split(",")
        )
        types = [v for n, v in exchange.headers if n == "content-type"]  # browsers use the last
        page = await self._reader.read(body, types[-1] if types else None, url, policies)
        if page is not None and not page.note and (exchange.truncated or failure is not None):
            note = (
                "the page exceeds the size limit"
                if failure is None
                else "the page did not load completely in time"
            )
            page = replace(page, note=note)
        return page

    def _request(
        self, parts: SplitResult, address: str, cookies: str | None, timeout: float, own: bool
    ) -> DialRequest:
        secure = parts.scheme == "https"
        name = parts.hostname or ""
        port = parts.port or (443 if secure else 80)
        bracketed = f"[{name}]" if ":" in name else name
        host = bracketed if parts.port is None else f"{bracketed}:{port}"
        headers = [
            ("User-Agent", self._options.user_agent),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            # HttpExchange decodes no other encoding.
            ("Accept-Encoding", "gzip"),
            # Some sites redirect to HTTPS only if the browser sends this header.
            ("Upgrade-Insecure-Requests", "1"),
        ]
        if cookies is not None:
            headers.append(("Cookie", cookies))  # limited to fit one TLS record
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        server_name = None if as_ip(name) is not None else name
        return DialRequest(
            address,
            port,
            "https" if secure else "http",
            server_name,
            timeout=timeout,
            # The body of another host's page is not needed.
            exchange=lambda: HttpExchange(
                host, path, tuple(headers), **({} if own else {"max_body": 0})
            ),
        )

    async def close(self) -> None:
        """End the parser process."""
        await self._reader.close()


def _url(scheme: str, host: str, port: int, path: str) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{bracketed}{'' if port == usual else f':{port}'}{_quoted(path)}"


def _quoted(text: str) -> str:
    return quote(text, safe="%/:@!$&'()*+,;=~-._?")


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _resolved(url: str, location: str) -> str | None:
    """Return a Location header as an absolute http(s) URL in ASCII, or None if it is not one.

    The host is in A-label form. Fragment and user name are removed.
    """
    text = location.encode("latin-1", "replace").decode("utf-8", "replace").strip()
    if len(text) > MAX_URL or re.fullmatch(r"(?i)[a-z]+:/*", text):
        return None
    try:
        head, question_mark, query = re.sub(r"[\t\r\n]", "", text).partition("?")
        parts = urlsplit(
            urljoin(url, head.replace("\\", "/") + question_mark + query)
        )  # a backslash is a slash (URL standard, 4.4)
        host = normalise_host(parts.hostname or "")
        port = parts.port
    except (ValueError, CertmgrError):
        return None
    if parts.scheme not in ("http", "https"):
        return None
    bracketed = f"[{host}]" if ":" in host else host
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        bracketed += f":{port}"
    return urlunsplit(
        (parts.scheme, bracketed, _quoted(parts.path or "/"), _quoted(parts.query), "")
    )


def _leaves_site(location: str, host: str) -> bool:
    """Return whether a redirect leaves the site: to HTTPS at another registered domain."""
    other = _host(location)
    if not location.startswith("https:") or other == host:
        return False
    return (
        as_ip(host) is not None
        or as_ip(other) is not None
        or registered_domain(other) != registered_domain(host)
    )


def parse_hsts(value: str | None) -> Hsts | None:
    """Parse Strict-Transport-Security (RFC 6797 6.1).

    Returns None if the header is missing or has no valid max-age.
    """
    if value is None:
        return None
    directives: dict[str, str] = {}
    for part in value[:1000].split(";"):
        name, _, given = part.strip().partition("=")
        name = name.strip().lower()
        # RFC 6797 6.1: a directive must not appear more than once.
        if name in directives:
            return None
        if name:
            directives[name] = given.strip().strip('"')
    age = directives.get("max-age", "")
    if not (age.isascii() and age.isdigit()):
        return None
    return Hsts(
        min(int(age[:12]), 10**10), "includesubdomains" in directives, "preload" in directives
    )


def blocked(status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> str:
    """Return why an answer does not show the page; empty if it does.

    The server refused the request, or a protection service requires a browser.
    """
    for name, value in _CHALLENGE_HEADERS:
        if any(n == name and value in v.lower() for n, v in headers):
            return "a protection service asks for a browser (challenge page)"
    if status in _BLOCKED:
        return _BLOCKED[status]
    if status >= 500:
        return "it answers with a server error"  # its page without the error is unknown
    # Challenge pages are short. A long page may contain a marker for another reason.
    if len(body) < 20_000 and any(mark in body for mark in _CHALLENGE_MARKERS):
        return "a protection service asks for a browser (challenge page)"
    return ""


def _cookies_for(jar: http.cookiejar.CookieJar | None, url: str) -> str | None:
    if jar is None or not len(jar):
        return None
    # A value for the cookie jar: nothing is opened.
    request = urllib.request.Request(url)  # noqa: S310
    jar.add_cookie_header(request)
    value = request.get_header("Cookie")
    if value is None or len(value) > MAX_COOKIES:
        return None
    return value.encode("latin-1", "replace").decode("ascii", "replace").replace("\ufffd", "?")


class _Headers:
    """The interface that a cookie jar expects of a response."""

    def __init__(self, answer: _FetchResult) -> None:
        self._message = email.message.Message()
        for name, value in answer.headers:
            if name == "set-cookie":
                self._message.add_header("Set-Cookie", value)

    def info(self) -> email.message.Message:
        return self._message


def _store_cookies(
    jar: http.cookiejar.CookieJar | None, url: str, answer: _FetchResult
) -> http.cookiejar.CookieJar | None:
    """Store the cookies of a redirect, and return the cookie jar.

    A browser sends them again, and some sites redirect until they arrive. The jar is created with
    the first cookie.
    """
    if answer.header("set-cookie") is None:
        return jar
    jar = jar if jar is not None else http.cookiejar.CookieJar()
    # Bounded memory per visit.
    if len(jar) < 50:
        request = urllib.request.Request(url)  # noqa: S310
        jar.extract_cookies(_Headers(answer), request)  # type: ignore[arg-type]
    return jar
