"""Heads of the audit log in a file that is only appended to, one per day.

An administrator who cuts the log can write a consistent one, but not take back a line on
write-once storage (or in a file with ``chattr +a``, which root must set). A line is JSON: the time,
the number of entries, the head, and the answer of the timestamp authority if there is one.

Order: the authority answers, the line is appended and synced, and then the database records that
the day is done. A process that dies between two steps leaves at most a second line for one day.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.config.secret_values import secret
from certmgr.config.settings import AuditSettings
from certmgr.operations.timestamps import (
    authority_certificates,
    request_timestamp,
    verify_timestamp,
)
from inventory.dates import in_zone
from inventory.db.audit_chain import START
from inventory.errors import CertmgrError
from inventory.files import open_regular
from inventory.store import audit_log, jobs

JOB = "audit head"
_MAX_LINE = 200_000  # bytes; a token has less than 100,000 in base64


@dataclass(frozen=True, slots=True)
class StoredHead:
    """One line of the file.

    Attributes:
        at: When it was written (RFC 3339).
        head: The hash of the last entry.
        entries: The number of entries.
        answer: The answer of the timestamp authority (DER); empty if there is none.
    """

    at: str
    head: str
    entries: int
    answer: bytes = b""

    def line(self) -> bytes:
        token = base64.b64encode(self.answer).decode() or None
        values = {"at": self.at, "entries": self.entries, "head": self.head, "timestamp": token}
        return json.dumps(values).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> StoredHead | None:
        """Return the head of a line; None if the line is not complete."""
        try:
            values = json.loads(line)
            token = base64.b64decode(values["timestamp"] or "", validate=True)
            return cls(str(values["at"]), str(values["head"]), int(values["entries"]), token)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


def record(context: Context) -> None:
    """Append the head of today, unless the file has it already.

    Raises:
        CertmgrError: The file cannot be appended to, it was cut, the log was cut, or the timestamp
            authority failed. In the last case the line was written without a timestamp, and the
            next run asks again.
    """
    settings = context.settings.audit
    if not settings.head_file:
        return
    path, now = Path(settings.head_file), context.now()
    today = in_zone(now, ZoneInfo(context.settings.provider.time_zone)).date().isoformat()
    with jobs.alone(context.database, JOB):
        with context.read() as conn:
            head, entries = audit_log.head(conn)
            done = jobs.state(conn, JOB).detail
            # Into a new file of the configuration, the head of today is written again.
            written = done.get("date") == today and done.get("path", str(path)) == str(path)
            # A head without its timestamp is written again, with one, as soon as the authority
            # answers.
            if written and (done.get("stamped") or not settings.timestamp_url):
                return
            _require_unchanged(conn, path, _recorded_size(done, path))
        answer, failure = _stamp(settings, head, now)
        if answer or not written:
            stored = StoredHead(f"{now:%Y-%m-%dT%H:%M:%SZ}", head, entries, answer)
            size = _append(path, stored.line())
            with context.write() as tx:
                detail = {
                    "date": today,
                    "stamped": bool(answer),
                    "size": size,
                    "path": str(path),
                }
                jobs.succeeded(tx, JOB, detail)
    if failure is not None:
        raise failure


def _stamp(settings: AuditSettings, head: str, now: datetime) -> tuple[bytes, CertmgrError | None]:
    if not settings.timestamp_url:
        return b"", None
    try:
        roots = authority_certificates(Path(settings.timestamp_ca))
        stamp = request_timestamp(secret(settings.timestamp_url), head.encode(), roots, now)
    # The head is written without a timestamp rather than not at all.
    except CertmgrError as error:
        return b"", error
    return stamp.answer, None


def _require_unchanged(conn: Connection, path: Path, size: int) -> None:
    """Check that the file only grew, and that the log still contains its last head.

    Appending to a file that was rewritten, or after a log that was cut, would make both look
    plausible.

    Raises:
        CertmgrError: One of them was changed.
    """
    _require_size(path, size)
    if _size(path) is None:
        return
    last = next((found for _, found in deque(stored_heads(path), 1)), None)
    if last is None and _size(path):
        raise _cut(path)
    if last is not None and last.head != START and audit_log.has(conn, last.head) is None:
        raise CertmgrError(
            f"The audit log was cut: the last head of {path} is not in it",
            "entries were removed, or an older database was restored",
            "See certmgr audit verify. After a restore, name a new file in [audit] head_file.",
        )


def _recorded_size(done: Mapping[str, Any], path: Path) -> int:
    """Return the size of the file after the last head, as the database recorded it.

    0 if none was written to this file: an administrator names a new one after a restore. Records
    of earlier versions do not name their file.
    """
    return int(done.get("size", 0)) if done.get("path", str(path)) == str(path) else 0


def _require_size(path: Path, size: int) -> None:
    """Check that the file has at least what was written to it.

    The size is in the database, so that both would have to be changed together.

    Raises:
        CertmgrError: It is missing, it is shorter, or it cannot be read.
    """
    found = _size(path)
    if found is None and size:
        raise CertmgrError(
            f"{path} is missing",
            "heads of the audit log were written to it before",
            "Restore the file, or name a new one in [audit] head_file.",
        )
    if found is not None and found < size:
        raise _cut(path)


def _cut(path: Path) -> CertmgrError:
    return CertmgrError(
        f"{path} was cut or replaced",
        "it has less than was written to it",
        "Restore the file, or name a new one in [audit] head_file.",
    )


def _size(path: Path) -> int | None:
    """Return the size of a file; None if there is none.

    Raises:
        CertmgrError: It cannot be read, or is not a regular file.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # reported by the next line
    with open_regular(path) as file:
        return os.fstat(file.fileno()).st_size


