"""Heads of the audit log in a file that is only appended to, with timestamps of an authority."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
from sqlalchemy import text

from certmgr.config.context import Context
from certmgr.config.settings import AuditSettings, Settings
from certmgr.operations import audit_heads, cron
from certmgr.operations.timestamps import authority_certificates, verify_timestamp
from inventory.clock import system_clock
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import audit_log, clients, jobs
from tests.databases import open_sqlite
from tests.servers.timestamps import TimestampAuthority, timestamp_authority


class Day:
    """The system clock, moved by days: the authority reads the system's one."""

    days = 0

    def __call__(self) -> datetime:
        return system_clock() + timedelta(days=self.days)


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def database(tmp_path: Path, day: Day) -> Iterator[Database]:
    opened = open_sqlite(tmp_path / "heads.db", clock=day)
    with opened.write() as tx:
        for n in range(3):
            clients.add(tx, {"number": str(n), "name": f"Client {n}"})
    yield opened
    opened.close()


@pytest.fixture
def context(database: Database, settings: Settings, tmp_path: Path, day: Day) -> Context:
    audit = AuditSettings(head_file=str(tmp_path / "heads.jsonl"))
    return Context(database, replace(settings, audit=audit), day)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TimestampAuthority]:
    with timestamp_authority(tmp_path_factory.mktemp("tsa")) as running:
        yield running


@pytest.fixture
def stamped(context: Context, authority: TimestampAuthority) -> Iterator[Context]:
    """A context whose heads are signed."""
    audit = replace(
        context.settings.audit,
        timestamp_url=authority.url,
        timestamp_ca=str(authority.ca_file),
    )
    usual = authority.respond
    yield replace(context, settings=replace(context.settings, audit=audit))
    authority.respond = usual


def lines(context: Context) -> list[dict[str, Any]]:
    path = Path(context.settings.audit.head_file)
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def add_client(context: Context, number: str) -> None:
    with context.write() as tx:
        clients.add(tx, {"number": number, "name": f"Client {number}"})


def verified(context: Context) -> tuple[int, int]:
    with context.read() as conn:
        return audit_heads.verify_stored(conn, context.settings.audit)


def test_one_head_per_day_is_appended_and_found_in_the_log(context: Context, day: Day) -> None:
    audit_heads.record(context)
    add_client(context, "7")
    audit_heads.record(context)
    assert len(lines(context)) == 1, "once per day"
    day.days = 1
    audit_heads.record(context)
    first, second = lines(context)
    assert (first["entries"], second["entries"]) == (3, 4)
    assert first["head"] != second["head"]
    assert verified(context) == (2, 0)


def test_file_that_permits_only_appending_is_never_opened_otherwise(
    context: Context, day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(context.settings.audit.head_file)
    flags_seen, usual = [], os.open

    def watch(name: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(name) == str(path) and flags & (os.O_WRONLY | os.O_RDWR):
            flags_seen.append(flags)
        return usual(name, flags, *rest, **named)

    path.touch()
    monkeypatch.setattr(os, "open", watch)
    # Not every file system and user may set the attribute; the flags show the same.
    protected = subprocess.run(["chattr", "+a", path], capture_output=True).returncode == 0
    try:
        for day.days in range(3):
            audit_heads.record(context)
    finally:
        if protected:
            subprocess.run(["chattr", "-a", path], check=True)
    assert len(lines(context)) == 3
    assert len(flags_seen) == 3
    for flags in flags_seen:
        assert flags & os.O_APPEND and not flags & os.O_TRUNC


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "was cut or replaced"),
        (lambda path: path.write_bytes(b""), "was cut or replaced"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_text("a list of something else\n" * 40), "was cut or replaced"),
        (lambda path: os.mkfifo(path.rename(f"{path}.x") and path), "not a regular file"),
        (lambda path: (path.rename(f"{path}.x"), path.symlink_to(f"{path}.x")), "cannot be app"),
    ],
    ids=["cut", "empty", "missing", "foreign", "pipe", "link"],
)
def test_changed_file_is_refused_and_left_alone(
    context: Context, day: Day, change: Any, reason: str
) -> None:
    audit_heads.record(context)
    path, day.days = Path(context.settings.audit.head_file), 1
    change(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CertmgrError, match=reason):
        audit_heads.record(context)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "was cut or replaced"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "was cut or replaced"),
        (lambda path: (path.unlink(), path.symlink_to("/nonexistent")), "is missing"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    ],
    ids=["missing", "empty", "cut", "dangling-link", "folder"],
)
def test_verification_fails_without_what_was_written_to_the_file(
    context: Context, change: Any, reason: str
) -> None:
    """Without its heads, a log that was cut at its end is a consistent one."""
    audit_heads.record(context)
    change(Path(context.settings.audit.head_file))
    with pytest.raises(CertmgrError, match=reason):
        verified(context)


def test_verification_passes_before_the_first_head(context: Context) -> None:
    assert verified(context) == (0, 0)


def test_new_file_of_the_configuration_gets_the_head_of_the_same_day(
    context: Context, tmp_path: Path
) -> None:
    """What to do after a restore: the old file contains heads that the log lacks."""
    audit_heads.record(context)
    Path(context.settings.audit.head_file).unlink()
    audit = replace(context.settings.audit, head_file=str(tmp_path / "new.jsonl"))
    renamed = replace(context, settings=replace(context.settings, audit=audit))
    assert verified(renamed) == (0, 0)
    audit_heads.record(renamed)
    audit_heads.record(renamed)
    assert len(lines(renamed)) == 1
    assert verified(renamed) == (1, 0)


