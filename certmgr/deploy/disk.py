"""Steps on a file system that survive a crash at any point, all through handles of folders: nothing
between two steps can be exchanged for a link.
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

# What a process that died may leave behind; swept by the next one that holds the lock.
LEFTOVER = (".certmgr-new-", ".certmgr-old-", ".certmgr-link-")
MAX_FILE = 1_000_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Modes:
    """Who may read what is written.

    Without owner and group: 0600 in folders of 0700. ``uid``, ``gid``: -1 leaves them. Folders stay
    our own; where there is a group they are 0750, so that it can reach the files and nobody but us
    can exchange them.
    """

    uid: int = -1
    gid: int = -1
    mode: int = 0o600

    @property
    def folder(self) -> int:
        return 0o750 if self.gid >= 0 else 0o700


def modes(owner: str = "", group: str = "", mode: str = "") -> Modes:
    """From the words of a configuration.

    Raises :class:`CertmgrError` for users and groups that this machine does not have.
    """
    try:
        user = pwd.getpwnam(owner) if owner else None
        gid = grp.getgrnam(group).gr_gid if group else user.pw_gid if user is not None else -1
    except KeyError:
        raise CertmgrError(
            (
                f"There is no user '{owner}' or no group '{group}' here"
                if owner and group
                else f"There is no '{owner or group}' here"
            ),
            "",
            "Correct owner and group of the target.",
        ) from None
    return Modes(user.pw_uid if user is not None else -1, gid, int(mode, 8) if mode else 0o600)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """An OSError becomes one message.

    Nothing that is in use was touched by then: that is the order of the steps inside.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = (
            "Free some space there"
            if full
            else "Check the owner and the mode of the folder, and that it can be written to"
        )
        why = error.strerror or str(error)
        if isinstance(error.filename, str) and error.filename not in what:
            why += f" ({error.filename})"
        raise CertmgrError(what, why, f"{todo}. The version before is in use as it was.") from None


@contextmanager
def folder(path: Path | str, above: int | None = None, *, follow: bool = False) -> Iterator[int]:
    """A handle. ``follow``: the last component may be a link, which is followed once."""
    descriptor = os.open(path, _FOLDER | (0 if follow else os.O_NOFOLLOW), dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    with folder(path) as handle:
        os.fsync(handle)


def make_folder(path: Path, mode: Modes) -> None:
    """Made where it is missing, and durable in its parent then. Raises OSError."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    with folder(path) as handle:
        if mode.gid >= 0:
            os.fchown(handle, -1, mode.gid)
        os.fchmod(handle, mode.folder)
    sync(path.parent)


def names_at(handle: int) -> list[str]:
    return os.listdir(handle)


def write_at(handle: int, name: str, data: bytes, mode: Modes) -> None:
    """A new file in a folder; owner and mode stand before the first byte does, and it is durable on
    return.
    """
    descriptor = os.open(
        name,
        os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
        dir_fd=handle,
    )
    try:
        if mode.uid >= 0 or mode.gid >= 0:
            os.fchown(descriptor, mode.uid, mode.gid)
        os.fchmod(descriptor, mode.mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_at(handle: int, name: str) -> bytes:
    """A regular file of bounded size. Raises OSError."""
    descriptor = os.open(
        name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle
    )
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", name)
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise OSError(errno.EFBIG, "it is larger than any certificate", name)
    return data


def token(kind: str) -> str:
    """A name for what is not in its place yet: new, old, link."""
    return f".certmgr-{kind}-{secrets.token_hex(6)}"


def link_at(handle: int, name: str, text: str) -> None:
    """``name`` becomes a link to ``text`` in one rename, whatever it was before (a folder is never
    replaced), and is durable on return.
    """
    temporary = token("link")
    os.symlink(text, temporary, dir_fd=handle)
    try:
        os.rename(temporary, name, src_dir_fd=handle, dst_dir_fd=handle)
    except OSError:
        os.unlink(temporary, dir_fd=handle)
        raise
    os.fsync(handle)


def remove_at(handle: int, name: str) -> None:
    """A file, link or folder; only ever of a temporary name, so that half of it is never taken for
    the whole.
    """
    info = os.stat(name, dir_fd=handle, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        shutil.rmtree(name, dir_fd=handle)
    else:
        os.unlink(name, dir_fd=handle)


def sweep(path: Path) -> None:
    """Removes what a dead process left.

    To be called by the holder of the lock. What cannot be removed stays: it is in nobody's way.
    """
    with folder(path) as handle:
        for name in names_at(handle):
            if name.startswith(LEFTOVER):
                try:
                    remove_at(handle, name)
                except OSError:
                    continue


def require_trusted(path: Path) -> None:
    """Raises :class:`CertmgrError` where somebody else could exchange ``path`` or a folder above it
    while we write there as root.

    A folder of a client's is such a place: its owner can put a link to anywhere in our way.
    """
    real = path.resolve()
    for place in (real, *real.parents):
        try:
            info = place.stat()
        except FileNotFoundError:
            continue
        if place != real and os.geteuid() != 0:
            return
        others = info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX
        if others or info.st_uid not in (0, os.geteuid()):
            who = "others" if others else f"user {info.st_uid}"
            raise CertmgrError(
                f"Nothing is written below {place}",
                f"{who} could put a link to somewhere else in its place",
                "Use a folder that belongs to root (or to the user of certmgr), and that nobody"
                " else can write to.",
            )
