"""Follow the redirects from one URL to the page where a visitor ends, as a browser does.

The address of the endpoint is pinned for its host. The target of a redirect is untrusted: another
host is resolved once, internal addresses are refused unless configured, and content there is never
attributed to this endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from certmgr.net.addresses import Network, refusal
from certmgr.scan import dead_ends
from certmgr.scan.cookies import VisitCookies
from certmgr.scan.dial_request import DialResult
from certmgr.scan.evidence import FailureKind
from certmgr.scan.page_answer import Answer, parse_hsts
from certmgr.scan.resolve import Resolver
from certmgr.scan.stored_redirects import is_stored
from certmgr.scan.visits import Elsewhere, Hop, Page, Visit, VisitEnd
from certmgr.scan.web_urls import host_of_url, is_bad_port, leaves_site, port_of
from inventory.names import as_ip
from inventory.text import printable

# Chromium and Firefox show an error instead of following the twentieth (ERR_TOO_MANY_REDIRECTS).
MAX_REDIRECTS = 19
# A page that sends its visitors elsewhere within this time is a redirect to them.
REFRESH_SECONDS = 10.0
# What one endpoint keeps until its visits end. Thousands of endpoints are visited at once, and a
# hostile one sends long URLs, headers and certificates with each of its redirects.
MAX_KNOWN_BYTES = 16_384  # of answers, so that further paths need not request them again
MAX_STORED_URL = 1_000  # characters of a URL that is shown
MAX_ELSEWHERE_BYTES = 65_536  # certificates of other servers, per visit
NO_TIME = "the time limit was reached"
NO_TIME_AFTER_REDIRECT = "the time limit was reached while its redirects were followed"


@dataclass(slots=True)
class TimeBudget:
    """The seconds that remain for all pages of one address."""

    left: float

    def spend(self, seconds: float) -> None:
        """Count time that was used."""
        self.left -= seconds


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """An answer with its page, and the served chain.

    ``page`` is None if there is none, or if it is another site's.
    """

    answer: Answer = field(default_factory=Answer)
    page: Page | None = None
    chain: tuple[bytes, ...] = ()


# URL, address, time budget
Handshake = Callable[[str, str, TimeBudget], Awaitable[DialResult | None]]
# URL, address, Cookie header, time budget, whether the URL belongs to the endpoint
Fetch = Callable[[str, str, str | None, TimeBudget, bool], Awaitable[FetchedPage]]


class RedirectFollower:
    """Follows redirects for one host at one address."""

    def __init__(
        self,
        fetch: Fetch,
        handshake: Handshake,
        resolver: Resolver,
        allowed: tuple[Network, ...],
        now: Callable[[], float],
        host: str,
        port: int,
        address: str,
        budget: TimeBudget,
    ) -> None:
        """Prepare for one host.

        Args:
            fetch: Requests one URL, and takes the time from the budget.
            handshake: Completes the handshake of one URL, and requests nothing.
            resolver: Must be guarded.
            allowed: Internal networks that may be visited.
            now: The clock of the event loop.
            host: The host of the endpoint.
            port: Its port of HTTPS.
            address: Its address.
            budget: The time for all pages of this address.
        """
        self._fetch, self._handshake = fetch, handshake
        self._resolver, self._allowed, self._now = resolver, allowed, now
        self._host, self._port, self._address, self._budget = host, port, address, budget
        # Answers to requests without cookies at this address: several paths often redirect to the
        # same page.
        self._known: dict[str, FetchedPage] = {}
        self._known_bytes = 0

    def know(self, url: str, fetched: FetchedPage) -> None:
        """Use an answer that was got before, to a request without cookies at this address."""
        # The probe of the endpoint has the certificates.
        fetched = replace(fetched, chain=()) if self.is_probed(url) else fetched
        size = len(url) + fetched.answer.weight + sum(map(len, fetched.chain))
        if self._known_bytes + size <= MAX_KNOWN_BYTES:
            self._known[url] = fetched
            self._known_bytes += size

    def spend(self, seconds: float) -> None:
        """Take time from the budget."""
        self._budget.spend(seconds)

    async def follow(self, url: str) -> Visit:
        """Follow the redirects from one URL."""
        return await _Path(self, url).follow()

    async def answer(
        self, url: str, address: str, cookies: str | None, hops: int
    ) -> FetchedPage | str:
        """Return the answer of one URL, or the reason why it was not requested."""
        # With cookies, or at another address, the same URL may give another answer.
        repeatable = cookies is None and address == self._address
        # A known answer costs no time, so it is used even after the budget ends.
        if repeatable and url in self._known:
            return self._known[url]
        if self._budget.left <= 0:
            return NO_TIME_AFTER_REDIRECT if hops else NO_TIME
        own = host_of_url(url) == self._host
        fetched = await self._fetch(url, address, cookies, self._budget, own)
        if repeatable:
            self.know(url, fetched)
        return fetched

    async def target(self, url: str) -> tuple[Hop, bool]:
        """Return a hop with the address to request, or with the reason why it is not visited.

        Returns:
            The hop, and whether a browser shows an error for this reason.
        """
        name = host_of_url(url)
        # A browser does not open it, and a mail server, for example, must not get our request.
        if is_bad_port(url):
            return Hop(url, "", why=dead_ends.BAD_PORT), True
        if name == self._host:
            return Hop(url, self._address), False
        ip = as_ip(name)
        if ip is not None:
            reason = refusal(str(ip), self._allowed)
            refused = f"it redirects to {ip}, which is not visited ({reason})"
            return (Hop(url, str(ip)) if reason is None else Hop(url, "", why=refused)), False
        # The resolution of a redirect's host counts towards the budget too.
        started = self._now()
        resolution = await self._resolver.resolve(name, port_of(url))
        self._budget.left -= self._now() - started
        if resolution.addresses:
            # One address is enough: a browser begins with one too, and only the endpoint is judged
            # at each of its addresses.
            return Hop(url, resolution.addresses[0]), False
        if resolution.refused:
            reason = resolution.refused[0][1]
            why = f"it redirects to {name}, whose address is not visited ({reason})"
            return Hop(url, "", why=why), False
        if resolution.status in ("nxdomain", "nodata"):
            return Hop(url, "", why=dead_ends.NO_ADDRESS), True
        why = f"it redirects to {name}, which has no address ({resolution.reason})"
        return Hop(url, "", why=why), False

    async def handshake(self, url: str, address: str) -> DialResult | None:
        """Return what a handshake with another site gives; None if it was not tried."""
        if self._budget.left <= 0:
            return None
        return await self._handshake(url, address, self._budget)

    def visit(
        self,
        url: str,
        end: VisitEnd,
        hops: list[Hop],
        first: Answer,
        page: Page | None = None,
        why: str = "",
        elsewhere: tuple[Elsewhere, ...] = (),
    ) -> Visit:
        """Return a visit. HSTS counts only in the answer of its first URL (RFC 6797 8.1)."""
        answered = url.startswith("https:") and first.readable and first.status is not None
        hsts = parse_hsts(first.header("strict-transport-security")) if answered else None
        return Visit(
            url=url,
            address=self._address,
            end=end,
            hops=tuple(hops),
            page=page,
            hsts=hsts,
            hsts_seen=answered,
            why=printable(why, 200),
            elsewhere=elsewhere,
        )

    def is_own(self, url: str) -> bool:
        """Return whether a URL belongs to the endpoint."""
        return host_of_url(url) == self._host

    def is_probed(self, url: str) -> bool:
        """Return whether the probe of the endpoint has the certificate of a URL."""
        return not url.startswith("https:") or (self.is_own(url) and port_of(url) == self._port)

    def leaves(self, url: str) -> bool:
        """Return whether a redirect ends the visit: another site is not this endpoint."""
        return leaves_site(url, self._host)


class _Path:
    """The way from one URL."""

    def __init__(self, follower: RedirectFollower, url: str) -> None:
        self._follower, self._url = follower, url
        self._hops: list[Hop] = []
        self._first = Answer()
        self._cookies = VisitCookies()
        # The cookies are part of the key: some sites redirect to the same URL to set a cookie.
        self._seen: set[tuple[bytes, str | None]] = set()
        self._elsewhere: list[Elsewhere] = []
        # Redirects that a browser follows again without a request: URL -> the answer.
        self._stored: dict[str, FetchedPage] = {}
        self._elsewhere_bytes = 0

    def _ended(self, end: VisitEnd, page: Page | None = None, why: str = "") -> Visit:
        others = tuple(self._elsewhere)
        return self._follower.visit(self._url, end, self._hops, self._first, page, why, others)

    def _add(self, hop: Hop) -> None:
        self._hops.append(_shortened(hop))

    def _served(self, url: str, chain: tuple[bytes, ...]) -> None:
        """Keep the certificates of a server that is not the endpoint."""
        if not chain or not self._hops or self._follower.is_probed(url):
            return
        known = next((e.chain for e in self._elsewhere if e.chain == chain), None)
        self._elsewhere_bytes += 0 if known else sum(map(len, chain))
        if self._elsewhere_bytes <= MAX_ELSEWHERE_BYTES:
            by = self._hops[-1].url[:MAX_STORED_URL]
            self._elsewhere.append(Elsewhere(by, url[:MAX_STORED_URL], known or chain))

    async def follow(self) -> Visit:
        current, address = self._url, self._follower._address
        while True:
            # A browser sends no cookie for what it has stored.
            cookies = None if current in self._stored else self._cookies.header(current)
            request = (_digest(current), cookies)
            if request in self._seen:
                return self._ended(VisitEnd.LOOP, why="the redirects form a loop")
            if len(self._hops) > MAX_REDIRECTS:
                self._add(Hop(current, address, why=dead_ends.TOO_MANY))
                return self._ended(VisitEnd.BROKEN, why=dead_ends.TOO_MANY)
            self._seen.add(request)
            if self._hops:
                target, broken = await self._follower.target(current)
                if target.why:
                    self._add(target)
                    end = VisitEnd.BROKEN if broken else VisitEnd.UNKNOWN
                    return self._ended(end, why=target.why)
                address = target.address
            fetched = self._stored.get(current) or await self._follower.answer(
                current, address, cookies, len(self._hops)
            )
            if isinstance(fetched, str):
                self._hops = self._hops or [Hop(current, address, why=fetched)]
                return self._ended(VisitEnd.UNKNOWN, why=fetched)
            answer = fetched.answer
            self._served(current, fetched.chain)
            self._first = self._first if self._hops else answer
            location = answer.location if answer.readable else None
            refresh = None if location else self._refresh(fetched, current)
            problem = answer.invalid_location or answer.problem
            self._add(
                Hop(
                    current,
                    address,
                    answer.status,
                    location or refresh,
                    problem,
                    refresh=refresh is not None,
                )
            )
            following = location or refresh
            if following is None:
                return self._end(fetched)
            self._cookies.store(current, answer.headers)
            if location is not None and is_stored(answer.status, answer.headers):
                # The certificates were recorded above.
                self._stored[current] = replace(fetched, chain=())
            if self._follower.leaves(following):
                return await self._leave(following)
            current = following

    async def _leave(self, url: str) -> Visit:
        """End at another site.

        Nothing is requested there. But its name must exist, and its server must complete the
        handshake with a certificate that browsers accept, else visitors see an error.
        """
        target, broken = await self._follower.target(url)
        if not broken and not target.why:
            result = await self._follower.handshake(url, target.address)
            failure = result.failure if result is not None else None
            if result is not None:
                self._served(url, result.chain)
            if failure is not None and (phrase := dead_ends.dead_end(failure)):
                target, broken = replace(target, why=phrase), True
        if not broken:
            return self._ended(VisitEnd.LEFT)
        self._add(target)
        return self._ended(VisitEnd.BROKEN, why=target.why)

    def _refresh(self, fetched: FetchedPage, url: str) -> str | None:
        """Return where the page sends its visitors, if the visit continues there.

        A page with fields is judged itself, because its visitors may use it before. A page that was
        seen already ends the visit: browsers go round in it without an error.
        """
        page, answer = fetched.page, fetched.answer
        if page is None or not answer.readable or not page.refresh or page.unread:
            return None
        if page.refresh_seconds > REFRESH_SECONDS or page.secrets or page.inputs:
            return None
        refresh = _digest(page.refresh)
        repeated = any(seen == refresh for seen, _ in self._seen)
        full = len(self._hops) >= MAX_REDIRECTS
        return None if repeated or full or not self._follower.is_own(url) else page.refresh

    def _end(self, fetched: FetchedPage) -> Visit:
        answer = fetched.answer
        if answer.client_certificate:
            return self._ended(VisitEnd.CLIENT_CERTIFICATE, why=answer.problem)
        if answer.failure is not None:
            return self._failed(answer)
        if answer.broken:
            return self._ended(VisitEnd.BROKEN, why=answer.broken)
        if answer.blocked:
            # The page of the site is unknown, but visitors see the fields of this one.
            page = fetched.page
            plain = self._hops[-1].url.startswith("http:")
            shown = page if plain and page is not None and page.secrets else None
            return self._ended(VisitEnd.UNKNOWN, shown, why=answer.blocked)
        visit = self._ended(VisitEnd.PAGE, fetched.page)
        last = self._hops[-1].url
        offered = [v.strip().lower() for n, v in answer.headers if n == "www-authenticate"]
        # One header may offer several schemes (RFC 9110 11.6.1).
        basic = any(v.startswith("basic") or ", basic " in v for v in offered)
        own = self._follower.is_own(last)
        # Over HTTPS, or at another host, the login is not a fault of this endpoint.
        asks = own and basic and answer.status == 401 and last.startswith("http:")
        return replace(visit, asks_password=asks)

    def _failed(self, answer: Answer) -> Visit:
        failure = answer.failure
        assert failure is not None
        end, why = VisitEnd.UNKNOWN, failure.reason
        last = self._hops[-1].url
        # Without TLS, it may only mean that nothing is served there.
        phrase = ""
        if answer.as_browser:
            phrase = dead_ends.without_answer(failure, http2=answer.http2)
        if phrase and last.startswith("https:") and self._follower.is_own(last):
            end, why = VisitEnd.BROKEN, phrase
        elif len(self._hops) > 1:
            # The target of a redirect does not open, so a visitor sees an error.
            if phrase := dead_ends.dead_end(failure):
                end, why = VisitEnd.BROKEN, phrase
        elif failure.kind is FailureKind.REFUSED:
            end = VisitEnd.CLOSED
        elif (
            failure.kind in (FailureKind.TIMEOUT, FailureKind.UNREACHABLE, FailureKind.NO_ROUTE)
            and not failure.accepted
        ):
            end = VisitEnd.SILENT  # a slow server that accepts connections may serve a page
        return self._ended(end, why=why)


def _digest(url: str) -> bytes:
    """Return a short key of a URL."""
    return blake2b(url.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _shortened(hop: Hop) -> Hop:
    """Return a hop with URLs of a length that is shown."""
    location = hop.location
    if len(hop.url) <= MAX_STORED_URL and len(location or "") <= MAX_STORED_URL:
        return hop
    shown = None if location is None else printable(location, MAX_STORED_URL)
    return replace(hop, url=printable(hop.url, MAX_STORED_URL), location=shown)