def test_record_of_an_earlier_version_belongs_to_the_configured_file(context: Context) -> None:
    audit_heads.record(context)
    with context.write() as tx:
        detail = jobs.state(tx.conn, audit_heads.JOB).detail
        jobs.succeeded(tx, audit_heads.JOB, {k: v for k, v in detail.items() if k != "path"})
    audit_heads.record(context)
    assert len(lines(context)) == 1
    Path(context.settings.audit.head_file).unlink()
    with pytest.raises(CertmgrError, match="is missing"):
        verified(context)


def test_line_that_was_cut_by_a_full_disk_does_not_swallow_the_next(
    context: Context, day: Day
) -> None:
    audit_heads.record(context)
    path, day.days = Path(context.settings.audit.head_file), 1
    with path.open("ab") as file:
        file.write(b'{"at": "2026-')
    audit_heads.record(context)
    assert verified(context) == (2, 0)


def test_log_that_was_cut_is_reported_and_gets_no_new_head(context: Context, day: Day) -> None:
    audit_heads.record(context)
    with context.write() as tx:
        tx.conn.execute(text("DELETE FROM audit WHERE id >= 2"))
    add_client(context, "9")
    day.days = 1
    with pytest.raises(CertmgrError, match="audit log was cut"):
        audit_heads.record(context)
    assert len(lines(context)) == 1
    with pytest.raises(CertmgrError, match=r"head of line 1 of .* is not in it"):
        verified(context)


def test_timestamp_is_verified_stored_and_valid_for_openssl(
    stamped: Context, authority: TimestampAuthority, tmp_path: Path
) -> None:
    audit_heads.record(stamped)
    (line,) = lines(stamped)
    (tmp_path / "head.txt").write_text(line["head"])
    (tmp_path / "head.tsr").write_bytes(base64.b64decode(line["timestamp"]))
    authority.openssl(
        *("ts", "-verify", "-data", tmp_path / "head.txt", "-in", tmp_path / "head.tsr"),
        *("-CAfile", authority.ca_file),
    )
    assert verified(stamped) == (1, 1)
    assert line["head"].encode() not in authority.requests[-1], "only its hash leaves"


def test_head_with_the_timestamp_of_another_is_found(stamped: Context, day: Day) -> None:
    audit_heads.record(stamped)
    path = Path(stamped.settings.audit.head_file)
    with path.open("a") as file:
        add_client(stamped, "8")
        with stamped.read() as conn:
            head = audit_log.head(conn)[0]
        file.write(json.dumps(lines(stamped)[0] | {"head": head}) + "\n")
    with pytest.raises(CertmgrError, match=r"timestamp in line 2 .* is not valid"):
        verified(stamped)


def _earlier(authority: TimestampAuthority) -> bytes:
    """Return an answer to an earlier query."""
    query = TimestampRequestBuilder().data(b"x").hash_algorithm(HashAlgorithm.SHA256).build()
    return authority.sign(query.as_bytes())


@pytest.mark.parametrize(
    "respond",
    [
        lambda a, q: (503, b""),
        lambda a, q: (200, b""),
        lambda a, q: (200, b"<html>not a token</html>"),
        lambda a, q: (200, a.sign(q)[:-40]),
        lambda a, q: (200, b"\x30\x80" * 20_000),
        lambda a, q: (200, _earlier(a)),
        lambda a, q: (200, bytes.fromhex("30053003020102")),
        lambda a, q: (200, a.sign(q).replace(b"Test tsa", b"Text tsa")),
        lambda a, q: (200, b"x" * 200_000),
    ],
    ids=[
        "unavailable",
        "empty",
        "page",
        "cut",
        "nested",
        "replayed",
        "rejection",
        "changed",
        "large",
    ],
)
def test_failed_authority_is_reported_and_the_head_is_written_without_a_timestamp(
    stamped: Context, authority: TimestampAuthority, respond: Any
) -> None:
    usual = authority.respond
    authority.respond = lambda query: respond(authority, query)
    with pytest.raises(CertmgrError, match="timestamp authority"):
        audit_heads.record(stamped)
    assert [line["timestamp"] for line in lines(stamped)] == [None]
    # The next run of the same day asks again, and appends the head with its timestamp.
    authority.respond = usual
    audit_heads.record(stamped)
    assert [bool(line["timestamp"]) for line in lines(stamped)] == [False, True]
    asked = len(authority.requests)
    audit_heads.record(stamped)
    assert len(authority.requests) == asked


def test_authority_of_another_ca_or_with_a_wrong_clock_is_not_believed(
    stamped: Context, authority: TimestampAuthority, day: Day, tmp_path: Path
) -> None:
    day.days = 3
    with pytest.raises(CertmgrError, match="it states the time"):
        audit_heads.record(stamped)
    other = TimestampAuthority(tmp_path)
    other.create()
    answer = authority.sign(authority.requests[-1])
    with pytest.raises(CertmgrError, match="does not lead to a certificate of"):
        verify_timestamp(answer, b"", authority_certificates(other.ca_file))
    own = authority_certificates(authority.ca_file)
    with pytest.raises(CertmgrError, match="a timestamp of other data"):
        verify_timestamp(answer, b"other", own)
    with pytest.raises(CertmgrError, match="answers another request"):
        verify_timestamp(answer, b"", own, nonce=1)


def test_failed_authority_never_stops_a_run(
    stamped: Context, authority: TimestampAuthority
) -> None:
    authority.respond = lambda _: (500, b"")
    result = cron.run(stamped, scan=False)
    assert [p for p in result.problems if p.startswith("audit head: The timestamp authority")]
    assert not result.not_done
    assert len(lines(stamped)) == 1
    assert datetime.fromisoformat(lines(stamped)[0]["at"]).tzinfo == UTC
