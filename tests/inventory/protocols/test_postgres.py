"""PostgreSQL: a real server with and without TLS, and its three answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.campaign import wait_until
from tests.certmgr.tls_servers import Probe
from tests.inventory.protocols.dialogues import (
    HOST,
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
)


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
        assert_trusted(probe, postgres_port, "postgres")


def test_postgres_without_tls_has_no_starttls(probe: Probe, postgres_port: int) -> None:
    result = probe(f"{HOST}:{postgres_port}/postgres")
    assert result.severe() == {"starttls-missing"}


def test_answers_of_one_byte_are_understood() -> None:
    assert_started("postgres", b"S")
    assert_refused("postgres", b"N", reason="does not support TLS")
    assert_refused("postgres", b"H", reason="not PostgreSQL")
    assert_undetermined("postgres", b"E\0\0\0\x20SFATAL\0")


def test_bytes_without_tls_after_the_consent_are_refused_as_by_libpq() -> None:
    assert_refused("postgres", b"SZ\0\0\0\5I", reason="without TLS")
