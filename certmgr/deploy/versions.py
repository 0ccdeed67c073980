"""Versions of one key and certificate in folders of their own, one link that says which is in use,
and stable links for servers through it.

``store`` makes a version durable before it has its name: each file is synced, then its folder, then
the folder is renamed into place, then the folder above is synced. ``switch`` renames one link over
the one before, then syncs. So at every instant, and after a crash at any, the link leads to a whole
version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certmgr.deploy.disk import (
    Modes,
    folder,
    link_at,
    names_at,
    read_at,
    remove_at,
    sweep,
    token,
    write_at,
    writing,
)
from certmgr.x509.bundle import FILES, CertificateBundle, from_files
from inventory.errors import CertmgrError

_VERSION = re.compile(r"\d{6}-[0-9a-f]{12}")
_BEFORE, _TRIAL = "previous", "trial"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """``name``: a counter of six digits, and the beginning of the leaf's SHA-256."""

    name: str

    @property
    def number(self) -> int:
        return int(self.name[:6])

    @property
    def digest(self) -> str:
        return self.name[7:]


class VersionStore:
    """``versions``: the folder of version folders.

    ``current``: the link to one of them. ``links``: the folder of the stable links.

    ``what``: in error messages. The caller makes the folders, and holds the lock for every method
    that writes.
    """

    def __init__(self, what: str, versions: Path, current: Path, links: Path) -> None:
        self.what, self._folder, self._current, self._links = what, versions, current, links

    def versions(self) -> list[Version]:
        """From the oldest to the newest; none where there is nothing yet."""
        with (
            writing(f"{self._folder} cannot be read"),
            suppress(FileNotFoundError),
            folder(self._folder) as handle,
        ):
            return sorted(Version(n) for n in names_at(handle) if _VERSION.fullmatch(n))
        return []

    def current(self) -> Version | None:
        return self._linked(self._current)

    def before(self) -> Version | None:
        """The one that was in use before the current one, if it is still there."""
        found = self._linked(self._folder / _BEFORE)
        return found if found in self.versions() and found != self.current() else None

    def _linked(self, link: Path) -> Version | None:
        try:
            name = os.path.basename(os.readlink(link))  # noqa: PTH115, PTH119 - the text itself
        except FileNotFoundError:
            return None
        except OSError:
            name = ""
        if not _VERSION.fullmatch(name):
            raise CertmgrError(
                f"{link} is not a link to a version",
                "certmgr made it as one",
                "Look at what changed it, and move it away.",
            )
        return Version(name)

    def read(self, version: Version) -> CertificateBundle:
        """All files through one handle of the folder.

        Raises :class:`CertmgrError` where they are damaged, or do not belong together.
        """
        return self._read(self._folder / version.name, follow=False)

    def read_current(self) -> CertificateBundle | None:
        """The link is followed once: what is read is one version, also when a switch comes in
        between.
        """
        return self._read(self._current, follow=True) if self.current() is not None else None

    def _read(self, path: Path, *, follow: bool) -> CertificateBundle:
        try:
            found: dict[str, bytes] = {}
            with folder(path, follow=follow) as handle:
                for name in FILES:
                    with suppress(FileNotFoundError):
                        found[name] = read_at(handle, name)
            return from_files(found)
        except (OSError, CertmgrError) as error:
            why = str(error) if isinstance(error, CertmgrError) else error.strerror or str(error)
            raise CertmgrError(
                f"{path} of {self.what} cannot be used",
                why.rstrip("."),
                "Switch to another version, or issue again.",
            ) from None

    def holding(self, material: CertificateBundle) -> Version | None:
        """The newest version of this very key and leaf that is whole."""
        for version in reversed(self.versions()):
            if version.digest == material.sha256[:12]:
                with suppress(CertmgrError):
                    found = self.read(version)
                    if found.sha256 == material.sha256 and (found.key_pem is None) == (
                        material.key_pem is None
                    ):
                        return version
        return None

    def store(self, material: CertificateBundle, modes: Modes) -> Version:
        """The version that holds it already, else a new one, durable on return.

        Raises :class:`CertmgrError`; then nothing was changed.
        """
        with writing(f"The new version of {self.what} cannot be written to {self._folder}"):
            self.sweep()
            if (have := self.holding(material)) is not None:
                return have
            number = max((v.number for v in self.versions()), default=0) + 1
            version = Version(f"{number:06d}-{material.sha256[:12]}")
            with folder(self._folder) as above:
                self._write(above, version, material, modes)
            return version

    @staticmethod
    def _write(above: int, version: Version, material: CertificateBundle, modes: Modes) -> None:
        temporary = token("new")
        os.mkdir(temporary, 0o700, dir_fd=above)
        try:
            with folder(temporary, above) as handle:
                for name, data in material.files.items():
                    write_at(handle, name, data, modes)
                if modes.gid >= 0:
                    os.fchown(handle, -1, modes.gid)
                os.fchmod(handle, modes.folder)
                os.fsync(handle)
            os.rename(temporary, version.name, src_dir_fd=above, dst_dir_fd=above)
        except BaseException:
            with suppress(OSError):
                remove_at(above, temporary)
            raise
        os.fsync(above)

    def switch(self, version: Version) -> Version | None:
        """Returns what was in use before.

        Raises :class:`CertmgrError`; then that is in use as it was.

        The version is read and checked first. Missing stable links are made before (they lead
        nowhere until the first switch). Then one rename.
        """
        material = self.read(version)
        before = self.current()
        with writing(f"{self._current} cannot be switched to {version.name}"):
            self.sweep()
            self._make_links(material)
            if before is not None and before != version:
                with folder(self._folder) as handle:
                    link_at(handle, _BEFORE, before.name)
            if before != version:
                with folder(self._current.parent) as handle:
                    link_at(handle, self._current.name, self._text(version))
        return before

    def _text(self, version: Version) -> str:
        return os.path.relpath(self._folder / version.name, self._current.parent)

    def _make_links(self, material: CertificateBundle) -> None:
        """Only those that are missing: one that leads elsewhere is certbot's, or an
        administrator's.
        """
        base = os.path.relpath(self._current, self._links)
        with folder(self._links) as handle:
            have = set(names_at(handle))
            for name in material.files:
                if name not in have:
                    link_at(handle, name, f"{base}/{name}")

    def attempt(self, version: Version) -> Version | None:
        """:meth:`switch`, whose outcome is open until :meth:`settle` or :meth:`back`.

        Returns what to go back to, also where a process died in between: a link says durably
        beforehand that this is only tried. The version itself, where it was settled already.
        """
        before = self.current()
        if before == version:
            if self._linked(self._folder / _TRIAL) == version:
                before = self.before()
        else:
            with writing(f"{self._folder} cannot be written to"), folder(self._folder) as handle:
                link_at(handle, _TRIAL, version.name)
        self.switch(version)
        return before

    def settle(self) -> None:
        """The version that was tried stays."""
        with (
            writing(f"{self._folder} cannot be written to"),
            suppress(FileNotFoundError),
            folder(self._folder) as handle,
        ):
            os.unlink(_TRIAL, dir_fd=handle)
            os.fsync(handle)

    def back(self, version: Version | None) -> None:
        """Undoes a switch; None: there was nothing before."""
        if version is not None:
            self.switch(version)
        else:
            with (
                writing(f"{self._current} cannot be removed"),
                folder(self._current.parent) as handle,
            ):
                with suppress(FileNotFoundError):
                    os.unlink(self._current.name, dir_fd=handle)
                os.fsync(handle)
        self.settle()

    def prune(self, keep: int, protect: Collection[Version]) -> list[Version]:
        """Removes all but the newest ``keep`` (at least 1); never the current one, nor the one
        before it, nor ``protect``. Each leaves its name before it loses a file.
        """
        found, current = self.versions(), self.current()
        lower = [v for v in found if current is not None and v < current]
        spared = {*found[-keep:], *protect, current, self.before(), *lower[-1:]}
        gone = [v for v in found if v not in spared]
        with writing(f"Old versions of {self.what} cannot be removed"):
            self.sweep()
            if gone:
                with folder(self._folder) as handle:
                    for version in gone:
                        temporary = token("old")
                        os.rename(version.name, temporary, src_dir_fd=handle, dst_dir_fd=handle)
                        remove_at(handle, temporary)
                    os.fsync(handle)
        return gone

    def sweep(self) -> None:
        for path in dict.fromkeys((self._folder, self._current.parent, self._links)):
            sweep(path)
