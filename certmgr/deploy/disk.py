"""Crash-safe steps on a file system.

All steps use handles of folders (openat and similar), so that no folder of the path can be replaced
by a link between two steps.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inventory.errors import CertmgrError

# Names that a dead process may leave behind. The next process that holds the lock removes them.
# Hidden names, which no server configuration includes by a pattern such as *.pem.
LEFTOVER_PREFIXES = (".certmgr-new-", ".certmgr-old-", ".certmgr-link-")
MAX_FILE = 1_000_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Modes:
    """Owner, group and mode of the written files.

    Without owner and group, files are 0600 in folders of 0700. Folders are always owned by certmgr.
    With a group they are 0750: the group can read the files, but only certmgr can replace them.

    Attributes:
        uid: The owner of the files; -1 leaves it unchanged.
        gid: The group of files and folders; -1 leaves it unchanged.
        mode: The mode of the files.
    """

    uid: int = -1
    gid: int = -1
    mode: int = 0o600

    @property
    def folder(self) -> int:
        """The mode of folders."""
        return 0o750 if self.gid >= 0 else 0o700


def resolve_modes(owner: str = "", group: str = "", mode: str = "") -> Modes:
    """Resolve the names of a configuration.

    Args:
        owner: The user who owns the files; empty for the user of certmgr.
        group: The group; empty for the group of ``owner``.
        mode: The mode in octal digits; empty for 0600.

    Raises:
        CertmgrError: This machine has no such user or group.
    """
    try:
        user = pwd.getpwnam(owner) if owner else None
        gid = grp.getgrnam(group).gr_gid if group else user.pw_gid if user is not None else -1
    except KeyError:
        raise CertmgrError(
            (
                f"This machine has no user '{owner}' or no group '{group}'"
                if owner and group
                else f"This machine has no '{owner or group}'"
            ),
            "",
            "Correct owner and group of the target.",
        ) from None
    return Modes(user.pw_uid if user is not None else -1, gid, int(mode, 8) if mode else 0o600)


@contextmanager
def map_os_errors(what: str) -> Iterator[None]:
    """Convert an :class:`OSError` of the block to a :class:`CertmgrError`.

    The steps in such a block switch last. So the current version is still in use after an error.

    Args:
        what: What failed, as the first sentence of the message.
    """
    try:
        yield
    except OSError as error:
        # A full disk, an exceeded quota or a size limit has another remedy than a wrong mode.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = (
            "Free some space there"
            if full
            else "Check the owner and the mode of the folder, and that it is writable"
        )
        why = error.strerror or str(error)
        if isinstance(error.filename, str) and error.filename not in what:
            why += f" ({error.filename})"
        raise CertmgrError(what, why, f"{todo}. The previous version is still in use.") from None


@contextmanager
def open_folder(
    path: Path | str, above: int | None = None, *, follow: bool = False
) -> Iterator[int]:
    """Open a folder and yield its descriptor.

    Args:
        path: The path of the folder.
        above: The descriptor of the folder that a relative path starts from.
        follow: Whether the last component may be a link, which is followed once.
    """
    descriptor = os.open(path, _FOLDER | (0 if follow else os.O_NOFOLLOW), dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable."""
    with open_folder(path) as handle:
        os.fsync(handle)


def make_folder(path: Path, mode: Modes) -> None:
    """Create a folder if it is missing, durably. An existing folder keeps its mode."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    with open_folder(path) as handle:
        if mode.gid >= 0:
            os.fchown(handle, -1, mode.gid)
        os.fchmod(handle, mode.folder)
    # A folder that is not synced in its parent may be missing after a power failure, with all files
    # in it.
    sync_folder(path.parent)


def names_at(handle: int) -> list[str]:
    """Return the names in a folder."""
    return os.listdir(handle)


def write_at(handle: int, name: str, data: bytes, mode: Modes) -> None:
    """Create a file in a folder, durable on return.

    Owner and mode are set before the first byte is written, so that a key is never readable by
    others.
    """
    descriptor = os.open(
        name,
        os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
        dir_fd=handle,
    )
    # The file is 0600 until here, so that no other user can open it before its mode is final.
    try:
        if mode.uid >= 0 or mode.gid >= 0:
            os.fchown(descriptor, mode.uid, mode.gid)
        os.fchmod(descriptor, mode.mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        # Before the rename that gives it its name: otherwise a power failure could leave an empty
        # file under the final name (ext4, XFS).
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_at(handle: int, name: str) -> bytes:
    """Read a regular file of bounded size.

    Raises:
        OSError: It cannot be read, is not a regular file, or is too large.
    """
    # O_NONBLOCK: the open must not wait for a writer if the file is a pipe.
    descriptor = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle
    )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", name)
        data = file.read(MAX_FILE + 1)
    # One byte more than the limit was requested, so that a longer file is recognised.
    if len(data) > MAX_FILE:
        raise OSError(errno.EFBIG, "it is larger than any certificate", name)
    return data


def temporary_name(kind: str) -> str:
    """Return a random name that :func:`remove_leftovers` recognises. ``kind``: new, old or link."""
    return f".certmgr-{kind}-{secrets.token_hex(6)}"


def link_at(handle: int, name: str, text: str) -> None:
    """Create or replace a link with one rename, durable on return.

    Args:
        handle: The folder.
        name: The name of the link. A file or link of this name is replaced, a folder is not.
        text: What the link leads to.
    """
    temporary = temporary_name("link")
    os.symlink(text, temporary, dir_fd=handle)
    try:
        os.rename(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)
    except OSError:
        os.unlink(temporary, dir_fd=handle)
        raise
    os.fsync(handle)


def remove_at(handle: int, name: str) -> None:
    """Remove a file, link or folder.

    Folders are renamed to a temporary name before: a crash in the middle of the removal must not
    leave an incomplete version.
    """
    info = os.stat(name, dir_fd=handle, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        shutil.rmtree(name, dir_fd=handle)
    else:
        os.unlink(name, dir_fd=handle)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files and folders of dead processes.

    The caller holds the lock. What cannot be removed stays, which has no consequences.
    """
    with open_folder(path) as handle:
        for name in names_at(handle):
            if name.startswith(LEFTOVER_PREFIXES):
                try:
                    remove_at(handle, name)
                except OSError:  # for example on a read-only file system
                    continue


def require_trusted(path: Path) -> None:
    """Require that no other user can replace a folder or one of its parents.

    For example, the owner of a client's folder could insert a link to any other place, and root
    would write there.

    Raises:
        CertmgrError: Another user can replace ``path`` or a parent.
    """
    real = path.resolve()
    for folder in (real, *real.parents):
        try:
            info = folder.stat()
        except FileNotFoundError:
            continue
        # Without root, a link leads only to places that the user can write to anyway.
        if folder != real and os.geteuid() != 0:
            return
        # In a sticky folder such as /tmp, only the owner of an entry can replace it.
        writable = info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX
        if writable or info.st_uid not in (0, os.geteuid()):
            who = "other users" if writable else f"user {info.st_uid}"
            raise CertmgrError(
                f"Nothing is written below {folder}",
                f"{who} could replace it by a link to another place",
                "Use a folder that belongs to root (or to the user of certmgr), and that no other"
                " user can write to.",
            )
