"""A small HTTP server for the dashboard, on loopback.

It answers GET and HEAD of the page, and nothing else: no folder is served. The page names all
clients and has no password, so that another address needs an explicit decision. Connections, their
time and the size of a request are bounded.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from certmgr.pages.template import policy
from inventory.errors import CertmgrError, UsageError, log_internal_error
from inventory.text import printable

_log = logging.getLogger(__name__)

_NOT_MADE = b"The dashboard could not be made. The log of certmgr has the reason.\n"

MAX_CONNECTIONS = 16
# For a whole request; a client that sends a byte at a time is cut off too.
REQUEST_SECONDS = 10.0
# A page of a large inventory takes seconds, so that it is kept for the next request.
KEPT_SECONDS = 30.0


def require_loopback(address: str, *, allow_remote: bool) -> str:
    """Return the address to listen on.

    Raises:
        UsageError: It is not an IP address, or not of this machine and not explicitly allowed.
    """
    try:
        parsed = ipaddress.ip_address("127.0.0.1" if address == "localhost" else address)
    except ValueError:
        raise UsageError(
            f"'{printable(address, 60)}' is not an IP address",
            "the server listens on one address",
            "Give one, such as 127.0.0.1.",
        ) from None
    if not parsed.is_loopback and not allow_remote:
        raise UsageError(
            f"The dashboard is not served on {parsed}",
            "it names all clients and has no password, and others could open it",
            "Listen on 127.0.0.1 and use an SSH tunnel or a proxy with a password. If the network"
            " is protected, add --allow-remote.",
        )
    return str(parsed)


class KeptPage:
    """The page, made again if the last one is older than :data:`KEPT_SECONDS`.

    Only one thread makes it at a time; the others wait for the result.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._page, self._made = b"", 0.0

    def get(self) -> bytes:
        """Return the page as UTF-8."""
        with self._lock:
            # The monotonic clock: a system clock that is set back must not keep an old page.
            if not self._page or time.monotonic() - self._made > KEPT_SECONDS:
                self._page = self._make().encode()
                self._made = time.monotonic()
            return self._page


class DashboardServer(ThreadingHTTPServer):
    """The server.

    Args:
        address: An IP address of this machine.
        port: The port; 0 for a free one.
        make: Returns the page. It is called in the thread of a request.

    Raises:
        CertmgrError: The port is not free, or the address is not of this machine.
    """

    daemon_threads = True
    # A connection that is cut off at the end must not delay it.
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: str, port: int, make: Callable[[], str]) -> None:
        self.page = KeptPage(make)
        self.slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        # The server would listen on IPv4 only, if the family were not set before the socket is
        # made.
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.loopback = ipaddress.ip_address(address).is_loopback
        try:
            super().__init__((address, port), _Handler)
        except OSError as error:
            raise CertmgrError(
                f"The dashboard cannot listen on {address}, port {port}",
                error.strerror or str(error),
                "Give another --port or --address.",
            ) from None

    @property
    def url(self) -> str:
        """The URL of the page."""
        address = str(self.server_address[0])
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind without the reverse lookup of HTTPServer, which may wait for a DNS server."""
        # Without it, a restart would fail while old connections are in the state TIME_WAIT.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; with too many connections, close the new one."""
        if not self.slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room for the next connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of a connection. The server goes on."""
        _log.debug("connection of %s failed", client_address, exc_info=True)

    def is_own_host(self, header: str) -> bool:
        """Return whether the Host header is one of a loopback server.

        A web page of another site can let its name point to 127.0.0.1 and then read the dashboard
        in the browser of the administrator (DNS rebinding). Its requests have its name as Host.
        """
        if not self.loopback:
            return True
        host = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
        try:
            return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False


class _Handler(BaseHTTPRequestHandler):
    server: DashboardServer
    # Neither the program nor its version is anyone's business.
    server_version, sys_version = "certmgr", ""
    protocol_version = "HTTP/1.0"  # one request per connection
    timeout = REQUEST_SECONDS

    def setup(self) -> None:
        super().setup()
        # The time-out of a socket starts again with each byte; this one does not.
        self._watchdog = threading.Timer(REQUEST_SECONDS, self._cut_off)
        self._watchdog.daemon = True
        self._watchdog.start()

    def finish(self) -> None:
        self._watchdog.cancel()
        super().finish()

    def _cut_off(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            _log.debug("the connection was closed already")

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of the page."""
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        # The request is read; making the page may take longer.
        self._watchdog.cancel()
        if not self.server.is_own_host(self.headers.get("Host", "")):
            self._send(421, b"This server answers only for localhost.\n", "text/plain", body)
        elif self.path.split("?", 1)[0] != "/":
            self._send(404, b"There is only one page here: /\n", "text/plain", body)
        else:
            try:
                page = self.server.page.get()
            # The next request tries again; one that fails must not end the server.
            except CertmgrError as error:
                _log.warning("the dashboard could not be made: %s", printable(str(error), 300))
                self._send(500, _NOT_MADE, "text/plain", body)
            except Exception:
                log_internal_error(_log, "the dashboard")
                self._send(500, _NOT_MADE, "text/plain", body)
            else:
                self._send(200, page, "text/html", body)

    def _send(self, code: int, data: bytes, kind: str, body: bool) -> None:
        self.send_response(code)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        # The page names all clients, so it must not stay in the cache of a browser.
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", f"{policy()}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests for debugging only, with printable text."""
        _log.debug("%s", printable(format % args, 300))
