"""A server of TLS 1.2 and 1.3, message by message: each can be given as any bytes.

It knows one cipher suite, one key exchange (X25519) and keys of P-256. TLS libraries refuse to send
most of what the situations need.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.certmgr.browser.pki import Leaf
from tests.certmgr.browser.serving import client_hello

HANDSHAKE, DATA, ALERT, CHANGE_CIPHER = 22, 23, 21, 20
_X25519 = b"\0\x1d"
_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def vector(size: int, content: bytes) -> bytes:
    """Return content after its length, which has ``size`` bytes."""
    return len(content).to_bytes(size, "big") + content


def message(kind: int, body: bytes) -> bytes:
    """Return a handshake message (RFC 8446 4)."""
    return bytes([kind]) + vector(3, body)


def extension(kind: int, content: bytes = b"") -> bytes:
    """Return an extension (RFC 8446 4.2)."""
    return kind.to_bytes(2, "big") + vector(2, content)


def record(kind: int, content: bytes) -> bytes:
    """Return a record (RFC 8446 5.1)."""
    return bytes([kind, 3, 3]) + vector(2, content)


def offered(hello: bytes) -> dict[int, bytes]:
    """Return the extensions of a ClientHello, which is given as its record."""
    at = 44 + hello[43]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + hello[at] + 2
    found = {}
    while at + 4 <= len(hello):
        end = at + 4 + int.from_bytes(hello[at + 2 : at + 4], "big")
        found[int.from_bytes(hello[at : at + 2], "big")] = hello[at + 4 : end]
        at = end
    return found


def _share(hello: bytes) -> bytes:
    """Return the key of the client for X25519; raises OSError if it sends none."""
    shares, at = offered(hello).get(51, b""), 2
    while at + 4 <= len(shares):
        end = at + 4 + int.from_bytes(shares[at + 2 : at + 4], "big")
        if shares[at : at + 2] == _X25519:
            return shares[at + 4 : end]
        at = end
    raise OSError("the client offers no key exchange that this server knows")


class Keys:
    """The keys of one direction of a connection (AES-128-GCM).

    Attributes:
        explicit: Whether each record has a part of its nonce, as in TLS 1.2 (RFC 5288 3).
    """

    def __init__(self, key: bytes, iv: bytes, *, explicit: bool) -> None:
        self._aead, self._iv, self.explicit, self._number = AESGCM(key), iv, explicit, 0

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """Return an encrypted record."""
        number = self._next()
        if self.explicit:
            about = number + bytes([kind, 3, 3]) + len(content).to_bytes(2, "big")
            return record(kind, number + self._aead.encrypt(self._iv + number, content, about))
        inner = content + bytes([kind]) + bytes(padding)
        head = bytes([DATA, 3, 3]) + (len(inner) + 16).to_bytes(2, "big")
        return head + self._aead.encrypt(self._nonce(number), inner, head)

    def open(self, kind: int, content: bytes) -> tuple[int, bytes]:
        """Return the kind and the content of an encrypted record."""
        number = self._next()
        if self.explicit:
            about = number + bytes([kind, 3, 3]) + (len(content) - 24).to_bytes(2, "big")
            return kind, self._aead.decrypt(self._iv + content[:8], content[8:], about)
        head = bytes([kind, 3, 3]) + len(content).to_bytes(2, "big")
        inner = self._aead.decrypt(self._nonce(number), content, head).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def _next(self) -> bytes:
        self._number += 1
        return (self._number - 1).to_bytes(8, "big")

    def _nonce(self, number: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(self._iv, bytes(4) + number, strict=True))


class Stream:
    """An open connection, after its handshake.

    Attributes:
        sock: The socket.
        sending: The keys with which this server sends.
    """

    def __init__(self, sock: socket.socket, receiving: Keys, sending: Keys) -> None:
        self.sock, self._receiving, self.sending = sock, receiving, sending
        self._records = records(sock)

    def read(self) -> tuple[int, bytes]:
        """Return the kind and the content of the next record; raises OSError at the end."""
        while True:
            kind, content = next(self._records)
            if kind == CHANGE_CIPHER:
                continue
            try:
                return self._receiving.open(kind, content)
            except InvalidTag:
                raise OSError("the client uses other keys") from None

    def send(self, kind: int, content: bytes, padding: int = 0) -> None:
        """Send a record."""
        self.sock.sendall(self.sending.seal(kind, content, padding))


def records(sock: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the content of each record; raises OSError at the end."""

    def read(size: int) -> bytes:
        data = b""
        while len(data) < size:
            received = sock.recv(size - len(data))
            if not received:
                raise OSError("the client closed the connection")
            data += received
        return data

    while True:
        head = read(5)
        yield head[0], read(int.from_bytes(head[3:5], "big"))


