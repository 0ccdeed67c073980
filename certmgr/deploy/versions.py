"""Versions of one key and certificate, each in a separate folder.

One link names the current version. Servers read stable links that lead through it.

``store`` makes a version durable before it gets its name. Each file is synced, then its folder;
then the folder is renamed, and its parent is synced. ``switch`` replaces one link with one rename,
then syncs. So the link leads to a complete version at all times, even after a crash at any step.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certmgr.deploy.disk import (
    Modes,
    link_at,
    map_os_errors,
    names_at,
    open_folder,
    read_at,
    remove_at,
    remove_leftovers,
    temporary_name,
    write_at,
)
from certmgr.x509.bundle import FILES, CertificateBundle, from_files
from inventory.errors import CertmgrError

_log = logging.getLogger(__name__)

# The digits of the leaf let an administrator and a later run recognise a certificate without
# opening it.
_VERSION = re.compile(r"\d{6}-[0-9a-f]{12}")
_PREVIOUS_LINK, _TRIAL_LINK = "previous", "trial"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version.

    Attributes:
        name: A counter of six digits, and the first twelve digits of the leaf's SHA-256.
    """

    name: str

    @property
    def number(self) -> int:
        """The counter."""
        return int(self.name[:6])

    @property
    def digest(self) -> str:
        """The first twelve digits of the leaf's SHA-256."""
        return self.name[7:]


