"""Findings about what a visitor meets over HTTP and HTTPS.

A redirect to another host never mixes two sites' verdicts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from certmgr.checks.transport import finding
from certmgr.scan.visits import Visit, VisitEnd
from inventory.targets import Target
from inventory.vocabulary import Finding, Purpose

# Names that nobody opens in a browser: no page is expected, so none can be wrong.
NO_PAGE = frozenset({Purpose.PARKED, Purpose.MAIL, Purpose.CDN})


def http_findings(target: Target, visits: Sequence[Visit], purpose: str) -> Iterator[Finding]:
    """``visits``: of one address. Whether HTTPS works there shows in whether it was visited."""
    host = target.host
    works = any(v.secure for v in visits)
    for visit in visits:
        if visit.secure:
            yield from _secure(host, visit, purpose)
        else:
            yield from _plain(target, visit, works, purpose)


def _loop(host: str, visit: Visit) -> Iterator[Finding]:
    """A loop is this endpoint's where this endpoint is in it, or where it does not leave it."""
    again = visit.last.location or ""
    looped = [h.url for h in visit.hops]
    if again not in looped:
        return
    start = looped.index(again)
    hosts = [urlsplit(u).hostname or "" for u in looped[start:]]
    if host in hosts:
        yield finding(
            "redirect-loop",
            (visit.address,),
            url=visit.url,
            count=len(visit.hops),
            path=looped[start:][:4],
            why=visit.why,
        )


def _unknown(visit: Visit) -> Finding:
    more = {"error": visit.last.why} if visit.last.why not in ("", visit.why) else {}
    return finding(
        "http-unknown", (visit.address,), None, url=visit.last.url, why=visit.why, **more
    )


def _endpoint_itself(url: str, target: Target) -> bool:
    """Whether an https URL is the endpoint's own: that is looked at by itself."""
    parts = urlsplit(url)
    return parts.hostname == target.host and (parts.port or 443) == target.port


def _plain(target: Target, visit: Visit, https_works: bool, purpose: str) -> Iterator[Finding]:
    host = target.host
    if visit.end is VisitEnd.CLOSED and len(visit.hops) == 1:
        return
    if visit.end is VisitEnd.SILENT and len(visit.hops) == 1:
        # Beside HTTPS that answers it is a packet filter: nothing is served. Else nobody can tell.
        if not https_works:
            yield _unknown(visit)
        return
    if visit.end is VisitEnd.LOOP:
        yield from _loop(host, visit)
        return
    final = visit.final_url
    if final.startswith("https:"):
        if (
            visit.end in (VisitEnd.UNKNOWN, VisitEnd.SILENT)
            and not _endpoint_itself(final, target)
            and visit.last.status is None
        ):
            yield _unknown(visit)  # it leads to a place that does not open
        return
    if visit.end in (VisitEnd.UNKNOWN, VisitEnd.SILENT):
        yield _unknown(visit)
        return
    home = urlsplit(visit.url).path == "/"
    own = urlsplit(final).hostname == host
    if own and visit.end is VisitEnd.PAGE:
        yield from _served(visit)
    if home and (https_works or purpose == Purpose.REDIRECT) and (visit.end is not VisitEnd.CLOSED):
        yield finding(
            "redirect-missing", (visit.address,), url=visit.url, status=visit.last.status, to=final
        )


def _served(visit: Visit) -> Iterator[Finding]:
    """A page over plain HTTP: the worst that can be said of it, since the worse includes the
    lesser.
    """
    status, page, at = visit.last.status or 0, visit.page, (visit.address,)
    url = visit.last.url
    if visit.asks_password:
        yield finding("http-collects-secrets", at, url=url, field="HTTP Basic login")
        return
    if page is not None and page.secrets:
        yield finding(
            "http-collects-secrets", at, url=url, field=page.secrets[0], fields=list(page.secrets)
        )
    elif page is not None and page.inputs:
        yield finding(
            "http-collects-input", at, url=url, field=page.inputs[0], fields=list(page.inputs)
        )
    elif 200 <= status < 300 and status not in (204, 205):
        yield finding("http-served", at, url=url, status=status)
    if page is not None and page.note and not page.secrets:
        yield finding("too-large", at, url=url, reason=page.note)


def _secure(host: str, visit: Visit, purpose: str) -> Iterator[Finding]:
    at = (visit.address,)
    if visit.end is VisitEnd.LOOP:
        yield from _loop(host, visit)
    # Only a redirect that this endpoint sends: what another host does after it is that host's.
    for hop in visit.hops:
        if (
            hop.location is not None
            and hop.url.startswith("https:")
            and hop.location.startswith("http:")
            and urlsplit(hop.url).hostname == host
        ):
            yield finding("redirect-insecure", at, url=hop.url, to=hop.location, status=hop.status)
            break
    if not visit.told and (urlsplit(visit.last.url).hostname == host or visit.last.status is None):
        yield _unknown(visit)
    if (
        purpose == Purpose.REDIRECT
        and visit.end is VisitEnd.PAGE
        and len(visit.hops) == 1
        and urlsplit(visit.url).path == "/"
    ):
        yield finding(
            "redirect-missing", at, url=visit.url, status=visit.last.status, to=visit.final_url
        )
    if (
        visit.hsts_seen
        and (visit.hsts is None or visit.hsts.max_age == 0)
        and urlsplit(visit.url).path == "/"
    ):
        header = "missing or not valid" if visit.hsts is None else "max-age=0"
        yield finding("hsts-missing", at, url=visit.url, header=header)
    page = visit.page
    if page is not None and visit.last.url.startswith("https:"):
        loaded = [*page.insecure_forms, *page.active, *page.passive]
        if loaded:
            kinds = {"forms": page.insecure_forms, "active": page.active, "passive": page.passive}
            evidence: dict[str, Any] = {k: list(v) for k, v in kinds.items() if v}
            yield finding(
                "mixed-content", at, url=visit.last.url, example=loaded[0], urls=loaded, **evidence
            )
        if page.note:
            yield finding("too-large", at, url=visit.last.url, reason=page.note)


def undetermined(visits: Sequence[Visit]) -> tuple[frozenset[str], frozenset[str]]:
    """Addresses about which these visits cannot say that a finding is gone: (over plain HTTP, over
    HTTPS).

    A plain visit that was sent on to HTTPS has told what plain HTTP does, whatever is behind it.
    """
    secure = {v.address for v in visits if v.secure}
    plain_unknown, secure_unknown = set(), set()
    for visit in visits:
        unread = visit.page is not None and bool(visit.page.note)
        if visit.secure:
            if not visit.told or visit.end is VisitEnd.CLOSED or unread:
                secure_unknown.add(visit.address)
        elif unread or (
            not visit.told
            and not visit.final_url.startswith("https:")
            and not (visit.end is VisitEnd.SILENT and visit.address in secure)
        ):
            plain_unknown.add(visit.address)
    return frozenset(plain_unknown), frozenset(secure_unknown)
