"""Small TLS and TCP servers on loopback for the demonstration and the tests.

Each runs in a thread until :meth:`Server.close` is called.
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

ConnectionHandler = Callable[[socket.socket], None]


@dataclass(slots=True)
class Server:
    """A listener that handles each connection in a separate thread.

    Attributes:
        talk: Handles one connection.
        address: The address to listen on.
        port: The port to listen on; 0 for a free one, which is stored here. No other process gets
            that one while this object exists, even after :meth:`close`: it then refuses
            connections, and another server of this process may take it over.
        backlog: The length of the queue of connections.
        connections: How many connections were accepted.
    """

    talk: ConnectionHandler
    address: str = "127.0.0.1"
    port: int = 0
    backlog: int = 128
    connections: int = 0
    _socket: socket.socket = field(init=False)
    _kept: socket.socket = field(init=False)
    _open: set[socket.socket] = field(default_factory=set)
    _accepting: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        if not self.port:
            # A socket that does not listen keeps the port. With SO_REUSEADDR on both, another
            # socket may listen.
            self._kept = socket.socket(family, socket.SOCK_STREAM)
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._kept.bind((self.address, 0))
            self.port = self._kept.getsockname()[1]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        # A test that restarts a server on its port must not wait for old connections to time out.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.address, self.port))
        self._socket.listen(self.backlog)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            # Kept, so that close() also ends connections of clients that wait for more.
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # close() may close the socket while the handler uses it, which raises ValueError.
        with contextlib.suppress(OSError, SSL.Error, ValueError):
            self.talk(connection)
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def close(self) -> None:
        """Close the listener and all open connections."""
        # Shut down before they are closed: a thread that blocks in accept() or recv() wakes up only
        # then.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # A thread that still accepts would accept for the next listener, which gets the number of
        # this socket. Limited, because not all systems wake the thread.
        self._accepting.join(5.0)
        for open_socket in (self._socket, *list(self._open)):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                open_socket.close()


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
    """Return the TLS configuration of a server.

    Args:
        issued: The certificate with its key and chain.
        chain: The DER certificates to send after the leaf, instead of the issued chain.
        lowest: The lowest TLS version.
        highest: The highest TLS version; None for the highest that OpenSSL supports.
        ciphers: The OpenSSL cipher list. SECLEVEL=0 allows the weak parameters that tests need.
        extra: Certificates of other key types.
        verify: The mode of client authentication; any client certificate is accepted.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    # Old versions are for sites whose fault is exactly that version.
    context.set_min_proto_version(lowest)
    if highest is not None:
        context.set_max_proto_version(highest)
    context.set_cipher_list(ciphers)
    for pair in (issued, *extra):
        context.use_certificate(pair.certificate)
        context.use_privatekey(pair.key)
        sent = list(pair.chain[1:]) if chain is None else []
        for certificate in sent:
            context.add_extra_chain_cert(certificate)
    for der in chain or ():
        context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
    if verify != SSL.VERIFY_NONE:
        context.set_verify(verify, lambda *_: True)
    return context


def tls(
    default: SSL.Context, by_name: Mapping[str, SSL.Context] | None = None
) -> ConnectionHandler:
    """Return a handler that completes a handshake and waits until the client disconnects.

    Args:
        default: The context for clients without SNI, or with an unknown name.
        by_name: The contexts by SNI name.
    """

    def choose(connection: SSL.Connection) -> None:
        server_name = connection.get_servername()
        context = (
            (by_name or {}).get(server_name.decode("ascii", "replace")) if server_name else None
        )
        if context is not None:
            connection.set_context(context)

    default.set_tlsext_servername_callback(choose)

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(default, sock)
        connection.set_accept_state()
        connection.do_handshake()
        # Until the client disconnects: a server that closes first could cut off its own answer.
        connection.recv(1)

    return talk


def silent(sock: socket.socket) -> None:
    """Read everything and never respond."""
    while sock.recv(4096):
        pass


def respond_with(data: bytes) -> ConnectionHandler:
    """Return a handler that responds to the first bytes of the client with ``data``."""

    def talk(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(data)

    return talk


def reset(sock: socket.socket) -> None:
    """Reset the connection during the handshake."""
    sock.recv(1)
    # A linger time of zero makes close() send RST instead of FIN.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
