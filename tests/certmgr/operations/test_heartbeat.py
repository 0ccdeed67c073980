"""The heartbeat: a monitor that drips, redirects or refuses holds no run."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from certmgr.operations import heartbeat as module
from certmgr.operations.heartbeat import heartbeat
from inventory.errors import CertmgrError
from tests.campaign import PATIENCE
from tests.certmgr.net.scripted import count_waits, scripted


@dataclass
class Monitor:
    """The TLS context of a monitor whose CA the machine trusts."""

    server_side: ssl.SSLContext


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    with ca.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield Monitor(context)


@pytest.mark.parametrize(
    ("head", "drip"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"a"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["header", "interim answers"],
)
def test_dripping_monitor_is_given_up(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, head: bytes, drip: bytes
) -> None:
    count_waits(monkeypatch, "certmgr.operations.heartbeat", 0.25)
    with scripted(head, drip, trust=monitor.server_side) as server:
        with pytest.raises(CertmgrError, match="did not complete within 10 seconds"):
            heartbeat(f"https://localhost:{server.port}/beat")
        assert len(server.requests) == 1, "a slow monitor is not asked again"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("302 Found\r\nLocation: https://127.0.0.1/x", "redirects"),
        ("301 Moved\r\nLocation: /beat", "redirects"),
        ("404 Not Found", "HTTP 404"),
        ("500 Error", "HTTP 500"),
    ],
)
def test_other_status_is_an_error(monitor: Monitor, status: str, reason: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    with scripted(answer, trust=monitor.server_side) as server:
        with pytest.raises(CertmgrError, match=reason):
            heartbeat(f"https://localhost:{server.port}/beat")
        assert len(server.requests) == 1


def test_endless_body_of_a_success_is_not_read(monitor: Monitor) -> None:
    with scripted(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000, trust=monitor.server_side) as server:
        heartbeat(f"https://localhost:{server.port}/beat")
        assert server.ended.wait(PATIENCE)


def test_lost_connection_is_tried_again(monitor: Monitor) -> None:
    with scripted(b"", trust=monitor.server_side) as server:
        with pytest.raises(CertmgrError, match="without an answer"):
            heartbeat(f"https://localhost:{server.port}/beat")
        assert len(server.requests) == module.TRIES
