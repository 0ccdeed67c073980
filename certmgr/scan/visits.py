"""What a visitor meets over HTTP and HTTPS at one address, as values.

Nothing here is judged. Texts are printable and short.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, TypedDict
from urllib.parse import urlsplit, urlunsplit

# These answers depend on who asks. Visitors may get the page, so the result is undetermined.
ANSWERS_TO_US = {
    403: "it refuses our request (403)",
    406: "it refuses our request (406)",
    451: "it refuses our request (451)",
    429: "it limits the rate of our requests (429)",
    503: "it is temporarily unavailable (503)",
}
REFUSALS = frozenset(why for status, why in ANSWERS_TO_US.items() if status < 500)


class VisitEnd(StrEnum):
    """How a visit ended."""

    PAGE = "page"  # an answer that is not a redirect
    LEFT = "left"  # a redirect to another site, which is not followed further
    LOOP = "loop"  # an endless loop of redirects
    BROKEN = "broken"  # browsers show an error: a dead end, or an answer that they refuse
    CLIENT_CERTIFICATE = "client-certificate"  # the site asks for a client certificate
    CLOSED = "closed"  # the connection is refused: nothing is served
    SILENT = "silent"  # no answer
    # undetermined: a challenge, 403, 429, 503, an address that is not visited, or not HTTP
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hsts:
    """Strict-Transport-Security (RFC 6797 6.1). ``max_age`` is in seconds; 0 revokes HSTS."""

    max_age: int
    include_subdomains: bool = False
    preload: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The relevant content of an HTML page.

    Attributes:
        secrets: Password and payment-card fields, each as a short text.
        inputs: Other fields that take typed text or files, each as a short text.
        insecure_forms: http URLs that forms post to.
        active: http URLs whose content can change the page (scripts, styles, frames).
        passive: http URLs whose content is only displayed (images, media).
        note: Why the page could not be read completely; else empty.
        error: Why this machine could not read the page, which is no fault of the site; else empty.
        refresh: The URL to which the page sends visitors after some seconds (Refresh header or meta
            element); empty if it does not, or if it is the page itself.
        refresh_seconds: How long that takes.
    """

    title: str = ""
    secrets: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    insecure_forms: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    passive: tuple[str, ...] = ()
    note: str = ""
    error: str = ""
    refresh: str = ""
    refresh_seconds: float = 0.0

    @property
    def unread(self) -> bool:
        """Whether a part of the page was not read."""
        return bool(self.note or self.error)


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a visit.

    Attributes:
        location: The absolute URL that it redirects to.
        why: The reason, if the request failed.
        refresh: Whether a page sends visitors to ``location`` (Refresh), and not the server.
    """

    url: str
    address: str
    status: int | None = None
    location: str | None = None
    why: str = ""
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server to which a redirect leads, if it is not the endpoint itself.

    Attributes:
        by: The URL that redirects.
        url: The URL that it redirects to.
        chain: The certificates that the server sends, as DER, leaf first.
    """

    by: str
    url: str
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Visit:
    """The path from one URL to the page where a browser ends.

    Attributes:
        page: The page of the last hop, if it is HTML. If the end is unknown, only one with fields
            for secrets over plain HTTP.
        hsts: The header of the first hop, over HTTPS only.
        hsts_seen: Whether the first hop gave an answer that can have the header.
        asks_password: Whether the site uses HTTP Basic authentication over plain HTTP.
        why: The reason, if the visit has no clear end.
        elsewhere: The other servers of its redirects over HTTPS, as far as they were asked.
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
    elsewhere: tuple[Elsewhere, ...] = ()

    @property
    def secure(self) -> bool:
        """Whether the visit began over HTTPS."""
        return self.url.startswith("https:")

    @property
    def last(self) -> Hop:
        """The last request of the visit."""
        return self.hops[-1]

    @property
    def final_url(self) -> str:
        """The URL where a visitor ends."""
        return self.last.location or self.last.url

    @property
    def determined(self) -> bool:
        """Whether the visit shows what a visitor meets."""
        return self.end not in (VisitEnd.UNKNOWN, VisitEnd.SILENT)

    def digest(self) -> str:
        """Return a digest that is equal for two visits with the same result.

        It leaves out titles and query strings, which change from visit to visit.
        """
        page = self.page
        facts = (
            self.url,
            self.address,
            self.end,
            [(_stable(h.url), h.status, _stable(h.location or ""), h.refresh) for h in self.hops],
            self.why if self.end is VisitEnd.BROKEN else "",
            [(_stable(e.by), _stable(e.url), e.chain) for e in self.elsewhere],
            self.hsts,
            self.hsts_seen,
            self.asks_password,
            page
            and (
                # Titles and field names are left out: they change without a change of the findings.
                _kinds(page.secrets),
                _kinds(page.inputs),
                *[
                    sorted({_stable(u) for u in urls})
                    for urls in (page.insecure_forms, page.active, page.passive)
                ],
                page.note,
                page.error,
                _stable(page.refresh),
            ),
        )
        return blake2b(repr(facts).encode(), digest_size=10).hexdigest()


def _kinds(fields: tuple[str, ...]) -> list[str]:
    """Return fields without their names, which some sites generate per visitor."""
    return sorted({field.split(" name=")[0] for field in fields})


def _stable(url: str) -> str:
    """Return a URL without its query and fragment.

    A URL from a page may be malformed; it is returned unchanged.
    """
    # Nearly all have neither, and to take them apart costs more than the rest of a digest.
    if not url or (
        "?" not in url
        and "#" not in url
        and url.startswith(("http://", "https://"))
        and url.isprintable()
    ):
        return url
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    except ValueError:
        return url


def host_of(url: str) -> str:
    """Return the host of a URL; empty if it has none or is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def digest(visits: tuple[Visit, ...]) -> str:
    """Return one digest for all visits of an endpoint."""
    return blake2b(" ".join(v.digest() for v in visits).encode(), digest_size=10).hexdigest()


