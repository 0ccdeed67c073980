"""What a visitor meets over HTTP and HTTPS at one address, as values.

Nothing here is judged. Texts are printable and short.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any
from urllib.parse import urlsplit, urlunsplit


class VisitEnd(StrEnum):
    """How a visit ended."""

    PAGE = "page"  # an answer that is no redirect
    LEFT = "left"  # a redirect to another site, which is not followed further
    LOOP = "loop"  # redirects without end
    CLOSED = "closed"  # the connection is refused: nothing is served
    SILENT = "silent"  # no answer
    # could not tell: a challenge, 403, 429, 503, an address that is not visited, no HTTP
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hsts:
    """Strict-Transport-Security (RFC 6797 6.1). ``max_age`` in seconds; 0 takes it back."""

    max_age: int
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What stands in an HTML page.

    ``secrets``: password and payment-card fields, ``inputs``: other fields that take typed text or
    files, each in a few words. ``insecure_forms``, ``active``, ``passive``: http URLs that forms
    post to, that can change the page (scripts, styles, frames), and that are only shown (pictures,
    media). ``note``: why it could not be read whole; else empty.
    """

    title: str = ""
    secrets: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    insecure_forms: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    passive: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """One request. ``location``: where it redirects to, absolute; ``why``: of a hop that failed."""

    url: str
    address: str
    status: int | None = None
    location: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Visit:
    """From one URL to where a browser ends.

    ``page``: of the last hop, where it is HTML. ``hsts``: of the first hop, over HTTPS only;
    ``hsts_seen``: whether that hop gave an answer to read it from. ``asks_password``: HTTP Basic
    authentication over plain HTTP.
    """

    url: str
    address: str
    end: VisitEnd
    hops: tuple[Hop, ...]
    page: Page | None = None
    hsts: Hsts | None = None
    hsts_seen: bool = False
    asks_password: bool = False
    why: str = ""

    @property
    def secure(self) -> bool:
        return self.url.startswith("https:")

    @property
    def last(self) -> Hop:
        return self.hops[-1]

    @property
    def final_url(self) -> str:
        """Where a visitor ends."""
        return self.last.location or self.last.url

    @property
    def told(self) -> bool:
        """Whether anybody can say what a visitor meets."""
        return self.end not in (VisitEnd.UNKNOWN, VisitEnd.SILENT)

    def digest(self) -> str:
        """Equal for two visits that saw the same; titles, query strings and session ids in them
        change from look to look.
        """
        page = self.page
        facts = (
            self.url,
            self.address,
            self.end,
            [(_stable(h.url), h.status, _stable(h.location or "")) for h in self.hops],
            self.hsts,
            self.hsts_seen,
            self.asks_password,
            page
            and (
                _kinds(page.secrets),
                _kinds(page.inputs),
                *[
                    sorted({_stable(u) for u in urls})
                    for urls in (page.insecure_forms, page.active, page.passive)
                ],
                page.note,
            ),
        )
        return blake2b(repr(facts).encode(), digest_size=10).hexdigest()


def _kinds(fields: tuple[str, ...]) -> list[str]:
    """Fields without their names, which some sites draw anew for each visitor."""
    return sorted({field.split(" name=")[0] for field in fields})


def _stable(url: str) -> str:
    """Without query and fragment. A URL from a page may be one that nobody can take apart."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    except ValueError:
        return url


def host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def digest(visits: tuple[Visit, ...]) -> str:
    return blake2b(" ".join(v.digest() for v in visits).encode(), digest_size=10).hexdigest()


def document(visits: tuple[Visit, ...]) -> dict[str, Any]:
    """``http`` of ``certmgr.scan/1``: what a visitor meets who types http:// (status, redirects,
    final URL), the HSTS header and the title of the HTTPS site, and every visit, by address and
    path.
    """
    plain = next((v for v in visits if not v.secure), None)
    secure = next((v for v in visits if v.secure), None)
    titles = [
        v.page.title
        for v in (secure, plain)
        if v is not None and v.page is not None and v.page.title
    ]
    return {
        "status": plain.last.status if plain else None,
        "redirects": _redirects(plain) if plain else [],
        "final_url": (
            plain.final_url if plain and plain.told and plain.end is not VisitEnd.CLOSED else None
        ),
        "hsts": _hsts(secure.hsts) if secure else None,
        "title": titles[0] if titles else None,
        "visits": [_visit(v) for v in visits],
    }


def _redirects(visit: Visit) -> list[dict[str, Any]]:
    return [
        {"url": h.url, "status": h.status, "location": h.location, "host": host_of(h.location)}
        for h in visit.hops
        if h.location is not None
    ]


def _hsts(hsts: Hsts | None) -> dict[str, Any] | None:
    if hsts is None:
        return None
    return {
        "max_age": hsts.max_age,
        "include_subdomains": hsts.include_subdomains,
        "preload": hsts.preload,
    }


def _visit(visit: Visit) -> dict[str, Any]:
    page = visit.page
    return {
        "url": visit.url,
        "address": visit.address,
        "end": str(visit.end),
        "status": visit.last.status,
        "redirects": _redirects(visit),
        "final_url": visit.final_url,
        "title": page.title if page else None,
        "hsts": _hsts(visit.hsts),
        "error": visit.why or None,
        "page": (
            None
            if page is None
            else {
                "secrets": list(page.secrets),
                "inputs": list(page.inputs),
                "insecure_forms": list(page.insecure_forms),
                "active": list(page.active),
                "passive": list(page.passive),
                "note": page.note or None,
            }
        ),
    }
