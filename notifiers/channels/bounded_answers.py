"""Answers of chat services and webhooks, within a number of bytes and seconds.

The services of apprise call requests, which reads an answer to its end: a server that sends without
end, or a compressed answer that expands without end, would take all memory.
"""

from __future__ import annotations

import io
import time
from typing import Any

import requests.sessions
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

# An answer is a short confirmation or an error message. The limit also holds for other libraries
# that use requests in this process, such as the API of a DNS provider with a list of all zones.
MAX_ANSWER = 4_000_000
SECONDS = 30.0
_PIECE = 16_384


class BoundedAdapter(HTTPAdapter):
    """A transport of requests that cuts an answer beyond its limits."""

    def send(  # type: ignore[override]
        self, request: PreparedRequest, stream: bool = False, **options: Any
    ) -> Response:
        """Send a request, and return its answer with at most :data:`MAX_ANSWER` bytes."""
        answer = super().send(request, stream=True, **options)
        # This caller reads the body itself.
        if stream:
            return answer
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


def bound_answers() -> None:
    """Let all later sessions of requests in this process use :class:`BoundedAdapter`."""
    # Apprise calls the functions of requests, which create their sessions themselves.
    requests.sessions.HTTPAdapter = BoundedAdapter
