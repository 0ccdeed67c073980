"""Asks for the answer of an http-01 challenge the way a CA does: over one given address, on the
real path, following redirects. An edge.
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

MAX_REDIRECTS = 10  # as Let's Encrypt
MAX_BODY = 2048
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """``state``: ok, other (something else was answered), failed (nobody answered), refused (an
    address that is not asked).
    """

    address: str
    state: str
    said: str = ""


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
    """``address`` is the name's own; where a redirect leads is resolved and guarded."""
    host = f"[{name}]" if ":" in name else name
    url = f"http://{host}{'' if port == 80 else f':{port}'}{WELL_KNOWN}{token}"
    where = address
    for _ in range(MAX_REDIRECTS + 1):
        if (why := refusal(where, allowed)) is not None:
            return ProbeResult(address, "refused", f"{where} is not asked: {why}")
        status, location, body = _get(url, where)
        if status == 0:
            return ProbeResult(address, "failed", body)
        if status in (301, 302, 303, 307, 308) and location:
            step = _follow(url, location, name, address, resolve)
            if isinstance(step, ProbeResult):
                return step
            url, where = step
            continue
        if status == 200 and body.strip() == expected:
            return ProbeResult(address, "ok")
        words = f"HTTP {status}" if status != 200 else f"another text: '{printable(body[:60], 60)}'"
        return ProbeResult(address, "other", words)
    return ProbeResult(address, "other", f"more than {MAX_REDIRECTS} redirects")


def _follow(
    url: str, location: str, name: str, address: str, resolve: Resolve
) -> tuple[str, str] | ProbeResult:
    try:
        target = urljoin(url, location)[:2000]
        parts = urlsplit(target)
        host = normalise_host(parts.hostname or "")
    except (ValueError, CertmgrError) as error:
        return ProbeResult(
            address, "other", f"a redirect that leads nowhere: {printable(str(error), 80)}"
        )
    if parts.scheme not in ("http", "https"):
        return ProbeResult(address, "other", f"a redirect to {printable(parts.scheme, 20)}:")
    if host == name:
        return target, address
    found = [host] if as_ip(host) is not None else list(resolve(host))
    if not found:
        return ProbeResult(
            address, "other", f"a redirect to {printable(host, 100)}, which does not exist"
        )
    return target, found[0]


def _get(url: str, address: str) -> tuple[int, str, str]:
    """(status, Location, body) from that address; status 0 and the reason in place of the body
    where nobody answered.
    """

    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    timeout = urllib3.Timeout(total=TIMEOUT)
    if secure:
        # As CAs do: a redirect to HTTPS is followed whatever certificate is there, since it may be
        # the one that is renewed.
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
