"""The record of a takeover from another client, from before its first step to its undo.

This module performs I/O. The file is durable before the first change, so that a takeover that a
kill interrupted can be completed, or undone as a whole.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from certmgr.deploy.disk import require_trusted
from inventory.errors import CertmgrError
from inventory.files import read_regular

MAX_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class TakeoverRecord:
    """What a takeover changes outside of the inventory.

    Attributes:
        path: The client's directory.
        running: Whether the takeover has not completed.
        lineages: The lineages that are taken over.
        enable: The commands that enable the disabled timers again.
        client: The client, as ``--from`` names it.
        configurations: Lineage -> the file by which the client knows it.
    """

    path: str
    running: bool = True
    lineages: tuple[str, ...] = ()
    enable: tuple[tuple[str, ...], ...] = field(default=())
    client: str = "certbot"
    configurations: tuple[tuple[str, str], ...] = field(default=())

    def configuration_of(self, name: str) -> str:
        """Return the file by which the client knows a lineage."""
        # Records of earlier versions have none: they are of certbot, whose layout is fixed.
        fallback = str(Path(self.path) / "renewal" / f"{name}.conf")
        return dict(self.configurations).get(name, fallback)


@dataclass(frozen=True, slots=True)
class TakeoverJournal:
    """The file of the record.

    Attributes:
        base: The directory of ACME.
        client: The client, as ``--from`` names it. Each has a separate record.
    """

    base: Path
    client: str = "certbot"

    @property
    def file(self) -> Path:
        """The path of the file."""
        return self.base / f"{self.client}-takeover.json"

    def read(self) -> TakeoverRecord | None:
        """Return the record; None if nothing is taken over.

        Raises:
            CertmgrError: The file is damaged, or another user could have written it.
        """
        if not self.file.exists():
            return None
        # It names commands that --undo runs.
        require_trusted(self.base)
        try:
            document = json.loads(read_regular(self.file, MAX_FILE))
            return TakeoverRecord(
                path=str(document["path"]),
                running=bool(document["running"]),
                lineages=tuple(document["lineages"]),
                enable=tuple(tuple(c) for c in document["enable"]),
                client=str(document.get("client", self.client)),
                configurations=tuple(
                    (str(n), str(c)) for n, c in document.get("configurations", ())
                ),
            )
        except (ValueError, KeyError, TypeError):
            raise CertmgrError(
                f"The record of the takeover in {self.file} cannot be read",
                "the file is damaged",
                "Restore it from a backup. Each lineage has a separate record, so that certmgr"
                " lineage adopt --undo NAME works without it once the file is moved away.",
            ) from None

    def write(self, record: TakeoverRecord) -> None:
        """Replace the record, durably."""
        # Written aside and renamed: a death in the middle leaves the record of before.
        temporary = self.file.with_suffix(".new")
        try:
            self.base.mkdir(parents=True, exist_ok=True, mode=0o700)
            # It names commands that --undo runs, so that no other user may write it.
            require_trusted(self.base)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(asdict(record), file)
                file.flush()
                os.fsync(file.fileno())
            # The content is durable before the name, and the name before the caller's first change.
            temporary.replace(self.file)
            sync_folder(self.base)
        except OSError as error:
            raise CertmgrError(
                f"The record of the takeover cannot be written to {self.file}",
                error.strerror or str(error),
                "Check [acme] directory and its permissions.",
            ) from None

    def remove(self) -> None:
        """Remove the record of a takeover that was undone."""
        # Last of all: without the record, an interrupted undo could not be continued.
        self.file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
