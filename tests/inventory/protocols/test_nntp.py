"""NNTP: the news server of INN, and replies that refuse."""

from __future__ import annotations

from pathlib import Path

from tests.certmgr.tls_servers import Probe, Stack
from tests.inventory.protocols.dialogues import (
    assert_refused,
    assert_started,
    assert_trusted,
    assert_undetermined,
    converse,
)
from tests.servers import starttls


def test_certificate_of_nnrpd_is_read(
    probe: Probe, pair: tuple[Path, Path], tmp_path: Path, opened: Stack
) -> None:
    folder = tmp_path / "news"
    assert_trusted(probe, opened.enter_context(starttls.nnrpd(folder, *pair)), "nntp")


def test_tls_starts_with_and_without_permission_to_post() -> None:
    for greeting in (b"200 posting allowed\r\n", b"201 no posting\r\n"):
        assert_started("nntp", greeting, b"382 continue\r\n")


def test_server_that_changes_its_mode_starts_tls_for_readers() -> None:
    for unknown in (b"500 what?\r\n", b"502 not in this mode\r\n"):
        replies = (b"200 transit\r\n", unknown, b"201 reader\r\n")
        assert_started("nntp", *replies, b"382 continue\r\n")
        assert_refused("nntp", *replies, b"580 cannot start TLS\r\n")
        assert_undetermined("nntp", *replies, b"400 shutting down\r\n")
    sent = converse("nntp", b"200 transit\r\n", b"500 what?\r\n", b"200 reader\r\n").sent
    assert sent == [b"", b"STARTTLS\r\n", b"MODE READER\r\n", b"STARTTLS\r\n"]


def test_refusals_of_tls_and_of_the_client_differ() -> None:
    assert_refused("nntp", b"200 ready\r\n", b"580 cannot start TLS\r\n")
    assert_refused("nntp", b"201 ready\r\n", b"500 what?\r\n", b"502 no\r\n", reason="what")
    assert_undetermined("nntp", b"502 you have no permission\r\n")
    assert_undetermined("nntp", b"400 later\r\n")
    assert_undetermined("nntp", b"200 ready\r\n", b"400 shutting down\r\n")
