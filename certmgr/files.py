"""Files that others read: written to a temporary name and renamed, so that none is seen in half."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from inventory.errors import CertmgrError


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, readable for its owner alone unless ``mode`` says otherwise.

    Raises :class:`CertmgrError`.
    """
    temporary = None
    try:
        path = path.resolve()  # through a link, to what it names
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a pipe or a device is written to, not replaced
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
            "Name a file in a folder that you may write to.",
        ) from None
