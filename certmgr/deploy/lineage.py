"""A lineage on disk: its versions, the current link, and the folder that servers read.

    BASE/lock                                     one lock for switch and reload
    BASE/archive/NAME/000001-0123456789ab/        privkey.pem cert.pem chain.pem fullchain.pem
    combined.pem
    BASE/archive/NAME/current -> 000001-...       the switch is one rename of this link
    BASE/archive/NAME/previous -> ...             what was current before; no server reads it
    BASE/live/NAME/privkey.pem -> ../../archive/NAME/current/privkey.pem, and so on: certbot's
    layout

live/NAME is always a real folder. So certmgr can take over from certbot without a change to the
configuration of any server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from certmgr.deploy.disk import (
    Modes,
    make_folder,
    map_os_errors,
    open_folder,
    require_trusted,
    temporary_name,
    write_at,
)
from certmgr.deploy.locks import exclusive_lock
from certmgr.deploy.versions import Version, VersionStore
from certmgr.x509.bundle import CertificateBundle, build_bundle
from inventory.errors import Conflict, UsageError
from inventory.text import printable

__all__ = ["CertificateBundle", "Lineage", "Modes", "Version", "safe_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_HOLD_FILE = "held"
LOCK_FILE = "lock"


def safe_name(name: str) -> str:
    """Return ``name`` if it is safe as a folder name and as an environment variable.

    Raises:
        UsageError: The name is not safe.
    """
    # The name becomes part of paths and of arguments, so that no special characters are allowed.
    if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
        raise UsageError(
            f"'{printable(name, 60)}' cannot be the name of a lineage",
            "it becomes a folder: up to 200 letters, digits, and . _ - are allowed",
            "Use the first of its DNS names, without '*.'.",
        )
    return name


@contextmanager
def base_lock(base: Path, seconds: float = 600.0) -> Iterator[None]:
    """Hold the lock of all lineages below a base folder, which is created if it is missing.

    Raises:
        Busy: The lock was not free within ``seconds``.
        CertmgrError: The folder cannot be created, or another user could replace it.
    """
    with map_os_errors(f"{base} cannot be written to"):
        require_trusted(base)
        if not base.exists():
            base.parent.mkdir(parents=True, exist_ok=True)
            make_folder(base, Modes())
    with exclusive_lock(base / LOCK_FILE, seconds):
        yield


class Lineage:
    """The versions of one certificate below the base folder."""

    def __init__(self, base: Path, name: str) -> None:
        """Create the object without a file access.

        Args:
            base: The absolute base folder. The first method that writes creates it.
            name: The name of the lineage.

        Raises:
            UsageError: The name is not safe.
        """
        self.base, self.name = base, safe_name(name)
        self.archive, self.live = base / "archive" / name, base / "live" / name
        self._store = VersionStore(f"'{name}'", self.archive, self.archive / "current", self.live)

    @contextmanager
    def lock(self, seconds: float = 600.0) -> Iterator[None]:
        """Hold the lock of the base folder.

        Every method that writes acquires it. A caller holds it around a switch and its reload. The
        same thread may acquire it again. Hooks never inherit it.

        All lineages of ``base`` share one lock, because one reload makes a server read all files.

        Raises:
            Busy: The lock was not free within ``seconds``.
        """
        with base_lock(self.base, seconds):
            yield

    @property
    def lock_file(self) -> Path:
        """The lock file of the base folder."""
        return self.base / LOCK_FILE

    def _folders(self, modes: Modes) -> None:
        """Create the folders of the lineage."""
        # The folders of the lineage get the modes of its target; those above are shared by all
        # lineages.
        for path in (self.archive.parent, self.archive, self.live.parent, self.live):
            make_folder(path, modes if path.name == self.name else Modes())
            require_trusted(path)
        # The group has to reach its files, but must not list the other lineages (x without r).
        if modes.gid >= 0:
            for path in (self.base, self.archive.parent, self.live.parent):
                mode = path.stat().st_mode & 0o7777
                if mode & 0o011 != 0o011:
                    path.chmod(mode | 0o011)

    def store(
        self, key_pem: bytes | None, chain_der: Sequence[bytes], *, modes: Modes = Modes()
    ) -> Version:
        """Store a new version without a switch. It is durable on return.

        Args:
            key_pem: The private key; None if the client has it.
            chain_der: The chain, leaf first.
            modes: Owner, group and mode of the files.

        Returns:
            The new version, or the existing version of this leaf.

        Raises:
            CertmgrError: Key, leaf and chain do not belong together, or cannot be written.
        """
        # Key, leaf and chain are matched before anything is written: a pair that does not match
        # stops a server at its next start.
        bundle = build_bundle(key_pem, chain_der)
        with (
            self.lock(),
            map_os_errors(f"The folders of '{self.name}' below {self.base} cannot be made"),
        ):
            self._folders(modes)
            return self._store.store(bundle, modes)

    def switch(self, version: Version) -> Version | None:
        """Make a version the current one, durable on return.

        Returns:
            The version that was current before.

        Raises:
            CertmgrError: The switch is not possible. The current version is unchanged.
        """
        with self.lock():
            self._require_free()
            return self._store.switch(version)

    def attempt(self, version: Version) -> Version | None:
        """Switch to a version whose test follows.

        Afterwards call :meth:`commit`, or :meth:`rollback` with the returned version. The caller
        holds the lock until then.
        """
        with self.lock():
            self._require_free()
            return self._store.attempt(version)

    def commit(self) -> None:
        """Keep the version of the last :meth:`attempt`."""
        with self.lock():
            self._store.commit()

    def rollback(self, version: Version | None) -> None:
        """Undo :meth:`switch` or :meth:`attempt`.

        Args:
            version: The returned version; None if none was current.
        """
        with self.lock():
            self._store.rollback(version)

    def _require_free(self) -> None:
        """Raise :class:`Conflict` if a hold prevents switches."""
        # A takeover replaces certbot's links one at a time; a switch in between would mix a key
        # with the certificate of another version.
        if (reason := self.hold_reason()) is not None:
            raise Conflict(
                f"'{self.name}' is not switched",
                reason,
                "Run that command again: it continues where it stopped.",
            )

    def current(self) -> Version | None:
        """Return the current version."""
        return self._store.current()

    def previous(self) -> Version | None:
        """Return the version that was current before."""
        return self._store.previous()

    def versions(self) -> list[Version]:
        """Return all versions, oldest first."""
        return self._store.versions()

    def find_version(self, bundle: CertificateBundle) -> Version | None:
        """Return the newest undamaged version of this key and leaf."""
        return self._store.find_version(bundle)

    def read(self, version: Version) -> CertificateBundle:
        """Read a version and check that its files belong together."""
        return self._store.read(version)

    def read_current(self) -> CertificateBundle | None:
        """Read the current version; None if there is none."""
        return self._store.read_current()

    def prune(self, keep: int = 5, protect: Collection[Version] = ()) -> list[Version]:
        """Remove old versions, but never the current one, the previous one or ``protect``.

        Returns:
            The removed versions.
        """
        with self.lock():
            return self._store.prune(max(keep, 1), protect) if self.archive.is_dir() else []

    # Certbot's links are replaced one by one. A switch in between would mix two versions, so that
    # a hold prevents it.

    def hold_reason(self) -> str | None:
        """Return why switches are prevented; None if they are allowed."""
        try:
            return (self.archive / _HOLD_FILE).read_text()[:300]
        except FileNotFoundError:
            return None

    def hold(self, reason: str) -> None:
        """Prevent switches until :meth:`release`. The hold is durable on return."""
        with (
            self.lock(),
            map_os_errors(f"{self.archive} cannot be written to"),
            open_folder(self.archive) as handle,
        ):
            # Renamed into place: a hold is there as a whole or not at all.
            temporary = temporary_name("new")
            write_at(handle, temporary, reason.encode(), Modes())
            os.rename(temporary, _HOLD_FILE, src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)

    def release(self) -> None:
        """Allow switches again."""
        with (
            self.lock(),
            map_os_errors(f"{self.archive} cannot be written to"),
            open_folder(self.archive) as handle,
        ):
            if self.hold_reason() is not None:
                os.unlink(_HOLD_FILE, dir_fd=handle)
                os.fsync(handle)