@dataclass(frozen=True, slots=True)
class Flight13:
    """What a server of TLS 1.3 sends; the defaults are an ordinary handshake.

    Attributes:
        hello: Extensions of the ServerHello after version and key share.
        encrypted: Extensions of EncryptedExtensions, by those of the ClientHello.
        context: The context of the Certificate message.
        entries: The extensions of each certificate, by those of the ClientHello.
        scheme: The signature scheme of CertificateVerify.
        change: Changes the messages before Finished.
        wrap: Divides the encrypted flight into records: (content, padding).
        between: Bytes that are sent after the ServerHello, without encryption.
        with_finished: Bytes in the record of Finished, after it.
        after: Handshake messages after the handshake, each in one record.
    """

    hello: bytes = b""
    encrypted: Callable[[dict[int, bytes]], bytes] = lambda _: b""
    context: bytes = b""
    entries: Callable[[dict[int, bytes]], Sequence[bytes]] = lambda _: ()
    scheme: int = 0x0403
    change: Callable[[list[bytes]], list[bytes]] = lambda messages: messages
    wrap: Callable[[list[bytes]], list[tuple[bytes, int]]] = lambda m: [(b"".join(m), 0)]
    between: bytes = record(CHANGE_CIPHER, b"\1")
    with_finished: bytes = b""
    after: Sequence[bytes] = ()


def _expand(secret: bytes, label: str, context: bytes, size: int = 32) -> bytes:
    """HKDF-Expand-Label (RFC 8446 7.1), for at most 32 bytes."""
    info = size.to_bytes(2, "big") + vector(1, b"tls13 " + label.encode()) + vector(1, context)
    return hmac.digest(secret, info + b"\1", "sha256")[:size]


def _keys(secret: bytes) -> Keys:
    return Keys(_expand(secret, "key", b"", 16), _expand(secret, "iv", b"", 12), explicit=False)


def _private(leaf: Leaf) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(leaf.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def accept13(sock: socket.socket, leaf: Leaf, flight: Flight13) -> Stream:
    """Complete a handshake of TLS 1.3 (RFC 8446 2)."""
    hello = client_hello(sock)
    own = x25519.X25519PrivateKey.generate()
    shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(_share(hello)))
    extensions = extension(43, b"\3\4") + flight.hello
    extensions += extension(51, _X25519 + vector(2, own.public_key().public_bytes(*_RAW)))
    session = hello[43 : 44 + hello[43]]
    server_hello = message(
        2, b"\3\3" + os.urandom(32) + session + b"\x13\1\0" + vector(2, extensions)
    )
    transcript = hashlib.sha256(hello[5:] + server_hello)
    empty = hashlib.sha256().digest()
    early = hmac.digest(bytes(32), bytes(32), "sha256")
    secret = hmac.digest(_expand(early, "derived", empty), shared, "sha256")
    client = _expand(secret, "c hs traffic", transcript.digest())
    server = _expand(secret, "s hs traffic", transcript.digest())
    sock.sendall(record(HANDSHAKE, server_hello) + flight.between)
    entries = [*flight.entries(offered(hello)), *[b""] * len(leaf.chain)]
    listed = [vector(3, c) + vector(2, e) for c, e in zip(leaf.chain, entries, strict=False)]
    certificate = vector(1, flight.context) + vector(3, b"".join(listed))
    encrypted = flight.encrypted(offered(hello))
    messages = flight.change(
        [message(8, vector(2, encrypted)), message(11, certificate), b"verify"]
    )
    for number, part in enumerate(messages):
        if part == b"verify":
            signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + transcript.digest()
            signature = _private(leaf).sign(signed, ec.ECDSA(hashes.SHA256()))
            messages[number] = message(15, flight.scheme.to_bytes(2, "big") + vector(2, signature))
        transcript.update(messages[number])
    verify = hmac.digest(_expand(server, "finished", b""), transcript.digest(), "sha256")
    messages.append(message(20, verify))
    transcript.update(messages[-1])
    sending = _keys(server)
    parts = flight.wrap([*messages, flight.with_finished])
    sock.sendall(b"".join(sending.seal(HANDSHAKE, *part) for part in parts))
    master = hmac.digest(_expand(secret, "derived", empty), bytes(32), "sha256")
    of_client = _expand(master, "c ap traffic", transcript.digest())
    of_server = _expand(master, "s ap traffic", transcript.digest())
    # The client may send several messages, the last of which is its Finished.
    waiting = Stream(sock, _keys(client), sending)
    content = b""
    while content[-36:-32] != message(20, bytes(32))[:4]:
        kind, content = waiting.read()
        if kind == ALERT:
            raise OSError("the client refuses the handshake")
    stream = Stream(sock, _keys(of_client), _keys(of_server))
    for part in flight.after:
        stream.send(HANDSHAKE, part)
    return stream


