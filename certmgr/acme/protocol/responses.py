"""A CA's answers as values of the ``acme`` library.

An unreadable answer is raised as :class:`AcmeError`, never as an exception of the library.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urljoin

import requests
from acme import messages
from josepy.errors import DeserializationError
from requests.utils import parse_header_links

from certmgr.acme.protocol.problems import AcmeError, AcmeProblem, parse, retry_after
from certmgr.acme.protocol.response_fields import authorization_fields, order_fields
from inventory.text import printable

_log = logging.getLogger(__name__)

# URLs of CAs have about 100 characters. They are stored, logged and shown.
MAX_URL = 1000
MAX_LINKS = 100
_T = TypeVar("_T")


class RawPayload:
    """A payload that is sent unchanged.

    It is true even if it is empty: the library sends a POST-as-GET for a false payload.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    def json_dumps(self, **_: Any) -> str:
        return json.dumps(self._document)


def links(response: requests.Response, relation: str) -> list[str]:
    """Return the URLs of a relation in the header Link (RFC 8288), at most 100.

    ``requests.Response.links`` keeps one URL per relation, and RFC 8555 allows several.
    """
    found = parse_header_links(response.headers.get("Link", ""))
    # RFC 8288 3.3: the relation types of a link are a list, compared without case. A URL may be
    # relative to that of the answer.
    return [
        _absolute(response, link["url"])
        for link in found[:MAX_LINKS]
        if relation in link.get("rel", "").lower().split()
    ]


def location(response: requests.Response) -> str:
    """Return the URL of the header Location, which may be relative (RFC 9110 10.2.2).

    Raises:
        AcmeError: It is missing, or not an acceptable URL.
    """
    text = response.headers.get("Location")
    return check_url(_absolute(response, text) if text else text)


def _absolute(response: requests.Response, url: str) -> str:
    try:
        return urljoin(response.url, url.strip())
    except ValueError:
        return url


def _read(what: str, decode: Callable[[], _T]) -> _T:
    try:
        return decode()
    # What the library and its JSON parser raise on documents of a wrong form.
    except (
        DeserializationError,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        RecursionError,
    ) as error:
        # The text of a library does not help a reader; it is in the log.
        _log.info(
            "the %s of the CA: %s: %s", what, type(error).__name__, printable(str(error), 300)
        )
        if isinstance(error, json.JSONDecodeError):
            why = "it is not JSON"
        elif isinstance(error, RecursionError):
            why = "its JSON is nested too deeply"
        else:
            why = "a field that RFC 8555 requires is missing, or has another type or value"
        raise AcmeError(f"The CA's {what} cannot be read", AcmeProblem("unreadable", why)) from None


def order(response: Any) -> messages.Order:
    """Parse an order.

    Raises:
        AcmeError: It has no status, an invalid URL, or too many authorizations.
    """
    body: messages.Order = _read(
        "order", lambda: messages.Order.from_json(order_fields(response.json()))
    )
    if body.status is None or not isinstance(body.authorizations, (list, tuple)):
        raise AcmeError(
            "The CA's order cannot be read",
            AcmeProblem("unreadable", "it has no status or no authorizations"),
        )
    # Each URL is requested later, so each must be an acceptable one.
    for url in (*body.authorizations, body.finalize, body.certificate):
        if url is not None:
            check_url(url)
    # Each costs a request. An order has at most one per name, and CAs allow 100 names.
    if len(body.authorizations) > 200:
        raise AcmeError(
            "The CA's order cannot be used",
            AcmeProblem(
                "unreadable", f"it has {len(body.authorizations)} authorizations, the limit is 200"
            ),
        )
    return body


def document(response: Any) -> Mapping[str, Any]:
    """Parse a JSON object.

    Raises:
        AcmeError: The answer is not a JSON object.
    """
    body = _read("answer", response.json)
    if not isinstance(body, Mapping):
        raise AcmeError(
            "The CA's answer cannot be read", AcmeProblem("unreadable", "it is not a JSON object")
        )
    return body


def authorization(response: Any) -> messages.Authorization:
    """Parse an authorization.

    Raises:
        AcmeError: It has no status or no identifier.
    """
    body: messages.Authorization = _read(
        "authorization",
        lambda: messages.Authorization.from_json(authorization_fields(response.json())),
    )
    if body.status is None or body.identifier is None or not isinstance(body.identifier.value, str):
        raise AcmeError(
            "The CA's authorization cannot be read",
            AcmeProblem("unreadable", "it has no status or no identifier"),
        )
    return body


def check_url(url: Any) -> str:
    """Return a URL that the CA named.

    Raises:
        AcmeError: It is not an https:// URL, too long, or has unprintable characters.
    """
    # The URL comes from outside: it is stored, logged and requested.
    if (
        not isinstance(url, str)
        or not url.startswith("https://")
        or len(url) > MAX_URL
        or printable(url, MAX_URL) != url
    ):
        raise AcmeError(
            "The CA named an invalid URL",
            AcmeProblem("unreadable", f"'{printable(str(url), 120)}' is not an https:// URL"),
        )
    return url


def problem_of(body: Any) -> AcmeProblem:
    """Return the problem inside an order or a challenge, from the library's value."""
    if body is None:
        return AcmeProblem("")
    document = body.to_json() if hasattr(body, "to_json") else {}
    return parse(json.loads(json.dumps(document, default=str)))


def retry_after_seconds(response: Any, now: datetime) -> float | None:
    """Return the seconds of the header Retry-After."""
    return retry_after(response.headers.get("Retry-After"), now)
