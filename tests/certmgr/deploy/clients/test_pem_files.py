"""PEM files of other clients: hostile files."""

from __future__ import annotations

from certmgr.deploy.clients.pem_files import key_in

KEY = b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY----- \r\n"


def test_key_ends_with_its_line() -> None:
    assert key_in(b"before\n" + KEY + b"after") == KEY


def test_key_behind_a_block_without_an_end_is_found() -> None:
    assert key_in(b"-----BEGIN RSA PRIVATE KEY-----\n" + KEY) == KEY


def test_many_blocks_without_an_end_are_searched_once() -> None:
    assert key_in(b"-----BEGIN EC PRIVATE KEY-----" * 200_000) is None
