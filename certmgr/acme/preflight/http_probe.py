"""Request of an http-01 answer as a CA makes it: from one given address, on the real path, with
redirects.

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from certmgr.acme.challenges.interface import WELL_KNOWN
from certmgr.net.addresses import Network
from certmgr.net.http_client import REDIRECTS, HttpClient, HttpLimits, no_trust
from certmgr.net.http_stream import AddressPolicy, HttpError, HttpProblem
from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host
from inventory.text import printable

MAX_REDIRECTS = 10  # the limit of Let's Encrypt
# BR 3.2.2.4.19: redirects lead to the ports 80 and 443 only.
CA_PORTS = (80, 443)
# A key authorization has less than 300 bytes (RFC 8555 8.1).
MAX_BODY = 2048
SECONDS = 10.0  # over all redirects: a CA does not wait longer either


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer of one address.

    Attributes:
        address: The address.
        state: ok, other (another answer), failed (no answer) or refused (an address that must not
            be requested).
        message: The reason in words; empty if the answer is right.
    """

    address: str
    state: str
    message: str = ""


_HEADERS = {"User-Agent": "certmgr preflight"}

Resolve = Callable[[str], Sequence[str]]


def probe(
    name: str,
    address: str,
    token: str,
    expected: str,
    *,
    port: int,
    resolve: Resolve,
    allowed: Sequence[Network],
    ports: Collection[int] = CA_PORTS,
    sources: tuple[str, ...] = (),
) -> ProbeResult:
    """Request the answer of a challenge from one address.

    Args:
        name: The name that is validated.
        address: An address of the name.
        token: The token of the challenge.
        expected: The key authorization that the server must return.
        port: The port of the first request.
        resolve: Resolve the host of a redirect.
        allowed: Networks that may be reached although they are internal.
        ports: The ports to which a redirect may lead.
        sources: Local addresses from which to connect, at most one per IP version.
    """
    host = f"[{name}]" if ":" in name else name
    url = f"http://{host}{'' if port == 80 else f':{port}'}{WELL_KNOWN}{token}"
    target = address
    client = HttpClient(
        # The DNS and the redirects belong to clients and could lead to internal hosts.
        policy=AddressPolicy(tuple(allowed), sources=sources),
        limits=HttpLimits(SECONDS, MAX_BODY, cut=True),
        # CAs follow a redirect to HTTPS without verifying the certificate, because it may be the
        # one that is renewed.
        trust=no_trust(),
        schemes=("http", "https"),
        resolve=lambda _: [target],
    )
    with client:
        budget = client.budget()
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = client.request("GET", url, headers=_HEADERS, budget=budget)
            except HttpError as error:
                state = "refused" if error.problem is HttpProblem.INTERNAL else "failed"
                return ProbeResult(address, state, printable(error.message, 160))
            location = answer.headers.get("Location", "")
            if answer.status not in REDIRECTS or not location:
                return _judge(address, answer.status, answer.body, expected)
            step = _follow(url, location, name, address, resolve, ports)
            if isinstance(step, ProbeResult):
                return step
            url, target = step
    return ProbeResult(address, "other", f"more than {MAX_REDIRECTS} redirects")


def _judge(address: str, status: int, body: bytes, expected: str) -> ProbeResult:
    text = body.decode("utf-8", "replace")
    if status != 200:
        return ProbeResult(address, "other", f"HTTP {status}")
    # CAs ignore white space at the end only (RFC 8555 8.3): a blank line or a byte order mark
    # before the answer, as a template or an editor adds it, fails the validation.
    if text.rstrip() == expected:
        return ProbeResult(address, "ok")
    if expected in text:
        return ProbeResult(address, "other", "the right text, with other characters around it")
    return ProbeResult(address, "other", f"another text: '{printable(text[:60], 60)}'")


def _follow(
    url: str,
    location: str,
    name: str,
    address: str,
    resolve: Resolve,
    ports: Collection[int],
) -> tuple[str, str] | ProbeResult:
    """Return the URL and the address of a redirect's target, or why it cannot be followed."""
    try:
        target = urljoin(url, location)[:2000]
        parts = urlsplit(target)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = normalise_host(parts.hostname or "")
    except (ValueError, CertmgrError):
        return ProbeResult(
            address, "other", f"a redirect to an invalid URL: '{printable(location, 80)}'"
        )
    if parts.scheme not in ("http", "https"):
        return ProbeResult(address, "other", f"a redirect to {printable(parts.scheme, 20)}:")
    # What a CA does not follow must not count as an answer here.
    if port not in ports:
        return ProbeResult(
            address, "other", f"a redirect to the port {port}; a CA follows only to 80 and 443"
        )
    # A redirect to the same name stays at the address that is probed.
    if host == name:
        return target, address
    if as_ip(host) is not None:
        return ProbeResult(
            address,
            "other",
            f"a redirect to the address {host}; a CA follows only redirects to host names",
        )
    addresses = list(resolve(host))
    if not addresses:
        return ProbeResult(
            address, "other", f"a redirect to {printable(host, 100)}, which does not exist"
        )
    return target, addresses[0]
