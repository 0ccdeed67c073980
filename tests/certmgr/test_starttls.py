"""STARTTLS of each protocol against a real server, and dialogues that end badly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.demo import servers
from certmgr.demo.authority import Authority
from certmgr.demo.servers import Server
from certmgr.scan.starttls import DIALOGUES, Refused
from tests.conftest import Look
from tests.servers import postgres, real

HOST = "mail.example.test"
Stack = contextlib.ExitStack
Looker = Callable[..., Look]


@pytest.fixture
def pair(issuer: Authority, tmp_path: Path) -> tuple[Path, Path]:
    return real.write_pair(tmp_path, issuer.issue(HOST))


def _well(look: Looker, port: int, protocol: str) -> None:
    seen = look(f"{HOST}:{port}/{protocol}")
    assert [f.code for f in seen.report.findings if f.severity != "info"] == []
    assert seen.report.addresses[0].trusted is True
    assert seen.report.certificate is not None
    assert seen.report.certificate.names == (HOST,)


def test_smtp_aiosmtpd(look: Looker, pair: tuple[Path, Path], opened: Stack) -> None:
    _well(look, opened.enter_context(real.smtp(*pair)), "smtp")


def test_imap_and_pop3_dovecot(look: Looker, pair: tuple[Path, Path], tmp_path: Path, opened: Stack) -> None:
    tmp_path.chmod(0o755)
    imap, pop3 = opened.enter_context(real.dovecot(tmp_path, *pair))
    _well(look, imap, "imap")
    _well(look, pop3, "pop3")


def test_ftp_pyftpdlib(look: Looker, pair: tuple[Path, Path], tmp_path: Path, opened: Stack) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair[0].read_bytes() + pair[1].read_bytes())
    _well(look, opened.enter_context(real.ftp(both)), "ftp")


def test_ldap_slapd(look: Looker, pair: tuple[Path, Path], tmp_path: Path, opened: Stack) -> None:
    _well(look, opened.enter_context(real.slapd(tmp_path, *pair)), "ldap")


def test_postgres(look: Looker, pair: tuple[Path, Path], opened: Stack) -> None:
    _well(look, opened.enter_context(postgres.running(pair)), "postgres")


def test_postgres_without_tls(look: Looker, postgres_port: int) -> None:
    assert look(f"{HOST}:{postgres_port}/postgres").severe() == {"starttls-missing"}


def test_smtp_without_starttls(look: Looker, pair: tuple[Path, Path], opened: Stack) -> None:
    assert look(f"{HOST}:{opened.enter_context(real.smtp(*pair, starttls=False))}/smtp").severe() == {"starttls-missing"}


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
@pytest.mark.parametrize("garbage", [b"\x00" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xfe\r\n" * 20])
def test_garbage_is_no_starttls(look: Looker, opened: Stack, protocol: str, garbage: bytes) -> None:
    def talk(sock: object) -> None:
        sock.sendall(garbage)  # type: ignore[attr-defined]
        servers.silent(sock)  # type: ignore[arg-type]

    server = Server(talk)
    opened.callback(server.close)
    seen = look(f"{HOST}:{server.port}/{protocol}", timeout=1.5)
    assert set(seen.codes) <= {"starttls-missing", "connection-timeout"}
    assert seen.codes


@pytest.mark.parametrize("protocol", sorted(DIALOGUES))
def test_a_dialogue_is_bounded(protocol: str) -> None:
    """A server that never ends its reply is refused after a bounded number of bytes."""
    dialogue = DIALOGUES[protocol]()
    next(dialogue)
    fed = 0
    with pytest.raises((Refused, StopIteration)):
        for _ in range(100):
            fed += 1000
            dialogue.send(b"2" * 1000)
    assert fed <= 40_000
