"""What the servers of the situations do with a connection: TLS, answers over HTTP, raw bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from OpenSSL import SSL

from certmgr.demo.servers import Server
from tests.certmgr.browser.pki import Leaf
from tests.certmgr.browser.pki import leaf as new_leaf

_lib: Any = SSL._lib  # type: ignore[attr-defined]


@dataclass(slots=True)
class Site:
    """The served site of a situation.

    Attributes:
        host: Its name, or an address.
        https: The port of HTTPS.
        http: The port of plain HTTP.
    """

    host: str
    https: int = 0
    http: int = 0
    servers: list[Server] = field(default_factory=list)

    def filled(self, data: bytes) -> bytes:
        """Return bytes with {host}, {https} and {http} replaced."""
        for name in ("host", "https", "http"):
            data = data.replace(b"{%s}" % name.encode(), str(getattr(self, name)).encode())
        return data


Handler = Callable[[socket.socket, Site], None]
Answer = Callable[[Site, str], bytes]
"""Maps a site and the path of a request to the bytes of the answer."""
Talk = Callable[[SSL.Connection, Site], None]
"""Uses a connection after its handshake."""


def raw(data: bytes) -> Answer:
    """Answer with these bytes, in which {host}, {https} and {http} are replaced."""
    return lambda site, path: site.filled(data)


def page(
    body: str | bytes = "<h1>Welcome</h1>",
    *headers: str,
    status: str = "200 OK",
    content_type: str = "text/html; charset=utf-8",
) -> Answer:
    """Answer with a page."""

    def answer(site: Site, path: str) -> bytes:
        content = site.filled(body if isinstance(body, bytes) else body.encode())
        lines = [
            f"HTTP/1.1 {status}",
            *([f"Content-Type: {content_type}"] if content_type else []),
            f"Content-Length: {len(content)}",
            "Connection: close",
            *headers,
        ]
        return site.filled("\r\n".join(lines).encode()) + b"\r\n\r\n" + content

    return answer


def redirect(location: str, *headers: str, status: str = "301 Moved Permanently") -> Answer:
    """Answer with a redirect."""
    return page("", f"Location: {location}", *headers, status=status)


def routes(answers: Mapping[str, Answer]) -> Answer:
    """Answer by path; other paths do not exist."""
    missing = page("no such page", status="404 Not Found")
    return lambda site, path: answers.get(path, missing)(site, path)


TO_HTTPS = redirect("https://{host}:{https}/")


def _request(receive: Callable[[], bytes]) -> tuple[str, str] | None:
    """Read one request and return its host and path; None if the client sends something else."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = receive()
        if not received or not received[:1].isalpha():
            return None
        data += received
    text = data.decode("latin-1")
    host, path = re.search(r"(?im)^host: *([^\r:]*)", text), re.match(r"\S+ (\S+) ", text)
    return (host[1] if host else "", path[1]) if path else None


@dataclass(frozen=True, slots=True)
class Options:
    """The TLS configuration of a server; the defaults accept every client.

    Attributes:
        lowest: The lowest version.
        highest: The highest version; 0 for the highest that OpenSSL has.
        ciphers: The suites up to TLS 1.2.
        groups: The groups; empty for OpenSSL's.
        signatures: The signature algorithms of the server; empty for OpenSSL's.
        alpn: The protocols that the server selects from; None ignores the offer.
        extra: Leaves of other key types.
        client_certificate: Whether clients must present a certificate.
    """

    lowest: int = SSL.TLS1_VERSION
    highest: int = 0
    ciphers: bytes = b"ALL"
    groups: bytes = b""
    signatures: bytes = b""
    alpn: tuple[bytes, ...] | None = None
    extra: tuple[Leaf, ...] = ()
    client_certificate: bool = False


def context(leaf: Leaf, options: Options) -> SSL.Context:
    """Return the TLS configuration of a server.

    OpenSSL reads the certificates from files, and so keeps bytes that other parsers refuse.
    """
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    # Without it, OpenSSL refuses to ask for a client certificate in a renegotiation.
    made.set_session_id(b"situation")
    # SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION, which Apache sets and pyOpenSSL does not name.
    made.set_options(0x10000)
    made.set_min_proto_version(options.lowest)
    made.set_max_proto_version(options.highest)
    # SECLEVEL=0 allows weak keys and signatures.
    made.set_cipher_list(options.ciphers + b":@SECLEVEL=0")
    with tempfile.TemporaryDirectory() as folder:
        for pair in (leaf, *options.extra):
            (Path(folder) / "chain.pem").write_bytes(pair.pem)
            (Path(folder) / "key.pem").write_bytes(pair.key_pem)
            made.use_certificate_chain_file(f"{folder}/chain.pem")
            made.use_privatekey_file(f"{folder}/key.pem")
    if options.groups:
        assert _lib.SSL_CTX_set1_curves_list(made._context, options.groups) == 1
    if options.signatures:
        assert _lib.SSL_CTX_set1_sigalgs_list(made._context, options.signatures) == 1
    if options.alpn is not None:
        offered = options.alpn

        def select(_: SSL.Connection, protocols: list[bytes]) -> Any:
            common = [p for p in offered if p in protocols]
            return common[0] if common else SSL.NO_OVERLAPPING_PROTOCOLS

        made.set_alpn_select_callback(select)
    if options.client_certificate:
        mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        made.set_verify(mode, lambda *_: True)
    return made


