"""A server whose certificate has no fault."""

from __future__ import annotations

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from tests.certmgr.tls_servers import HOST, Stack


@pytest.fixture
def good(issuer: Authority, opened: Stack) -> Server:
    server = Server(servers.tls(server_context(issuer.issue(HOST))))
    opened.callback(server.close)
    return server
