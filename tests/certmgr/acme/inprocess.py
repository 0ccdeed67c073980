"""A CA in this process with a separate clock, for simulated years: the smallest part of RFC 8555
and RFC 9773 that orders need.

pebble ignores a changed clock. Signatures, nonces and challenges are not verified here, because the
tests with pebble cover them. Certificates, their dates, ARI windows and rate limits are real.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.acme.renewal import ari_id
from certmgr.demo.authority import Authority
from tests.certmgr.cases.place import PublicKey
from tests.servers.real import write_pair


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Ca:
    """The CA.

    Attributes:
        now: Its clock.
        life: The lifetime of its certificates.
        ari: Whether it supports ARI.
        orders: The payloads of newOrder, each with its time.
        issued: ARI id -> the dates of the certificate.
        directory: The URL of its directory.
        ca_file: PEM file that verifies its TLS certificate.
        refused: The number of orders that the rate limit refused.
        limit: The maximum number of certificates per registered domain in seven days; 0 for none.
    """

    now: Callable[[], datetime]
    life: timedelta
    ari: bool = True
    orders: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    issued: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    directory: str = ""
    ca_file: Path = Path()
    refused: int = 0
    limit: int = 0

    def __post_init__(self) -> None:
        self.root = Authority(
            "Clock Root",
            not_before=self.now() - timedelta(days=1),
            not_after=self.now() + timedelta(days=4000),
        )
        self.issuer = Authority(
            "Clock Issuer",
            self.root,
            not_before=self.now() - timedelta(days=1),
            not_after=self.now() + timedelta(days=4000),
        )
        self._lock = threading.Lock()
        self._made: dict[int, dict[str, Any]] = {}

    def answer(self, path: str, payload: Any, base: str) -> tuple[int, dict[str, str], Any]:
        match path.strip("/").split("/"):
            case ["dir"]:
                found = {
                    k: f"{base}/{k}"
                    for k in ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
                }
                return (
                    200,
                    {},
                    found | ({"renewalInfo": f"{base}/ari"} if self.ari else {}) | {"meta": {}},
                )
            case ["newNonce"]:
                return 200, {}, None
            case ["newAccount"]:
                return 201, {"Location": f"{base}/account/1"}, {"status": "valid"}
            case ["newOrder"]:
                return self._new(payload, base)
            case ["order", number]:
                return 200, {}, self._made[int(number)]["order"]
            case ["finalize", number]:
                return self._finalize(int(number), payload, base)
            case ["certificate", number]:
                return (
                    200,
                    {"Content-Type": "application/pem-certificate-chain"},
                    self._made[int(number)]["pem"],
                )
            case ["ari", identifier]:
                start, _ = self.issued[identifier]
                window = {
                    "start": (start + self.life * 0.66).isoformat(),
                    "end": (start + self.life * 0.7).isoformat(),
                }
                return 200, {"Retry-After": "21600"}, {"suggestedWindow": window}
        return 404, {}, {"type": "urn:ietf:params:acme:error:malformed", "detail": path}

    def _new(self, payload: Any, base: str) -> tuple[int, dict[str, str], Any]:
        with self._lock:
            names = [i["value"] for i in payload["identifiers"]]
            week = [
                p
                for at, p in self.orders
                if at > self.now() - timedelta(days=7)
                and "replaces" not in p
                and p["identifiers"][0]["value"].split(".")[-2:] == names[0].split(".")[-2:]
            ]
            if self.limit and "replaces" not in payload and len(week) >= self.limit:
                self.refused += 1
                return (
                    429,
                    {"Retry-After": "3600"},
                    {
                        "type": "urn:ietf:params:acme:error:rateLimited",
                        "detail": "too many certificates already issued for this domain",
                    },
                )
            self.orders.append((self.now(), payload))
            number = len(self.orders)
            self._made[number] = {
                "names": names,
                "order": {
                    "status": "ready",
                    "identifiers": payload["identifiers"],
                    "authorizations": [],
                    "finalize": f"{base}/finalize/{number}",
                },
            }
        return 201, {"Location": f"{base}/order/{number}"}, self._made[number]["order"]

    def _finalize(self, number: int, payload: Any, base: str) -> tuple[int, dict[str, str], Any]:
        made = self._made[number]
        request = x509.load_der_x509_csr(_decode(payload["csr"]))
        begin = self.now().replace(microsecond=0)
        leaf = self.issuer.issue(
            *made["names"],
            key=PublicKey(request.public_key()),
            not_before=begin,
            not_after=begin + self.life,
        )
        identifier = ari_id(leaf.certificate)
        assert identifier is not None
        self.issued[identifier] = (begin, begin + self.life)
        made["pem"] = b"".join(c.public_bytes(Encoding.PEM) for c in leaf.chain)
        made["order"] |= {"status": "valid", "certificate": f"{base}/certificate/{number}"}
        return 200, {}, made["order"]


@contextmanager
def running(ca: Ca, folder: Path) -> Iterator[Ca]:
    """Serve the CA over TLS on a loopback port."""
    import ssl

    folder.mkdir(parents=True, exist_ok=True)
    tls = Authority("Clock TLS")
    ca.ca_file = folder / "tls-ca.pem"
    ca.ca_file.write_bytes(tls.pem)
    pair = write_pair(folder, tls.issue("localhost", "127.0.0.1", days=3000), "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a head and its body are two writes

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            payload = json.loads(_decode(body["payload"])) if body.get("payload") else None
            status, headers, document = ca.answer(
                self.path, payload, f"https://127.0.0.1:{server.server_port}"
            )
            data = (
                b""
                if document is None
                else document
                if isinstance(document, bytes)
                else json.dumps(document).encode()
            )
            self.send_response(status)
            for name, value in (
                {"Content-Type": "application/json", "Replay-Nonce": "bm9uY2U"} | headers
            ).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_POST = do_HEAD = _serve

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    ca.directory = f"https://127.0.0.1:{server.server_address[1]}/dir"
    try:
        yield ca
    finally:
        server.shutdown()
        server.server_close()