def tls(
    leaf: Leaf,
    answer: Answer | None = None,
    talk: Talk | None = None,
    *,
    configure: Callable[[SSL.Context], object] | None = None,
    **options: Any,
) -> Handler:
    """Serve HTTPS.

    Args:
        leaf: The certificate with its chain and key.
        answer: The answer to each request. Default: a page.
        talk: What to do after the handshake, instead of answering a request.
        configure: Changes the context that the options made.
        options: Fields of :class:`Options`.
    """
    made = context(leaf, Options(**options))
    if configure is not None:
        configure(made)

    def serve(sock: socket.socket, site: Site) -> None:
        connection = SSL.Connection(made, sock)
        connection.set_accept_state()
        connection.do_handshake()
        if talk is not None:
            talk(connection, site)
            return
        request = _request(lambda: connection.recv(65536))
        if request is not None:
            connection.sendall((answer or page())(site, request[1]))
            connection.shutdown()
            while sock.recv(65536):
                pass

    return serve


def serves(
    answer: Answer | None = None, talk: Talk | None = None, **options: Any
) -> Callable[[str], Handler]:
    """Serve HTTPS at a host, with a good certificate for it. For the arguments, see :func:`tls`."""
    return lambda host: tls(new_leaf(host), answer, talk, **options)


def certificate_wished(made: SSL.Context) -> None:
    """Ask for a client certificate, and accept clients without one."""
    made.set_verify(SSL.VERIFY_PEER, lambda *_: True)


def reset_on_close(sock: Any) -> None:
    """Let the end of a connection, or of a TLS connection, be a reset."""
    # A linger time of zero makes close() send RST instead of FIN.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_at_request(connection: SSL.Connection, site: Site) -> None:
    """Reset the connection after the handshake, when the request has arrived.

    Before that, the browser would not always know that it was connected.
    """
    connection.recv(65536)
    reset_on_close(connection)


def client_hello(sock: socket.socket) -> bytes:
    """Read the first TLS record of a client; fewer bytes if it closes early."""
    data = b""
    while len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
        received = sock.recv(65536)
        if not received:
            break
        data += received
    return data


def sends(data: bytes) -> Callable[[str], Handler]:
    """Send bytes after the ClientHello at any host, and close."""
    return lambda host: after_hello(data)


def after_hello(data: bytes) -> Handler:
    """Send bytes after the ClientHello, and close."""

    def talk(sock: socket.socket, site: Site) -> None:
        client_hello(sock)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    return talk


def alert(number: int) -> Handler:
    """Refuse the ClientHello with a fatal alert."""
    return after_hello(bytes([21, 3, 3, 0, 2, 2, number]))


def refuses(number: int) -> Callable[[str], Handler]:
    """Refuse the ClientHello at any host with a fatal alert."""
    return lambda host: alert(number)


def banner(data: bytes) -> Handler:
    """Send bytes before the client does, as SMTP and SSH do."""

    def talk(sock: socket.socket, site: Site) -> None:
        sock.sendall(data)
        while sock.recv(65536):
            pass

    return talk


def reset(sock: socket.socket, site: Site) -> None:
    """Reset the connection after the ClientHello."""
    client_hello(sock)
    reset_on_close(sock)


def silent(sock: socket.socket, site: Site) -> None:
    """Read everything and never answer."""
    while sock.recv(65536):
        pass


def serve_tls(stack: contextlib.ExitStack, host: str, handler: Handler | None) -> Site:
    """Open the port of HTTPS of a site until the stack is closed.

    Args:
        stack: Closes the port.
        host: The name of the site.
        handler: Handles its connections; None: the port refuses them.
    """
    site = Site(host)
    if handler is None:
        # Bound, but not listening: connections are refused, and no other process takes the port.
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        site.https = bound.getsockname()[1]
        return site
    chosen = handler
    site.servers.append(Server(lambda sock: chosen(sock, site)))
    stack.callback(site.servers[0].close)
    site.https = site.servers[0].port
    return site


def serve_plain(stack: contextlib.ExitStack, answers: Mapping[str, tuple[Site, Answer]]) -> None:
    """Open one port of plain HTTP for sites, by their names, until the stack is closed."""

    def talk(sock: socket.socket) -> None:
        request = _request(lambda: sock.recv(65536))
        if request is None or request[0] not in answers:
            # For example a client that speaks TLS.
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            return
        site, answer = answers[request[0]]
        sock.sendall(answer(site, request[1]))
        sock.shutdown(socket.SHUT_WR)
        # Closing with unread bytes would reset the connection.
        while sock.recv(65536):
            pass

    server = Server(talk)
    stack.callback(server.close)
    for site, _ in answers.values():
        site.http = server.port
