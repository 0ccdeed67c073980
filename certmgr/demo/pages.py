"""Web pages for the demonstration and the tests, over TLS or plain HTTP.

Each connection gets one HTTP response. h11 implements the protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import h11
from OpenSSL import SSL

from certmgr.demo.servers import ConnectionHandler


@dataclass(frozen=True, slots=True)
class PageResponse:
    """An HTTP response."""

    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


# Maps (host without port, path) to a response.
Respond = Callable[[str, str], PageResponse]

# A year, as browsers' preload list requires at least.
HSTS = ("Strict-Transport-Security", "max-age=31536000")


def page(title: str, content: str = "", *, hsts: bool = True) -> PageResponse:
    """Return an HTML page, by default with an HSTS header."""
    text = f"<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1>{content}</html>"
    return PageResponse(200, text, (HSTS,) if hsts else ())


def redirect(location: str, *, hsts: bool = False) -> PageResponse:
    """Return a permanent redirect."""
    return PageResponse(301, "", (("Location", location), *((HSTS,) if hsts else ())))


def _serve(receive: Callable[[], bytes], send: Callable[[bytes], object], respond: Respond) -> None:
    """Read one request and send one response."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16_384)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return  # A browser that remembers HSTS speaks TLS to any port of the host.
        if event is h11.NEED_DATA:
            connection.receive_data(receive())
        elif isinstance(event, h11.Request):
            # Without the port, which the Host header has on other ports than 443 and 80.
            host = (
                dict(event.headers).get(b"host", b"").decode("ascii", "replace").rsplit(":", 1)[0]
            )
            response = respond(host, event.target.decode("ascii", "replace"))
            break
        else:
            return
    body = response.body.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *response.headers,
    ]
    send(connection.send(h11.Response(status_code=response.status, headers=headers)) or b"")
    send(
        (connection.send(h11.Data(data=body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    )


def plain(respond: Respond) -> ConnectionHandler:
    """Return a server function for HTTP without TLS."""

    def talk(sock: socket.socket) -> None:
        _serve(lambda: sock.recv(4096), sock.sendall, respond)

    return talk


def secure(context: SSL.Context, respond: Respond) -> ConnectionHandler:
    """Return a server function for HTTPS. A client may disconnect after the handshake."""

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        _serve(lambda: connection.recv(4096), connection.sendall, respond)
        # Without close_notify a browser reports a page that was cut short.
        connection.shutdown()

    return talk
