"""The HTTP client for all requests but those of a scan.

Guarded: addresses are checked where the connection is made, also after a redirect
(:mod:`certmgr.net.http_stream`). Bounded: one deadline for resolution, connection, headers and body
of all redirects, which no peer can move, and limits for headers, body (before and after
decompression) and redirects. No proxy and no setting of the environment is used.

    HttpError                     every failure, with its kind (HttpProblem)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import certifi
import httpcore
import httpx

from certmgr.net.http_body import BodyReader
from certmgr.net.http_stream import (
    AddressPolicy,
    Budget,
    GuardedBackend,
    HttpError,
    HttpProblem,
    Resolve,
    system_addresses,
    within_budget,
)
from inventory.errors import CertmgrError
from inventory.files import read_regular
from inventory.text import printable

MAX_URL = 4000
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers, TLS and the framing of chunks, in addition to the body.
_OVERHEAD = 300_000
_MAX_HEADERS = 65_536
# A bundle of all public roots has less than 1 MB.
_MAX_ANCHORS = 16_000_000


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one request may cost.

    Attributes:
        seconds: From the start to the last byte, redirects included.
        body: Bytes of the body, before and after decompression. 0: the body is not read.
        redirects: The number of redirects that are followed.
        cut: Whether a longer body is cut. Otherwise it is an error.
    """

    seconds: float = 30.0
    body: int = 1_000_000
    redirects: int = 0
    cut: bool = False


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer.

    Attributes:
        url: The URL that answered, after redirects.
        status: Its status code.
        headers: Its headers; names are compared without case.
        body: The body after decompression.
    """

    url: str
    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)

    @property
    def redirect(self) -> str:
        """The absolute URL of the redirect; empty if the answer is none."""
        location = self.headers.get("Location", "")
        return _join(self.url, location) if self.status in REDIRECTS and location else ""


def public_trust() -> ssl.SSLContext:
    """Return a TLS context with the public roots."""
    return ssl.create_default_context(cafile=certifi.where())


def anchor_text(path: Path) -> str:
    """Return the PEM text of a file with trust anchors, for ``cadata`` of :mod:`ssl`.

    OpenSSL would open a pipe itself, and wait for its writer.

    Raises:
        CertmgrError: It is not a readable file, or it contains no certificate.
    """
    # Text between the certificates may have any character set, but cadata must be ASCII.
    text = read_regular(path, _MAX_ANCHORS).decode("ascii", "ignore")
    # With an empty text, Python would trust all roots of the system instead.
    if "-----BEGIN" not in text:
        raise CertmgrError(f"{path} contains no certificate in PEM")
    return text


def no_trust() -> ssl.SSLContext:
    """Return a TLS context that verifies no certificate: for what is not secret and not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: httpcore.Response) -> None:
        self._answer = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class GuardedTransport(httpx.BaseTransport):
    """The transport of httpx over :class:`GuardedBackend`."""

    def __init__(
        self, backend: GuardedBackend, trust: ssl.SSLContext | None, connections: int
    ) -> None:
        """Create a pool.

        Args:
            connections: The number of connections that are kept for further requests; 0 closes each
                after its answer.
        """
        self._pool = httpcore.ConnectionPool(
            ssl_context=trust,
            max_connections=max(connections, 1),
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer with an unread body."""
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.content,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class HttpClient:
    """Sends requests. Threads may share it."""

    def __init__(
        self,
        *,
        policy: AddressPolicy = AddressPolicy(),
        limits: HttpLimits = HttpLimits(),
        trust: ssl.SSLContext | None = None,
        schemes: Sequence[str] = ("https",),
        connections: int = 0,
        resolve: Resolve = system_addresses,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a client. It opens no connection.

        Args:
            policy: The addresses that may be contacted.
            limits: The limits of each request.
            trust: The roots for https; by default the public ones.
            schemes: The schemes that may be requested, also after a redirect.
            connections: The number of connections that are kept open.
            resolve: Return the addresses of a host name.
            timer: A monotonic timer in seconds.
        """
        if trust is None and "https" in schemes:
            trust = public_trust()
        self._limits, self._schemes, self._timer = limits, tuple(schemes), timer
        self._client = httpx.Client(
            transport=GuardedTransport(GuardedBackend(policy, resolve), trust, connections),
            # A proxy would resolve the names itself. The guard would then check the address of the
            # proxy only.
            trust_env=False,
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def budget(self) -> Budget:
        """Return what one request may use, for several requests that share it."""
        limits = self._limits
        # The framing of small chunks may add up to a quarter of the body.
        return Budget(limits.seconds, limits.body + limits.body // 4 + _OVERHEAD, self._timer)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Request a URL, and follow redirects within the limits.

        Raises:
            HttpError: There is no complete answer.
        """
        return self.request("GET", url, headers=headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        budget: Budget | None = None,
    ) -> HttpAnswer:
        """Send a request. Only GET and HEAD follow redirects.

        Args:
            budget: A budget that was begun by earlier requests.

        Raises:
            HttpError: There is no complete answer.
        """
        budget = budget or self.budget()
        # A POST at another URL could have its effect twice, or send its content to another host.
        follows = self._limits.redirects if method in ("GET", "HEAD") else 0
        with within_budget(budget):
            for _ in range(follows + 1):
                answer = self._once(method, url, headers, content, budget)
                if not follows or not answer.redirect:
                    return answer
                url = answer.redirect
        raise HttpError(HttpProblem.REDIRECTS, f"more than {follows} redirects")

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        budget: Budget,
    ) -> HttpAnswer:
        self._check(url)
        answer = None
        # The pool waits if all connections are in use; the backend keeps the other deadlines.
        waiting = httpx.Timeout(None, pool=budget.remaining())
        try:
            request = self._client.build_request(
                method, url, headers=headers, content=content, timeout=waiting
            )
            with closing(self._client.send(request, stream=True)) as response:
                if sum(len(n) + len(v) for n, v in response.headers.raw) > _MAX_HEADERS:
                    raise HttpError(HttpProblem.PROTOCOL, "its headers are too large")
                answer = HttpAnswer(url, response.status_code, response.headers, b"")
                unread = method == "HEAD" or not self._limits.body
                # The body of a redirect that is followed is of no use.
                if unread or (self._limits.redirects and answer.redirect):
                    return answer
                return replace(answer, body=self._body(response, budget))
        except httpcore.PoolTimeout:
            raise budget.expired() from None
        except httpcore.WriteError as error:
            raise HttpError(HttpProblem.CONNECTION, str(error)) from None
        except httpcore.RemoteProtocolError:
            raise _protocol_error(answer is not None, budget.ended) from None
        # httpx parses the target of a redirect even if it does not follow it.
        except httpx.RemoteProtocolError:
            raise HttpError(HttpProblem.URL, "it redirects to an invalid URL") from None
        except (
            httpcore.LocalProtocolError,
            httpx.InvalidURL,
            httpx.UnsupportedProtocol,
            UnicodeError,
        ):
            raise HttpError(HttpProblem.URL, "it is not a valid URL") from None

    def _check(self, url: str) -> None:
        try:
            parts = httpx.URL(url) if len(url) <= MAX_URL else None
        except (httpx.InvalidURL, ValueError):
            parts = None
        port = 80 if parts is None or parts.port is None else parts.port
        if parts is None or not parts.host or not 0 < port < 65_536:
            raise HttpError(HttpProblem.URL, "it is not a valid URL")
        if parts.scheme not in self._schemes:
            wanted = " or ".join(f"{s}://" for s in self._schemes)
            raise HttpError(HttpProblem.URL, f"it is not an {wanted} URL")

    def _body(self, response: httpx.Response, budget: Budget) -> bytes:
        # httpx decompresses a piece as a whole: 64 KB may become 64 MB, and more if gzip is nested.
        codings = response.headers.get("Content-Encoding", "").replace(" ", "").split(",")
        reader = BodyReader(codings, self._limits.body)
        if reader.problem:
            raise HttpError(HttpProblem.PROTOCOL, f"it answers with {reader.problem}")
        for piece in response.iter_raw():
            budget.remaining()
            if piece and reader.feed(piece):
                if reader.problem:
                    raise HttpError(HttpProblem.PROTOCOL, f"it answers with {reader.problem}")
                if self._limits.cut:
                    break
                raise HttpError(
                    HttpProblem.TOO_LARGE, f"it is larger than {self._limits.body:,} bytes"
                )
        return reader.body


def _protocol_error(answered: bool, ended: bool) -> HttpError:
    if answered and ended:
        return HttpError(HttpProblem.INCOMPLETE, "the answer is incomplete")
    if ended:
        return HttpError(
            HttpProblem.INCOMPLETE, "the server closed the connection without an answer"
        )
    return HttpError(HttpProblem.PROTOCOL, "it answers with something that is not valid HTTP")


def _join(base: str, location: str) -> str:
    try:
        return str(httpx.URL(base).join(printable(location, MAX_URL)).copy_with(fragment=None))
    except (httpx.InvalidURL, ValueError):
        # _check refuses this URL, so that the redirect is reported as one to an invalid URL.
        return "invalid:"
