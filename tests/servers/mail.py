"""A mail server for notices: aiosmtpd with STARTTLS, AUTH and configurable faults; a webhook over
HTTPS; a mailbox at Dovecot.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import imaplib
import json
import os
import shutil
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from certmgr.demo.authority import Authority, IssuedCertificate
from tests.campaign import PATIENCE
from tests.servers.ports import free_port
from tests.servers.real import dovecot, long_lived, write_pair

USER, PASSWORD = "certmgr", "s3cret-of-the-mail-server"


@dataclass(slots=True)
class Received:
    """A received message.

    Attributes:
        to: The recipient.
        raw: The message.
    """

    to: str
    raw: bytes

    @property
    def mail(self) -> EmailMessage:
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        return str(self.mail["Subject"])

    @property
    def text(self) -> str:
        part = self.mail.get_body(("plain",))
        assert part is not None
        return str(part.get_content())

    @property
    def html(self) -> str:
        part = self.mail.get_body(("html",))
        assert part is not None
        return str(part.get_content())


@dataclass(slots=True)
class MailServer:
    """A running mail server.

    Attributes:
        port: Its port.
        url: Its URL for apprise.
        received: The messages so far.
        answers: The answer to (stage, recipient); the stage is rcpt or data. None stands for the
            usual answer, "hang" for no answer, and "drop" for a closed connection.
    """

    port: int = 0
    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: Callable[[str, str], str | None] = lambda stage, to: None

    def to(self, address: str) -> list[Received]:
        """Return the messages to an address."""
        return [r for r in self.received if r.to == address]

    # aiosmtpd's hooks
    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        answer = self.answers("rcpt", address)
        if answer is not None and answer not in ("hang", "drop"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        to = envelope.rcpt_tos[0]
        answer = self.answers("data", to)
        if answer is None or answer in ("hang", "drop"):
            self.received.append(Received(to, bytes(envelope.content)))
        if answer == "hang":
            await asyncio.Event().wait()  # until the client hangs up
        if answer == "drop":
            server.transport.abort()
            return "250 OK"
        return answer or "250 OK"


def _contexts(
    root: Authority, folder: Path, issued: IssuedCertificate | None = None
) -> ssl.SSLContext:
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = write_pair(
        folder, issued or long_lived(root, "localhost", "127.0.0.1"), "mail"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextmanager
def mail_server(
    root: Authority, folder: Path, issued: IssuedCertificate | None = None
) -> Iterator[MailServer]:
    """Run a mail server. Its clients must trust ``root`` (SSL_CERT_FILE)."""
    server = MailServer()

    def login(
        _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        known = data.login == USER.encode() and data.password == PASSWORD.encode()
        return AuthResult(success=known, handled=False)  # not handled: the server sends the reply

    controller = Controller(
        server,
        hostname="127.0.0.1",
        port=free_port(),
        tls_context=_contexts(root, folder, issued),
        require_starttls=True,
        auth_required=True,
        authenticator=login,
        ready_timeout=PATIENCE,
    )
    controller.start()
    server.port = controller.port
    server.url = (
        f"mailtos://{USER}:{PASSWORD}@localhost:{server.port}?smtp=localhost&mode=starttls"
        "&from=notices@provider.example&name=Provider"
    )
    try:
        yield server
    finally:
        controller.stop()


@dataclass(slots=True)
class Hook:
    """A running webhook.

    Attributes:
        url: Its URL for apprise.
        bodies: The bodies of the requests so far.
        answer: The status of the answer, or "hang" to read the request and not answer.
        location: The Location of the answer; empty for none.
        logins: How often the path /login was requested, which always answers 200.
    """

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    answer: int | str = 200
    location: str = ""
    logins: int = 0


@contextmanager
def hook(root: Authority, folder: Path) -> Iterator[Hook]:
    """Run a webhook for the requests of apprise's jsons://."""
    state, stop = Hook(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.logins += 1
            self.send_response(200)
            self.end_headers()

        def do_POST(self) -> None:
            if self.path == "/login":
                self.do_GET()
                return
            state.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if state.answer == "hang":
                stop.wait()
                return
            self.send_response(int(state.answer))
            if state.location:
                self.send_header("Location", state.location)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = _contexts(root, folder).wrap_socket(server.socket, server_side=True)
    state.url = f"jsons://localhost:{server.server_address[1]}/hook?verify=yes"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        stop.set()
        server.shutdown()
        server.server_close()


@dataclass(slots=True)
class Mailbox:
    """A mailbox at Dovecot, which accepts any password."""

    port: int
    context: ssl.SSLContext

    @property
    def url(self) -> str:
        """The URL for [notify] inbox."""
        return f"imap+starttls://answers%40provider.example:secret@localhost:{self.port}/INBOX"

    @contextmanager
    def session(self) -> Iterator[imaplib.IMAP4]:
        """Log in to the mailbox."""
        imap = imaplib.IMAP4("localhost", self.port, timeout=PATIENCE)
        imap.starttls(self.context)
        imap.login("answers@provider.example", "secret")
        try:
            yield imap
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                imap.logout()

    def put(self, *mails: bytes) -> None:
        """Append messages to the inbox."""
        with self.session() as imap:
            for raw in mails:
                status, data = imap.append("INBOX", "", "", raw)
                assert status == "OK", data

    def unseen(self) -> int:
        """Return the number of unread messages."""
        with self.session() as imap:
            imap.select("INBOX", readonly=True)
            return len(imap.search(None, "UNSEEN")[1][0].split())


@contextmanager
def mailbox(root: Authority, folder: Path) -> Iterator[Mailbox]:
    """Run Dovecot in a folder that its mail user may enter."""
    home = Path(tempfile.mkdtemp(prefix="certmgr-imap-"))
    try:
        home.chmod(0o755)
        (home / "mail").mkdir()
        if os.getuid() == 0:
            os.chown(home / "mail", 65534, 65534)
        pair = write_pair(folder, long_lived(root, "localhost"), "imap")
        with dovecot(home, *pair) as (port, _):
            yield Mailbox(port, ssl.create_default_context(cadata=root.pem.decode()))
    finally:
        shutil.rmtree(home, ignore_errors=True)
