"""The connection to a CA: the ``acme`` library, with what it leaves to us.

An edge.

Beside the library: badNonce is retried within bounds (it retries once), nonces are taken under a
lock, HTTP status and Retry-After of a problem are kept, the answer is bounded in size and time, and
no URL of a CA leads inside unless the configuration says that it may.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from acme import challenges, client, jws, messages
from josepy.errors import DeserializationError
from josepy.json_util import field
from josepy.jwa import ES256, ES384, RS256
from josepy.jwk import JWK, JWKEC
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from certmgr import __version__
from certmgr.acme.problems import AcmeError, AcmeProblem, parse, retry_after
from certmgr.net.addresses import Network, refusal
from inventory.clock import Clock, system_clock
from inventory.errors import CertmgrError
from inventory.text import printable

MAX_ANSWER = 1_000_000  # a chain of 100 names is 20 KB
TOTAL_SECONDS = 60.0
TIMEOUT = (10.0, 30.0)
NONCE_TRIES = 200
NONCE_SECONDS = 120.0

# RFC 8555 7.1.4 knows it, the library does not.
STATUS_EXPIRED = messages.Status("expired")


class NewOrder(messages.NewOrder):  # type: ignore[misc, unused-ignore]
    """With the certificate that it replaces (RFC 9773 5)."""

    replaces: str | None = field("replaces", omitempty=True)


@challenges.Challenge.register
class TLSALPN01(challenges.KeyAuthorizationChallenge):
    """RFC 8737; the library gave it up in 5.0."""

    response_cls = challenges.HTTP01Response
    typ = "tls-alpn-01"

    def validation(self, account_key: JWK, **_: Any) -> str:
        """The key authorization; its SHA-256 stands in the certificate that answers."""
        return self.key_authorization(account_key)


class ChallengeResponse(challenges.ChallengeResponse):
    """``{}``: ready.

    The library takes an empty one for nothing at all, and would send a POST-as-GET.
    """

    typ = ""

    def __bool__(self) -> bool:
        return True

    def to_partial_json(self) -> dict[str, Any]:
        return {}


class _Connection(HTTPSConnection):
    """Resolves once, asks the address that was checked, and does not wait for ever for a line of
    headers.
    """

    allowed: Sequence[Network] = ()
    internal = False

    def _new_conn(self) -> socket.socket:
        host, port = self._dns_host, self.port or 443
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(
                self, f"the name {printable(host, 100)} could not be looked up"
            ) from error
        why = ""
        last: OSError | None = None
        for family, kind, proto, _, address in found[:8]:
            where = str(address[0]).partition("%")[0]
            why = "" if self.internal else refusal(where, self.allowed) or ""
            if why:
                continue
            connection = socket.socket(family, kind, proto)
            try:
                connection.settimeout(TIMEOUT[0])
                connection.connect(address)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            except OSError as error:
                last = error
                connection.close()
        if last is None and why:
            raise urllib3.exceptions.NewConnectionError(
                self, f"INTERNAL {printable(host, 100)} leads to an address inside: {why}"
            )
        raise urllib3.exceptions.NewConnectionError(
            self, f"nothing answers: {last.strerror if last else 'no address'}"
        )

    def getresponse(self) -> Any:
        sock = self.sock
        watch = threading.Timer(TOTAL_SECONDS, _shut, (sock,))
        watch.daemon = True
        watch.start()
        try:
            return super().getresponse()
        finally:
            watch.cancel()


def _shut(sock: Any) -> None:
    with contextlib.suppress(OSError, AttributeError):
        sock.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    def __init__(self, allowed: Sequence[Network], internal: bool, at_once: int) -> None:
        self._wanted = {"allowed": tuple(allowed), "internal": internal}
        super().__init__(pool_connections=4, pool_maxsize=at_once, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **given: Any) -> None:
        super().init_poolmanager(*arguments, **given)
        connection = type("Connection", (_Connection,), self._wanted)
        pool = type("Pool", (HTTPSConnectionPool,), {"ConnectionCls": connection})
        self.poolmanager.pool_classes_by_scheme = {"https": pool}


@dataclass(frozen=True, slots=True)
class CaConnection:
    """How a CA is reached.

    ``ca_file``: PEM that its TLS certificate is verified with, empty: the usual roots.
    ``internal``: it may be inside.
    """

    ca_file: str = ""
    internal: bool = False
    allowed: tuple[Network, ...] = ()
    at_once: int = 16


class AcmeNetwork(client.ClientNetwork):
    """One account's line to a CA; threads may share it. ``wait``: sleeps, given seconds."""

    def __init__(
        self,
        line: CaConnection,
        key: JWK | None = None,
        wait: Callable[[float], None] = time.sleep,
        clock: Clock = system_clock,
    ) -> None:
        alg = ES256 if isinstance(key, JWKEC) else RS256
        if isinstance(key, JWKEC) and key.key.curve.name == "secp384r1":
            alg = ES384
        super().__init__(key, alg=alg, user_agent=f"certmgr/{__version__} acme-python")
        self.verify_ssl = line.ca_file or True  # type: ignore[assignment]
        self.session.trust_env = False
        for scheme in list(self.session.adapters):
            del self.session.adapters[scheme]
        self.session.mount("https://", _Adapter(line.allowed, line.internal, line.at_once))
        self._lock = threading.Lock()
        self._stack: list[Any] = []
        self._wait = wait
        self.clock = clock
        self.requests = 0

    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        """Raises :class:`AcmeError` (unreachable, unreadable) in place of what requests raises."""
        headers = kwargs.pop("headers", {})
        headers.setdefault("User-Agent", self.user_agent)
        headers["Accept-Encoding"] = "identity"
        self.requests += 1
        what = f"The CA at {_host(url)} did not answer"
        if not url.startswith("https://"):
            raise AcmeError(
                f"The CA names the URL {printable(url, 120)}",
                AcmeProblem("unreadable", "it is not https://"),
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
            response._content = _bounded(response)
            response._content_consumed = True  # type: ignore[attr-defined]
            response.encoding = "utf-8"
            if method == "POST":
                self._keep_nonce(
                    response
                )  # also of a refusal: what follows needs no question of its own
            return response
        except requests.exceptions.SSLError as error:
            raise AcmeError(
                what,
                AcmeProblem("unreachable", f"its TLS certificate does not verify: {_why(error)}"),
                "Check the directory's URL, and ca_file of [acme.ca.NAME] for a CA of your own.",
            ) from None
        except (
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            ssl.SSLError,
            OSError,
        ) as error:
            why = _why(error)
            if "INTERNAL " in why:
                raise InternalAddress(url, why.partition("INTERNAL ")[2]) from None
            raise AcmeError(what, AcmeProblem("unreachable", why)) from None

    def _check_response(  # type: ignore[override]  # a class method there; here it needs the clock
        self, response: requests.Response, content_type: str | None = None
    ) -> requests.Response:
        """Raises :class:`AcmeError` with the whole problem document, its HTTP status and its
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
                f"The CA at {_host(response.url)} answered something else than JSON",
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
        return AcmeError(f"The CA at {_host(response.url)} said no", problem, location=location)

    def _keep_nonce(self, response: requests.Response) -> None:
        with contextlib.suppress(DeserializationError):
            decoded = _decode_nonce(response)
            with self._lock:
                del self._stack[: max(0, len(self._stack) - 99)]
                self._stack.append(decoded)

    def _add_nonce(self, response: requests.Response) -> None:
        """It was kept when the answer came."""

    def _get_nonce(self, url: str, new_nonce_url: str) -> Any:
        with self._lock:
            if self._stack:
                return (
                    self._stack.pop()
                )  # the newest: older ones may be of a server that was restarted
        try:
            return _decode_nonce(self._check_response(self.head(new_nonce_url or url)))
        except DeserializationError:
            raise AcmeError(
                f"The CA at {_host(url)} gives no nonce",
                AcmeProblem("unreadable", "the header Replay-Nonce is missing or broken"),
            ) from None

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        """A refused nonce costs nothing and says nothing about the request: it is sent again, at
        most 200 times and two minutes.
        """
        end = time.monotonic() + NONCE_SECONDS
        for attempt in range(NONCE_TRIES):
            try:
                return self._post_once(*args, **dict(kwargs))
            except AcmeError as error:
                if error.problem.type != "badNonce" or time.monotonic() > end:
                    raise
                if attempt >= 30:
                    self._wait(0.2)
        raise AcmeError(
            "The CA refuses every nonce",
            AcmeProblem("badNonce", f"{NONCE_TRIES} requests in a row were refused"),
            "Something between here and the CA caches or rewrites answers; it is tried again"
            " later.",
        )


class InternalAddress(CertmgrError):
    """A URL of a CA that leads inside."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"The CA's URL {printable(url, 200)} is not asked",
            printable(why, 200),
            "If the CA is your own: allow the network in [network] allow, or set internal = true in"
            " its [acme.ca.NAME].",
        )
        self.url, self.reason = url, why

    def __reduce__(self) -> Any:
        return InternalAddress, (self.url, self.reason)


