"""Writes to folders on another machine: targets of the kind ``ssh``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from certmgr.config.acme import TargetSettings
from certmgr.deploy.lineage import Lineage
from certmgr.deploy.locks import exclusive_lock
from certmgr.deploy.ssh import connect
from certmgr.deploy.versions import Version
from certmgr.deploy.writers.interface import (
    TargetWriter,
    with_lineage_name,
)
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError

if TYPE_CHECKING:
    from certmgr.deploy.remote import Remote


class RemoteWriter:
    """Writes to folders on another machine."""

    def __init__(
        self,
        remote: Remote,
        target: TargetSettings,
        name: str,
        version: Version,
        bundle: CertificateBundle,
        lock_file: Path,
    ) -> None:
        self.run, self.lock_file, self._remote, self._target = remote.run, lock_file, remote, target
        self._directory, self._name, self._version, self._bundle = (
            with_lineage_name(target.directory, name),
            name,
            version.name,
            bundle,
        )
        self._before: str | None = None

    def stage(self) -> None:
        mode = int(self._target.mode, 8) if self._target.mode else 0o600
        self._remote.prepare(self._directory, self._name, self._target.group)
        self._remote.store(
            self._directory,
            self._version,
            self._bundle,
            self._target.owner,
            self._target.group,
            mode,
        )
        self._before = self._remote.attempt(
            self._directory, self._version, list(self._bundle.files)
        )

    def rollback(self) -> None:
        self._remote.rollback(self._directory, self._before)

    def commit(self) -> None:
        self._remote.commit(self._directory)
        # Both versions of this switch stay: the new one is in use, and the other is the way back.
        self._remote.prune(self._directory, (self._version, self._before))


@contextmanager
def remote_target(
    target: TargetSettings, base: Path
) -> Iterator[Callable[[Lineage, CertificateBundle], TargetWriter]]:
    """Connect to another machine, and yield a function that makes the writers for it.

    The lock of that machine is held. It is separate: a machine that hangs must not block reloads on
    this one.
    """
    # One lock per machine and port, whichever names the targets on it have.
    machine = hashlib.sha256(f"{target.host}:{target.port}".encode()).hexdigest()[:16]
    lock_file = base / f"lock-{machine}"
    with exclusive_lock(lock_file), connect(target) as remote:

        def make(lineage: Lineage, bundle: CertificateBundle) -> TargetWriter:
            # The remote folder gets the name of the local version, so that both can be compared.
            version = lineage.find_version(bundle)
            if version is None:
                raise CertmgrError(
                    f"'{lineage.name}' has no such version",
                    "it was not stored before",
                    "Store it first.",
                )
            return RemoteWriter(
                remote=remote,
                target=target,
                name=lineage.name,
                version=version,
                bundle=bundle,
                lock_file=lock_file,
            )

        yield make
