"""Reading of files that a user names: only regular files, and only up to a limit.

Reading a pipe or a device may never end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

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


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content, cut one byte after ``limit``.

    By the additional byte, the caller detects a file that is too long.

    Raises:
        CertmgrError: The file cannot be read.
    """
    require_regular(path)
    try:
        # The file may have become a pipe since the check; O_NONBLOCK keeps open() from waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable file."
        ) from None
