"""A timestamp authority (RFC 3161) on loopback: ``openssl ts`` behind HTTP."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.campaign import PATIENCE

_CONFIG = """
[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical, CA:TRUE
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


@dataclass
class TimestampAuthority:
    """The authority. A test may replace ``respond`` to let it misbehave.

    Attributes:
        ca_file: The certificate of its CA.
        requests: The queries so far.
    """

    folder: Path
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    respond: Callable[[bytes], tuple[int, bytes]] = lambda _: (500, b"")

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=PATIENCE)

    def sign(self, query: bytes) -> bytes:
        """Answer a query as the authority does."""
        asked, answer = self.folder / "query.tsq", self.folder / "answer.tsr"
        asked.write_bytes(query)
        config = self.folder / "tsa.cnf"
        self.openssl("ts", "-reply", "-queryfile", asked, "-config", config, "-out", answer)
        return answer.read_bytes()

    def create(self) -> None:
        folder, config = self.folder, self.folder / "tsa.cnf"
        config.write_text(_CONFIG.format(folder=folder))
        (folder / "serial").write_text("01\n")
        for name, extensions, issuer in (
            ("ca", "root", ()),
            ("tsa", "leaf", ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key")),
        ):
            self.openssl(
                *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
                *("-nodes", "-days", "3650", "-subj", f"/CN=Test {name}", "-config", config),
                *("-extensions", extensions, *issuer),
                *("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"),
            )


@contextmanager
def timestamp_authority(folder: Path) -> Iterator[TimestampAuthority]:
    """Run an authority."""
    folder.mkdir(exist_ok=True)
    authority = TimestampAuthority(folder)
    authority.create()
    authority.respond = lambda query: (200, authority.sign(query))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            authority.requests.append(query)
            status, answer = authority.respond(query)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority.url = f"http://127.0.0.1:{server.server_port}/tsr"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
