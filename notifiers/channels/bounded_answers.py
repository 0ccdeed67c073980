"""Answers of chat services and webhooks, within a number of bytes and seconds, without redirects.

The services of apprise call requests, which reads an answer to its end: a server that sends without
end, or a compressed answer that expands without end, would take all memory. Requests follows
redirects as well: the page of a login that answers 200 would count as a delivery, and a server
could have the message, and the secret in its URL, sent to an internal address. A call that was
given up goes on in its thread, so its connections end at the deadline of the call, whatever the
server sends. Only the calls of the services are bounded. The answer of a CA, for example, must be
an error and not be cut.

    RedirectRefused                 the answer of a service is a redirect
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Generic, ParamSpec, TypeVar
from urllib.parse import urljoin, urlsplit

import requests.sessions
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from inventory.text import printable
from notifiers.tls_sockets import BoundedTls

# An answer is a short confirmation or an error message.
MAX_ANSWER = 4_000_000
SECONDS = 30.0
_PIECE = 16_384
_P = ParamSpec("_P")
_T = TypeVar("_T")


class RedirectRefused(requests.RequestException):
    """The answer is a redirect. A service handles it like a failed connection.

    Attributes:
        code: The status code.
        origin: Scheme, host and port that it leads to; its path may contain a secret.
    """

    def __init__(self, code: int, origin: str) -> None:
        super().__init__(f"HTTP {code}: redirect to {origin}")
        self.code, self.origin = code, origin

    def __reduce__(self) -> Any:
        return RedirectRefused, (self.code, self.origin)


class _Thread(threading.local):
    """How the current thread sends requests.

    Attributes:
        refused: The redirects that were refused; None if its requests are not bounded.
        end: When the connections of its requests end, as a value of the monotonic clock.
    """

    refused: list[RedirectRefused] | None = None
    end: float = float("inf")


_thread = _Thread()


class BoundedAdapter(HTTPAdapter):
    """A transport of requests that cuts an answer beyond its limits, for calls of a service."""

    _tls: BoundedTls | None = None

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Prepare the connections. Those of a service have bounded TLS."""
        if _thread.refused is not None:
            # Requests adds the roots, and how certificates are verified.
            self._tls = options["ssl_context"] = BoundedTls()
            self._tls.end = _thread.end
        super().init_poolmanager(*arguments, **options)

    def send(  # type: ignore[override]
        self, request: PreparedRequest, stream: bool = False, **options: Any
    ) -> Response:
        """Send a request, and return its answer.

        Within :func:`bounding`, it has at most :data:`MAX_ANSWER` bytes.

        Raises:
            RedirectRefused: It is a redirect, within :func:`bounding`.
        """
        if (refused := _thread.refused) is None:
            return super().send(request, stream=stream, **options)
        # ?verify=no in the URL of the channel: urllib3 does not change this of a given context.
        if self._tls is not None and options.get("verify") is False:
            self._tls.check_hostname = False
        answer = super().send(request, stream=True, **options)
        # Before requests sees it: a service may ask requests to follow redirects.
        if answer.is_redirect:
            answer.close()
            refused.append(RedirectRefused(answer.status_code, _target(answer)))
            raise refused[-1]
        # A caller that streams reads the body itself.
        if stream:
            return answer
        raw, kept = answer.raw, bytearray()
        end = monotonic() + SECONDS
        # The status is known, and it decides about the delivery: a body that breaks is cut.
        try:
            while len(kept) < MAX_ANSWER and monotonic() < end:
                if not (piece := raw.read1(_PIECE, decode_content=True)):
                    break
                kept += piece
        except (HTTPError, OSError):
            pass
        finally:
            raw.close()
        answer.raw = HTTPResponse(io.BytesIO(kept[:MAX_ANSWER]), preload_content=False)
        return answer


def _target(answer: Response) -> str:
    """Return scheme, host and port of the URL that a redirect leads to."""
    try:
        parts = urlsplit(urljoin(str(answer.url), answer.headers["Location"]))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an invalid URL"
    return printable(f"{parts.scheme}://{host}{port}", 120)


@contextmanager
def bounding(seconds: float = SECONDS) -> Iterator[list[RedirectRefused]]:
    """Bound the answers of requests that this thread sends in the block.

    Args:
        seconds: After this time, no connection with TLS goes on.

    Yields:
        The redirects that were refused so far.
    """
    # Apprise calls the functions of requests, which create their sessions themselves.
    requests.sessions.HTTPAdapter = BoundedAdapter
    refused: list[RedirectRefused] = []
    _thread.refused, _thread.end = refused, monotonic() + seconds
    try:
        yield refused
    finally:
        _thread.refused, _thread.end = None, float("inf")


class Bounded(Generic[_P, _T]):
    """A call with bounded answers, in whichever thread it runs.

    Attributes:
        refused: The redirects that were refused.
    """

    def __init__(self, call: Callable[_P, _T], seconds: float = SECONDS) -> None:
        self._call, self._seconds = call, seconds
        self.refused: list[RedirectRefused] = []

    def __call__(self, *arguments: _P.args, **named: _P.kwargs) -> _T:
        with bounding(self._seconds) as refused:
            try:
                return self._call(*arguments, **named)
            finally:
                self.refused += refused
