"""Faults that the proxy (faulty.py) injects, and the requests that it records."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Literal

from inventory.clock import system_clock

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Fault:
    """A fault, created by the functions below."""

    kind: Literal["answer", "pass", "truncate", "reset", "drop", "drip", "huge"]
    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    interval: float = 0.2
    size: int = 0
    chunked: bool = False
    zipped: bool = False
    in_headers: bool = False

    @property
    def passed(self) -> bool:
        """Whether the upstream gets the request."""
        return self.kind in ("pass", "truncate", "drop")


def answer(
    status: int,
    body: bytes | str = b"",
    content_type: str = PROBLEM,
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """Return exactly this answer, without a request to the upstream."""
    return Fault(
        "answer",
        status,
        body.encode() if isinstance(body, str) else body,
        content_type,
        headers or {},
    )


def problem(
    status: int,
    kind: str = "serverInternal",
    detail: str = "The server is out of order",
    retry_after: float | None = None,
    as_date: bool = False,
    **more: Any,
) -> Fault:
    """Return a problem document (RFC 7807) of the type ``urn:ietf:params:acme:error:KIND``.

    Args:
        status: The HTTP status.
        kind: The type without its prefix.
        detail: The description.
        retry_after: Seconds of the header Retry-After.
        as_date: Whether Retry-After is sent as an HTTP date instead of seconds.
        more: Further members of the document.
    """
    body = json.dumps(
        {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status, **more}
    )
    headers = {}
    if retry_after is not None:
        at = system_clock() + timedelta(seconds=retry_after)
        headers["Retry-After"] = (
            format_datetime(at, usegmt=True) if as_date else str(int(retry_after))
        )
    return answer(status, body, headers=headers)


def rate_limited(
    seconds: float, *, as_date: bool = False, detail: str = "too many certificates already issued"
) -> Fault:
    """Return a refusal by a rate limit."""
    return problem(429, "rateLimited", detail, seconds, as_date)


def truncated() -> Fault:
    """Return half of the announced body, then close the connection."""
    return Fault("truncate")


def delayed(seconds: float, then: Fault | None = None) -> Fault:
    """Return another fault, or the true answer, after a delay."""
    return replace(then or Fault("pass"), delay=seconds)


def mistyped(content_type: str = "text/html") -> Fault:
    """Return the true answer with another Content-Type."""
    return Fault("pass", content_type=content_type)


def reset() -> Fault:
    """Reset the connection before the upstream gets the request."""
    return Fault("reset")


def dropped() -> Fault:
    """Pass the request to the upstream, then reset the connection instead of answering."""
    return Fault("drop")


def dripping(interval: float = 0.2, *, headers: bool = False) -> Fault:
    """Send one byte of the body, or of a header, every ``interval`` seconds without an end."""
    return Fault("drip", interval=interval, in_headers=headers, content_type="application/json")


def huge(size: int = 50_000_000, *, chunked: bool = False, zipped: bool = False) -> Fault:
    """Return JSON of ``size`` bytes.

    With ``chunked`` its length is not announced. With ``zipped`` it is sent as about 50 KB of gzip.
    """
    return Fault("huge", content_type="application/json", size=size, chunked=chunked, zipped=zipped)


@dataclass
class Rule:
    """A fault and the requests to which it applies.

    Every rule counts the requests that it matches. The first rule that applies is used.

    Attributes:
        fault: The fault.
        path: A pattern that matches the beginning of the path.
        method: The method; empty for any.
        nth: The numbers of the matching requests to which the rule applies, from 1; empty for all.
        chance: The probability with which the rule applies.
        when: A further condition.
        seen: The number of matching requests.
        fired: The number of requests for which the rule was used.
    """

    fault: Fault
    path: str = ""
    method: str = ""
    nth: int | Collection[int] = ()
    chance: float = 1.0
    when: Callable[[Seen], bool] | None = None
    seen: int = 0
    fired: int = 0

    def applies(self, seen: Seen, chance: random.Random) -> bool:
        """Count a matching request, and return whether the rule applies to it."""
        if (
            self.method not in ("", seen.method)
            or not re.match(self.path, seen.path)
            or not (self.when is None or self.when(seen))
        ):
            return False
        self.seen += 1
        wanted = (self.nth,) if isinstance(self.nth, int) else self.nth
        return (not wanted or self.seen in wanted) and (
            self.chance >= 1 or chance.random() < self.chance
        )


@dataclass
class Seen:
    """A request.

    Attributes:
        method: Its method.
        path: Its path.
        at: time.monotonic() of its arrival.
        headers: Its headers.
        body: Its body.
        fault: The fault that was injected.
        status: The status that the client got; 0 for none.
    """

    method: str
    path: str
    at: float
    headers: dict[str, str]
    body: bytes = field(repr=False)
    fault: Fault | None = None
    status: int = 0

    def _part(self, name: str) -> Any:
        if not self.body:
            return None
        text = json.loads(self.body)[name]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else ""

    @property
    def protected(self) -> Any:
        """The header of the JWS; None for a request without a body."""
        return self._part("protected")

    @property
    def payload(self) -> Any:
        """The payload of the JWS; "" for POST-as-GET, None for a request without a body."""
        return self._part("payload")
