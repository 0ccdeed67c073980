"""Loading and replacing of the trust rules."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certmgr.x509 import trust_data
from certmgr.x509.trust_rules import document_of, parse_rules
from inventory.errors import CertmgrError, UsageError
from tests.certmgr.x509.test_ccadb import A, report, row
from tests.certmgr.x509.test_trust_rules import document


def newer(version: str = "2026-11-28.2", date: str = "2026-11-28", **changes: Any) -> bytes:
    return json.dumps(document(**changes) | {"version": version, "date": date}).encode()


@pytest.fixture
def now() -> datetime:
    """A fixed day after that of the built-in rules."""
    return datetime(2026, 12, 2, 10, tzinfo=UTC)


def update(path: Path, data: bytes, now: datetime, **options: Any) -> trust_data.TrustUpdate:
    done, content = trust_data.prepare(data, "new", path, now, **options)
    trust_data.install(path, content)
    return done


def test_without_a_file_the_built_in_rules_are_in_force(tmp_path: Path) -> None:
    assert trust_data.load_rules(tmp_path / "none.json") is trust_data.built_in()
    assert trust_data.load_rules(None) is trust_data.built_in()


def test_newer_rules_replace_the_built_in_ones(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "new" / "rules.json"
    done = update(path, newer(), now)
    rules = trust_data.load_rules(path)
    assert rules.version == done.after.version == "2026-11-28.2"
    assert [r.name for r in rules.rules] == ["one"]
    assert len(done.dropped) == len(trust_data.built_in().rules)
    assert path.stat().st_mode & 0o777 == 0o644


def test_toml_is_accepted_too(tmp_path: Path, now: datetime) -> None:
    text = trust_data.BUILT_IN.read_text().replace('"2026-11-27"', '"x"', 1)
    done = update(tmp_path / "r.json", text.encode(), now)
    assert done.after.rules == trust_data.built_in().rules
    assert done.added == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (newer(date="2026-11-26"), "of 2026-11-26"),
        (newer(date="2027-11-26"), "future"),
        (newer(kind="gone"), "kind"),
        (newer(origin="ccadb:x"), "origin"),
        (newer()[:-20], "neither TOML nor JSON"),
        (b"", "schema"),
        (b"\xff\xfe\x00", "neither TOML nor JSON"),
        (b"[" * 100_000, "neither TOML nor JSON"),
        (b"{" * 100_000, "neither TOML nor JSON"),
        # The parser of TOML takes minutes for these.
        pytest.param(b".".join([b"a"] * 200_000) + b"=1", "100 dots in a line", id="dots"),
        pytest.param((b"a." * 99 + b"b=1\n") * 5_100, "1,000,000 characters", id="size"),
        (report(row("x")).encode(), "not a SHA-256"),
    ],
)
def test_invalid_data_replaces_nothing(
    tmp_path: Path, now: datetime, data: bytes, reason: str
) -> None:
    path = tmp_path / "rules.json"
    update(path, newer(date="2026-11-27"), now)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        update(path, data, now)
    assert reason in caught.value.why
    assert path.read_bytes() == before


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_windows_are_read(tmp_path: Path, now: datetime, encoding: str) -> None:
    path = tmp_path / "rules.json"
    assert update(path, newer().decode().encode(encoding), now).kind == "rules"
    csv = report(row()).encode(encoding)
    assert update(path, csv, now).roots == 1


def test_older_rules_need_force(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "rules.json"
    update(path, newer(), now)
    with pytest.raises(UsageError):
        update(path, newer("older", "2026-11-27"), now)
    assert update(path, newer("older", "2026-11-27"), now, force=True).after.version == "older"
    with pytest.raises(UsageError):
        update(path, newer("oldest", "2026-11-26"), now, force=True)


def test_report_is_added_and_its_successor_replaces_it(tmp_path: Path, now: datetime) -> None:
    path = tmp_path / "rules.json"
    gone = row(**{"Google Chrome Status": "Removed"})
    done = update(path, report(gone).encode(), now)
    own = len(trust_data.built_in().rules)
    assert done.roots == 1
    assert len(done.after.rules) == own + 2, "a removal, and a confirmation for Mozilla"
    assert done.after.version.startswith("2026-11-27+ccadb.")
    assert trust_data.load_rules(path).version == done.after.version
    again = update(path, report(row()).encode(), now)
    assert again.after.version != done.after.version
    assert [r.name for r in again.dropped][:1] == [f"ccadb-chrome-removed-{A.lower()[:32]}"]
    # Rules keep the report, and a report keeps the rules.
    both = update(path, newer(), now).after
    assert {r.name for r in both.rules if not r.origin} == {"one"}
    assert any(r.origin for r in both.rules)


def test_newer_release_wins_over_older_installed_rules_and_keeps_reports(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.json"
    update(path, newer("own", "2026-11-27"), now, force=True)
    update(path, report(row()).encode(), now)
    release = parse_rules(json.loads(newer("release", "2026-12-24", name="later")), "release")
    monkeypatch.setattr(trust_data, "built_in", lambda: release)
    rules = trust_data.load_rules(path)
    assert {r.name for r in rules.rules if not r.origin} == {"later"}
    assert rules.version.startswith("release+ccadb.")


def test_damaged_file_is_an_error_and_not_silently_ignored(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text("{")
    with pytest.raises(CertmgrError) as caught:
        trust_data.load_rules(path)
    assert str(path) in caught.value.what
    assert "trust reset" in caught.value.todo


def test_failed_write_leaves_the_old_file(
    tmp_path: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rules.json"
    update(path, newer(), now)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(CertmgrError):
        update(path, newer("third"), now)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no temporary file stays"


def test_age_is_counted_from_the_last_update(tmp_path: Path, now: datetime) -> None:
    rules = trust_data.built_in()
    assert trust_data.age(rules, now).days == (now.date() - rules.day).days
    path = tmp_path / "rules.json"
    update(path, report(row()).encode(), now)
    assert trust_data.age(trust_data.load_rules(path), now + timedelta(days=3)).days == 3


def test_digest_depends_on_the_content_and_not_on_the_order() -> None:
    rules = trust_data.built_in().rules
    assert trust_data.digest(rules) == trust_data.digest(rules[::-1])
    assert trust_data.digest(rules) != trust_data.digest(rules[1:])
    assert document_of(trust_data.built_in())["version"] == "2026-11-27"


def test_unusable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(CertmgrError, match="cannot be written"):
        trust_data.install(tmp_path / "empty.pem" / "rules.json", b"{}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CertmgrError, match="cannot be removed"):
        trust_data.uninstall(tmp_path / "folder")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertmgrError, match="none"):
        trust_data.read_rules(tmp_path / "none.json")
