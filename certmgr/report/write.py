"""File names and folders of reports. A file name never contains text of a client."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from certmgr.files import require_no_link
from inventory.errors import CertmgrError


def file_name(number: str, extension: str) -> str:
    """Return a file name such as ``client-1001.html``.

    Unsafe characters are removed from the customer number. A hash then keeps the names of different
    clients different.
    """
    # Only these characters are safe on all file systems and in URLs. Many file systems limit a name
    # to 255 bytes.
    safe = re.sub(r"[^A-Za-z0-9_-]", "", number)[:40]
    if safe == number and safe:
        return f"client-{safe}.{extension}"
    return f"client-{safe or 'x'}-{hashlib.sha256(number.encode()).hexdigest()[:8]}.{extension}"


def make_folder(path: Path) -> Path:
    """Return the folder for the reports; create it if it is missing.

    Raises:
        CertmgrError: The folder cannot be created, or it is a link.
    """
    require_no_link(path)
    # Reports contain personal data, so only the owner may read the folder.
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"The folder {path} cannot be created",
            error.strerror or str(error),
            "Name another folder.",
        ) from None
    return path
