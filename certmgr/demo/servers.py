"""Small TLS and TCP servers on loopback, a thread each, for the demonstration and the tests.

They end with :meth:`Server.close`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL

from certmgr.demo.authority import IssuedCertificate

Talk = Callable[[socket.socket], None]


@dataclass(slots=True)
class Server:
    """A listener whose connections are handed to ``talk``, each in a thread of its own."""

    talk: Talk
    address: str = "127.0.0.1"
    port: int = 0
    backlog: int = 128
    connections: int = 0
    _socket: socket.socket = field(init=False)
    _open: set[socket.socket] = field(default_factory=set)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.address, self.port))
        self._socket.listen(self.backlog)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # ValueError: the socket was closed under it, at the end.
        with contextlib.suppress(OSError, SSL.Error, ValueError):
            self.talk(connection)
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def close(self) -> None:
        for one in (self._socket, *list(self._open)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                one.close()


def server_context(
    issued: IssuedCertificate,
    *,
    chain: Sequence[bytes] | None = None,
    lowest: int = SSL.TLS1_2_VERSION,
    highest: int | None = None,
    ciphers: bytes = b"ALL:@SECLEVEL=0",
    extra: Sequence[IssuedCertificate] = (),
    verify: int = SSL.VERIFY_NONE,
) -> SSL.Context:
    """``chain``: the DER of what is sent behind the leaf, in place of the issued chain.

    ``extra``: certificates of other key types.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(lowest)
    if highest is not None:
        context.set_max_proto_version(highest)
    context.set_cipher_list(ciphers)
    for one in (issued, *extra):
        context.use_certificate(one.certificate)
        context.use_privatekey(one.key)
        sent = list(one.chain[1:]) if chain is None else []
        for certificate in sent:
            context.add_extra_chain_cert(certificate)
    for der in chain or ():
        context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
    if verify != SSL.VERIFY_NONE:
        context.set_verify(verify, lambda *_: True)
    return context


def tls(default: SSL.Context, by_name: Mapping[str, SSL.Context] | None = None) -> Talk:
    """Completes a handshake, choosing a context by SNI, and waits for the client to leave."""

    def choose(connection: SSL.Connection) -> None:
        asked = connection.get_servername()
        context = (by_name or {}).get(asked.decode("ascii", "replace")) if asked else None
        if context is not None:
            connection.set_context(context)

    default.set_tlsext_servername_callback(choose)

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(default, sock)
        connection.set_accept_state()
        connection.do_handshake()
        connection.recv(1)

    return talk


def silent(sock: socket.socket) -> None:
    """Accepts, and never says a word."""
    while sock.recv(4096):
        pass


def saying(data: bytes) -> Talk:
    """Waits for the client's first bytes and answers with ``data``, whatever they were."""

    def talk(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(data)

    return talk


def reset(sock: socket.socket) -> None:
    """Resets the connection in the middle of the handshake."""
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
