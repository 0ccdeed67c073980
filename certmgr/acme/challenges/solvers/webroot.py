"""http-01 by a file below a web root, or in a directory that web servers alias for all sites.

This module performs I/O.

A web root belongs to a client and is untrusted: it may contain links to any path, and change at any
time. Each component below the administrator's part of the path is opened relative to the handle of
its parent, and links are not followed. The file is created exclusively (O_EXCL), with the owner of
the web root.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from certmgr.acme.challenges.interface import (
    HTTP_01,
    ChallengeProof,
    Leftover,
    Solver,
    SolverKind,
    SolverTools,
)
from certmgr.config.acme import SolverSettings
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BELOW = (".well-known", "acme-challenge")


@dataclass(slots=True)
class WebRoot:
    """The http-01 solver that writes files.

    Attributes:
        path: The absolute path; ``{name}`` is replaced by the name.
        alias: Whether the file is directly in this directory, to which the web server maps the
            challenge's path.
        challenge: The challenge type.
        persistent: The answers stay published after the process ends.
    """

    path: str
    alias: bool = False
    challenge: str = "http-01"
    persistent: bool = True

    def locate(self, proofs: Sequence[ChallengeProof]) -> Sequence[ChallengeProof]:
        return proofs

    def present(self, proofs: Sequence[ChallengeProof]) -> None:
        """Write a file for each challenge."""
        for proof in proofs:
            _log.info("writing the http-01 file of %s", proof.name)
            with (
                _map_os_errors(self.path, proof.name),
                self._folder(proof.name, make=True) as (folder, owner),
            ):
                _write(folder, proof.token, proof.key_authorization.encode(), owner)

    def clean(self, proofs: Sequence[ChallengeProof]) -> Sequence[Leftover]:
        """Remove the files."""
        left = []
        for proof in proofs:
            try:
                with self._folder(proof.name, make=False) as (folder, _):
                    os.unlink(proof.token, dir_fd=folder)
            # The client may have removed the file, or the whole web root with the site.
            except FileNotFoundError:
                continue
            except OSError as error:
                # Links and other changes of the client: the file was not written through them.
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    left.append(self._leftover(proof, error))
        return left

    def _leftover(self, proof: ChallengeProof, error: OSError) -> Leftover:
        below = "" if self.alias else "/".join(("", *_BELOW))
        file = f"{self.path.replace('{name}', proof.name).rstrip('/')}{below}/{proof.token}"
        return Leftover(proof, f"the file {file}", error.strerror or str(error), f"rm {file}")

    @contextmanager
    def _folder(self, name: str, *, make: bool) -> Iterator[tuple[int, os.stat_result]]:
        """Open the directory of the file, and yield its handle and the owner of the web root."""
        base, parts = split_path(self.path, name)
        with contextlib.ExitStack() as handles:
            # The administrator's part of the path may have links, which only root or the
            # administrator can change.
            handle = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            handles.callback(os.close, handle)
            for part in parts:
                handle = os.open(part, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
            owner = os.fstat(handle)
            for part in () if self.alias else _BELOW:
                if make:
                    # The folder of another order or of another ACME client is used as it is, with
                    # its rights.
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=handle)
                        _open_to_web_server(part, handle, owner)
                handle = os.open(part, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
            yield handle, owner


def split_path(path: str, name: str) -> tuple[Path, list[str]]:
    """Split a path into the administrator's part and the components that belong to a client.

    Pure. The client's part begins with the first component that contains ``{name}``.
    """
    parts = Path(path).parts
    first = next((i for i, p in enumerate(parts) if "{name}" in p), len(parts) - 1)
    first = max(first, 1)
    return Path(*parts[:first]), [p.replace("{name}", name) for p in parts[first:]]


def _open_to_web_server(part: str, folder: int, owner: os.stat_result) -> None:
    """Give a new directory to the owner of the web root, readable for the web server.

    The umask may be 0077, as in our systemd unit, and the web server is another user.

    It is opened by its handle: a client could replace the path by a link in between.
    """
    handle = os.open(part, _DIRECTORY, dir_fd=folder)
    try:
        os.fchmod(handle, 0o755)
        _set_owner(handle, owner)
    finally:
        os.close(handle)


def _set_owner(handle: int, owner: os.stat_result) -> None:
    # Only root can change the owner; another user writes files that belong to that user.
    if os.geteuid() == 0:
        os.fchown(handle, owner.st_uid, owner.st_gid)


def _write(folder: int, token: str, data: bytes, owner: os.stat_result) -> None:
    # An existing file or link is removed first, and never written through.
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(token, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(token, dir_fd=folder)
    handle = os.open(
        token,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        # The answer is public: the web server, which is another user, has to read it.
        0o644,
        dir_fd=folder,
    )
    try:
        os.fchmod(handle, 0o644)
        _set_owner(handle, owner)
        os.write(handle, data)
    finally:
        os.close(handle)


@contextmanager
def _map_os_errors(path: str, name: str) -> Iterator[None]:
    """Raise operating system errors as :class:`CertmgrError`."""
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
                "a component of the path is a link, or not a directory",
                "Links in a web root are not followed, because a client could link to any path. Use"
                ' a shared alias directory (kind = "alias").',
            ) from None
        raise CertmgrError(
            what,
            error.strerror or str(error),
            "Check the path of the solver and its permissions.",
        ) from None


def _make(settings: SolverSettings, tools: SolverTools) -> Solver:
    return WebRoot(settings.path)


SOLVER = SolverKind(
    name="webroot",
    challenges=(HTTP_01,),
    make=_make,
    needs=("path",),
    summary=(
        "`path`, in which `{name}` is replaced by the name. A client's web root is untrusted: links"
        " below the part that you chose are not followed"
    ),
)
