"""Fixtures of the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from certmgr.demo.authority import Authority
from tests.certmgr.tls_servers import HOST, Stack, serve_certificate
from tests.program import Ran

Runner = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name server of this machine is not asked: nothing listens at port 9."""
    monkeypatch.setenv("CERTMGR_SCAN_RESOLVERS", "127.0.0.1:9")


@pytest.fixture
def port(issuer: Authority, opened: Stack) -> int:
    """The port of a server with a good certificate for HOST."""
    return serve_certificate(opened, issuer.issue(HOST))


@pytest.fixture
def add_client(certmgr: Runner) -> Callable[..., None]:
    """Adds client 1, and a domain with one endpoint on this machine for each given host."""

    def add(*hosts: str, port: int = 443, client: str = "1") -> None:
        assert certmgr("client", "add", client, f"Client {client}").code == 0
        for host in hosts:
            assert certmgr("domain", "add", host, "--client", client).code == 0
            place = ("--port", str(port), "--address", "127.0.0.1")
            assert certmgr("endpoint", "edit", host, *place).code == 0

    return add
