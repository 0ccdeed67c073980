"""Files that a user names: regular ones, and no more of them than is expected.

A pipe or a device may never end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from inventory.errors import CertmgrError


def require_regular(path: Path) -> None:
    """Raises :class:`CertmgrError` for what is no regular file, or cannot be looked at.

    Nothing is opened.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable file."
        ) from None
    if not stat.S_ISREG(mode):
        raise CertmgrError(
            f"{path} cannot be read", "it is no regular file", "Name a readable file."
        )


def read_regular(path: Path, limit: int) -> bytes:
    """At most one byte more than ``limit``, so that the caller sees that it is too long.

    Raises :class:`CertmgrError`.
    """
    require_regular(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise CertmgrError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable file."
        ) from None
