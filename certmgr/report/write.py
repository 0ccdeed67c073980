"""Where reports go. Names never come from a client's words."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from inventory.errors import CertmgrError


def file_name(number: str, extension: str) -> str:
    """``client-1001.html``; a number with other characters is shortened to those that are safe, and
    told apart by a hash.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "", number)[:40]
    if safe == number and safe:
        return f"client-{safe}.{extension}"
    return f"client-{safe or 'x'}-{hashlib.sha256(number.encode()).hexdigest()[:8]}.{extension}"


def folder(path: Path) -> Path:
    """The folder for many reports, made where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"The folder {path} cannot be made", error.strerror or str(error), "Name another one."
        ) from None
    return path
