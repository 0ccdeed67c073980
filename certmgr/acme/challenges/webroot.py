"""http-01 by a file below a web root, or in a directory that web servers alias for all their sites.

An edge.

A web root belongs to a client and is hostile: it may hold links to anywhere, and change at any
moment. Every component below the part of the path that the administrator chose is opened by the
handle of the one above and never followed; the file is made anew (O_EXCL), with the owner of the
web root.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certmgr.acme.challenges.interface import ChallengeProof
from inventory.errors import CertmgrError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = (".well-known", "acme-challenge")


@dataclass(slots=True)
class WebRoot:
    """``path``: absolute; ``{name}`` becomes the name.

    ``alias``: the file lies right in it, and the web server maps the challenge's path to it.
    """

    path: str
    alias: bool = False
    challenge: str = "http-01"

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        for one in proofs:
            with _mapped(self.path, one.name), self._folder(one.name, make=True) as (folder, owner):
                _write(folder, one.token, one.key_authorization.encode(), owner)

    def clean(self, proofs: Sequence[ChallengeProof]) -> None:
        for one in proofs:
            with (
                contextlib.suppress(OSError, CertmgrError),
                self._folder(one.name, make=False) as (folder, _),
            ):
                os.unlink(one.token, dir_fd=folder)

    @contextmanager
    def _folder(self, name: str, *, make: bool) -> Iterator[tuple[int, os.stat_result]]:
        """(handle of the directory that the file lies in, whose it is)."""
        base, parts = trusted(self.path, name)
        with contextlib.ExitStack() as handles:
            handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            handles.callback(os.close, handle)
            for part in parts:
                handle = os.open(part, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
            owner = os.fstat(handle)
            for part in () if self.alias else _BELOW:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=handle)
                        _give(part, handle, owner)
                handle = os.open(part, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
            yield handle, owner


def trusted(path: str, name: str) -> tuple[Path, list[str]]:
    """(the part that the administrator chose, the components below it that belong to a client).

    Pure.
    """
    parts = Path(path).parts
    first = next((i for i, p in enumerate(parts) if "{name}" in p), len(parts) - 1)
    first = max(first, 1)
    return Path(*parts[:first]), [p.replace("{name}", name) for p in parts[first:]]


def _give(part: str, folder: int, owner: os.stat_result) -> None:
    """A directory that was made just now goes to the owner of the web root.

    By its handle, so that nothing else can.
    """
    handle = os.open(part, _DIRECTORY, dir_fd=folder)
    try:
        _own(handle, owner)
    finally:
        os.close(handle)


def _own(handle: int, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _write(folder: int, token: str, data: bytes, owner: os.stat_result) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(token, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(token, dir_fd=folder)
    handle = os.open(
        token,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o644,
        dir_fd=folder,
    )
    try:
        os.fchmod(handle, 0o644)
        _own(handle, owner)
        os.write(handle, data)
    finally:
        os.close(handle)


@contextmanager
def _mapped(path: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = (
            f"The answer to the challenge of {name} cannot be written below"
            f" {path.replace('{name}', name)}"
        )
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise CertmgrError(
                what,
                "a part of the way is a link, or no directory",
                "Links in a web root are not followed: a client could lead us anywhere. Use a"
                ' shared alias directory (kind = "alias").',
            ) from None
        raise CertmgrError(
            what,
            error.strerror or str(error),
            "Check the path of the solver and who may write there.",
        ) from None
