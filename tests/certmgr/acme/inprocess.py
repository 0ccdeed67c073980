"""A CA in this process with a separate clock, for simulated years: the smallest part of RFC 8555
and RFC 9773 that orders need.

pebble ignores a changed clock. Signatures, nonces and challenges are not verified here, because the
tests with pebble cover them. Certificates, their dates, ARI windows and rate limits are real.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.query
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certmgr.acme.renewal.renewal import ari_id
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
        resolver: HOST:PORT that is asked for the records of dns-persist-01; empty to validate
            nothing.
        jwk: The public key of the account.
        validated: The names that were validated, with the result.
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
    resolver: str = ""
    jwk: dict[str, str] = field(default_factory=dict)
    validated: list[tuple[str, bool]] = field(default_factory=list)

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
                    found
                    | ({"renewalInfo": f"{base}/ari"} if self.ari else {})
                    | {"meta": self._meta(base)},
                )
            case ["newNonce"]:
                return 200, {}, None
            case ["newAccount"]:
                return 201, {"Location": f"{base}/account/1"}, {"status": "valid"}
            case ["newOrder"]:
                return self._new(payload, base)
            case ["order", number]:
                return 200, {}, self._made[int(number)]["order"]
            case ["authz", number, index]:
                return 200, {}, self._made[int(number)]["authz"][int(index)]
            case ["challenge", number, index]:
                return self._validate(int(number), int(index), base)
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
            count = len(names) if self.resolver else 0
            self._made[number] = {
                "names": names,
                "authz": [self._authz(n, f"{number}/{i}", base) for i, n in enumerate(names)],
                "order": {
                    "status": "pending" if count else "ready",
                    "identifiers": payload["identifiers"],
                    "authorizations": [f"{base}/authz/{number}/{i}" for i in range(count)],
                    "finalize": f"{base}/finalize/{number}",
                },
            }
        return 201, {"Location": f"{base}/order/{number}"}, self._made[number]["order"]

    def _meta(self, base: str) -> dict[str, Any]:
        if not self.resolver:
            return {}
        return {"issuerDomainNames": ["ca.example"], "accountHashPrefix": f"{base}/hash/"}

    @staticmethod
    def _authz(name: str, place: str, base: str) -> dict[str, Any]:
        challenge = {
            "type": "dns-persist-01",
            "url": f"{base}/challenge/{place}",
            "status": "pending",
            "issuerDomainNames": ["ca.example", "second.example"],
        }
        return {
            "status": "pending",
            "identifier": {"type": "dns", "value": name.removeprefix("*.")},
            "wildcard": name.startswith("*."),
            "challenges": [challenge],
        }

    def _validate(self, number: int, index: int, base: str) -> tuple[int, dict[str, str], Any]:
        """Ask for the record, and compare it with what the draft requires, computed here anew."""
        authz = self._made[number]["authz"][index]
        name = authz["identifier"]["value"]
        members = json.dumps(dict(sorted(self.jwk.items())), separators=(",", ":"))
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest())
        data = bytes([len(name)]) + name.encode() + thumbprint.rstrip(b"=")
        digest = hashlib.sha256(data + f"{base}/account/1".encode()).digest()
        hashed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        wanted = {f"accounturi={base}/hash/sha-256/{hashed}"}
        if authz["wildcard"]:
            wanted.add("policy=wildcard")
        host, _, port = self.resolver.rpartition(":")
        question = dns.message.make_query(f"_validation-persist.{name}", "TXT")
        answer = dns.query.udp(question, host, 10, int(port)).answer
        values = [b"".join(r.strings).decode() for rrset in answer for r in rrset]
        valid = any(
            v.split(";")[0].strip() in ("ca.example", "second.example")
            and wanted <= {p.strip() for p in v.split(";")[1:]}
            for v in values
        )
        self.validated.append((name, valid))
        authz["status"] = authz["challenges"][0]["status"] = "valid" if valid else "invalid"
        order = self._made[number]["order"]
        if not valid:
            order["status"] = "invalid"
        elif all(a["status"] == "valid" for a in self._made[number]["authz"]):
            order["status"] = "ready"
        return 200, {}, authz["challenges"][0]

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
            protected = json.loads(_decode(body["protected"])) if body else {}
            if "jwk" in protected:
                ca.jwk = protected["jwk"]
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
