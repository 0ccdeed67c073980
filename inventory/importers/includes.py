"""The files that an Include of a web server's configuration names.

nginx and Apache match names as a shell does: a wildcard stands for no slash and for no file whose
name begins with a dot, such as what an editor leaves there.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from inventory.errors import UsageError

_WILDCARDS = "*?["
# A configuration may name a whole file system. A server of 50,000 sites has a file for each.
MAX_NAMES = 1_000_000
MAX_DEPTH = 20  # of folders in a folder that an Include names


def has_wildcard(pattern: str) -> bool:
    """Return whether a pattern stands for any number of files, none included."""
    return any(c in pattern for c in _WILDCARDS)


class IncludeSearch:
    """Finds the files of all includes of a configuration, which together read a bounded number.

    Attributes:
        exhausted: Whether they would have read more.
    """

    def __init__(self, source: Path) -> None:
        self._source, self._left = source, MAX_NAMES
        self._found: dict[str, list[str]] = {}
        self.exhausted = False

    def files(self, pattern: str, *, folders: bool = False) -> list[str]:
        """Return the files that match a pattern, sorted.

        Args:
            pattern: An absolute path, or one relative to the working directory.
            folders: Whether a folder stands for the files in it and in its folders.

        Raises:
            UsageError: The includes would read too many names.
            ValueError: The pattern has a character that no path has.
        """
        # Any number of lines may have the same pattern.
        if pattern not in self._found:
            depth = MAX_DEPTH if folders else 0
            self._found[pattern] = list(self._files(sorted(self._matching(pattern)), depth))
        return self._found[pattern]

    def among(self, names: Iterable[str], pattern: str) -> list[str]:
        """Return those of the names that a pattern stands for, sorted.

        Raises:
            UsageError: The includes would compare too many names.
        """
        if pattern not in self._found:
            found = [n for n in self._counted(names) if n == pattern or matches(n, pattern)]
            self._found[pattern] = sorted(found)
        return self._found[pattern]

    def _matching(self, pattern: str) -> list[str]:
        # Path.glob() takes files that begin with a dot for matches, and no glob has a limit.
        found = [os.sep if pattern.startswith(os.sep) else ""]
        for part in pattern.split("/"):
            if has_wildcard(part):
                found = [
                    os.path.join(f, name)  # noqa: PTH118
                    for f in found
                    for name in self._named(f, part)
                ]
            elif part:
                found = [os.path.join(f, part) for f in found]  # noqa: PTH118
        return found

    def _named(self, folder: str, wanted: str) -> Iterator[str]:
        for name in self._names(folder):
            if fnmatch.fnmatchcase(name, wanted) and (
                wanted.startswith(".") or not name.startswith(".")
            ):
                yield name

    def _names(self, folder: str) -> list[str]:
        """Return the names in a folder; none if it cannot be read."""
        try:
            with os.scandir(folder or os.curdir) as entries:
                return list(self._counted(entry.name for entry in entries))
        except OSError:
            return []

    def _files(self, paths: Iterable[str], depth: int) -> Iterator[str]:
        for path in self._counted(paths):
            # These are false for a path that cannot be read, or that is too long.
            if os.path.isfile(path):  # noqa: PTH113
                yield path
            elif depth and os.path.isdir(path):  # noqa: PTH112
                inner = [os.path.join(path, n) for n in sorted(self._names(path))]  # noqa: PTH118
                yield from self._files(inner, depth - 1)

    def _counted(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            self._left -= 1
            if self._left < 0:
                self.exhausted = True
                raise UsageError(
                    f"{self._source} includes too much",
                    f"its includes stand for more than {MAX_NAMES:,} names on this machine",
                    "Copy the configuration into a folder alone, and import it from there.",
                )
            yield name


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
