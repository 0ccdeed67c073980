"""Replaces the files that servers read by links to the current version of a lineage, and back.

Other clients than certbot write files, or links with other names. Every path keeps its name, so
that no server configuration changes. The original of a file stays next to it under a hidden second
name (a hard link), and the text of a link is recorded, so that the takeover can be undone.

Order of durability: the record of all paths, the hold, then per path the second name before the
rename that replaces it; at the end the hold is released.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from certmgr.deploy.client_model import ServedFile
from certmgr.deploy.clients.pem_files import certificates_in, content_of, key_in
from certmgr.deploy.disk import (
    Modes,
    link_at,
    map_os_errors,
    open_folder,
    read_at,
    remove_leftovers,
    temporary_name,
    write_at,
)
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.takeover import UndoneTakeover
from certmgr.x509.bundle import CertificateBundle, build_bundle
from inventory.clock import Clock
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

_log = logging.getLogger(__name__)

MAX_FILE = 1_000_000
_RECORD = "served-files.json"
_ORIGINAL = ".certmgr-original-"


@dataclass(frozen=True, slots=True)
class _Replaced:
    """What a path was before the takeover.

    Attributes:
        path: The path.
        content: The file of a version that it leads to now.
        link: The text of the link that it was; None for a file.
    """

    path: str
    content: str
    link: str | None = None

    @property
    def folder(self) -> Path:
        return Path(self.path).parent

    @property
    def name(self) -> str:
        return Path(self.path).name

    @property
    def kept(self) -> Path:
        """The second name of the original file."""
        return self.folder / f"{_ORIGINAL}{self.name}"

    @property
    def original(self) -> Path:
        """Where the original content is while the path leads to us."""
        return self.folder / self.link if self.link is not None else self.kept


@dataclass(frozen=True, slots=True)
class _Record:
    """The record of one lineage.

    Attributes:
        files: What was replaced, or is about to be.
        undo: How it is being restored: empty, ``original`` or ``current``. Decided once, because
            a decision repeated in the middle would see a mixture of both.
        stamp: When it was decided, in seconds since 1970; it becomes part of the names of files.
    """

    files: tuple[_Replaced, ...]
    undo: str = ""
    stamp: int = 0


def _read_record(lineage: Lineage) -> _Record | None:
    try:
        with open_folder(lineage.archive) as handle:
            document = json.loads(read_at(handle, _RECORD))
    except FileNotFoundError:
        return None
    files = tuple(_Replaced(**f) for f in document["files"])
    return _Record(files, document["undo"], document["stamp"])


def _write_record(lineage: Lineage, record: _Record) -> None:
    """Record what is replaced, durably."""
    with open_folder(lineage.archive) as handle:
        temporary = temporary_name("new")
        write_at(handle, temporary, json.dumps(asdict(record)).encode(), Modes())
        os.rename(temporary, _RECORD, src_dir_fd=handle, dst_dir_fd=handle)
        os.fsync(handle)


def is_taken_over(lineage: Lineage) -> bool:
    """Return whether files were replaced, or are about to be."""
    return (lineage.archive / _RECORD).exists()


def take_over_files(files: Sequence[ServedFile], lineage: Lineage) -> None:
    """Replace files that servers read by links to the current version of a lineage.

    The current version must have the same key and certificates as the files, so that a server
    reads matching files at any time between two steps. After a kill, the next call completes it.

    Raises:
        CertmgrError: A file holds something else than the current version, or cannot be replaced.
    """
    with lineage.lock():
        current = lineage.read_current()
        assert current is not None  # the caller stored and switched to it
        record = _read_record(lineage)
        # A repeated call must not record what was replaced already.
        if record is None:
            record = _Record(tuple(_describe(f) for f in files))
        # It would record links to us as the original.
        elif record.undo:
            raise CertmgrError(
                f"The files of '{lineage.name}' are being given back",
                "an earlier undo was interrupted",
                f"Run certmgr lineage adopt --undo {lineage.name} first.",
            )
        # Paths that an interrupted call replaced already are left alone.
        todo = [f for f in record.files if not _is_ours(f, lineage)]
        for file in todo:
            _require_same(Path(file.path), file.content, current)
        with map_os_errors(f"The files of '{lineage.name}' cannot be replaced"):
            _write_record(lineage, record)
            # Durable before the first file changes.
            lineage.hold("the files that servers read are being replaced")
            for file in todo:
                _log.info("replacing %s", file.path)
                with open_folder(file.folder, follow=True) as handle:
                    _keep(handle, file)
                    link_at(handle, file.name, str(_current(lineage) / file.content))
            for folder in {f.folder for f in record.files}:
                remove_leftovers(folder.resolve())
        lineage.release()


def _describe(file: ServedFile) -> _Replaced:
    link = os.readlink(file.path) if file.path.is_symlink() else None  # noqa: PTH115 - the text
    return _Replaced(str(file.path), file.content, link)


def _current(lineage: Lineage) -> Path:
    return lineage.archive.resolve() / "current"


def _is_ours(file: _Replaced, lineage: Lineage) -> bool:
    path = Path(file.path)
    return path.is_symlink() and (
        os.readlink(path) == str(_current(lineage) / file.content)  # noqa: PTH115 - the text
    )


def _require_same(path: Path, content: str, current: CertificateBundle) -> None:
    data = read_regular(path, MAX_FILE)
    found = content_of(data, current)
    # A chain without intermediates is an empty file, which no content distinguishes.
    if found != content and current.files.get(content) != data:
        raise CertmgrError(
            f"{path} has another certificate than certmgr",
            "the files would not match while they are replaced",
            "The other client may have renewed since: repeat the takeover.",
        )


def _keep(handle: int, file: _Replaced) -> None:
    """Give the original file its second name, durably. The text of a link is in the record."""
    if file.link is not None:
        return
    # A second name from an interrupted call leads to the same file, or to one that was rewritten.
    with suppress(FileNotFoundError):
        os.unlink(file.kept.name, dir_fd=handle)
    os.link(
        file.name,
        file.kept.name,
        src_dir_fd=handle,
        dst_dir_fd=handle,
        follow_symlinks=False,
    )
    os.fsync(handle)


def undo_takeover(lineage: Lineage, clock: Clock) -> UndoneTakeover:
    """Restore the files and links of the other client.

    The lineage is switched to the original certificate first, so that servers read matching files
    at any time. If the certificate in use ends later than the original, it is written where the
    client keeps its own: an undo must not take a site offline. The caller reloads the servers.

    Raises:
        UsageError: Nothing was taken over.
        CertmgrError: The original files do not exist any more, or a file cannot be restored.
    """
    with lineage.lock():
        record = _read_record(lineage)
        if record is None:
            raise UsageError(
                f"No files of another client were taken over for '{lineage.name}'",
                "there is no record of a takeover",
                "Check the name of the lineage: certmgr lineage list.",
            )
        with map_os_errors(f"The files of '{lineage.name}' cannot be restored"):
            if not record.undo:
                # Decided and recorded once: a second decision in the middle would see files of both
                # versions.
                undo, stamp = _prepare_undo(lineage, record), int(clock().timestamp())
                record = replace(record, undo=undo, stamp=stamp)
                _write_record(lineage, record)
            lineage.hold("the files that servers read are being restored (undo)")
            for file in record.files:
                _restore(lineage, file, 0 if record.undo == "original" else record.stamp)
            for folder in {f.folder for f in record.files}:
                remove_leftovers(folder.resolve())
        # Released before the record is removed: after a crash in between, the call can be
        # repeated, and nothing is held without a record.
        lineage.release()
        with (
            map_os_errors(f"{lineage.archive} cannot be written to"),
            open_folder(lineage.archive) as handle,
        ):
            os.unlink(_RECORD, dir_fd=handle)
            os.fsync(handle)
        current = lineage.read_current()
        assert current is not None  # the takeover switched to it
        return UndoneTakeover(current.leaf, record.undo == "current")


def _prepare_undo(lineage: Lineage, record: _Record) -> str:
    """Make the current version match what is restored, and return what that is."""
    bundle = _original_bundle(lineage, record)
    if bundle is None or bundle.key_pem is None:
        return "original"  # no file was replaced yet
    current = lineage.read_current()
    if current is not None and current.chain_der == bundle.chain_der:
        return "original"
    ends = bundle.leaf.not_after, current.leaf.not_after if current is not None else None
    # Of two that end in the same second, the one in use stays.
    if ends[1] is not None and (ends[0] is None or ends[0] <= ends[1]):
        assert current is not None
        if current.key_pem is None:
            raise CertmgrError(
                f"'{lineage.name}' is not given back",
                f"its original certificate ends on {ends[0]:%Y-%m-%d}, and the one in use on"
                f" {ends[1]:%Y-%m-%d}; its key is not on this machine",
                "Leave the lineage to certmgr, or renew it with a key of this machine first:"
                " certmgr lineage edit and certmgr renew.",
            )
        return "current"
    # First the version behind our links, then the links: between two steps all paths serve one
    # certificate.
    lineage.switch(lineage.store(bundle.key_pem, bundle.chain_der))
    return "original"


def _original_bundle(lineage: Lineage, record: _Record) -> CertificateBundle | None:
    """Read the key and chain of the original files; None if none of them was replaced."""
    replaced = [f for f in record.files if _is_ours(f, lineage)]
    if not replaced:
        return None
    data = [
        read_regular(f.original if _is_ours(f, lineage) else Path(f.path), MAX_FILE)
        for f in record.files
    ]
    key = next((k for d in data if (k := key_in(d)) is not None), None)
    chains = sorted((certificates_in(d) for d in data), key=len, reverse=True)
    leaf = next((c for c in chains if len(c) == 1), chains[0])
    full = next((c for c in chains if key is not None and _belongs(key, c)), leaf)
    return build_bundle(key, full)


def _belongs(key: bytes, chain: Sequence[bytes]) -> bool:
    try:
        build_bundle(key, chain)
    except CertmgrError:
        return False
    return True


def _restore(lineage: Lineage, file: _Replaced, stamp: int) -> None:
    """Restore one path. It may have been restored before, or never been replaced.

    Args:
        lineage: The lineage.
        file: The path.
        stamp: The stamp of a new file with the current content; 0 for the original.
    """
    with open_folder(file.folder, follow=True) as handle:
        if _is_ours(file, lineage):
            if stamp:
                _write_current(handle, lineage, file, stamp)
            elif file.link is not None:
                link_at(handle, file.name, file.link)
            else:
                os.rename(file.kept.name, file.name, src_dir_fd=handle, dst_dir_fd=handle)
        # After a crash before the replacement, both names lead to the same file.
        if file.link is None:
            with suppress(FileNotFoundError):
                os.unlink(file.kept.name, dir_fd=handle)
        os.fsync(handle)


def _write_current(handle: int, lineage: Lineage, file: _Replaced, stamp: int) -> None:
    """Replace a path by a file with the current content and the modes of the original.

    dehydrated links ``cert.pem`` to ``cert-SECONDS.pem``: there a new such file gets the link.
    """
    current = lineage.read_current()
    assert current is not None
    try:
        info = file.original.stat()
        # The modes of the original: a server that runs as another user must still be able to read
        # the key.
        modes = Modes(info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))
    except FileNotFoundError:
        modes = Modes()
    stamped = re.fullmatch(r"([^/]+-)\d+(\.\w+)", file.link or "")
    name = f"{stamped[1]}{stamp}{stamped[2]}" if stamped is not None else file.name
    temporary = temporary_name("new")
    write_at(handle, temporary, current.files[file.content], modes)
    os.rename(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)
    if stamped is not None:
        link_at(handle, file.name, name)
