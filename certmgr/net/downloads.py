"""Download a file: plain http from a URL of an untrusted certificate (AIA, CRL), or verified https.

The client of :mod:`certmgr.net.http_client` guards addresses, and bounds size and time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from certmgr.net.addresses import Network
from certmgr.net.http_client import HttpClient, HttpLimits, public_trust
from certmgr.net.http_stream import AddressPolicy, HttpError, HttpProblem
from inventory.errors import CertmgrError, UsageError
from inventory.names import as_ip, normalise_host
from inventory.text import printable

_log = logging.getLogger(__name__)

# URLs of revocation lists and issuers have less than 200 characters. They come from certificates,
# which are not trusted yet.
MAX_URL = 2000
_USER_AGENT = {"User-Agent": "certmgr"}


# Answers of the server that no client can use.
_BROKEN = frozenset({HttpProblem.PROTOCOL, HttpProblem.INCOMPLETE, HttpProblem.TOO_LARGE})
# What browsers remove at both ends of a URL (URL standard 4.4).
_BLANKS = "".join(map(chr, range(0x21)))


@dataclass(frozen=True, slots=True)
class DownloadTarget:
    """The parts of a URL to download. ``path`` includes the query, as it is sent."""

    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """The URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Download:
    """The result of a download: ``body``, or the reason of its failure in ``problem``.

    Attributes:
        final: Whether the server answered with the body or an error, so that others get no more.
        location: The URL that it redirects to; None if it does not. :func:`download` follows none.
    """

    body: bytes = b""
    problem: str = ""
    final: bool = False
    location: str | None = None


def parse_target(url: str) -> DownloadTarget | None:
    """Parse a URL; None unless it is plain http with a valid host."""
    # The URL comes from an untrusted certificate.
    if len(url) > MAX_URL:
        return None
    try:
        parts = urlsplit(url.strip(_BLANKS))
        host, port = normalise_host(parts.hostname or ""), 80 if parts.port is None else parts.port
    except (ValueError, CertmgrError):
        return None
    # Certificates use http for these files: https would need a verified certificate (RFC 5280 8).
    if parts.scheme != "http" or parts.username is not None or not port:
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # Control characters in the path could otherwise inject headers.
    return DownloadTarget(host, port, quote(path, safe="/?&=%:@!$'()*+,;~-._[]"))


def literal_address(target: DownloadTarget) -> tuple[str, ...]:
    """Return the address in the URL itself; empty if the URL has a host name."""
    return (target.host,) if as_ip(target.host) is not None else ()


def download(
    target: DownloadTarget,
    addresses: Sequence[str],
    allowed: Sequence[Network],
    *,
    limit: int,
    seconds: float,
) -> Download:
    """Send one GET request. Never raises for the behaviour of a server.

    Anything but a complete 200 response within ``limit`` bytes and ``seconds`` is a problem.

    Args:
        addresses: The addresses of the host. The caller resolves it once.
        allowed: Networks that may be reached although they are internal.
    """
    _log.debug("GET %s", target.url)
    # The resolver of the caller has a cache: thousands of certificates of one CA name the same
    # host.
    client = HttpClient(
        policy=AddressPolicy(tuple(allowed)),
        limits=HttpLimits(seconds, limit),
        schemes=("http",),
        resolve=lambda _: addresses,
    )
    try:
        with client:
            answer = client.get(target.url, _USER_AGENT)
    except HttpError as error:
        if error.problem is HttpProblem.NAME:
            return Download(problem="the host has no address")
        return Download(problem=printable(error.message, 150), final=error.problem in _BROKEN)
    # A redirect is not followed: BR 7.1.2.7.7 and RFC 5280 name the URL of the file itself.
    if answer.status != 200:
        return Download(
            # Other clients get the same answer. They may follow a redirect, so it is not final.
            problem=f"the server answered with HTTP {answer.status}",
            final=not answer.redirect,
            location=answer.redirect or None,
        )
    return Download(answer.body, final=True)


def download_verified(
    url: str, anchors: str, allowed: Sequence[Network], limits: HttpLimits
) -> bytes:
    """Download a URL that an administrator names, over https.

    Args:
        url: Its host may be an internal one. A redirect to another internal host is refused.
        anchors: Trust anchors in PEM, in addition to those of browsers; may be empty.
        allowed: Internal networks to which a redirect may lead.
        limits: The limits of the transfer.

    Raises:
        UsageError: The URL is not https://.
        CertmgrError: It cannot be downloaded.
    """
    shown = printable(url, 200)
    try:
        host = urlsplit(url).hostname if urlsplit(url).scheme == "https" else None
    except ValueError:
        host = None
    if not host:
        # Plain http does not prove where the data comes from.
        raise UsageError(
            f"{shown} is not downloaded",
            "only https:// proves where the data comes from",
            "Give an https:// URL, or the path of a file.",
        )
    trust = public_trust()
    if anchors:
        trust.load_verify_locations(cadata=anchors)
    policy = AddressPolicy(tuple(allowed), internal_hosts=frozenset({host}))
    try:
        with HttpClient(policy=policy, limits=limits, trust=trust) as client:
            answer = client.get(url, _USER_AGENT)
    except HttpError as error:
        raise _failed(shown, error.message) from None
    if answer.status != 200:
        raise _failed(shown, f"the server answered with HTTP {answer.status}")
    return answer.body


def _failed(what: str, why: str) -> CertmgrError:
    return CertmgrError(
        f"{what} cannot be downloaded", why, "Download it by hand, and give the path of the file."
    )
