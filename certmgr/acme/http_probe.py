"""Request of an http-01 answer as a CA makes it: from one given address, on the real path, with
redirects.

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import urllib3

from certmgr.acme.challenges.interface import WELL_KNOWN
from certmgr.net.addresses import Network, refusal
from inventory.errors import CertmgrError
from inventory.names import as_ip, normalise_host
from inventory.text import printable

MAX_REDIRECTS = 10  # the limit of Let's Encrypt
MAX_BODY = 2048
TIMEOUT = 10.0


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
    """
    host = f"[{name}]" if ":" in name else name
    url = f"http://{host}{'' if port == 80 else f':{port}'}{WELL_KNOWN}{token}"
    target = address
    for _ in range(MAX_REDIRECTS + 1):
        # The DNS and the redirects belong to clients and could lead to internal hosts.
        if (why := refusal(target, allowed)) is not None:
            return ProbeResult(address, "refused", f"{target} is not requested: {why}")
        status, location, body = _get(url, target)
        if status == 0:
            return ProbeResult(address, "failed", body)
        if status in (301, 302, 303, 307, 308) and location:
            step = _follow(url, location, name, address, resolve)
            if isinstance(step, ProbeResult):
                return step
            url, target = step
            continue
        if status == 200 and body.strip() == expected:
            return ProbeResult(address, "ok")
        message = (
            f"HTTP {status}" if status != 200 else f"another text: '{printable(body[:60], 60)}'"
        )
        return ProbeResult(address, "other", message)
    return ProbeResult(address, "other", f"more than {MAX_REDIRECTS} redirects")


def _follow(
    url: str, location: str, name: str, address: str, resolve: Resolve
) -> tuple[str, str] | ProbeResult:
    """Return the URL and the address of a redirect's target, or why it cannot be followed."""
    try:
        target = urljoin(url, location)[:2000]
        parts = urlsplit(target)
        host = normalise_host(parts.hostname or "")
    except (ValueError, CertmgrError) as error:
        return ProbeResult(
            address, "other", f"a redirect to an invalid URL: {printable(str(error), 80)}"
        )
    if parts.scheme not in ("http", "https"):
        return ProbeResult(address, "other", f"a redirect to {printable(parts.scheme, 20)}:")
    # A redirect to the same name stays at the address that is probed.
    if host == name:
        return target, address
    addresses = [host] if as_ip(host) is not None else list(resolve(host))
    if not addresses:
        return ProbeResult(
            address, "other", f"a redirect to {printable(host, 100)}, which does not exist"
        )
    return target, addresses[0]


def _get(url: str, address: str) -> tuple[int, str, str]:
    """Return status, Location and body from an address.

    Without an answer the status is 0 and the body is the reason.
    """

    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    timeout = urllib3.Timeout(total=TIMEOUT)
    if secure:
        # CAs follow a redirect to HTTPS without verifying the certificate, because it may be the
        # one that is renewed.
        pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(
            address,
            port,
            timeout=timeout,
            retries=False,
            cert_reqs="CERT_NONE",
            assert_hostname=False,
            server_hostname=None if as_ip(host) else host,
        )
    else:
        pool = urllib3.HTTPConnectionPool(address, port, timeout=timeout, retries=False)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    try:
        response = pool.request(
            "GET",
            path,
            headers={
                "Host": shown if port in (80, 443) else f"{shown}:{port}",
                "Accept-Encoding": "identity",
                "User-Agent": "certmgr preflight",
            },
            redirect=False,
            preload_content=False,
        )
        body = response.read(MAX_BODY, decode_content=False)
        return (
            int(response.status),
            printable(response.headers.get("Location", ""), 2000),
            body.decode("utf-8", "replace"),
        )
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return 0, "", printable(str(reason).rpartition(">: ")[2] or type(error).__name__, 160)
    finally:
        pool.close()
