"""Atomic writes of output files.

A file is written under a temporary name and then renamed, so a reader never gets half of it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file completely, or leave the old file unchanged.

    Args:
        path: The file. A link is followed; a pipe or device is written directly.
        data: The content.
        mode: The permissions; by default, only the owner can read the file.

    Raises:
        CertmgrError: The file cannot be written.
    """
    _log.debug("writing %s", path)
    temporary = None
    try:
        # The target of a link is replaced, and not the link.
        path = path.resolve()
        # Renaming over a pipe or a device would remove it.
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=".certmgr-", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CertmgrError(
            f"{path} cannot be written",
            error.strerror or str(error),
            "Give a file in a directory with write permission.",
        ) from None
