"""Files that a user names: reading of regular files up to a limit, and names that must be new.

Reading a pipe or a device may never end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inventory.errors import CertmgrError


def require_regular(path: Path) -> None:
    """Check that a path is a regular file, without opening it.

    Raises:
        CertmgrError: It is not a regular file, or it does not exist.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable file."
        ) from None
    # stat() follows links, so a link to a regular file is accepted.
    if not stat.S_ISREG(mode):
        raise CertmgrError(
            f"{path} cannot be read", "it is not a regular file", "Name a readable file."
        )


def refuse_special(path: Path) -> None:
    """Refuse a pipe, device or socket at once. The caller reports all other problems.

    Raises:
        CertmgrError: Reading the path may never end.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    # A folder is left to the caller: some sources are folders.
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise CertmgrError(
            f"{path} cannot be read", "it is a pipe, device or socket", "Name a file."
        )


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading: the one way in which a file that a user names is opened.

    Raises:
        CertmgrError: The file cannot be opened or read, or it is not a regular file.
    """
    require_regular(path)
    try:
        # The file may have become a pipe since the check. O_NONBLOCK keeps open() from waiting,
        # O_NOCTTY keeps a terminal from becoming that of this process.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            # A device that replaced the file would be read without end.
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CertmgrError(
                    f"{path} cannot be read", "it is not a regular file", "Name a readable file."
                )
            yield file
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable file."
        ) from None


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content, cut one byte after ``limit``.

    By the additional byte, the caller detects a file that is too long.

    Raises:
        CertmgrError: The file cannot be read.
    """
    with open_regular(path) as file:
        # The limit holds also for a file that grows while it is read.
        return file.read(limit + 1)


def rename_new(source: str, target: str, folder: int | None = None) -> None:
    """Rename a file, and never replace an existing name or follow a link there.

    A check before the rename would leave time for another program to create the name.

    Args:
        source: The file.
        target: The new name in the same file system.
        folder: The handle of the folder that both names are relative to.

    Raises:
        FileExistsError: The name exists.
        OSError: The file cannot be renamed.
    """
    try:
        os.link(source, target, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        # A crash in between leaves both names of one file, and never neither.
        os.unlink(source, dir_fd=folder)
    except FileExistsError:
        raise
    except OSError as error:
        # Network shares and FAT have no hard links: the name is taken first, and replaced then.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(target, flags, 0o600, dir_fd=folder))
        os.rename(source, target, src_dir_fd=folder, dst_dir_fd=folder)
