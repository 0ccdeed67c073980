"""An HTTPS proxy in front of an ACME server, in this process, that injects faults and records the
requests.

The client's Host header is passed on: a JWS contains the URL that the client used, and pebble and
acme2certifier compare it with Host and derive their URLs from it. URLs of the upstream in a body,
Location or Link are rewritten.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from certmgr.demo.authority import Authority
from tests.campaign import PATIENCE
from tests.servers.faults import PROBLEM, Fault, Rule, Seen
from tests.servers.pebble import new_folder
from tests.servers.real import write_pair

HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "te",
    "trailer",
    "server",
    "date",
}


class Proxy:
    """A running proxy.

    Attributes:
        directory: The directory URL for the client.
        ca_file: PEM file that verifies its TLS certificate.
        rules: The faults, which may be changed at any time.
        requests: The requests so far.
    """

    def __init__(
        self,
        directory: str,
        ca_file: Path,
        upstream: str,
        upstream_ca: Path | None,
        rules: Collection[Rule],
        seed: int,
    ) -> None:
        self.directory, self.ca_file, self.upstream = directory, ca_file, upstream
        self.base = directory[: -len(urlsplit(directory).path)]
        self.rules = list(rules)
        self.requests: list[Seen] = []
        self.stopped = threading.Event()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(
            ca_certs=str(upstream_ca) if upstream_ca else None,
            retries=False,
            timeout=PATIENCE,
            maxsize=8,
        )

    def to(self, path: str, method: str = "") -> list[Seen]:
        """Return the requests so far whose path begins with the pattern."""
        return [s for s in self.requests if re.match(path, s.path) and method in ("", s.method)]

    def note(self, seen: Seen) -> None:
        """Record a request and select its fault."""
        with self._lock:
            self.requests.append(seen)
            applying = [r for r in self.rules if r.applies(seen, self._chance)]
            if applying:
                applying[0].fired += 1
                seen.fault = applying[0].fault

    def pass_on(self, seen: Seen) -> tuple[int, list[tuple[str, str]], bytes]:
        """Pass a request on, and return the upstream's status, headers and body with own URLs."""
        headers = {
            k: v for k, v in seen.headers.items() if k.lower() not in HOP | {"accept-encoding"}
        }
        try:
            got = self._pool.request(
                seen.method,
                self.upstream + seen.path,
                body=seen.body or None,
                headers=headers,
                redirect=False,
                assert_same_host=False,
            )
        except urllib3.exceptions.HTTPError as error:
            body = json.dumps(
                {"type": "about:blank", "detail": f"upstream: {type(error).__name__}"}
            ).encode()
            return 502, [("Content-Type", PROBLEM)], body
        mine = [
            (k, v.replace(self.upstream, self.base))
            for k, v in got.headers.items()
            if k.lower() not in HOP
        ]
        return got.status, mine, got.data.replace(self.upstream.encode(), self.base.encode())

    def nonce(self) -> dict[str, str]:
        """Return a header with a nonce of the upstream.

        A refusal by a CA contains a nonce, like any other answer to a POST (RFC 8555 6.5).
        """
        with suppress(urllib3.exceptions.HTTPError, ValueError, KeyError):
            host = {"Host": urlsplit(self.base).netloc}
            listed = self._pool.request(
                "GET", self.upstream + urlsplit(self.directory).path, headers=host
            ).json()
            path = urlsplit(listed["newNonce"]).path
            return {
                "Replay-Nonce": (
                    self._pool.request("HEAD", self.upstream + path, headers=host).headers[
                        "Replay-Nonce"
                    ]
                )
            }
        return {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client closed the connection, or it was reset
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def do_any(self) -> None:
        if self.proxy.stopped.is_set():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(self.command, self.path, time.monotonic(), dict(self.headers.items()), body)
        self.proxy.note(seen)
        fault = seen.fault or Fault("pass")
        if fault.delay and self.proxy.stopped.wait(fault.delay):
            return
        if fault.passed:
            self._passed(seen, fault)
        else:
            getattr(self, f"_{fault.kind}")(seen, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = do_any

    def _head(
        self, seen: Seen, status: int, headers: Collection[tuple[str, str]], length: int | None
    ) -> None:
        seen.status = status
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header(
            *(
                ("Transfer-Encoding", "chunked")
                if length is None
                else ("Content-Length", str(length))
            )
        )
        self.end_headers()

    def _passed(self, seen: Seen, fault: Fault) -> None:
        status, headers, body = self.proxy.pass_on(seen)
        if fault.kind == "drop":
            return self._reset(seen, fault)
        if fault.content_type:
            headers = [(k, v) for k, v in headers if k.lower() != "content-type"] + [
                ("Content-Type", fault.content_type)
            ]
        self._head(seen, status, headers, len(body))
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if fault.kind == "truncate" else body)
        if fault.kind == "truncate":
            self.close_connection = True
        return None

    def _answer(self, seen: Seen, fault: Fault) -> None:
        headers = {"Content-Type": fault.content_type, **fault.headers}
        if seen.method == "POST" and 400 <= fault.status < 500:
            headers = {**self.proxy.nonce(), **headers}
        self._head(seen, fault.status, list(headers.items()), len(fault.body))
        if self.command != "HEAD":
            self.wfile.write(fault.body)

    def _reset(self, seen: Seen, fault: Fault) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # not shut down first, which would send FIN

    def _drip(self, seen: Seen, fault: Fault) -> None:
        self.close_connection = True
        if fault.in_headers:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        else:
            self._head(seen, 200, [("Content-Type", fault.content_type)], 10_000_000)
        while not self.proxy.stopped.wait(fault.interval):
            self.wfile.write(b" ")

    def _huge(self, seen: Seen, fault: Fault) -> None:
        self.close_connection = True
        before, after = b'{"filling": "', b'"}'
        rest = fault.size - len(before) - len(after)
        block = b"x" * 65536
        parts = [before, *[block] * (rest // len(block)), block[: rest % len(block)], after]
        headers = [("Content-Type", fault.content_type)]
        if fault.zipped:
            parts = [gzip.compress(b"".join(parts), 9)]
            headers.append(("Content-Encoding", "gzip"))
        self._head(seen, 200, headers, None if fault.chunked else sum(map(len, parts)))
        for part in filter(None, parts):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part) if fault.chunked else part)
        if fault.chunked:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that does not trust the proxy, or that aborted the handshake


@contextmanager
def faulty(
    folder: Path,
    upstream: str,
    upstream_ca: Path | None,
    rules: Collection[Rule] = (),
    *,
    seed: int = 0,
) -> Iterator[Proxy]:
    """Run a proxy.

    Args:
        folder: The directory below which its files are created.
        upstream: The directory URL of the server behind it.
        upstream_ca: PEM file that verifies the upstream's TLS certificate; None for plain HTTP.
        rules: The faults.
        seed: The seed for rules with a probability.
    """
    authority = Authority("Faulty proxy's TLS")
    folder = new_folder(folder, "proxy")
    ca_file = folder / "tls-ca.pem"
    ca_file.write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_pair(folder, authority.issue("localhost", "127.0.0.1"), "tls"))
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    # The handler thread does the handshake, so that a client that stalls in it blocks no other.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    split = urlsplit(upstream)
    base = f"{split.scheme}://{split.netloc}"
    proxy = Proxy(
        f"https://127.0.0.1:{server.server_address[1]}{split.path}",
        ca_file,
        base,
        upstream_ca,
        rules,
        seed,
    )
    handler.proxy = proxy  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
