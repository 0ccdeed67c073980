"""Who else may change a file that this program trusts. This module performs I/O.

A file can be changed by its owner, by those who may write to it, and by those who may rename
another file over it, or over a folder above it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from certmgr.config.settings import Settings
from inventory.errors import ConfigError


def changeable_by_others(path: Path) -> Path | None:
    """Return the file or folder by which other users may change the file; None if they may not.

    Root and this user are trusted. A missing file is judged by its folders.
    """
    # Both the path as it is written and the file that its links lead to.
    paths = dict.fromkeys((path.absolute(), path.resolve()))
    for found in paths:
        for place in (found, *found.parents):
            if _changeable(place, is_file=place == found):
                return place
    return None


def _changeable(path: Path, *, is_file: bool) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    # Its owner may change the mode of a file at any time.
    if status.st_uid not in (0, os.geteuid()):
        return True
    # In a folder with the sticky bit, such as /tmp, only the owner of a file may replace it.
    sticky = not is_file and status.st_mode & stat.S_ISVTX
    return bool(status.st_mode & 0o022) and not sticky


def programs(settings: Settings) -> list[tuple[str, ...]]:
    """Return the commands of the configuration that run on this machine or with its keys."""
    acme = settings.acme
    commands = [s.command for s in acme.solvers.values()]
    commands += [c for t in acme.targets.values() for c in (t.test, t.reload)]
    return [c for c in commands if c]


def require_unchangeable(settings: Settings, file: Path) -> None:
    """Refuse, for root, a configuration with programs that other users may change.

    Raises:
        ConfigError: Another user could name a program that root would run.
    """
    # Another user gains nothing by naming a program that runs with that user's own rights.
    if os.geteuid() != 0 or not programs(settings):
        return
    if (place := changeable_by_others(file)) is not None:
        raise ConfigError(
            f"The configuration {file} is not used as root",
            f"it names programs, and other users may change {place}",
            f"Run: chown root {place}; chmod go-w {place}",
        )
