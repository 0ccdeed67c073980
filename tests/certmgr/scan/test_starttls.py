"""STARTTLS with a real server per protocol, and dialogues that fail."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.scan_run import ScanOptions, scan_targets
from certmgr.scan.starttls import DIALOGUES, StartTlsRefused
from inventory.targets import Target
from tests.campaign import wait_until
from tests.certmgr.loopback import loopback_settings
from tests.certmgr.tls_servers import Probe, Stack, serve
from tests.clock import clock
from tests.servers import real

HOST = "mail.example.test"
GARBAGE = {
    "zeros": b"\x00" * 64,
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "lines": b"\xff\xfe\r\n" * 20,
}


@pytest.fixture
def pair(issuer: Authority, tmp_path: Path) -> tuple[Path, Path]:
    return real.write_pair(tmp_path, issuer.issue(HOST))


def _assert_trusted(probe: Probe, port: int, protocol: str) -> None:
    report = probe(f"{HOST}:{port}/{protocol}").report
    assert [f.code for f in report.findings if f.severity != "info"] == []
    assert report.addresses[0].trusted is True
    assert report.certificate is not None
    assert report.certificate.names == (HOST,)


def test_certificate_of_aiosmtpd_is_read_by_smtp(
    probe: Probe,
    pair: tuple[Path, Path],
    opened: Stack,
) -> None:
    _assert_trusted(probe, opened.enter_context(real.smtp(*pair)), "smtp")


def test_certificate_of_dovecot_is_read_by_imap_and_pop3(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    tmp_path.chmod(0o755)
    imap, pop3 = opened.enter_context(real.dovecot(tmp_path, *pair))
    _assert_trusted(probe, imap, "imap")
    _assert_trusted(probe, pop3, "pop3")


def test_certificate_of_pyftpdlib_is_read_by_ftp(
    probe: Probe,
    pair: tuple[Path, Path],
    tmp_path: Path,
    opened: Stack,
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair[0].read_bytes() + pair[1].read_bytes())
    _assert_trusted(probe, opened.enter_context(real.ftp(both)), "ftp")


def test_certificate_of_slapd_is_read_by_ldap(
    probe: Probe,
    pair: tuple[Path, Path],
    tmp_path: Path,
    opened: Stack,
) -> None:
    _assert_trusted(probe, opened.enter_context(real.slapd(tmp_path, *pair)), "ldap")


def _answers_tls(port: int) -> bool:
    """Return whether PostgreSQL accepts an SSLRequest (PostgreSQL 55.2.11)."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(bytes.fromhex("0000000804d2162f"))
        return sock.recv(1) == b"S"


@contextmanager
def _tls_of_postgres(port: int, pair: tuple[Path, Path]) -> Iterator[None]:
    """Turn on TLS in the running server, which is faster than another server for one test."""
    connection = f"host=127.0.0.1 port={port} user=test dbname=postgres"
    with psycopg.connect(connection, autocommit=True) as conn:
        row = conn.execute("SHOW data_directory").fetchone()
        assert row is not None
        folder = Path(row[0])
        owner = folder.stat()
        for source, name in zip(pair, ("server.crt", "server.key"), strict=True):
            (folder / name).write_bytes(source.read_bytes())
            (folder / name).chmod(0o600)
            os.chown(folder / name, owner.st_uid, owner.st_gid)
        conn.execute("ALTER SYSTEM SET ssl = on")
        try:
            conn.execute("SELECT pg_reload_conf()")
            wait_until(lambda: _answers_tls(port), "TLS of PostgreSQL")
            yield
        finally:
            conn.execute("ALTER SYSTEM RESET ssl")
            conn.execute("SELECT pg_reload_conf()")
            wait_until(lambda: not _answers_tls(port), "PostgreSQL without TLS")


def test_certificate_of_postgres_is_read_by_postgres(
    probe: Probe,
    pair: tuple[Path, Path],
    postgres_port: int,
) -> None:
    with _tls_of_postgres(postgres_port, pair):
        _assert_trusted(probe, postgres_port, "postgres")


def test_postgres_without_tls_has_no_starttls(probe: Probe, postgres_port: int) -> None:
    result = probe(f"{HOST}:{postgres_port}/postgres")
    assert result.severe() == {"starttls-missing"}


def test_smtp_server_without_tls_has_no_starttls(
    probe: Probe,
    pair: tuple[Path, Path],
    opened: Stack,
) -> None:
    port = opened.enter_context(real.smtp(*pair, starttls=False))
    assert probe(f"{HOST}:{port}/smtp").severe() == {"starttls-missing"}


def _greeting(data: bytes) -> servers.ConnectionHandler:
    """Return a server that sends data immediately, and nothing more."""

    def talk(sock: socket.socket) -> None:
        sock.sendall(data)
        servers.silent(sock)

    return talk


@pytest.fixture(scope="session")
def garbage(
    root: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], EndpointReport]:
    """Return a function from protocol and kind of garbage to the report about that server.

    All are scanned in one run, since some wait for an answer until the time-out.
    """
    with Stack() as opened:
        ports = {kind: serve(opened, _greeting(data)) for kind, data in GARBAGE.items()}
        targets = {
            (protocol, kind): Target(f"{kind}.example.test", port, protocol)
            for kind, port in ports.items()
            for protocol in DIALOGUES
        }
        overrides = {(t.host, t.port): ("127.0.0.1",) for t in targets.values()}
        reports = scan_targets(
            loopback_settings(root, tmp_path_factory.mktemp("garbage")),
            ScanOptions(overrides=overrides, timeout=1.5),
            list(targets.values()),
            clock=clock,
        )
    by_target = {r.target: r for r in reports}
    return lambda protocol, kind: by_target[targets[protocol, kind]]


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_no_starttls_or_a_timeout(
    garbage: Callable[[str, str], EndpointReport],
    protocol: str,
    kind: str,
) -> None:
    result = {f.code for f in garbage(protocol, kind).findings}
    assert result
    assert result <= {"starttls-missing", "connection-timeout"}


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
def test_reply_without_end_is_refused_after_a_bounded_number_of_bytes(protocol: str) -> None:
    dialogue = DIALOGUES[protocol]()
    next(dialogue)
    fed = 0
    with pytest.raises((StartTlsRefused, StopIteration)):
        for _ in range(100):
            fed += 1000
            dialogue.send(b"2" * 1000)
    assert fed <= 40_000
