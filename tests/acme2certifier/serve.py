"""Serves any WSGI application over TLS on 127.0.0.1: serve.py MODULE:ATTRIBUTE PORT CERTIFICATE KEY
[HTTP-PORT DNS-PORT].

HTTP-PORT and DNS-PORT: where the application's own requests to ports 80 and 53 go instead, when it
makes them with urllib3 and dnspython. It runs in the application's environment and knows nothing of
it.
"""

from __future__ import annotations

import importlib
import ssl
import sys
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        super().server_bind()
        self.base_environ["HTTPS"] = "on"  # wsgiref says https in wsgi.url_scheme then

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(WSGIRequestHandler):
    timeout = 300

    def address_string(self) -> str:
        return str(self.client_address[0])


def redirect(http_port: int, dns_port: int) -> None:
    """Port 80 and port 53 are others'."""
    import dns.resolver
    from urllib3.util import connection

    connect, reset = connection.create_connection, dns.resolver.BaseResolver.reset

    def create_connection(address: tuple[str, int], *rest: Any, **given: Any) -> Any:
        return connect((address[0], http_port if address[1] == 80 else address[1]), *rest, **given)

    def reset_to(resolver: Any) -> None:
        reset(resolver)
        resolver.port = dns_port

    connection.create_connection = create_connection
    setattr(dns.resolver.BaseResolver, "reset", reset_to)  # noqa: B010


def main(
    application: str, port: str, certificate: str, key: str, http_port: str = "", dns_port: str = ""
) -> None:
    if http_port:
        redirect(int(http_port), int(dns_port))
    module, _, attribute = application.partition(":")
    called = getattr(importlib.import_module(module), attribute)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", int(port)), Handler)
    server.set_app(called)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever(0.1)


if __name__ == "__main__":
    main(*sys.argv[1:])
