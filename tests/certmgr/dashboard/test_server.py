"""The server of the dashboard: loopback, one page, bounded."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from certmgr.dashboard import server as serving
from certmgr.dashboard.server import DashboardServer, require_loopback
from inventory.errors import CertmgrError, UsageError
from tests.campaign import PATIENCE, UNREACHED, wait_until
from tests.certmgr.report.provider import States
from tests.program import Ran

Run = Callable[..., Ran]


@contextlib.contextmanager
def served(make: Callable[[], str]) -> Iterator[DashboardServer]:
    with DashboardServer("127.0.0.1", 0, make) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def fetch(
    server: DashboardServer, method: str = "GET", path: str = "/", host: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {} if host is None else {"Host": host}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def test_only_the_page_is_served() -> None:
    with served(lambda: "<p>ä</p>") as server:
        status, headers, body = fetch(server)
        assert (status, body.decode()) == (200, "<p>ä</p>")
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
        assert fetch(server, "HEAD")[::2] == (200, b"")
        for path in (
            "/index.html",
            "/..",
            "/../etc/passwd",
            "//etc/passwd",
            "/%2e%2e/",
            "/certmgr",
        ):
            assert fetch(server, path=path)[0] == 404
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert fetch(server, method)[0] == 501


@pytest.mark.parametrize("host", ["attacker.example", "attacker.example:80", "", "192.0.2.1"])
def test_page_is_not_shown_under_a_foreign_name(host: str) -> None:
    with served(lambda: "secret") as server:
        status, _, body = fetch(server, host=host)
        assert status == 421
        assert b"secret" not in body


@pytest.mark.parametrize("host", ["localhost", "localhost:8480", "127.0.0.1:1", "[::1]:8480"])
def test_page_is_shown_under_names_of_loopback(host: str) -> None:
    with served(lambda: "page") as server:
        assert fetch(server, host=host)[0] == 200


def test_page_is_kept_for_the_next_request() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "page"

    with served(make) as server:
        for _ in range(3):
            assert fetch(server)[0] == 200
    assert len(made) == 1


def test_failure_is_reported_and_the_server_goes_on() -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        if len(made) == 1:
            raise ValueError("the database is locked")
        return "page"

    with served(make) as server:
        status, _, body = fetch(server)
        assert status == 500
        assert b"locked" not in body
        assert fetch(server)[0] == 200


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(serving._Handler, "timeout", 0.3)
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 2)
    with served(lambda: "page") as server, contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.server_port)))
            for _ in range(6)
        ]
        # Silent connections are closed, those above the limit at once, and make room again.
        for one in silent:
            one.settimeout(PATIENCE)
            assert one.recv(1) == b""
        monkeypatch.setattr(serving, "REQUEST_SECONDS", UNREACHED)
        monkeypatch.setattr(serving._Handler, "timeout", UNREACHED)

        def answered() -> bool:
            # A connection gives its place back a little after the client sees its end.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return fetch(server)[0] == 200
            return False

        wait_until(answered, "an answer")


def test_request_that_arrives_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUEST_SECONDS", 0.3)
    with (
        served(lambda: "page") as server,
        socket.create_connection(("127.0.0.1", server.server_port)) as slow,
    ):
        slow.settimeout(PATIENCE)
        # Less than the time-out of the socket lies between two bytes.
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in b"GET / HTTP/1.0\r\nX: " + b"a" * 1000:
                    if stop.wait(0.02):
                        break
                    slow.send(bytes([byte]))

        thread = threading.Thread(target=drip)
        thread.start()
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""
        stop.set()
        thread.join()


def test_other_addresses_need_a_decision() -> None:
    for address in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1"):
        with pytest.raises(UsageError, match="names all clients"):
            require_loopback(address, allow_remote=False)
        assert require_loopback(address, allow_remote=True) == address
    assert require_loopback("localhost", allow_remote=False) == "127.0.0.1"
    assert require_loopback("::1", allow_remote=False) == "::1"
    with pytest.raises(UsageError, match="not an IP address"):
        require_loopback("example.test", allow_remote=True)


def test_port_that_is_taken_is_reported() -> None:
    with served(lambda: "") as server, pytest.raises(CertmgrError, match="cannot listen"):
        DashboardServer("127.0.0.1", server.server_port, lambda: "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--serve", "--address", "0.0.0.0"), "not served on 0.0.0.0"),
        (("--address", "127.0.0.1"), "--address without --serve"),
        (("--port", "8480", "--allow-remote"), "--port, --allow-remote without --serve"),
        (("--serve", "--output", "x"), "exclude each other"),
        (("--serve", "--address", "example.test"), "not an IP address"),
        (("--language", "tlh"), "no language"),
    ],
)
def test_invalid_options_print_one_line(
    certmgr: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = certmgr("dashboard", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_database_is_read_in_the_thread_of_a_request(all_states: States) -> None:
    """A database that was opened by the command is used by the threads of the server."""
    from certmgr.cli.inspect.dashboard import _page
    from certmgr.cli.shared import CommandContext

    provider = all_states[0]
    app = CommandContext(
        None, str(provider.path), False, provider.clock, _settings=provider.settings
    )
    context = app.context()
    with served(lambda: _page(context, None, None)[0]) as server:
        status, _, body = fetch(server)
    app.close()
    assert status == 200
    assert b"old.example.test" in body
