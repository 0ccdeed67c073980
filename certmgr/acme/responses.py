"""What a CA answers as the library's values: whatever cannot be read becomes a Problem, never an
exception of the library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from acme import messages
from josepy.errors import DeserializationError

from certmgr.acme.problems import AcmeError, AcmeProblem, parse, retry_after
from inventory.text import printable

MAX_URL = 1000
_T = TypeVar("_T")


class RawPayload:
    """A payload as it is; true, so that the library signs it and does not take it for a
    POST-as-GET.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    def json_dumps(self, **_: Any) -> str:
        return json.dumps(self._document)


def _read(what: str, make: Callable[[], _T]) -> _T:
    try:
        return make()
    except (
        DeserializationError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
    ) as error:
        why = printable(str(error) or type(error).__name__, 200)
        raise AcmeError(f"The CA's {what} cannot be read", AcmeProblem("unreadable", why)) from None


def order(response: Any) -> messages.Order:
    """Raises :class:`AcmeError`: no status, or URLs that are none."""
    found: messages.Order = _read("order", lambda: messages.Order.from_json(response.json()))
    if found.status is None or not isinstance(found.authorizations, (list, tuple)):
        raise AcmeError(
            "The CA's order cannot be read",
            AcmeProblem("unreadable", "it has no status or no authorizations"),
        )
    for url in (*found.authorizations, found.finalize, found.certificate):
        if url is not None:
            checked(url)
    if len(found.authorizations) > 200:
        raise AcmeError(
            "The CA's order cannot be used",
            AcmeProblem("unreadable", f"it has {len(found.authorizations)} authorizations"),
        )
    return found


def document(response: Any) -> Mapping[str, Any]:
    """A JSON object. Raises :class:`AcmeError`."""
    found = _read("answer", response.json)
    if not isinstance(found, Mapping):
        raise AcmeError(
            "The CA's answer cannot be read", AcmeProblem("unreadable", "it is no JSON object")
        )
    return found


def authorization(response: Any) -> messages.Authorization:
    found: messages.Authorization = _read(
        "authorization", lambda: messages.Authorization.from_json(response.json())
    )
    if (
        found.status is None
        or found.identifier is None
        or not isinstance(found.identifier.value, str)
    ):
        raise AcmeError(
            "The CA's authorization cannot be read",
            AcmeProblem("unreadable", "it has no status or no identifier"),
        )
    return found


def checked(url: Any) -> str:
    """A URL of the CA's. Raises :class:`AcmeError` where it is none that may be asked."""
    if (
        not isinstance(url, str)
        or not url.startswith("https://")
        or len(url) > MAX_URL
        or printable(url, MAX_URL) != url
    ):
        raise AcmeError(
            "The CA names a URL that is not asked",
            AcmeProblem("unreadable", f"'{printable(str(url), 120)}'"),
        )
    return url


def error_of(body: Any) -> AcmeProblem:
    """The problem inside an order or a challenge; the library's value back to a document."""
    if body is None:
        return AcmeProblem("")
    document = body.to_json() if hasattr(body, "to_json") else {}
    return parse(json.loads(json.dumps(document, default=str)))


def wait_of(response: Any, now: datetime) -> float | None:
    """Seconds of its Retry-After."""
    return retry_after(response.headers.get("Retry-After"), now)


def clock_of(response: Any) -> datetime | None:
    """The CA's time."""

    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
