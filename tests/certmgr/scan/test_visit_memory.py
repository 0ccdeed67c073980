"""What a hostile endpoint keeps in memory until its visits end, while thousands wait for theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from certmgr.scan import cookies, page_answer, redirects
from certmgr.scan.cookies import VisitCookies
from certmgr.scan.dial_request import DialResult
from certmgr.scan.page_answer import Answer
from certmgr.scan.redirects import FetchedPage, RedirectFollower, TimeBudget
from certmgr.scan.resolve import Resolver
from certmgr.scan.visits import Visit, VisitEnd
from tests.certmgr.tls_servers import HOST

HEADERS = (
    ("strict-transport-security", "max-age=31536000"),
    ("x-large", "v" * 200_000),
    *[("set-cookie", f"c{n}={'x' * 100}") for n in range(1000)],
)


def follow(answers: Sequence[FetchedPage], url: str = f"https://{HOST}/") -> Visit:
    """Return the visit of a server that gives these answers, one per request."""
    waiting = list(answers)

    async def fetch(*_: object) -> FetchedPage:
        return waiting.pop(0)

    async def handshake(*_: object) -> DialResult | None:
        return None

    async def visit() -> Visit:
        resolver = Resolver(servers=("127.0.0.1:9",), timeout=1.0, allowed=(), guarded=True)
        follower = RedirectFollower(
            fetch, handshake, resolver, (), lambda: 0.0, HOST, 443, "192.0.2.1", TimeBudget(10)
        )
        try:
            visited = await follower.follow(url)
        finally:
            await resolver.close()
        assert follower._known_bytes <= redirects.MAX_KNOWN_BYTES
        assert sum(map(len, follower._known)) <= redirects.MAX_KNOWN_BYTES
        return visited

    return asyncio.run(visit())


def redirecting(number: int, port: int = 443) -> FetchedPage:
    location = f"https://{HOST}:{port}/{number}?{'q' * 7_000}"
    answer = Answer(302, location, headers=HEADERS)
    answer.release()
    # Each has another certificate of the size that TLS permits.
    return FetchedPage(answer, chain=(number.to_bytes(2, "big") * 20_000,))


def test_redirects_to_long_urls_are_followed_and_shown_shortened() -> None:
    visit = follow([*map(redirecting, range(5)), FetchedPage(Answer(200))])
    assert visit.end is VisitEnd.PAGE
    assert len(visit.hops) == 6
    assert max(len(u) for h in visit.hops for u in (h.url, h.location or "")) <= 1_010
    assert visit.hops[0].location is not None
    assert visit.hops[0].location.startswith(f"https://{HOST}:443/0?qqq")
    assert visit.hsts is not None


def test_long_urls_that_differ_only_at_their_end_are_no_loop() -> None:
    answers = [
        FetchedPage(Answer(302, f"https://{HOST}/{'q' * 7_000}{number}")) for number in range(3)
    ]
    assert follow([*answers, FetchedPage(Answer(200))]).end is VisitEnd.PAGE
    assert follow([answers[0], answers[1], answers[0]]).end is VisitEnd.LOOP


def test_certificates_of_other_servers_are_kept_up_to_a_size() -> None:
    answers = [FetchedPage(Answer(302, f"https://{HOST}:444/"), chain=(b"own",))]
    answers += [redirecting(n, port=444) for n in range(6)]
    visit = follow([*answers, FetchedPage(Answer(200))])
    kept = {e.chain for e in visit.elsewhere}
    assert len(kept) == 1
    assert sum(len(der) for chain in kept for der in chain) <= redirects.MAX_ELSEWHERE_BYTES


def test_answer_keeps_what_a_visit_still_reads() -> None:
    answer = Answer(401, headers=(*HEADERS, ("www-authenticate", "Basic realm=x")), body=b"x" * 99)
    answer.release()
    assert answer.body == b""
    assert answer.header("strict-transport-security") == "max-age=31536000"
    assert answer.header("www-authenticate") == "Basic realm=x"
    assert answer.header("x-large") is None
    assert answer.weight < 4 * cookies.MAX_SET
    many = Answer(401, headers=(("www-authenticate", "Basic " + "r" * 9_000),) * 30)
    many.release()
    assert many.weight < 2 * page_answer._MAX_KEPT_HEADERS * page_answer._MAX_KEPT_HEADER


def test_one_answer_sets_a_limited_number_of_cookies() -> None:
    visit = VisitCookies()
    visit.store(f"https://{HOST}/", HEADERS)
    header = visit.header(f"https://{HOST}/")
    assert header is not None
    assert header.count("=") <= cookies.MAX_COOKIES
    assert header.startswith("c0=")