class VersionStore:
    """The versions of one lineage in one place.

    The caller creates the folders, and holds the lock for every method that writes.
    """

    def __init__(self, label: str, versions: Path, current: Path, links: Path) -> None:
        """Create the store without a file access.

        Args:
            label: The name of the store in error messages.
            versions: The folder of the version folders.
            current: The link to the current version.
            links: The folder of the stable links.
        """
        self.label, self._folder, self._current, self._links = label, versions, current, links

    def versions(self) -> list[Version]:
        """Return all versions, oldest first; none if the folder does not exist yet."""
        with (
            map_os_errors(f"{self._folder} cannot be read"),
            suppress(FileNotFoundError),
            open_folder(self._folder) as handle,
        ):
            return sorted(Version(n) for n in names_at(handle) if _VERSION.fullmatch(n))
        return []

    def current(self) -> Version | None:
        """Return the current version."""
        return self._linked(self._current)

    def previous(self) -> Version | None:
        """Return the version that was current before, if it still exists."""
        version = self._linked(self._folder / _PREVIOUS_LINK)
        # The link may lead to a version that was removed, or that is current again.
        return version if version in self.versions() and version != self.current() else None

    def _linked(self, link: Path) -> Version | None:
        """Return the version that a link leads to, or None if there is no link."""
        try:
            name = os.path.basename(os.readlink(link))  # noqa: PTH115, PTH119 - the text itself
        except FileNotFoundError:
            return None
        except OSError:  # it is not a link
            name = ""
        if not _VERSION.fullmatch(name):
            raise CertmgrError(
                f"{link} is not a link to a version",
                "certmgr creates it as such a link, so that another program changed it",
                "Find out what changed it, and move it away.",
            )
        return Version(name)

    def read(self, version: Version) -> CertificateBundle:
        """Read all files of a version through one handle of its folder.

        Raises:
            CertmgrError: The files are damaged or do not belong together.
        """
        return self._read(self._folder / version.name, follow=False)

    def read_current(self) -> CertificateBundle | None:
        """Read the current version; None if there is none.

        The link is followed once, so that a concurrent switch cannot mix two versions.
        """
        return self._read(self._current, follow=True) if self.current() is not None else None

    def _read(self, path: Path, *, follow: bool) -> CertificateBundle:
        try:
            files: dict[str, bytes] = {}
            # One handle for all files: after a concurrent switch it still leads to the same
            # version.
            with open_folder(path, follow=follow) as handle:
                for name in FILES:
                    with suppress(FileNotFoundError):
                        files[name] = read_at(handle, name)
            return from_files(files)
        except (OSError, CertmgrError) as error:
            why = str(error) if isinstance(error, CertmgrError) else error.strerror or str(error)
            raise CertmgrError(
                f"{path} of {self.label} cannot be used",
                why.rstrip("."),
                "Switch to another version, or issue again.",
            ) from None

    def find_version(self, bundle: CertificateBundle) -> Version | None:
        """Return the newest undamaged version with the same leaf, and with a key if it has one."""
        for version in reversed(self.versions()):
            if version.digest == bundle.sha256[:12]:
                with suppress(CertmgrError):
                    stored = self.read(version)
                    # The leaf proves the key. A version without a key is the client's.
                    if stored.sha256 == bundle.sha256 and (stored.key_pem is None) == (
                        bundle.key_pem is None
                    ):
                        return version
        return None

    def store(self, bundle: CertificateBundle, modes: Modes) -> Version:
        """Store a bundle as a new version, which is durable on return.

        Returns:
            The new version, or the existing version of this bundle.

        Raises:
            CertmgrError: It cannot be written. Nothing was changed.
        """
        with map_os_errors(f"The new version of {self.label} cannot be written to {self._folder}"):
            self.remove_leftovers()
            # A repeated call, for example after a crash, must not add versions.
            if (existing := self.find_version(bundle)) is not None:
                return existing
            # The highest number, and not the count: a removed version must not give its number to
            # another one.
            number = max((v.number for v in self.versions()), default=0) + 1
            version = Version(f"{number:06d}-{bundle.sha256[:12]}")
            with open_folder(self._folder) as parent:
                self._write(parent, version, bundle, modes)
            return version

    @staticmethod
    def _write(parent: int, version: Version, bundle: CertificateBundle, modes: Modes) -> None:
        """Write a version under a temporary name, then rename it."""
        temporary = temporary_name("new")
        os.mkdir(temporary, 0o700, dir_fd=parent)
        try:
            with open_folder(temporary, parent) as handle:
                for name, data in bundle.files.items():
                    write_at(handle, name, data, modes)
                # The group gets access only when all files have their final modes.
                if modes.gid >= 0:
                    os.fchown(handle, -1, modes.gid)
                os.fchmod(handle, modes.folder)
                os.fsync(handle)
            os.rename(temporary, version.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                remove_at(parent, temporary)
            raise
        os.fsync(parent)

    def switch(self, version: Version) -> Version | None:
        """Make a version the current one.

        The version is read and checked first. Missing stable links are created before the switch;
        they lead to nothing until the first switch. The switch is one rename.

        Returns:
            The version that was current before.

        Raises:
            CertmgrError: The switch is not possible. The current version is unchanged.
        """
        # A damaged version is found here, before any server could read it.
        bundle = self.read(version)
        before = self.current()
        with map_os_errors(f"{self._current} cannot be switched to {version.name}"):
            self.remove_leftovers()
            self._make_links(bundle)
            # Written before the switch: after a crash in between, it only names the current one.
            if before is not None and before != version:
                with open_folder(self._folder) as handle:
                    link_at(handle, _PREVIOUS_LINK, before.name)
            if before != version:
                with open_folder(self._current.parent) as handle:
                    link_at(handle, self._current.name, self._link_text(version))
                _log.info("%s leads to %s", self._current, version.name)
        return before

    def _link_text(self, version: Version) -> str:
        """Return the relative text of the current link, which survives a move of the base."""
        return os.path.relpath(self._folder / version.name, self._current.parent)

    def _make_links(self, bundle: CertificateBundle) -> None:
        """Create the missing stable links.

        An existing link that leads elsewhere belongs to certbot or to an administrator, and stays.
        """
        base = os.path.relpath(self._current, self._links)
        with open_folder(self._links) as handle:
            existing = set(names_at(handle))
            for name in bundle.files:
                if name not in existing:
                    link_at(handle, name, f"{base}/{name}")

    def attempt(self, version: Version) -> Version | None:
        """Switch to a version until :meth:`commit` or :meth:`rollback` is called.

        Before the switch, a durable link marks the version as a trial. So a call after a crash
        still returns the version to roll back to.

        Returns:
            The version to roll back to; None if there was none. If the version was committed
            before, it is the version itself.
        """
        before = self.current()
        # The version is current already: either an attempt died, or it was committed before.
        if before == version:
            # The trial link exists: the process died between the switch and the end of the test.
            if self._linked(self._folder / _TRIAL_LINK) == version:
                before = self.previous()
        else:
            with (
                map_os_errors(f"{self._folder} cannot be written to"),
                open_folder(self._folder) as handle,
            ):
                link_at(handle, _TRIAL_LINK, version.name)
        self.switch(version)
        return before

    def commit(self) -> None:
        """Keep the version of the last :meth:`attempt`."""
        with (
            map_os_errors(f"{self._folder} cannot be written to"),
            suppress(FileNotFoundError),
            open_folder(self._folder) as handle,
        ):
            # From here on the version counts as accepted, and a repeated call would not return from
            # it.
            os.unlink(_TRIAL_LINK, dir_fd=handle)
            os.fsync(handle)

    def rollback(self, version: Version | None) -> None:
        """Undo a switch.

        Args:
            version: The result of :meth:`switch` or :meth:`attempt`; None removes the current link.
        """
        if version is not None:
            self.switch(version)
        else:
            with (
                map_os_errors(f"{self._current} cannot be removed"),
                open_folder(self._current.parent) as handle,
            ):
                with suppress(FileNotFoundError):
                    os.unlink(self._current.name, dir_fd=handle)
                os.fsync(handle)
        self.commit()

    def prune(self, keep: int, protect: Collection[Version]) -> list[Version]:
        """Remove old versions.

        The current version, the previous one and the one with the next lower number always stay,
        so that a rollback remains possible.

        Args:
            keep: The number of newest versions to keep, at least 1.
            protect: Further versions to keep.

        Returns:
            The removed versions.
        """
        versions, current = self.versions(), self.current()
        lower = [v for v in versions if current is not None and v < current]
        kept = {*versions[-keep:], *protect, current, self.previous(), *lower[-1:]}
        removed = [v for v in versions if v not in kept]
        with map_os_errors(f"Old versions of {self.label} cannot be removed"):
            self.remove_leftovers()
            if removed:
                with open_folder(self._folder) as handle:
                    for version in removed:
                        # Renamed first, so that an incomplete folder never has a version's name.
                        temporary = temporary_name("old")
                        os.rename(version.name, temporary, src_dir_fd=handle, dst_dir_fd=handle)
                        remove_at(handle, temporary)
                    os.fsync(handle)
        return removed

    def remove_leftovers(self) -> None:
        """Remove the temporary files of processes that died."""
        for path in dict.fromkeys((self._folder, self._current.parent, self._links)):
            remove_leftovers(path)
