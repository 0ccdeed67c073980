"""Findings about what a visitor meets over HTTP and HTTPS. Pure.

A redirect to another host never mixes the verdicts of two sites.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from certmgr.checks import api_hosts
from certmgr.checks.broken_pages import broken_findings
from certmgr.checks.transport import finding
from certmgr.scan.visits import Hop, Page, Visit, VisitEnd
from inventory.targets import Target
from inventory.vocabulary import Finding, Purpose

# Purposes of names that visitors do not open in a browser: no page is expected there.
NO_PAGE = frozenset({Purpose.PARKED, Purpose.MAIL, Purpose.CDN})


def http_findings(target: Target, visits: Sequence[Visit], purpose: str) -> Iterator[Finding]:
    """Yield findings about the visits of one address.

    HTTPS works there if one of the visits used it.
    """
    host = target.host
    works = any(v.secure for v in visits)
    for visit in visits:
        if visit.secure:
            yield from _secure(host, visit, purpose)
        else:
            yield from _plain(target, visit, works, purpose)


def _loop(host: str, visit: Visit) -> Iterator[Finding]:
    """Yield a redirect loop if this endpoint is part of it."""
    repeated = visit.last.location or ""
    urls = [h.url for h in visit.hops]
    if repeated not in urls:
        return
    start = urls.index(repeated)
    hosts = [urlsplit(u).hostname or "" for u in urls[start:]]
    # A loop among other hosts is a fault of those hosts.
    if host in hosts:
        yield finding(
            "redirect-loop",
            (visit.address,),
            url=visit.url,
            count=len(visit.hops),
            path=urls[start:][:4],
            why=visit.why,
        )


def _unknown(visit: Visit, host: str, purpose: str) -> Finding:
    if urlsplit(visit.last.url).hostname == host and (
        missing := api_hosts.page_missing(host, visit, purpose)
    ):
        return missing
    more = {"error": visit.last.why} if visit.last.why not in ("", visit.why) else {}
    return finding(
        "http-unknown", (visit.address,), None, url=visit.last.url, why=visit.why, **more
    )


def _is_endpoint_url(url: str, target: Target) -> bool:
    """Return whether an https URL belongs to this endpoint, which is checked separately."""
    parts = urlsplit(url)
    return parts.hostname == target.host and (parts.port or 443) == target.port


def _plain(target: Target, visit: Visit, https_works: bool, purpose: str) -> Iterator[Finding]:
    host = target.host
    # Nothing is served over plain HTTP, so there is nothing to redirect.
    if visit.end is VisitEnd.CLOSED and len(visit.hops) == 1:
        return
    if visit.end is VisitEnd.SILENT and len(visit.hops) == 1:
        # If HTTPS answers, a packet filter blocks plain HTTP, and nothing is served. Otherwise the
        # result is undetermined.
        if not https_works:
            yield _unknown(visit, host, purpose)
        return
    if visit.end is VisitEnd.LOOP:
        yield from _loop(host, visit)
        return
    final = visit.final_url
    refreshing = next((h for h in visit.hops if h.refresh and _is_plain_page(h.url, host)), None)
    if final.startswith("https:"):
        # The endpoint itself is checked separately, so only other dead ends count here.
        if not _is_endpoint_url(final, target):
            if visit.end is VisitEnd.BROKEN:
                yield from broken_findings(host, visit, purpose)
            elif visit.end in (VisitEnd.UNKNOWN, VisitEnd.SILENT) and visit.last.status is None:
                yield _unknown(visit, host, purpose)  # it redirects to a URL that does not open
        # A page with a Refresh is served without encryption, and is no redirect of the server.
        if refreshing is not None:
            yield from _without_redirect(visit, refreshing, purpose, https_works)
        return
    if visit.end is VisitEnd.BROKEN:
        yield from broken_findings(host, visit, purpose)
        return
    if visit.end in (VisitEnd.UNKNOWN, VisitEnd.SILENT):
        yield _unknown(visit, host, purpose)
        # A page of an error, or for refused clients, with fields for secrets.
        if visit.page is not None and _is_plain_page(visit.last.url, host):
            yield from _served(visit)
        return
    own = urlsplit(final).hostname == host
    # A page of another host is not a fault of this endpoint.
    if own and visit.end is VisitEnd.PAGE:
        yield from _served(visit)
    elif refreshing is not None:
        yield from _without_redirect(visit, refreshing, purpose, https_works)
        return
    if _needs_redirect(visit, purpose, https_works) and visit.end is not VisitEnd.CLOSED:
        yield finding(
            "redirect-missing", (visit.address,), url=visit.url, status=visit.last.status, to=final
        )


def _is_plain_page(url: str, host: str) -> bool:
    return url.startswith("http:") and urlsplit(url).hostname == host


def _needs_redirect(visit: Visit, purpose: str, https_works: bool) -> bool:
    """Return whether plain HTTP has to redirect to HTTPS."""
    # Only the home page counts: servers serve single paths over plain HTTP on purpose, such as the
    # challenges of ACME.
    if urlsplit(visit.url).path != "/":
        return False
    # A program that follows a redirect has sent its secrets without encryption already.
    if purpose == Purpose.API:
        return False
    # Without HTTPS there is no target for a redirect, except for a name that only redirects.
    return https_works or purpose == Purpose.REDIRECT


def _without_redirect(visit: Visit, hop: Hop, purpose: str, https_works: bool) -> Iterator[Finding]:
    """Yield findings about a page without fields over plain HTTP that sends visitors elsewhere."""
    at = (visit.address,)
    yield finding("http-served", at, url=hop.url, status=hop.status)
    if _needs_redirect(visit, purpose, https_works):
        yield finding("redirect-missing", at, url=visit.url, status=hop.status, to=hop.url)


def _unread(page: Page, url: str, at: tuple[str, ...]) -> Iterator[Finding]:
    """Yield why a page was not read completely: because of the page, or of this machine."""
    if page.error:
        yield finding("scanner-error", at, url=url, error=page.error)
    elif page.note:
        yield finding("too-large", at, url=url, reason=page.note)


def _served(visit: Visit) -> Iterator[Finding]:
    """Yield the most severe finding about a page over plain HTTP.

    It includes the less severe ones.
    """
    status, page, at = visit.last.status or 0, visit.page, (visit.address,)
    url = visit.last.url
    # Basic authentication sends the password unencrypted (RFC 7617 4).
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
    # 204 and 205 have no content (RFC 9110 15.3).
    elif 200 <= status < 300 and status not in (204, 205):
        yield finding("http-served", at, url=url, status=status)
    # The unread rest cannot change the verdict if secrets were found already.
    if page is not None and not page.secrets:
        yield from _unread(page, url, at)


def _secure(host: str, visit: Visit, purpose: str) -> Iterator[Finding]:
    at = (visit.address,)
    if visit.end is VisitEnd.LOOP:
        yield from _loop(host, visit)
    yield from _insecure_redirect(host, visit)
    if visit.end is VisitEnd.BROKEN:
        yield from broken_findings(host, visit, purpose)
    if visit.end is VisitEnd.CLIENT_CERTIFICATE and urlsplit(visit.last.url).hostname == host:
        yield finding(
            "client-certificate-required", at, url=visit.last.url, status=visit.last.status
        )
    # The way over HTTPS may be the only one to a page without encryption.
    if visit.end is VisitEnd.PAGE and _is_plain_page(visit.last.url, host):
        yield from _served(visit)
    if not visit.determined and (
        urlsplit(visit.last.url).hostname == host or visit.last.status is None
    ):
        yield _unknown(visit, host, purpose)
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
        # The policy is that of a host and not of a path, so the home page decides (RFC 6797 5).
        visit.hsts_seen
        and (visit.hsts is None or visit.hsts.max_age == 0)
        and urlsplit(visit.url).path == "/"
    ):
        # max-age=0 revokes HSTS (RFC 6797 6.1.1).
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
        yield from _unread(page, visit.last.url, at)


def _insecure_redirect(host: str, visit: Visit) -> Iterator[Finding]:
    """Yield a redirect from HTTPS to HTTP, by the server or by the page (Refresh).

    Only redirects of this endpoint count: other hosts are responsible for theirs.
    """
    steps = [(h, h.location or "", h.refresh) for h in visit.hops]
    if visit.page is not None:
        steps.append((visit.last, visit.page.refresh, True))
    for hop, to, refresh in steps:
        if (
            hop.url.startswith("https:")
            and to.startswith("http:")
            and urlsplit(hop.url).hostname == host
        ):
            more = {"by": "Refresh"} if refresh else {}
            yield finding(
                "redirect-insecure", (visit.address,), url=hop.url, to=to, status=hop.status, **more
            )
            return


def undetermined(visits: Sequence[Visit]) -> tuple[frozenset[str], frozenset[str]]:
    """Return addresses whose visits cannot prove that a finding is resolved.

    If a plain visit was redirected to HTTPS, the behaviour of plain HTTP is known, whatever
    follows.

    Returns:
        The addresses over plain HTTP, and those over HTTPS.
    """
    secure = {v.address for v in visits if v.secure}
    plain_unknown, secure_unknown = set(), set()
    for visit in visits:
        # The unread part of a page may still have the fault.
        unread = visit.page is not None and visit.page.unread
        if visit.secure:
            hidden = visit.end in (VisitEnd.CLOSED, VisitEnd.CLIENT_CERTIFICATE)
            if not visit.determined or hidden or unread:
                secure_unknown.add(visit.address)
        elif unread or (
            not visit.determined
            and not visit.final_url.startswith("https:")
            and not (visit.end is VisitEnd.SILENT and visit.address in secure)
        ):
            plain_unknown.add(visit.address)
    return frozenset(plain_unknown), frozenset(secure_unknown)
