"""Writes to the live folder of a lineage: targets of the kind ``reload``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from certmgr.deploy.lineage import Lineage
from certmgr.deploy.writers.interface import (
    LocalContext,
)
from certmgr.x509.bundle import CertificateBundle

if TYPE_CHECKING:
    pass


class LiveFolderWriter:
    """Writes to the live folder of the lineage, for a server that reads it there."""

    def __init__(self, local: LocalContext, lineage: Lineage, bundle: CertificateBundle) -> None:
        self.run, self.lock_file, self._local, self._lineage, self._bundle = (
            local.run,
            local.lock_file,
            local,
            lineage,
            bundle,
        )

    def stage(self) -> None:
        # Durable before the switch. A repeated call finds the version of the first one.
        version = self._lineage.store(
            self._bundle.key_pem, self._bundle.chain_der, modes=self._local.modes
        )
        self._before = self._lineage.attempt(version)

    def rollback(self) -> None:
        self._lineage.rollback(self._before)

    def commit(self) -> None:
        self._lineage.commit()
