"""Atomic writes of output files.

A file is written under a temporary name and then renamed, so a reader never gets half of it. The
folder is opened once, and everything happens relative to its handle: no link is followed that
another user could have placed, neither for the file nor on the way to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inventory.errors import CertmgrError, Conflict
from inventory.files import rename_new

_log = logging.getLogger(__name__)

# Names of descriptors of this process. They are written directly: a rename would replace the name,
# and opening it again would follow a link.
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,4})")
_MAX_LINKS = 40  # as Linux has it
# O_PATH: folders on the way, such as /home, need not be readable.
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(
    path: Path,
    data: bytes | Iterable[bytes],
    mode: int = 0o600,
    *,
    secret: bool = False,
    overwrite: bool = True,
) -> None:
    """Write a file completely, or leave the old file unchanged.

    A link with this name is replaced and not followed. A pipe or character device is written
    directly, if it belongs to this user or root.

    Args:
        path: The file.
        data: The content, or its parts in their order.
        mode: The permissions; by default, only the owner can read the file.
        secret: Whether the content includes a private key. The folder must then be one that no
            other user may write to, and the name is synced to disk too.
        overwrite: Whether an existing file is replaced.

    Raises:
        Conflict: The file exists, and must not be overwritten.
        CertmgrError: The file cannot be written.
    """
    _log.debug("writing %s", path)
    try:
        if (descriptor := _descriptor(path)) is not None:
            _write_all(os.dup(descriptor), data)
            return
        with opened_folder(path.parent) as folder:
            if secret:
                _require_private(folder, path.parent)
            special = _open_special(folder, path)
            if special is not None:
                _write_all(special, data)
                return
            _replace(folder, path.name, data, mode, overwrite=overwrite)
            if secret:
                _sync(folder)
    except FileExistsError:
        raise Conflict(
            f"{path} exists already", "it is not overwritten", "Name another file."
        ) from None
    except (OSError, ValueError) as error:
        raise CertmgrError(
            f"{path} cannot be written",
            getattr(error, "strerror", None) or str(error),
            "Give a file in a directory with write permission.",
        ) from None


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that the path names, such as /dev/stdout."""
    text = str(path)
    if text in _STREAMS:
        return _STREAMS[text]
    match = _DESCRIPTOR.fullmatch(text)
    return int(match[1]) if match else None


def _write_all(descriptor: int, data: bytes | Iterable[bytes]) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.writelines((data,) if isinstance(data, bytes) else data)


def _replace(
    folder: int, name: str, data: bytes | Iterable[bytes], mode: int, *, overwrite: bool
) -> None:
    temporary = f".certmgr-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            # The rename must not become durable before the content.
            os.fsync(file.fileno())
        if overwrite:
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            rename_new(temporary, name, folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder)
        raise


def _sync(folder: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_special(folder: int, path: Path) -> int | None:
    """Open a pipe or character device for writing; None if the name is neither."""
    try:
        before = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    # Renaming over a pipe or a device would remove it.
    if not (stat.S_ISFIFO(before.st_mode) or stat.S_ISCHR(before.st_mode)):
        return None
    # The owner of a pipe may read what is written.
    _require_own(before, path)
    descriptor = os.open(
        path.name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=folder
    )
    if not os.path.samestat(before, os.fstat(descriptor)):
        os.close(descriptor)
        raise OSError(0, "it was replaced in the meantime")
    return descriptor


def _require_own(status: os.stat_result, path: Path) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise CertmgrError(
            f"{path} is not used",
            "it is a pipe, device or link of another user",
            "Name a file in a folder that only you may write to.",
        )


def _require_private(folder: int, path: Path) -> None:
    status = os.fstat(folder)
    # The sticky bit does not help: another user could place the name first.
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise CertmgrError(
            f"No private key is written to the folder {path.resolve()}",
            "other users may write there",
            "Name a folder that only you may write to, such as one made by: mkdir -m 700 NAME",
        )


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Yield the handle of a folder.

    Links on the way are followed only if they belong to root or to this user: another user could
    place a link in a shared folder such as /tmp.

    Raises:
        CertmgrError: A link belongs to another user.
        OSError: The folder cannot be opened.
    """
    parts = [*reversed(path.parts)]
    links = 0
    handle = os.open("/" if path.is_absolute() else ".", _FOLDER)
    try:
        while parts:
            part = parts.pop()
            if part == "/":
                os.close(handle)
                handle = os.open("/", _FOLDER)
                continue
            target = _link(part, handle, path)
            if target is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(0, "too many links")
                parts += reversed(Path(target).parts)
                continue
            below = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _link(part: str, folder: int, path: Path) -> str | None:
    """Return the target of a link; None if the component is not a link."""
    descriptor = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISLNK(status.st_mode):
            return None
        _require_own(status, path)
        # The link that was opened is read, and not one that replaced it meanwhile.
        return os.readlink("", dir_fd=descriptor)
    finally:
        os.close(descriptor)


def require_no_link(path: Path) -> None:
    """Check that an output folder is not a link.

    Raises:
        CertmgrError: It is a link.
    """
    if path.is_symlink():
        raise CertmgrError(
            f"The folder {path} is not used",
            "it is a link, and output does not follow links",
            f"Name the folder itself: {path.resolve()}",
        )
