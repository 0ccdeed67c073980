"""The files that an Include of a web server's configuration names.

nginx and Apache match names as a shell does: a wildcard stands for no slash and for no file whose
name begins with a dot, such as what an editor leaves there.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from itertools import islice
from pathlib import Path

_WILDCARDS = "*?["


def has_wildcard(pattern: str) -> bool:
    """Return whether a pattern stands for any number of files, none included."""
    return any(c in pattern for c in _WILDCARDS)


def matching(pattern: str, limit: int) -> list[str]:
    """Return the files and folders that match an absolute pattern, sorted, at most ``limit``.

    Raises:
        ValueError: The pattern has a character that no path has.
        OSError: A folder cannot be read.
    """
    # In the order of the directory: a folder of a million files is not sorted before the limit.
    # Path.glob() takes files that begin with a dot for matches.
    return sorted(islice(glob.iglob(pattern), limit))  # noqa: PTH207


def matches(path: str, pattern: str) -> bool:
    """Return whether a pattern stands for a path, without asking the file system."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        fnmatch.fnmatchcase(part, want) and (want.startswith(".") or not part.startswith("."))
        for part, want in zip(parts, wanted, strict=True)
    )


def missing_folder(pattern: str) -> str:
    """Return the folder before the first wildcard if it does not exist on this machine; else "".

    A server ignores a pattern without files. In a copy of a configuration, the files may be
    elsewhere.
    """
    parts = pattern.split("/")
    first = next((n for n, part in enumerate(parts) if has_wildcard(part)), len(parts) - 1)
    folder = "/".join(parts[:first]) or os.sep
    try:
        return "" if Path(folder).is_dir() else folder
    except (OSError, ValueError):
        return folder
