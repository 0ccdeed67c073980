"""The connection to a CA, based on the ``acme`` library.

This module performs I/O. In addition to the library it retries badNonce within bounds (the library
retries once), guards the nonces with a lock, and keeps the HTTP status and Retry-After of a
problem. It limits the size and duration of answers. It connects to internal addresses only if the
configuration allows that.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from acme import client, jws, messages
from josepy.errors import DeserializationError
from josepy.jwa import ES256, ES384, RS256
from josepy.jwk import JWK, JWKEC

from certmgr import __version__
from certmgr.acme.protocol import responses
from certmgr.acme.protocol.connection import MAX_REDIRECTS, CaConnection, http_client
from certmgr.acme.protocol.problems import AcmeError, AcmeProblem, parse, retry_after
from certmgr.net.http_client import REDIRECTS
from certmgr.net.http_stream import HttpError, HttpProblem
from inventory.clock import Clock, system_clock
from inventory.errors import CertmgrError
from inventory.text import printable

_log = logging.getLogger(__name__)

# Measured with pebble: at 90 percent refused nonces, 10 tries complete 2 percent of the orders. A
# nonce costs one short request.
NONCE_TRIES = 200
NONCE_SECONDS = 120.0


class AcmeNetwork(client.ClientNetwork):
    """The connection of one account to a CA. Threads may share it.

    It replaces the three methods of the library that send requests. The library's session is left
    without an adapter, so that nothing is sent past the guarded client.
    """

    def __init__(
        self,
        connection: CaConnection,
        key: JWK | None = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Clock = system_clock,
    ) -> None:
        """Prepare the connection.

        Raises:
            AcmeError: The file with the roots of the CA cannot be used.
        """
        # The algorithm follows the key (RFC 7518 3.4): P-256 signs with ES256, P-384 with ES384.
        alg = ES256 if isinstance(key, JWKEC) else RS256
        if isinstance(key, JWKEC) and key.key.curve.name == "secp384r1":
            alg = ES384
        super().__init__(key, alg=alg, user_agent=f"certmgr/{__version__} acme-python")
        # Without an adapter, a method of the library that was overlooked fails instead of
        # connecting past the guard of addresses.
        self.session.adapters.clear()
        self._http = http_client(connection)
        self._lock = threading.Lock()
        self._nonce_stack: list[Any] = []
        self._wait = wait
        # The metadata of the directory, of which the library drops what it does not know.
        self.meta: Mapping[str, Any] = {}
        self.clock = clock
        self.requests = 0

    def _send(self, method: str, url: str, content: bytes | None = None) -> requests.Response:
        """Send a request, and return the answer in the type of the library.

        Raises:
            AcmeError: The CA is unreachable, or its URL is not https://.
            InternalAddress: The URL leads to an internal address.
        """
        self.requests += 1
        _log.debug("%s %s", method, url)
        headers = {"User-Agent": self.user_agent}
        if content is not None:
            headers["Content-Type"] = self.JOSE_CONTENT_TYPE
        try:
            answer = self._http.request(method, url, headers=headers, content=content)
        except HttpError as error:
            raise _unreachable(url, error) from None
        response = requests.Response()
        response.status_code, response.url = answer.status, answer.url
        response.headers.update(answer.headers)
        response.raw, response.encoding = io.BytesIO(answer.body), "utf-8"
        # RFC 8555 6.5: each answer to a POST has a fresh nonce.
        if method == "POST":
            # A refusal carries a nonce too, which saves a request for the next one.
            self._keep_nonce(response)
        return response

    def head(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a HEAD request, without a check of the status."""
        return self._send("HEAD", *args)

    def get(
        self, url: str, content_type: str = client.ClientNetwork.JSON_CONTENT_TYPE, **kwargs: Any
    ) -> requests.Response:
        """Send a GET request, and check the response.

        Raises:
            AcmeError: The CA refused, or did not send JSON.
        """
        return self._checked(self._send("GET", url), content_type)

    def _checked(
        self, response: requests.Response, content_type: str | None = None
    ) -> requests.Response:
        """Return a successful response.

        Raises:
            AcmeError: The CA refused. The error has the whole problem document, the HTTP status and
                Retry-After.
        """
        with contextlib.suppress(ValueError, RecursionError):
            document = response.json()
            if response.ok:
                return response
            raise self._refused(response, document)
        if not response.ok:
            raise self._refused(response, None)
        # A captive portal or a proxy answers with status 200 and HTML.
        if content_type == self.JSON_CONTENT_TYPE:
            raise AcmeError(
                f"The CA at {_host(response.url)} did not send JSON",
                AcmeProblem(
                    "unreadable",
                    f"the answer begins with '{printable(response.text[:60], 60)}'",
                    response.status_code,
                ),
            )
        return response

    def _refused(self, response: requests.Response, document: Any) -> AcmeError:
        wait = retry_after(response.headers.get("Retry-After"), self.clock())
        problem = parse(document, response.status_code, wait)
        location = printable(response.headers.get("Location", ""), 500)
        return AcmeError(
            f"The CA at {_host(response.url)} refused the request", problem, location=location
        )

    def _keep_nonce(self, response: requests.Response) -> None:
        with contextlib.suppress(DeserializationError):
            decoded = _decode_nonce(response)
            with self._lock:
                # At most 100 nonces are kept.
                del self._nonce_stack[: max(0, len(self._nonce_stack) - 99)]
                self._nonce_stack.append(decoded)

    def _nonce(self, url: str) -> Any:
        with self._lock:
            if self._nonce_stack:
                # The newest first: older ones may be unknown to a server that was restarted.
                return self._nonce_stack.pop()
        try:
            return _decode_nonce(self._checked(self.head(url)))
        except DeserializationError:
            raise AcmeError(
                f"The CA at {_host(url)} sent no nonce",
                AcmeProblem("unreadable", "the header Replay-Nonce is missing or invalid"),
            ) from None

    def post(
        self,
        url: str,
        obj: Any,
        content_type: str = client.ClientNetwork.JOSE_CONTENT_TYPE,
        *,
        new_nonce_url: str | None = None,
        **_: Any,
    ) -> requests.Response:
        """Send a signed request, and repeat it while the CA refuses the nonce.

        A refused nonce has no effect on the request (RFC 8555 6.5). It is repeated at most 200
        times and for at most two minutes.

        Args:
            obj: The payload; None for POST-as-GET.
            new_nonce_url: The URL for a new nonce, if there is none from an earlier answer.
        """
        end = time.monotonic() + NONCE_SECONDS
        for attempt in range(NONCE_TRIES):
            try:
                return self._checked(self._post_redirected(url, obj, new_nonce_url or url))
            except AcmeError as error:
                if error.problem.type != "badNonce" or time.monotonic() > end:
                    raise
                # After 30 attempts without a pause, give a busy CA some time.
                if attempt >= 30:
                    self._wait(0.2)
        raise AcmeError(
            "The CA refuses every nonce",
            AcmeProblem("badNonce", f"{NONCE_TRIES} requests in a row were refused"),
            "Check whether a proxy between this machine and the CA caches or rewrites answers. The"
            " request is retried later.",
        )

    def _post_redirected(self, url: str, obj: Any, nonce_url: str) -> requests.Response:
        """Send a signed request, and follow the redirects of a CA that has moved.

        The signature covers the URL (RFC 8555 6.4), so that the request is signed anew for each.

        Raises:
            AcmeError: The CA is unreachable, or redirects to an invalid URL or without end.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send("POST", url, self._signed(url, obj, self._nonce(nonce_url)))
            if response.status_code not in REDIRECTS or "Location" not in response.headers:
                return response
            url = responses.location(response)
            # RFC 9110 15.4.4: the request had its effect, and its result is at the other URL.
            if response.status_code == 303:
                obj = None
        raise _unreachable(
            url, HttpError(HttpProblem.REDIRECTS, f"more than {MAX_REDIRECTS} redirects")
        )

    def _signed(self, url: str, obj: Any, nonce: Any) -> bytes:
        """Return a request in JWS form (RFC 8555 6.2), without the account's URL if it has none."""
        payload = obj.json_dumps(indent=2).encode() if obj else b""
        given: dict[str, Any] = {"key": self.key, "alg": self.alg, "nonce": nonce, "url": url}
        if self.account is not None:
            given["kid"] = self.account["uri"]
        signed: str = jws.JWS.sign(payload, **given).json_dumps(indent=2)
        return signed.encode()