def _bounded(response: requests.Response) -> bytes:
    """The body, at most :data:`MAX_ANSWER` bytes and :data:`TOTAL_SECONDS` long."""
    end, parts, size = time.monotonic() + TOTAL_SECONDS, [], 0
    raw = response.raw
    try:
        while part := raw.read1(65_536):
            size += len(part)
            parts.append(part)
            if size > MAX_ANSWER:
                raise requests.exceptions.ContentDecodingError(
                    f"its answer is larger than {MAX_ANSWER:,} bytes"
                )
            if time.monotonic() > end:
                raise requests.exceptions.ReadTimeout(
                    f"its answer took longer than {TOTAL_SECONDS:.0f} seconds"
                )
    except BaseException:
        raw.close()
        raise
    expected = response.headers.get("Content-Length", "")
    if expected.isdigit() and response.request.method != "HEAD" and size < int(expected):
        raise requests.exceptions.ChunkedEncodingError(
            f"its answer was cut off after {size} of {expected} bytes"
        )
    raw.release_conn()
    return b"".join(parts)


def _decode_nonce(response: requests.Response) -> Any:
    return jws.Header._fields["nonce"].decode(response.headers.get("Replay-Nonce", ""))


def _why(error: BaseException) -> str:
    """The innermost reason, without the addresses of objects."""
    seen: BaseException = error
    for _ in range(6):
        inner = getattr(seen, "reason", None) or (
            seen.args[0] if seen.args and isinstance(seen.args[0], BaseException) else None
        )
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = str(seen)
    return printable(text.rpartition(">: ")[2] or type(seen).__name__, 300)


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).hostname or url[:60], 100)
    except ValueError:
        return printable(url, 60)


def directory_of(net: AcmeNetwork, url: str) -> messages.Directory:
    """Raises :class:`AcmeError` for a bad answer, :class:`InternalAddress` for an internal URL."""
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
        document["meta"] = {}
        return messages.Directory.from_json(document)
