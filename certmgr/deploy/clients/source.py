"""What a takeover needs from a client: to read it, to check it, and each step with its undo."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from certmgr.deploy.client_model import ClientInstallation, ClientLineage
from certmgr.deploy.clients import served_files
from certmgr.deploy.clients.reading import DISABLED_SUFFIX
from certmgr.deploy.clients.schedules import domains_of, schedules_of
from certmgr.deploy.disk import require_trusted, sync_folder
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import Schedule, UndoneTakeover
from inventory.clock import Clock
from inventory.errors import CertmgrError


class ClientSource(Protocol):
    """Another ACME client. Every step can be repeated after a kill."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def default_path(self) -> Path | None:
        """Its usual directory; None if it has none."""

    @property
    def hides(self) -> bool:
        """Whether a single lineage can be hidden from it."""

    @property
    def always_hidden(self) -> bool:
        """Whether what is taken over is hidden even if the timer of the client is disabled.

        A manual run would otherwise write into our files.
        """

    def recognises(self, path: Path) -> bool:
        """Return whether a directory is that of this client."""

    def read(self, path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
        """Read an installation. ``interrupted``: lineage -> its configuration."""

    def schedules(self, root: Path) -> list[Schedule]:
        """Return what runs the client automatically."""

    def kept_schedules(
        self, schedules: Sequence[Schedule], taken: Sequence[ClientLineage]
    ) -> tuple[Schedule, ...]:
        """Return the schedules that may keep running although these lineages are taken over."""

    def objections(self, lineage: ClientLineage, ours: Lineage, now: datetime) -> Iterator[str]:
        """Yield the reasons why a lineage cannot be taken over."""

    def hide(self, configuration: Path, name: str) -> None:
        """Hide a lineage from the client, durably."""

    def show(self, configuration: Path, name: str) -> None:
        """Undo :meth:`hide`."""

    def take_over(self, lineage: ClientLineage, ours: Lineage) -> None:
        """Let servers read our files."""

    def is_taken_over(self, ours: Lineage) -> bool:
        """Return whether servers read our files, or are about to."""

    def give_back(self, ours: Lineage, clock: Clock) -> UndoneTakeover:
        """Let servers read the client's files again."""


def hide_by_name(configuration: Path, _name: str) -> None:
    """Rename a configuration file, so that its client does not see it."""
    _rename(configuration, configuration.with_name(configuration.name + DISABLED_SUFFIX))


def show_by_name(configuration: Path, _name: str) -> None:
    """Undo :func:`hide_by_name`."""
    if not configuration.exists():
        _rename(configuration.with_name(configuration.name + DISABLED_SUFFIX), configuration)


def _rename(old: Path, new: Path) -> None:
    try:
        with suppress(FileNotFoundError):
            old.rename(new)
            sync_folder(old.parent.resolve())
    except OSError as error:
        raise CertmgrError(
            f"{old} cannot be renamed",
            error.strerror or str(error),
            "Check the permissions of its directory.",
        ) from None


def _nothing(_configuration: Path, _name: str) -> None:
    """Hide nothing, because the client has no configuration per certificate on this machine."""


@dataclass(frozen=True)
class FileSource:
    """A client whose files are replaced by links (``served_files.py``).

    Attributes:
        name: See :class:`ClientSource`.
        default_path: See :class:`ClientSource`.
        program: The file name of its program; empty if it runs on another machine.
        reader: Reads an installation.
        recogniser: Recognises its directory.
        hider: Hides a lineage.
        shower: Undoes it.
    """

    name: str
    default_path: Path | None
    program: str
    reader: Callable[[Path, Mapping[str, str]], ClientInstallation]
    recogniser: Callable[[Path], bool]
    hider: Callable[[Path, str], None] = _nothing
    shower: Callable[[Path, str], None] = _nothing

    @property
    def hides(self) -> bool:
        return self.hider is not _nothing

    @property
    def always_hidden(self) -> bool:
        return self.hides

    def recognises(self, path: Path) -> bool:
        return self.recogniser(path)

    def read(self, path: Path, interrupted: Mapping[str, str]) -> ClientInstallation:
        return self.reader(path, interrupted)

    def schedules(self, root: Path) -> list[Schedule]:
        return schedules_of(self.program, root) if self.program else []

    def kept_schedules(
        self, schedules: Sequence[Schedule], taken: Sequence[ClientLineage]
    ) -> tuple[Schedule, ...]:
        # What is taken over is hidden, so that a schedule which stays finds nothing of it.
        if self.hides:
            return tuple(schedules)
        # Nothing can be hidden from this client: a schedule may go on only if it names its
        # domains, and none of them is taken over.
        names = {n.removeprefix("*.") for x in taken for n in x.names}
        return tuple(s for s in schedules if (d := domains_of(s)) and names.isdisjoint(d))

    def objections(self, lineage: ClientLineage, ours: Lineage, now: datetime) -> Iterator[str]:
        yield from file_objections(lineage, ours, now)

    def hide(self, configuration: Path, name: str) -> None:
        self.hider(configuration, name)

    def show(self, configuration: Path, name: str) -> None:
        self.shower(configuration, name)

    def take_over(self, lineage: ClientLineage, ours: Lineage) -> None:
        if lineage.files:
            served_files.take_over_files(lineage.files, ours)

    def is_taken_over(self, ours: Lineage) -> bool:
        return served_files.is_taken_over(ours)

    def give_back(self, ours: Lineage, clock: Clock) -> UndoneTakeover:
        return served_files.undo_takeover(ours, clock)


def file_objections(lineage: ClientLineage, ours: Lineage, now: datetime) -> Iterator[str]:
    """Yield the reasons why a lineage whose files are replaced cannot be taken over."""
    # A version without its key cannot be served.
    if lineage.bundle.key_pem is None:
        yield "its private key is not here"
    not_after = lineage.bundle.leaf.not_after
    if not_after is None or not_after <= now:
        # Taking it over would present an expired certificate as one that certmgr keeps alive.
        yield "its certificate has expired: renew it with its client, or delete it there"
    for file in lineage.files:
        if not file.path.is_file():
            yield f"{file.path} leads nowhere"
        elif not file.content:
            # Another certificate, such as the RSA twin, is installed at the same path.
            yield f"{file.path} holds another certificate or key than {lineage.live}"
        elif (
            file.path.is_symlink()
            and file.path.resolve().is_relative_to(ours.base.resolve())
            and not served_files.is_taken_over(ours)
        ):
            yield f"{file.path} already leads to a certificate of certmgr"
    yield from _rights(lineage, ours)
    held = ours.hold_reason()
    # A hold of this takeover itself is no objection: the same call completes it.
    if held and not served_files.is_taken_over(ours):
        yield f"'{ours.name}' is held here: {held}"


def _rights(lineage: ClientLineage, ours: Lineage) -> Iterator[str]:
    """Yield objections to the rights of the directories in which something would be written."""
    folders = dict.fromkeys(f.path.parent for f in lineage.files)
    for folder in folders:
        try:
            require_trusted(folder)
        except CertmgrError as error:
            yield f"{error.what}: {error.why}"
        if not os.access(folder, os.W_OK | os.X_OK):
            yield f"{folder} is not writable for this user: run the command as root"
    base = next((p for p in (ours.archive, *ours.archive.parents) if p.exists()), ours.base)
    if not os.access(base, os.W_OK | os.X_OK):
        yield f"{base} is not writable for this user: check [acme] directory"


def key_file_status(lineage: ClientLineage) -> os.stat_result | None:
    """Return owner, group and mode of the key that servers read; None if there is no file."""
    keys = (f.path for f in lineage.files if f.content in ("privkey.pem", "combined.pem"))
    # The most open one decides, since any of the files may be the one that a server reads.
    return max(
        (k.stat() for k in keys if k.is_file()),
        key=lambda s: stat.S_IMODE(s.st_mode) & 0o044,
        default=None,
    )
