"""TLS servers on loopback for tests of the scan and of its findings."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from certmgr.config.settings import Settings
from certmgr.demo import servers
from certmgr.demo.authority import IssuedCertificate
from certmgr.demo.servers import Server, server_context
from tests.conftest import Look

HOST = "shop.example.test"
Stack = contextlib.ExitStack
Looker = Callable[..., Look]
"""The fixture ``look``: scans one target."""


def serve(opened: Stack, talk: servers.Talk) -> int:
    """Serve until the end of the test what ``talk`` answers. Returns the port."""
    server = Server(talk)
    opened.callback(server.close)
    return server.port


def serve_certificate(opened: Stack, issued: IssuedCertificate, **options: Any) -> int:
    """Serve a certificate by TLS. ``options`` are those of ``server_context``."""
    return serve(opened, servers.tls(server_context(issued, **options)))


def refusing_port(opened: Stack) -> int:
    """Return a port that refuses connections and that no other process takes during the test."""
    held = opened.enter_context(socket.socket())
    held.bind(("127.0.0.1", 0))  # bound, and nothing listens
    return int(held.getsockname()[1])


def resolved_by(settings: Settings, resolver: str) -> Settings:
    """Return the settings with another name server."""
    return replace(settings, scan=replace(settings.scan, resolvers=(resolver,)))