@dataclass(frozen=True, slots=True)
class Flight12:
    """What a server of TLS 1.2 sends; the defaults are an ordinary handshake.

    Attributes:
        extensions: The extensions of the ServerHello, by those of the ClientHello; None: the field
            is missing.
        session: The session id, by that of the client.
        status: A CertificateStatus message, or any messages in its place, for clients that ask.
        scheme: The signature scheme of the key exchange.
        curve: The fields of the curve in the key exchange.
        more: Bytes at the end of the key exchange.
        request: A CertificateRequest message, or any messages in its place.
        done: The ServerHelloDone message.
        ticket: A NewSessionTicket message, or any messages in its place.
        wrap: Divides the first flight into records.
    """

    extensions: Callable[[dict[int, bytes]], bytes | None] = lambda _: extension(0xFF01, b"\0")
    session: Callable[[bytes], bytes] = lambda _: b""
    status: bytes = b""
    scheme: int = 0x0403
    curve: bytes = b"\3" + _X25519
    more: bytes = b""
    request: bytes = b""
    done: bytes = message(14, b"")
    ticket: bytes = b""
    wrap: Callable[[list[bytes]], list[bytes]] = lambda messages: messages


def _prf(secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """The pseudorandom function (RFC 5246 5)."""
    out, part = b"", label + seed
    while len(out) < size:
        part = hmac.digest(secret, part, "sha256")
        out += hmac.digest(secret, part + label + seed, "sha256")
    return out[:size]


def accept12(sock: socket.socket, leaf: Leaf, flight: Flight12) -> Stream:
    """Complete a handshake of TLS 1.2 (RFC 5246 7.3) with ECDHE (RFC 8422)."""
    hello = client_hello(sock)
    random, of_client = os.urandom(32), hello[11:43]
    own = x25519.X25519PrivateKey.generate()
    extensions = flight.extensions(offered(hello))
    session = flight.session(hello[44 : 44 + hello[43]])
    server_hello = b"\3\3" + random + vector(1, session) + b"\xc0\x2b\0"
    server_hello += b"" if extensions is None else vector(2, extensions)
    parameters = flight.curve + vector(1, own.public_key().public_bytes(*_RAW))
    signature = _private(leaf).sign(of_client + random + parameters, ec.ECDSA(hashes.SHA256()))
    exchange = parameters + flight.scheme.to_bytes(2, "big") + vector(2, signature)
    messages = [
        message(2, server_hello),
        message(11, vector(3, b"".join(vector(3, c) for c in leaf.chain))),
        flight.status if 5 in offered(hello) else b"",
        message(12, exchange + flight.more),
        flight.request,
        flight.done,
    ]
    transcript = hashlib.sha256(hello[5:] + b"".join(messages))
    sock.sendall(b"".join(record(HANDSHAKE, m) for m in flight.wrap(messages) if m))
    received = records(sock)
    content = b""
    while content[:1] != b"\x10":
        kind, content = next(received)
        if kind == ALERT:
            raise OSError("the client refuses the handshake")
        transcript.update(content)
    shared = own.exchange(x25519.X25519PublicKey.from_public_bytes(content[5:37]))
    extended = extensions is not None and b"\0\x17\0" in extensions
    label, seed = (
        (b"extended master secret", transcript.digest())
        if extended
        else (b"master secret", of_client + random)
    )
    master = _prf(shared, label, seed, 48)
    block = _prf(master, b"key expansion", random + of_client, 40)
    client = Keys(block[:16], block[32:36], explicit=True)
    server = Keys(block[16:32], block[36:40], explicit=True)
    stream = Stream(sock, client, server)
    kind, content = stream.read()
    transcript.update(content + flight.ticket)
    finished = message(20, _prf(master, b"server finished", transcript.digest(), 12))
    sent = record(HANDSHAKE, flight.ticket) if flight.ticket else b""
    sock.sendall(sent + record(CHANGE_CIPHER, b"\1") + server.seal(HANDSHAKE, finished))
    return stream