def stored_heads(path: Path) -> Iterator[tuple[int, StoredHead]]:
    """Yield (line number, head) of each complete line.

    A line that a full disk or a power failure cut short is no head; the next one begins anew.

    Raises:
        CertmgrError: The file cannot be read.
    """
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
            if (found := StoredHead.parse(line)) is not None:
                yield number, found


def _append(path: Path, line: bytes) -> int:
    """Append a line, sync it, and return the size of the file.

    Only appending works under ``chattr +a`` and on write-once storage: no temporary file, no
    rename, no truncation.
    """
    # O_NOFOLLOW and O_NONBLOCK: the path may be a link or a pipe of another user, and root appends
    # to it.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        new = not path.exists()
        descriptor = os.open(path, flags | (os.O_CREAT if new else 0), 0o644)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "it is not a regular file")
            # A line that was cut short must not swallow this one.
            if status.st_size and _last_byte(path) != b"\n":
                line = b"\n" + line
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
            if new:
                _sync_folder(path.parent)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CertmgrError(
            f"The head of the audit log cannot be appended to {path}",
            error.strerror or str(error),
            "Correct [audit] head_file, or the rights of the file.",
        ) from None


def _last_byte(path: Path) -> bytes:
    with open_regular(path) as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def verify_stored(conn: Connection, settings: AuditSettings) -> tuple[int, int]:
    """Check that the log contains each stored head, and verify the timestamps.

    Returns:
        The number of heads, and of verified timestamps. No heads: none was written to the file yet,
        or no file is configured.

    Raises:
        CertmgrError: The file lacks what was written to it, a head is not in the log, or a
            timestamp is not valid.
    """
    path = Path(settings.head_file)
    if not settings.head_file:
        return 0, 0
    # Without its file, a log that was cut would pass.
    _require_size(path, _recorded_size(jobs.state(conn, JOB).detail, path))
    if _size(path) is None:
        return 0, 0
    roots = authority_certificates(Path(settings.timestamp_ca)) if settings.timestamp_ca else []
    heads = stamps = 0
    for number, stored in stored_heads(path):
        if stored.head != START and audit_log.has(conn, stored.head) is None:
            raise CertmgrError(
                f"The audit log was cut: the head of line {number} of {path} is not in it",
                "entries were removed, or an older database was restored",
                "Restore a backup and compare the entries.",
            )
        heads += 1
        # A timestamp without the certificates of its authority proves nothing, and is not counted.
        if stored.answer and roots:
            try:
                verify_timestamp(stored.answer, stored.head.encode(), roots)
            except CertmgrError as error:
                raise CertmgrError(
                    f"The timestamp in line {number} of {path} is not valid", error.why, error.todo
                ) from None
            stamps += 1
    return heads, stamps
