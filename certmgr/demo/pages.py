"""Web pages for the demonstration and the tests: one HTTP answer a connection, over TLS or plain.
h11 speaks the protocol.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

import h11
from OpenSSL import SSL

from certmgr.demo.servers import Talk


@dataclass(frozen=True, slots=True)
class PageResponse:
    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


# (host without port, path) -> answer
Respond = Callable[[str, str], PageResponse]

HSTS = ("Strict-Transport-Security", "max-age=31536000")


def page(title: str, content: str = "", *, hsts: bool = True) -> PageResponse:
    text = f"<!doctype html><html lang=en><title>{title}</title><h1>{title}</h1>{content}</html>"
    return PageResponse(200, text, (HSTS,) if hsts else ())


def redirect(location: str, *, hsts: bool = False) -> PageResponse:
    return PageResponse(301, "", (("Location", location), *((HSTS,) if hsts else ())))


def _serve(receive: Callable[[], bytes], send: Callable[[bytes], object], respond: Respond) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16_384)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(receive())
        elif isinstance(event, h11.Request):
            host = (
                dict(event.headers).get(b"host", b"").decode("ascii", "replace").rsplit(":", 1)[0]
            )
            answer = respond(host, event.target.decode("ascii", "replace"))
            break
        else:
            return
    body = answer.body.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *answer.headers,
    ]
    send(connection.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
    send(
        (connection.send(h11.Data(data=body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")
    )


def plain(respond: Respond) -> Talk:
    """HTTP without TLS."""

    def talk(sock: socket.socket) -> None:
        _serve(lambda: sock.recv(4096), sock.sendall, respond)

    return talk


def secure(context: SSL.Context, respond: Respond) -> Talk:
    """HTTP behind a TLS handshake; who leaves after the handshake is let go."""

    def talk(sock: socket.socket) -> None:
        connection = SSL.Connection(context, sock)
        connection.set_accept_state()
        connection.do_handshake()
        _serve(lambda: connection.recv(4096), connection.sendall, respond)
        connection.shutdown()

    return talk
