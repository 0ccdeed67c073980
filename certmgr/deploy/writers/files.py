"""Writes to a folder of the administrator: targets of the kind ``files``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from certmgr.deploy.disk import (
    Modes,
    make_folder,
    map_os_errors,
    open_folder,
    read_at,
    require_trusted,
    temporary_name,
    write_at,
)
from certmgr.deploy.versions import VersionStore
from certmgr.deploy.writers.interface import (
    KEPT_VERSIONS,
    LocalContext,
)
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError

if TYPE_CHECKING:
    pass


class FilesWriter:
    """Writes to a folder with ``versions/``, one link ``current``, and stable links through it.

    A folder that belongs to another lineage is refused.
    """

    def __init__(
        self, local: LocalContext, directory: str, name: str, bundle: CertificateBundle
    ) -> None:
        self.run, self.lock_file, self._modes, self._name, self._bundle = (
            local.run,
            local.lock_file,
            local.modes,
            name,
            bundle,
        )
        self._directory = Path(directory)
        self._store = VersionStore(
            f"'{name}'", self._directory / "versions", self._directory / "current", self._directory
        )

    def stage(self) -> None:
        with map_os_errors(f"{self._directory} cannot be created"):
            # Checked before and after the creation: root must not follow another user's link.
            require_trusted(self._directory)
            _make_parents(self._directory.parent)
            for path in (self._directory, self._directory / "versions"):
                make_folder(path, self._modes)
                require_trusted(path)
            self._claim()
        # Stored first, then switched: a full disk is noticed before anything that a server reads
        # changes.
        self._before = self._store.attempt(self._store.store(self._bundle, self._modes))

    def _claim(self) -> None:
        """Record the lineage that owns the folder, and refuse a folder of another lineage.

        Two lineages in one folder would replace each other's certificates.
        """
        with open_folder(self._directory) as handle:
            try:
                owner = read_at(handle, "lineage").decode(errors="replace")
            except FileNotFoundError:
                temporary = temporary_name("new")
                write_at(handle, temporary, self._name.encode(), Modes())
                os.rename(temporary, "lineage", src_dir_fd=handle, dst_dir_fd=handle)
                return
        if owner != self._name:
            raise UsageError(
                f"{self._directory} belongs to the lineage '{owner[:80]}'",
                "",
                "Write {name} in the directory of the target.",
            )

    def rollback(self) -> None:
        self._store.rollback(self._before)

    def commit(self) -> None:
        self._store.commit()
        # The new version is in use already. Old versions that stay do no harm.
        with suppress(CertmgrError):
            self._store.prune(KEPT_VERSIONS, ())


def _make_parents(path: Path) -> None:
    """Create missing parents. Other users can pass through them, but not list them."""
    for parent in reversed([p for p in (path, *path.parents) if not p.exists()]):
        make_folder(parent, Modes())
        parent.chmod(0o711)
