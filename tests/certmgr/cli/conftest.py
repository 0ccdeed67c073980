"""Fixtures for tests of the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from certmgr.demo.authority import Authority
from tests.certmgr.tls_servers import HOST, Stack, serve_certificate
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests from querying the name server of this machine: port 9 is closed."""
    monkeypatch.setenv("CERTMGR_SCAN_RESOLVERS", "127.0.0.1:9")


@pytest.fixture
def port(issuer: Authority, opened: Stack) -> int:
    """Start a server with a valid certificate for HOST, and return its port."""
    return serve_certificate(opened, issuer.issue(HOST))


@pytest.fixture
def add_client(certmgr: Runner) -> Callable[..., None]:
    """Return a function that adds a client, and a domain with a local endpoint per host."""

    def add(*hosts: str, port: int = 443, client: str = "1") -> None:
        assert certmgr("client", "add", client, f"Client {client}").code == 0
        for host in hosts:
            assert certmgr("domain", "add", host, "--client", client).code == 0
            endpoint = ("--port", str(port), "--address", "127.0.0.1")
            assert certmgr("endpoint", "edit", host, *endpoint).code == 0

    return add
