"""Downloads over verified https, from a URL that an administrator names."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from OpenSSL import SSL

from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server, server_context
from certmgr.net.downloads import download_verified
from certmgr.net.http_client import HttpLimits
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.net.scripted import scripted


def download(url: str, *ca_files: str, limit: int = 100_000) -> bytes:
    anchors = "".join(Path(name).read_text() for name in ca_files)
    return download_verified(url, anchors, (), HttpLimits(20, limit, redirects=3))


@pytest.fixture
def served(opened: contextlib.ExitStack, tmp_path: Path) -> Callable[[bytes], tuple[str, str]]:
    """Return a function that serves an answer over https: the URL, and the file of its CA."""

    def serve(answer: bytes) -> tuple[str, str]:
        root = Authority("Mirror Root")
        issued = Authority("Mirror Issuer", root).issue("127.0.0.1")

        context = server_context(issued)

        def talk(sock: socket.socket) -> None:
            connection = SSL.Connection(context, sock)
            connection.set_accept_state()
            connection.do_handshake()
            connection.recv(65_536)
            connection.sendall(answer)
            connection.shutdown()

        server = Server(talk)
        opened.callback(server.close)
        (tmp_path / "mirror.pem").write_bytes(root.pem)
        return f"https://127.0.0.1:{server.port}/rules.json", str(tmp_path / "mirror.pem")

    return serve


def answer(body: bytes, head: str = "200 OK") -> bytes:
    return (
        f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def test_url_is_downloaded_and_its_certificate_verified(
    served: Callable[[bytes], tuple[str, str]],
) -> None:
    url, ca_file = served(answer(b"rules"))
    assert download(url, ca_file) == b"rules"
    with pytest.raises(CertmgrError) as caught:
        download(url)
    assert "its TLS certificate cannot be verified" in caught.value.why


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (answer(b"gone", "404 Not Found"), "HTTP 404"),
        (answer(b"", "302 Found\r\nLocation: http://127.0.0.1:9/x"), "https"),
        (answer(b"", "302 Found\r\nLocation: /again"), "more than 3 redirects"),
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "incomplete"),
    ],
)
def test_other_answer_is_an_error(
    served: Callable[[bytes], tuple[str, str]], reply: bytes, reason: str
) -> None:
    url, ca_file = served(reply)
    with pytest.raises(CertmgrError) as caught:
        download(url, ca_file)
    assert reason in caught.value.why
    assert "file" in caught.value.todo


def test_answer_without_end_is_cut(served: Callable[[bytes], tuple[str, str]]) -> None:
    url, ca_file = served(answer(b"x" * 200_000))
    with pytest.raises(CertmgrError, match="larger"):
        download(url, ca_file, limit=1000)


@pytest.mark.parametrize("url", ["http://a.test/r", "ftp://a.test/r", "file:///etc/passwd"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="https"):
        download(url)


def test_redirect_to_an_internal_host_is_refused(
    served: Callable[[bytes], tuple[str, str]],
) -> None:
    """The mirror may be internal, because an administrator names it; its targets may not."""
    with scripted(b"") as inside:
        location = f"https://localhost:{inside.port}/latest/meta-data/"
        url, ca_file = served(answer(b"", f"302 Found\r\nLocation: {location}"))
        with pytest.raises(CertmgrError) as caught:
            download(url, ca_file)
    assert "is not visited: " in caught.value.why
    assert inside.requests == []
