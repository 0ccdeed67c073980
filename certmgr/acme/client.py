"""The connection to a CA, based on the ``acme`` library.

This module performs I/O. In addition to the library it retries badNonce within bounds (the library
retries once), guards the nonces with a lock, and keeps the HTTP status and Retry-After of a
problem. It limits the size and duration of answers. It connects to internal addresses only if the
configuration allows that.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from acme import client, jws, messages
from josepy.errors import DeserializationError
from josepy.jwa import ES256, ES384, RS256
from josepy.jwk import JWK, JWKEC

from certmgr import __version__
from certmgr.acme.connection import (
    TIMEOUT,
    CaConnection,
    CheckedAdapter,
    InternalAddressRefused,
    read_bounded,
)
from certmgr.acme.problems import AcmeError, AcmeProblem, parse, retry_after
from inventory.clock import Clock, system_clock
from inventory.errors import CertmgrError
from inventory.text import printable

_log = logging.getLogger(__name__)

NONCE_TRIES = 200
NONCE_SECONDS = 120.0


class AcmeNetwork(client.ClientNetwork):
    """The connection of one account to a CA. Threads may share it."""

    def __init__(
        self,
        connection: CaConnection,
        key: JWK | None = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Clock = system_clock,
    ) -> None:
        alg = ES256 if isinstance(key, JWKEC) else RS256
        if isinstance(key, JWKEC) and key.key.curve.name == "secp384r1":
            alg = ES384
        super().__init__(key, alg=alg, user_agent=f"certmgr/{__version__} acme-python")
        self.verify_ssl = connection.ca_file or True  # type: ignore[assignment]
        self.session.trust_env = False
        for scheme in list(self.session.adapters):
            del self.session.adapters[scheme]
        self.session.mount(
            "https://", CheckedAdapter(connection.allowed, connection.internal, connection.at_once)
        )
        self._lock = threading.Lock()
        self._nonce_stack: list[Any] = []
        self._wait = wait
        self.clock = clock
        self.requests = 0

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request.

        Raises:
            AcmeError: The CA is unreachable, or its URL is not https://.
            InternalAddress: The URL leads to an internal address.
        """
        headers = kwargs.pop("headers", {})
        headers.setdefault("User-Agent", self.user_agent)
        headers["Accept-Encoding"] = "identity"
        self.requests += 1
        _log.debug("%s %s", method, url)
        what = f"The CA at {_host(url)} did not answer"
        if not url.startswith("https://"):
            raise AcmeError(
                f"The CA's URL {printable(url, 120)} is not used",
                AcmeProblem("unreadable", "it is not an https:// URL"),
            )
        try:
            response = self.session.request(
                method,
                url,
                data=kwargs.get("data"),
                headers=headers,
                verify=self.verify_ssl,
                timeout=TIMEOUT,
                stream=True,
                allow_redirects=False,
            )
            response._content = read_bounded(response)
            response._content_consumed = True  # type: ignore[attr-defined]
            response.encoding = "utf-8"
            if method == "POST":
                # A refusal carries a nonce too, which saves a request for the next one.
                self._keep_nonce(response)
            return response
        except requests.exceptions.SSLError as error:
            raise AcmeError(
                what,
                AcmeProblem(
                    "unreachable",
                    f"its TLS certificate cannot be verified: {_reason_of(_innermost(error))}",
                ),
                "Check the directory's URL, and ca_file of [acme.ca.NAME] for an internal CA.",
            ) from None
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            ssl.SSLError,
            OSError,
        ) as error:
            inner = _innermost(error)
            if isinstance(inner, InternalAddressRefused):
                raise InternalAddress(url, inner.why) from None
            _log.info("%s: %s", what, _reason_of(inner))
            raise AcmeError(what, AcmeProblem("unreachable", _reason_of(inner))) from None

    def _check_response(  # type: ignore[override]  # a class method there; here it needs the clock
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

    def _add_nonce(self, response: requests.Response) -> None:
        """Do nothing: :meth:`_send_request` stored the nonce already."""

    def _get_nonce(self, url: str, new_nonce_url: str) -> Any:
        with self._lock:
            if self._nonce_stack:
                # The newest first: older ones may be unknown to a server that was restarted.
                return self._nonce_stack.pop()
        try:
            return _decode_nonce(self._check_response(self.head(new_nonce_url or url)))
        except DeserializationError:
            raise AcmeError(
                f"The CA at {_host(url)} sent no nonce",
                AcmeProblem("unreadable", "the header Replay-Nonce is missing or invalid"),
            ) from None

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a signed request, and repeat it while the CA refuses the nonce.

        A refused nonce has no effect on the request (RFC 8555 6.5). It is repeated at most 200
        times and for at most two minutes.
        """
        end = time.monotonic() + NONCE_SECONDS
        for attempt in range(NONCE_TRIES):
            try:
                return self._post_once(*args, **dict(kwargs))
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


def _decode_nonce(response: requests.Response) -> Any:
    return jws.Header._fields["nonce"].decode(response.headers.get("Replay-Nonce", ""))


def _innermost(error: BaseException) -> BaseException:
    """Return the exception that caused this one; requests and urllib3 wrap it several times."""
    current: BaseException = error
    for _ in range(6):
        inner = getattr(current, "reason", None) or (
            current.args[0] if current.args and isinstance(current.args[0], BaseException) else None
        )
        if not isinstance(inner, BaseException):
            break
        current = inner
    return current


def _reason_of(error: BaseException) -> str:
    """Return the message of an exception, without the address of the object that it names."""
    return printable(str(error).rpartition(">: ")[2] or type(error).__name__, 300)


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).hostname or url[:60], 100)
    except ValueError:
        return printable(url, 60)


def directory_of(net: AcmeNetwork, url: str) -> messages.Directory:
    """Fetch the directory of a CA (RFC 8555 7.1.1).

    Raises:
        AcmeError: The answer is not a directory.
        InternalAddress: The URL leads to an internal address.
    """
    document = net.get(url).json()
    needed = ("newNonce", "newAccount", "newOrder", "revokeCert")
    if not isinstance(document, dict) or not all(isinstance(document.get(k), str) for k in needed):
        raise AcmeError(
            f"{printable(url, 200)} is not an ACME directory",
            AcmeProblem("unreadable", "newNonce, newAccount, newOrder or revokeCert is missing"),
            "Check the URL.",
        )
    try:
        return messages.Directory.from_json(document)
    except (DeserializationError, TypeError, AttributeError):
        # The metadata is optional: a CA with malformed metadata can still be used.
        document["meta"] = {}
        return messages.Directory.from_json(document)