class RedirectDocument(TypedDict):
    """A redirect as the JSON output shows it; ``host`` is that of ``location``."""

    url: str
    status: int | None
    location: str
    host: str | None


class VisitDocument(TypedDict):
    """A visit as the JSON output shows it. ``end`` is one of :class:`VisitEnd`."""

    url: str
    address: str
    end: str
    status: int | None
    redirects: list[RedirectDocument]
    final_url: str
    title: str | None
    hsts: dict[str, Any] | None
    error: str | None
    page: dict[str, Any] | None


def document(visits: tuple[Visit, ...]) -> dict[str, Any]:
    """Return ``http`` of the schema ``certmgr.scan/1``.

    It has the result for a visitor who types http:// (status, redirects, final URL), the HSTS
    header and title of the HTTPS site, and every visit by address and path.
    """
    plain = next((v for v in visits if not v.secure), None)
    secure = next((v for v in visits if v.secure), None)
    # The title of the HTTPS site comes first: it is the real page if plain HTTP only redirects.
    titles = [
        v.page.title
        for v in (secure, plain)
        if v is not None and v.page is not None and v.page.title
    ]
    return {
        "status": plain.last.status if plain else None,
        "redirects": _redirects(plain) if plain else [],
        "final_url": (
            plain.final_url
            if plain and plain.determined and plain.end is not VisitEnd.CLOSED
            else None
        ),
        "hsts": _hsts(secure.hsts) if secure else None,
        "title": titles[0] if titles else None,
        "visits": [_visit(v) for v in visits],
    }


def _redirects(visit: Visit) -> list[RedirectDocument]:
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


def _visit(visit: Visit) -> VisitDocument:
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
                "note": page.note or page.error or None,
                "refresh": page.refresh or None,
            }
        ),
    }
