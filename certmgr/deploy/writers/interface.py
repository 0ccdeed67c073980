"""What the writers of all kinds of targets have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from certmgr.config.acme import TargetSettings
from certmgr.deploy import hooks
from certmgr.deploy.disk import (
    Modes,
    resolve_modes,
)
from certmgr.deploy.hooks import CommandResult
from certmgr.deploy.lineage import safe_name

# Enough to return to a version before the last one. Each is a private key on the disk, so not more.
KEPT_VERSIONS = 5


class TargetWriter(Protocol):
    """Writes a certificate to one target."""

    def stage(self) -> None:
        """Write the certificate where the server loads it at the next reload."""

    def rollback(self) -> None:
        """Restore what was there before :meth:`stage`."""

    def commit(self) -> None:
        """Keep the staged certificate, and remove what a rollback would need."""

    def run(self, command: Sequence[str]) -> CommandResult:
        """Run a program on the machine of the target."""

    @property
    def lock_file(self) -> Path:
        """The lock of the target, which also records the last reload."""


def with_lineage_name(text: str, name: str) -> str:
    """Replace {name} in a path by the name of the lineage, which is safe in paths."""
    # The rest of the path is the administrator's; only this part comes from the inventory.
    return text.replace("{name}", safe_name(name))


class LocalContext:
    """What the targets of this machine share: their programs and the modes of their files."""

    def __init__(
        self, target: TargetSettings, environment: Mapping[str, str], lock_file: Path
    ) -> None:
        self._target, self._environment, self.lock_file = target, environment, lock_file

    def run(self, command: Sequence[str]) -> CommandResult:
        """Run a program as the user of the target."""
        return hooks.run(
            command,
            user=self._target.user,
            timeout=self._target.timeout,
            extra_environment=self._environment,
        )

    @property
    def modes(self) -> Modes:
        """Owner, group and mode of the files."""
        return resolve_modes(self._target.owner, self._target.group, self._target.mode)

    @property
    def legacy(self) -> bool:
        """Whether PKCS#12 files use the algorithms of old readers."""
        return self._target.legacy
