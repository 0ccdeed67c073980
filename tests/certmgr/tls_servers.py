"""TLS servers on loopback for tests of the scan and of its findings."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from OpenSSL import SSL

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import IssuedCertificate
from certmgr.demo.servers import Server, server_context
from tests.conftest import ProbeResult

HOST = "shop.example.test"
Stack = contextlib.ExitStack
Probe = Callable[..., ProbeResult]
"""The type of the fixture ``probe``, which scans one target."""


def with_groups(context: SSL.Context, groups: str) -> SSL.Context:
    """Let a server use only these groups, in the syntax of SSL_CTX_set1_groups_list of OpenSSL."""
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    assert lib.SSL_CTX_set1_curves_list(context._context, groups.encode()) == 1
    return context


def serve(opened: Stack, talk: servers.ConnectionHandler) -> int:
    """Run a server with a connection handler until the end of the test. Returns the port."""
    server = Server(talk)
    opened.callback(server.close)
    return server.port


def serve_certificate(opened: Stack, issued: IssuedCertificate, **options: Any) -> int:
    """Serve a certificate over TLS. ``options`` are those of ``server_context``."""
    return serve(opened, servers.tls(server_context(issued, **options)))


def refusing_port(opened: Stack) -> int:
    """Return a port that refuses connections and that no other process takes during the test."""
    bound = opened.enter_context(socket.socket())
    # The port is reserved, but the socket does not listen.
    bound.bind(("127.0.0.1", 0))
    return int(bound.getsockname()[1])


def resolved_by(settings: Settings, resolver: str) -> Settings:
    """Return the settings with another name server."""
    return replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
