"""Servers that flood or drip TLS records without content: each operation ends all the same."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from OpenSSL import SSL

from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from notifiers import tls_sockets
from notifiers.channels import bounded_answers
from notifiers.channels.bounded_answers import bounding
from notifiers.mail_sessions import connect_imap, connect_smtp
from notifiers.tls_sockets import BoundedTls, BoundedTlsSocket, system_trust
from tests.campaign import PATIENCE
from tests.certmgr.tls_records import (
    APPLICATION_DATA,
    HANDSHAKE,
    KEY_UPDATE,
    TICKET,
    RecordWriter,
    after_handshake,
)
from tests.certmgr.tls_servers import HOST

# A server of these goes on until the client hangs up: that a call returns shows its limit.


def _tickets(writer: RecordWriter) -> None:
    while True:
        writer.send(*[(HANDSHAKE, TICKET)] * 200)


def _empty_records(writer: RecordWriter) -> None:
    while True:
        writer.send(*[(APPLICATION_DATA, b"")] * 200)


def _key_updates(writer: RecordWriter) -> None:
    while True:
        writer.send((HANDSHAKE, KEY_UPDATE))
        writer.update_key()


def _drip(writer: RecordWriter) -> None:
    while True:
        writer.send((HANDSHAKE, TICKET))
        time.sleep(0.001)


FLOODS = {"tickets": _tickets, "empty-records": _empty_records, "key-updates": _key_updates}


@pytest.fixture
def context(root: Authority) -> BoundedTls:
    context = BoundedTls()
    context.load_verify_locations(cadata=root.pem.decode())
    return context


@contextmanager
def _serving(issuer: Authority, talk: Callable[[RecordWriter], None]) -> Iterator[int]:
    with closing(Server(after_handshake(issuer.issue("localhost"), talk))) as server:
        yield server.port


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("client", ["imap", "smtp", "webhook"])
def test_flood_of_records_without_content_ends_at_its_size(
    issuer: Authority, root_file: Path, context: BoundedTls, flood: str, client: str
) -> None:
    with (
        _serving(issuer, FLOODS[flood]) as port,
        # OpenSSL itself ends some floods.
        pytest.raises(
            (OSError, smtplib.SMTPException, requests.RequestException),
            match=r"too many bytes|TOO_MANY_KEY_UPDATES|RECORD_TOO_SMALL|UNEXPECTED_RECORD",
        ),
    ):
        if client == "imap":
            connect_imap("localhost", port, PATIENCE, context, starttls=False, size=1000)
        elif client == "smtp":
            connect_smtp("localhost", port, PATIENCE, context, starttls=False)
        else:
            with bounding(PATIENCE):
                url = f"https://localhost:{port}/"
                requests.post(url, json={}, timeout=PATIENCE, verify=str(root_file))


def test_dripped_records_do_not_move_the_deadline_of_a_read(
    issuer: Authority, context: BoundedTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _serving(issuer, _drip) as port, socket.create_connection(("localhost", port)) as plain:
        plain.settimeout(PATIENCE)
        with BoundedTlsSocket(plain, context, "localhost") as secure:
            steps = iter(range(1_000_000))
            # Each wait counts as a second, so that the test waits for none.
            monkeypatch.setattr(tls_sockets, "monotonic", lambda: float(next(steps)))
            with pytest.raises(TimeoutError, match="did not answer in time"):
                secure.recv(1)


def test_call_of_a_webhook_ends_as_a_whole_while_its_answer_drips(
    issuer: Authority, root_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(writer: RecordWriter) -> None:
        writer.send((APPLICATION_DATA, b"HTTP/1.1 200 OK\r\nX-Long: "))
        while True:
            writer.send((APPLICATION_DATA, b"x"))

    steps = iter(range(1_000_000))
    for module in (tls_sockets, bounded_answers):
        monkeypatch.setattr(module, "monotonic", lambda: float(next(steps)))
    with (
        _serving(issuer, drip) as port,
        bounding(30.0),
        pytest.raises(requests.RequestException, match="timed out"),
    ):
        url = f"https://localhost:{port}/"
        requests.post(url, json={}, timeout=PATIENCE, verify=str(root_file))


def test_content_passes_in_both_directions_and_ends_with_the_connection(
    issuer: Authority, context: BoundedTls
) -> None:
    def echo(sock: socket.socket) -> None:
        secure = server_context(issuer.issue(HOST))
        connection = SSL.Connection(secure, sock)
        connection.set_accept_state()
        connection.do_handshake()
        received = b""
        while len(received) < 300_000:
            received += connection.recv(65_536)
        connection.sendall(received)

    sent = bytes(range(256)) * 1172
    with (
        closing(Server(echo)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        BoundedTlsSocket(plain, context, HOST) as secure,
        secure.makefile("rb") as received,
    ):
        secure.sendall(sent)
        assert secure.version() == "TLSv1.3"
        assert secure.getpeercert()["subjectAltName"] == (("DNS", HOST),)
        # The server ends without close_notify.
        assert received.read() == sent


def test_certificate_of_another_name_is_refused(issuer: Authority, context: BoundedTls) -> None:
    with (
        _serving(issuer, _drip) as port,
        socket.create_connection(("localhost", port)) as plain,
        pytest.raises(OSError, match="is not valid for"),
    ):
        BoundedTlsSocket(plain, context, "other.example.test")


def test_configuration_of_the_system_verifies_unless_verification_is_disabled() -> None:
    assert system_trust().check_hostname
    assert not system_trust(verify=False).check_hostname


@pytest.mark.parametrize("host", [HOST, "other.example.test"])
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_webhook_without_verification_is_reached_whatever_its_certificate(
    issuer: Authority, host: str
) -> None:
    def answer(writer: RecordWriter) -> None:
        writer.send((APPLICATION_DATA, b"HTTP/1.1 204 No Content\r\n\r\n"))
        while writer.sock.recv(65_536):
            pass

    handler = after_handshake(issuer.issue(host), answer)
    with closing(Server(handler)) as server, bounding(PATIENCE):
        url = f"https://localhost:{server.port}/"
        # As for a channel with ?verify=no.
        found = requests.post(url, json={}, timeout=PATIENCE, verify=False)
    assert found.status_code == 204
