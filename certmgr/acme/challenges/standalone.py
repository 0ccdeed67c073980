"""http-01 by a separate server: on port 80, or on an internal port to which nginx or Apache pass
the challenge's path.

This module performs I/O.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from certmgr.acme.challenges.interface import WELL_KNOWN, ChallengeProof
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

# Seconds between two checks whether the server should end. An order waits for its end.
POLL = 0.02


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: str, port: int) -> None:
        self.answers: dict[str, bytes] = {}
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler, bind_and_activate=False)
        # One socket accepts IPv4 as well.
        if address == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that closes its connection early."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    protocol_version = "HTTP/1.0"
    server_version, sys_version = "certmgr", ""
    server: _Server

    def do_GET(self) -> None:
        token = self.path.removeprefix(WELL_KNOWN) if self.path.startswith(WELL_KNOWN) else ""
        body = self.server.answers.get(token)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the port is public, and any client can send requests."""


class Standalone:
    """The http-01 solver that listens while there are answers. Parallel orders share the server."""

    challenge = "http-01"
    persistent = False

    def __init__(self, address: str, port: int) -> None:
        self.address, self.port = address or "::", port or 80
        self._lock = threading.Lock()
        self._server: _Server | None = None

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Add the answers, and start the server with the first one."""
        _log.info("answering http-01 for %s", ", ".join(p.name for p in proofs))
        with self._lock:
            if self._server is None:
                self._server = self._listen()
            self._server.answers |= {p.token: p.key_authorization.encode() for p in proofs}

    def _listen(self) -> _Server:
        # The CA connects from any address. A machine without IPv6 cannot listen on "::".
        addresses = ["::", "0.0.0.0"] if self.address == "::" else [self.address]  # noqa: S104
        failed: OSError | None = None
        for address in addresses:
            try:
                server = _Server(address, self.port)
            except OSError as error:
                failed = error
                continue
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": POLL}, daemon=True
            ).start()
            return server
        assert failed is not None
        raise CertmgrError(
            f"The solver cannot listen on port {self.port} for the challenge",
            failed.strerror or str(failed),
            "If a web server uses the port, use a solver of the kind webroot or alias. Or give the"
            " solver an internal port to which the web server passes the path (certmgr solver"
            " snippet).",
        )

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        """Remove the answers, and stop the server after the last one."""
        with self._lock:
            if self._server is None:
                return
            for proof in proofs:
                self._server.answers.pop(proof.token, None)
            if not self._server.answers:
                server, self._server = self._server, None
                server.shutdown()
                server.server_close()
