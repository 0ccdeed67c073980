"""Answers of chat services and webhooks, within a number of bytes and seconds.

The services of apprise call requests, which reads an answer to its end: a server that sends without
end, or a compressed answer that expands without end, would take all memory. Only their own calls
are bounded. The answer of a CA, for example, must be an error and not be cut.
"""

from __future__ import annotations

import functools
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import requests.sessions
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

# An answer is a short confirmation or an error message.
MAX_ANSWER = 4_000_000
SECONDS = 30.0
_PIECE = 16_384
_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Thread(threading.local):
    """Whether the answers of the current thread are bounded."""

    bounded = False


_thread = _Thread()


class BoundedAdapter(HTTPAdapter):
    """A transport of requests that cuts an answer beyond its limits, for calls of a service."""

    def send(  # type: ignore[override]
        self, request: PreparedRequest, stream: bool = False, **options: Any
    ) -> Response:
        """Send a request, and return its answer.

        Within :func:`bounding`, it has at most :data:`MAX_ANSWER` bytes.
        """
        # A caller that streams reads the body itself.
        if stream or not _thread.bounded:
            return super().send(request, stream=stream, **options)
        answer = super().send(request, stream=True, **options)
        raw, kept = answer.raw, bytearray()
        end = time.monotonic() + SECONDS
        # The status is known, and it decides about the delivery: a body that breaks is cut.
        try:
            while len(kept) < MAX_ANSWER and time.monotonic() < end:
                if not (piece := raw.read1(_PIECE, decode_content=True)):
                    break
                kept += piece
        except (HTTPError, OSError):
            pass
        finally:
            raw.close()
        answer.raw = HTTPResponse(io.BytesIO(kept[:MAX_ANSWER]), preload_content=False)
        return answer


@contextmanager
def bounding() -> Iterator[None]:
    """Bound the answers of requests that this thread sends in the block."""
    # Apprise calls the functions of requests, which create their sessions themselves.
    requests.sessions.HTTPAdapter = BoundedAdapter
    _thread.bounded = True
    try:
        yield
    finally:
        _thread.bounded = False


def bounded(call: Callable[_P, _T]) -> Callable[_P, _T]:
    """Return the call with bounded answers, in whichever thread it runs."""

    @functools.wraps(call)
    def run(*arguments: _P.args, **named: _P.kwargs) -> _T:
        with bounding():
            return call(*arguments, **named)

    return run
