"""TLS servers that write records of their own after the handshake: floods that no library sends."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from certmgr.demo.authority import IssuedCertificate
from certmgr.demo.servers import ConnectionHandler, server_context

# Content types of records (RFC 8446 5.1)
ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
# NewSessionTicket (RFC 8446 4.6.1): lifetime, age_add, a nonce of one byte, a ticket of one byte,
# and no extensions
TICKET = bytes([4, 0, 0, 15, *(0, 0, 0, 99), *(1, 2, 3, 4), 1, 7, 0, 1, 9, 0, 0])
KEY_UPDATE, KEY_UPDATE_REQUESTED = bytes([24, 0, 0, 1, 0]), bytes([24, 0, 0, 1, 1])
HELLO_REQUEST = bytes(4)
# no_renegotiation: the one warning that clients of TLS 1.2 must bear
WARNING = bytes([1, 100])


@dataclass(slots=True)
class RecordWriter:
    """The sending half of a TLS connection, with AES-128-GCM.

    Attributes:
        sock: Its connection.
        secret: The traffic secret of TLS 1.3; empty for TLS 1.2.
        key: The key of the server.
        iv: Its implicit nonce.
        number: The sequence number of the next record.
    """

    sock: socket.socket
    secret: bytes
    key: bytes = b""
    iv: bytes = b""
    number: int = 0
    _cipher: AESGCM = field(init=False)

    def __post_init__(self) -> None:
        self._derive()

    def _derive(self) -> None:
        if self.secret:
            self.key = _expand_label(self.secret, b"key", 16)
            self.iv = _expand_label(self.secret, b"iv", 12)
        self._cipher = AESGCM(self.key)

    def update_key(self) -> None:
        """Use the next traffic secret (RFC 8446 7.2), after a KeyUpdate was sent."""
        self.secret, self.number = _expand_label(self.secret, b"traffic upd", 32), 0
        self._derive()

    def record(self, content: int, data: bytes) -> bytes:
        """Return one encrypted record."""
        counter = self.number.to_bytes(8, "big")
        self.number += 1
        if self.secret:
            plain = data + bytes([content])
            head = bytes([APPLICATION_DATA, 3, 3]) + (len(plain) + 16).to_bytes(2, "big")
            nonce = bytes(a ^ b for a, b in zip(self.iv, bytes(4) + counter, strict=True))
            return head + self._cipher.encrypt(nonce, plain, head)
        checked = counter + bytes([content, 3, 3]) + len(data).to_bytes(2, "big")
        sealed = counter + self._cipher.encrypt(self.iv + counter, data, checked)
        return bytes([content, 3, 3]) + len(sealed).to_bytes(2, "big") + sealed

    def send(self, *records: tuple[int, bytes]) -> None:
        """Send records together."""
        self.sock.sendall(b"".join(self.record(*r) for r in records))


def _expand_label(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 7.1) with SHA-256 and an empty context, up to 32 bytes."""
    name = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return hmac.digest(secret, info + b"\x01", hashlib.sha256)[:size]


def _key_block(master: bytes, seed: bytes, size: int) -> bytes:
    """The key expansion of TLS 1.2 (RFC 5246 5 and 6.3) with SHA-256."""
    seed, block = b"key expansion" + seed, b""
    part = seed
    while len(block) < size:
        part = hmac.digest(master, part, hashlib.sha256)
        block += hmac.digest(master, part + seed, hashlib.sha256)
    return block[:size]


def after_handshake(
    issued: IssuedCertificate,
    talk: Callable[[RecordWriter], None],
    *,
    tls12: bool = False,
    verify: int = SSL.VERIFY_NONE,
) -> ConnectionHandler:
    """Return a handler that completes a handshake and then writes records of its own.

    Args:
        issued: The certificate.
        talk: Writes records until the client closes the connection.
        tls12: Whether the server speaks TLS 1.2 instead of TLS 1.3.
        verify: Whether the server asks for a client certificate.
    """
    version = SSL.TLS1_2_VERSION if tls12 else SSL.TLS1_3_VERSION
    context = server_context(
        issued,
        lowest=version,
        highest=version,
        ciphers=b"ECDHE+AESGCM+AES128:@SECLEVEL=0",
        verify=verify,
    )
    if not tls12:
        context.set_tls13_ciphersuites(b"TLS_AES_128_GCM_SHA256")
    secrets: dict[str, bytes] = {}

    def keep(connection: SSL.Connection, line: bytes) -> None:
        label, client_random, secret = line.decode().split()
        secrets[label + client_random] = bytes.fromhex(secret)

    context.set_keylog_callback(keep)

    def handle(sock: socket.socket) -> None:
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        _shake_hands(connection, sock)
        client, server = connection.client_random() or b"", connection.server_random() or b""
        if not tls12:
            # The tickets of OpenSSL are not sent, so the first record has the number 0.
            talk(RecordWriter(sock, secrets["SERVER_TRAFFIC_SECRET_0" + client.hex()]))
            return
        block = _key_block(secrets["CLIENT_RANDOM" + client.hex()], server + client, 40)
        # The first encrypted record was Finished, with the number 0.
        talk(RecordWriter(sock, b"", block[16:32], block[36:40], 1))

    return handle


def _shake_hands(connection: SSL.Connection, sock: socket.socket) -> None:
    """Complete a handshake; what OpenSSL sends after the last message of the client is dropped."""
    while True:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            _flush(connection, sock)
            received = sock.recv(65536)
            if not received:
                raise ConnectionResetError from None
            connection.bio_write(received)
            continue
        if connection.get_protocol_version_name() == "TLSv1.2":
            _flush(connection, sock)
        return


def _flush(connection: SSL.Connection, sock: socket.socket) -> None:
    try:
        sock.sendall(connection.bio_read(65536))
    except SSL.WantReadError:
        return
