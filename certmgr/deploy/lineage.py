"""A lineage on disk: its versions, the link to the current one, and the folder that servers are
configured with.

    BASE/lock                                     one lock for switch and reload
    BASE/archive/NAME/000001-0123456789ab/        privkey.pem cert.pem chain.pem fullchain.pem
    combined.pem
    BASE/archive/NAME/current -> 000001-...       the switch is one rename of this link
    BASE/archive/NAME/previous -> ...             what was current before; no server reads it
    BASE/live/NAME/privkey.pem -> ../../archive/NAME/current/privkey.pem, and so on: certbot's
    layout

live/NAME is a real folder and stays one, so that a certbot that was there before can be taken over
without a change to any server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from certmgr.deploy.disk import (
    Modes,
    folder,
    make_folder,
    require_trusted,
    token,
    write_at,
    writing,
)
from certmgr.deploy.locks import alone
from certmgr.deploy.versions import Version, VersionStore
from certmgr.x509.bundle import CertificateBundle, checked
from inventory.errors import Conflict, UsageError
from inventory.text import printable

__all__ = ["CertificateBundle", "Lineage", "Modes", "Version", "safe_name"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_HELD = "held"


def safe_name(name: str) -> str:
    """``name`` itself, where it may be a folder and a word in an environment.

    Raises :class:`UsageError`.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
        raise UsageError(
            f"'{printable(name, 60)}' cannot be the name of a lineage",
            "it becomes a folder: up to 200 letters, digits, and . _ - inside",
            "Use the first of its DNS names, without '*.'.",
        )
    return name


class Lineage:
    """``base``: an absolute folder, made where it is missing.

    Nothing is touched before the first call that writes.
    """

    def __init__(self, base: Path, name: str) -> None:
        self.base, self.name = base, safe_name(name)
        self.archive, self.live = base / "archive" / name, base / "live" / name
        self._shelf = VersionStore(f"'{name}'", self.archive, self.archive / "current", self.live)

    @contextmanager
    def lock(self, seconds: float = 600.0) -> Iterator[None]:
        """Every method that writes takes it; take it yourself around a switch and the reload after
        it. The same thread may take it again; a hook never inherits it.

        One for all lineages of ``base``, since one reload concerns all of them. Raises
        :class:`Busy` after ``seconds``.
        """
        with writing(f"{self.base} cannot be written to"):
            require_trusted(self.base)
            if not self.base.exists():
                self.base.parent.mkdir(parents=True, exist_ok=True)
                make_folder(self.base, Modes())
        with alone(self.lock_file, seconds):
            yield

    @property
    def lock_file(self) -> Path:
        return self.base / "lock"

    def _folders(self, modes: Modes) -> None:
        for path in (self.archive.parent, self.archive, self.live.parent, self.live):
            make_folder(path, modes if path.name == self.name else Modes())
            require_trusted(path)
        if modes.gid >= 0:  # others pass through, and list nothing
            for path in (self.base, self.archive.parent, self.live.parent):
                mode = path.stat().st_mode & 0o7777
                if mode & 0o011 != 0o011:
                    path.chmod(mode | 0o011)

    def store(
        self, key_pem: bytes | None, chain_der: Sequence[bytes], *, modes: Modes = Modes()
    ) -> Version:
        """A new version, durable before this returns and in use by nobody yet; for a leaf that is
        there, the one that holds it.

        ``key_pem`` None: the key is the client's. ``chain_der``: leaf first. Key, leaf and chain
        are checked before anything is written. Raises :class:`CertmgrError`.
        """
        material = checked(key_pem, chain_der)
        with self.lock(), writing(f"The folders of '{self.name}' below {self.base} cannot be made"):
            self._folders(modes)
            return self._shelf.store(material, modes)

    def switch(self, version: Version) -> Version | None:
        """In use from the one rename on, and durable on return; returns what was in use before.

        Raises :class:`CertmgrError`: then that still is.
        """
        with self.lock():
            self._require_free()
            return self._shelf.switch(version)

    def attempt(self, version: Version) -> Version | None:
        """:meth:`switch` with a test to follow: then call :meth:`settle`, or :meth:`back` with what
        this returned. Hold the lock over all of it.
        """
        with self.lock():
            self._require_free()
            return self._shelf.attempt(version)

    def settle(self) -> None:
        with self.lock():
            self._shelf.settle()

    def back(self, version: Version | None) -> None:
        """Undoes :meth:`switch` or :meth:`attempt` with what it returned; None: there was nothing
        in use.
        """
        with self.lock():
            self._shelf.back(version)

    def _require_free(self) -> None:
        if (why := self.held()) is not None:
            raise Conflict(
                f"'{self.name}' is not switched",
                why,
                "Run that again: it goes on where it stopped.",
            )

    def current(self) -> Version | None:
        return self._shelf.current()

    def before(self) -> Version | None:
        """What was in use before the current one."""
        return self._shelf.before()

    def versions(self) -> list[Version]:
        """From the oldest to the newest."""
        return self._shelf.versions()

    def holding(self, material: CertificateBundle) -> Version | None:
        """The version of this key and leaf, if it is whole."""
        return self._shelf.holding(material)

    def read(self, version: Version) -> CertificateBundle:
        return self._shelf.read(version)

    def read_current(self) -> CertificateBundle | None:
        return self._shelf.read_current()

    def prune(self, keep: int = 5, protect: Collection[Version] = ()) -> list[Version]:
        """What was removed. Never the current one, the one before it, nor ``protect``."""
        with self.lock():
            return self._shelf.prune(max(keep, 1), protect) if self.archive.is_dir() else []

    # While links of certbot are exchanged one by one, they agree only as long as nothing is
    # switched.

    def held(self) -> str | None:
        """Why nothing may be switched, if so."""
        try:
            return (self.archive / _HELD).read_text()[:300]
        except FileNotFoundError:
            return None

    def hold(self, why: str) -> None:
        """Durable on return. Raises :class:`CertmgrError`."""
        with (
            self.lock(),
            writing(f"{self.archive} cannot be written to"),
            folder(self.archive) as handle,
        ):
            temporary = token("new")
            write_at(handle, temporary, why.encode(), Modes())
            os.rename(temporary, _HELD, src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)

    def release(self) -> None:
        with (
            self.lock(),
            writing(f"{self.archive} cannot be written to"),
            folder(self.archive) as handle,
        ):
            if self.held() is not None:
                os.unlink(_HELD, dir_fd=handle)
                os.fsync(handle)
