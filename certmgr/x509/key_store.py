"""Private keys as files: never in the database, 0600 in a 0700 directory, whole or not there.

Order of durability: under a lock on the folder of the case the key is written to a temporary file
and synced, then linked to its own name (which fails where there is one), then the folder is synced;
only then is it used and recorded. A death before the link leaves a temporary file that the next
call removes; one after it leaves a key that the next call finds and uses. There are never two for
one case and key type.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certmgr.config.settings import KEY_TYPES
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular

Key = Any  # of cryptography: RSA or EC private key


def generate(key_type: str) -> Key:
    """``key_type``: ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096. Raises :class:`UsageError`."""

    if key_type not in KEY_TYPES:
        raise UsageError(
            f"'{key_type[:30]}' is not a kind of key", f"known are {', '.join(KEY_TYPES)}"
        )
    if key_type.startswith("rsa-"):
        return rsa.generate_private_key(65537, int(key_type[4:]))
    return ec.generate_private_key(ec.SECP256R1() if key_type == "ec-p256" else ec.SECP384R1())


def pem(key: Key, passphrase: str = "") -> bytes:
    how = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    encoded: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return encoded


class KeyStore:
    """``directory``: made where it is not there.

    ``passphrase``: of new keys and of those that are encrypted; a function, asked when it is
    needed.
    """

    def __init__(self, directory: Path, passphrase: Callable[[], str] = str) -> None:
        self.directory, self._passphrase = directory, passphrase

    def path(self, reference: str, key_type: str, *, enclosed: bool = False) -> Path:
        """From a reference and a key type, both words of ours: no name from outside is ever part of
        it. ``enclosed``: of a key that came with its certificate.
        """
        assert key_type in KEY_TYPES
        assert reference.replace("-", "").isalnum()
        return self.directory / reference / f"{key_type}{'-enclosed' if enclosed else ''}.key"

    def make(self, reference: str, key_type: str) -> tuple[Path, Key]:
        """The key of this case and type: the one that is there, else a new one."""
        path = self.path(reference, key_type)
        with self._alone(path):
            return path, self.load(path) if path.exists() else self._write(path, generate(key_type))

    def keep(self, reference: str, key_type: str, key: Key, *, enclosed: bool = False) -> Path:
        """Stores a key that came from elsewhere.

        Raises :class:`CertmgrError` where another one is there.
        """
        path = self.path(reference, key_type, enclosed=enclosed)
        with self._alone(path):
            stored = self.load(path) if path.exists() else self._write(path, key)
        if pem(stored) != pem(key):
            raise CertmgrError(
                f"{path} is another key",
                "a key is never overwritten",
                "Move it away first, if it is not used any more.",
            )
        return path

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """One process at a time in the folder of a case; what one that died left behind is removed.

        The lock dies with its process.
        """
        try:
            for folder in (self.directory, path.parent):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                _private(folder)
            descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                for left in path.parent.glob(f".{path.name}.*"):
                    left.unlink(missing_ok=True)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CertmgrError(
                f"The key {path} cannot be written",
                error.strerror or str(error),
                "Nothing was left behind; check [cases] keys.",
            ) from None

    def _write(self, path: Path, key: Key) -> Key:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem(key, self._passphrase()))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
            for folder in (path.parent, self.directory):
                self._sync(folder)
        finally:
            temporary.unlink(missing_ok=True)
        return key

    @staticmethod
    def _sync(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def load(self, path: Path) -> Key:
        """Raises :class:`CertmgrError`: it is not there, not ours alone, or its passphrase is
        another one.
        """

        try:
            path.stat()  # says itself that it is not there
            data = read_regular(path, 1_000_000)
            open_to = path.stat().st_mode & 0o077
        except OSError as error:
            raise CertmgrError(
                f"The key {path} cannot be read",
                error.strerror or str(error),
                "Restore it from the backup of the keys.",
            ) from None
        if open_to:
            raise CertmgrError(
                f"The key {path} can be read by others",
                "",
                f"chmod 600 {path}; and consider it known to them.",
            )
        encrypted = b"ENCRYPTED" in data[:100]
        try:
            return load_pem_private_key(data, self._passphrase().encode() if encrypted else None)
        except (ValueError, TypeError):
            why = (
                "the passphrase of [cases] passphrase does not open it"
                if encrypted
                else "it is not a PEM key"
            )
            raise CertmgrError(
                f"The key {path} cannot be used",
                why,
                "Correct the passphrase, or restore the file.",
            ) from None


def _private(folder: Path) -> None:
    """Raises :class:`CertmgrError` for a folder that others can reach, or that is a link to
    elsewhere.
    """
    info = folder.lstat()
    if stat.S_ISLNK(info.st_mode):
        raise CertmgrError(
            f"{folder} is a link",
            "keys are kept in a real folder",
            "Name that one in [cases] keys.",
        )
    if info.st_mode & 0o077 or info.st_uid != os.geteuid():
        raise CertmgrError(
            f"The folder of keys {folder} can be reached by others",
            "",
            f"chmod 700 {folder}, as the user that runs certmgr.",
        )


def key_reference(path: Path) -> str:
    """Which machine has the key, and where."""
    return f"{socket.gethostname()}:{path.resolve()}"


def local_path(reference: str) -> Path:
    """The file behind a reference. Raises :class:`CertmgrError` where it is on another machine."""
    machine, _, path = reference.partition(":")
    if machine != socket.gethostname():
        raise CertmgrError(
            f"The key is on {machine}", f"this is {socket.gethostname()}", "Run the command there."
        )
    return Path(path)
