"""The records of takeovers and published answers in a folder where another user may write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from certmgr.acme.orders import proof_journal
from certmgr.acme.takeover.takeover_journal import TakeoverJournal, TakeoverRecord
from inventory.errors import CertmgrError


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "acme"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("certbot-takeover.new", lambda f: TakeoverJournal(f).write(TakeoverRecord("/etc"))),
        ("1.new", lambda f: proof_journal._write(f / "1.json", {"solver": "web"})),
    ],
    ids=["takeover", "answers"],
)
def test_record_is_not_written_through_the_link_of_another_user(
    tmp_path: Path, shared: Path, name: str, write: Callable[[Path], None]
) -> None:
    other = tmp_path / "other"
    other.write_text("unchanged")
    (shared / name).symlink_to(other)
    with pytest.raises(CertmgrError, match="other users could replace it"):
        write(shared)
    assert other.read_text() == "unchanged"
    shared.chmod(0o700)
    with pytest.raises(CertmgrError, match="symbolic links"):
        write(shared)
    assert other.read_text() == "unchanged"


def test_record_of_a_takeover_that_another_user_may_have_written_is_refused(shared: Path) -> None:
    """It names commands that --undo runs."""
    record = {"path": "/etc", "running": True, "lineages": [], "enable": [["sh", "-c", "id"]]}
    journal = TakeoverJournal(shared)
    journal.file.write_text(json.dumps(record))
    with pytest.raises(CertmgrError, match="other users could replace it"):
        journal.read()
    shared.chmod(0o700)
    found = journal.read()
    assert found is not None and found.enable == (("sh", "-c", "id"),)


def test_answers_that_another_user_may_have_written_are_not_removed(shared: Path) -> None:
    """A hook would be called with what they name."""
    path = shared / "1.json"
    path.write_text(json.dumps({"solver": "hook", "proofs": [["a.test", "token", "answer"]]}))
    assert proof_journal._document(path).proofs == ()
    shared.chmod(0o700)
    assert len(proof_journal._document(path).proofs) == 1