class InternalAddress(CertmgrError):
    """A CA's URL leads to an internal address."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"The CA's URL {printable(url, 200)} is not requested",
            printable(why, 200),
            "If this is your internal CA, allow its network in [network] allow, or set internal ="
            " true in its [acme.ca.NAME].",
        )
        self.url, self.reason = url, why

    def __reduce__(self) -> Any:
        return InternalAddress, (self.url, self.reason)


def _unreachable(url: str, error: HttpError) -> CertmgrError:
    if error.problem is HttpProblem.INTERNAL:
        return InternalAddress(url, error.message)
    if error.problem is HttpProblem.URL:
        return AcmeError(
            f"The CA's URL {printable(url, 120)} is not used",
            AcmeProblem("unreadable", error.message),
        )
    todo = ""
    if error.problem is HttpProblem.TLS:
        todo = "Check the directory's URL, and ca_file of [acme.ca.NAME] for an internal CA."
    what = f"The CA at {_host(url)} did not answer"
    _log.info("%s: %s", what, error.message)
    return AcmeError(what, AcmeProblem("unreachable", error.message), todo)


def _decode_nonce(response: requests.Response) -> Any:
    return jws.Header._fields["nonce"].decode(response.headers.get("Replay-Nonce", ""))


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).hostname or url[:60], 100)
    except ValueError:
        return printable(url, 60)


_CHECK_DIRECTORY = (
    "Check the URL of the directory. If the CA moved it: certmgr account edit NAME --directory URL."
)


def directory_of(net: AcmeNetwork, url: str) -> messages.Directory:
    """Fetch the directory of a CA (RFC 8555 7.1.1).

    Raises:
        AcmeError: The answer is not a directory.
        InternalAddress: The URL leads to an internal address.
    """
    try:
        document = net.get(url).json()
    except AcmeError as error:
        # A missing page, or a page for people, is what a CA leaves at a URL that it has given up.
        if error.problem.status in (404, 410) or error.problem.type == "unreadable":
            raise AcmeError(error.what, error.problem, _CHECK_DIRECTORY) from None
        raise
    needed = ("newNonce", "newAccount", "newOrder", "revokeCert")
    if not isinstance(document, dict) or not all(isinstance(document.get(k), str) for k in needed):
        raise AcmeError(
            f"{printable(url, 200)} is not an ACME directory",
            AcmeProblem("unreadable", "newNonce, newAccount, newOrder or revokeCert is missing"),
            _CHECK_DIRECTORY,
        )
    if isinstance(document.get("meta"), dict):
        net.meta = dict(document["meta"])
    try:
        return messages.Directory.from_json(document)
    except (DeserializationError, TypeError, AttributeError):
        # The metadata is optional: a CA with malformed metadata can still be used.
        document["meta"] = {}
        return messages.Directory.from_json(document)
