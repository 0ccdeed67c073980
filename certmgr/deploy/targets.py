"""Deploys one certificate to one target: stage it, test, commit, reload.

If the test fails, the certificate is rolled back. The result is a value, so that a failure does not
stop the other targets.

All kinds of targets use the same order under one lock: the switch (one rename), the test, the
reload. Exit codes do not prove that the certificate is served. A verification does, afterwards.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certmgr.config.acme import TargetSettings
from certmgr.config.settings import secret as configured
from certmgr.deploy import hooks
from certmgr.deploy.disk import (
    Modes,
    make_folder,
    map_os_errors,
    open_folder,
    read_at,
    remove_at,
    remove_leftovers,
    require_trusted,
    resolve_modes,
    temporary_name,
    write_at,
)
from certmgr.deploy.hooks import CommandResult
from certmgr.deploy.lineage import Lineage, safe_name
from certmgr.deploy.locks import exclusive_lock, record_reload, wait_after_reload
from certmgr.deploy.ssh import connect
from certmgr.deploy.versions import Version, VersionStore
from certmgr.x509.bundle import CertificateBundle
from certmgr.x509.pkcs12 import build_pkcs12
from inventory.errors import CertmgrError, UsageError

if TYPE_CHECKING:
    from certmgr.deploy.ssh import Remote

_log = logging.getLogger(__name__)

KEPT_VERSIONS = 5


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The result of a deployment to one target.

    Attributes:
        target: The name of the target in the configuration.
        ok: Whether the deployment succeeded.
        message: What happened, as one sentence.
        retry: Whether a later retry may succeed without a change by an administrator.
        output: The printable output of the program that failed.
    """

    target: str
    ok: bool
    message: str
    retry: bool = False
    output: str = ""


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


def deploy_to_target(
    target: TargetSettings,
    name: str,
    bundle: CertificateBundle,
    lineage_dir: Path,
    *,
    label: str = "",
    secret: Callable[[str], str] | None = None,
) -> TargetResult:
    """Deploy a certificate to a target.

    The call blocks for at most a few times ``target.timeout``, in addition to the wait for the
    lock. Failures of the target are returned and not raised.

    Args:
        target: The settings of the target.
        name: The name of the lineage.
        bundle: The key and certificates.
        lineage_dir: The base folder of the lineages.
        label: The name of the target in the configuration.
        secret: Resolves ``env:NAME`` or ``file:PATH``; None for the default.
    """
    try:
        _log.info("deploying %s to the target %s", name, label)
        lineage = Lineage(lineage_dir, safe_name(name))
        with _writer(target, lineage, bundle, secret or configured) as writer:
            return _deploy(target, writer, label)
    except CertmgrError as error:
        # A usage error needs a change of the configuration, so that a retry cannot help.
        return TargetResult(label, False, str(error), retry=not isinstance(error, UsageError))


def _deploy(target: TargetSettings, writer: TargetWriter, label: str) -> TargetResult:
    """Stage, test, commit and reload."""
    wait_after_reload(writer.lock_file, target.settle)
    writer.stage()
    if target.test:
        # A test that cannot run has accepted nothing, so that it counts like a failed one.
        try:
            test_result = writer.run(target.test)
        except CertmgrError:
            writer.rollback()
            raise
        if not test_result.ok:
            writer.rollback()
            message = (
                f"{hooks.display_command(target.test)} does not accept the certificate:"
                f" {test_result.sentence}; it was rolled back, and nothing was reloaded"
            )
            return TargetResult(label, False, message, True, test_result.output)
    writer.commit()
    if target.reload:
        # A failed or killed program may have sent the signal already, so that its time counts.
        try:
            reload_result = writer.run(target.reload)
        finally:
            record_reload(writer.lock_file)
        if not reload_result.ok:
            message = (
                f"the files are deployed, but {hooks.display_command(target.reload)} failed:"
                f" {reload_result.sentence}; the server may still serve the previous certificate"
            )
            return TargetResult(label, False, message, True, reload_result.output)
    return TargetResult(label, True, "deployed and reloaded" if target.reload else "deployed")


@contextmanager
def _writer(
    target: TargetSettings,
    lineage: Lineage,
    bundle: CertificateBundle,
    secret: Callable[[str], str],
) -> Iterator[TargetWriter]:
    """Yield the writer for a kind of target, with its lock held."""
    if target.kind == "ssh":
        with _remote_writer(target, lineage, bundle) as writer:
            yield writer
        return
    local = _LocalContext(
        target,
        {"CERTMGR_LINEAGE": lineage.name, "CERTMGR_SHA256": bundle.sha256},
        lineage.lock_file,
    )
    with lineage.lock():
        match target.kind:
            case "reload":
                yield _LiveFolderWriter(local, lineage, bundle)
            case "files":
                directory = _with_name(target.directory, lineage.name)
                yield _FilesWriter(local, directory, lineage.name, bundle)
            case "pkcs12":
                yield _Pkcs12Writer(
                    local,
                    _with_name(target.path, lineage.name),
                    bundle,
                    secret(target.password),
                    target.alias or lineage.name,
                )
            case _:
                raise UsageError(
                    f"'{target.kind[:30]}' is not a kind of target",
                    "",
                    "Correct 'kind' of the target in the configuration.",
                )


def _with_name(text: str, name: str) -> str:
    """Replace {name} in a path by the name of the lineage, which is safe in paths."""
    return text.replace("{name}", safe_name(name))


class _LocalContext:
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


class _LiveFolderWriter:
    """Writes to the live folder of the lineage, for a server that reads it there."""

    def __init__(self, local: _LocalContext, lineage: Lineage, bundle: CertificateBundle) -> None:
        self.run, self.lock_file, self._local, self._lineage, self._bundle = (
            local.run,
            local.lock_file,
            local,
            lineage,
            bundle,
        )

    def stage(self) -> None:
        version = self._lineage.store(
            self._bundle.key_pem, self._bundle.chain_der, modes=self._local.modes
        )
        self._before = self._lineage.attempt(version)

    def rollback(self) -> None:
        self._lineage.rollback(self._before)

    def commit(self) -> None:
        self._lineage.commit()


class _FilesWriter:
    """Writes to a folder with ``versions/``, one link ``current``, and stable links through it.

    A folder that belongs to another lineage is refused.
    """

    def __init__(
        self, local: _LocalContext, directory: str, name: str, bundle: CertificateBundle
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


class _Pkcs12Writer:
    """Writes one PKCS#12 file under a temporary name, and renames it.

    The previous file stays under a second hard link until the test is over.
    """

    def __init__(
        self, local: _LocalContext, path: str, bundle: CertificateBundle, password: str, alias: str
    ) -> None:
        self.run, self.lock_file, self._local, self._path, self._bundle = (
            local.run,
            local.lock_file,
            local,
            Path(path),
            bundle,
        )
        self._password, self._alias = password, alias
        name = hashlib.sha256(self._path.name.encode()).hexdigest()[:12]
        self._saved = f".certmgr-saved-{name}"

    def stage(self) -> None:
        if self._bundle.key_pem is None:
            raise UsageError(
                "A PKCS#12 file needs the private key",
                "the client has it",
                "Use another kind of target for this lineage.",
            )
        if not self._password:
            raise UsageError(
                "A PKCS#12 file needs a password",
                "without a password its key is practically unprotected",
                "Set 'password' of the target.",
            )
        data = self._build(self._bundle.key_pem)
        require_trusted(self._path.parent)
        with (
            map_os_errors(f"{self._path} cannot be written"),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            remove_leftovers(self._path.parent)
            self._save(handle)
            temporary = temporary_name("new")
            try:
                write_at(handle, temporary, data, self._local.modes)
                os.rename(temporary, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=handle)
                raise
            os.fsync(handle)

    def _save(self, handle: int) -> None:
        """Keep the current file under a second hard link.

        An existing link was left by a process that died before its test was over. It leads to the
        last file that passed its test, so that it stays.
        """
        with suppress(FileExistsError, FileNotFoundError):
            os.link(
                self._path.name,
                self._saved,
                src_dir_fd=handle,
                dst_dir_fd=handle,
                follow_symlinks=False,
            )
            os.fsync(handle)

    def _build(self, key_pem: bytes) -> bytes:
        return build_pkcs12(
            load_pem_private_key(key_pem, None),
            self._bundle.chain,
            alias=self._alias,
            password=self._password,
            legacy=self._local.legacy,
        )

    def rollback(self) -> None:
        with (
            map_os_errors(f"{self._path} cannot be restored"),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            try:
                os.rename(self._saved, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except FileNotFoundError:  # there was no file before
                os.unlink(self._path.name, dir_fd=handle)
            os.fsync(handle)

    def commit(self) -> None:
        with (
            map_os_errors(f"{self._path.parent} cannot be written to"),
            suppress(FileNotFoundError),
            open_folder(self._path.parent, follow=True) as handle,
        ):
            remove_at(handle, self._saved)


# -- another machine


class _RemoteWriter:
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
            _with_name(target.directory, name),
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
        self._remote.prune(self._directory, (self._version, self._before))


@contextmanager
def _remote_writer(
    target: TargetSettings, lineage: Lineage, bundle: CertificateBundle
) -> Iterator[TargetWriter]:
    """Yield the writer for another machine, with the lock of that machine held.

    The lock is separate: a machine that hangs must not block reloads on this one.
    """
    # The remote folder gets the name of the local version, so that both can be compared.
    version = lineage.find_version(bundle)
    if version is None:
        raise CertmgrError(
            f"'{lineage.name}' has no such version", "it was not stored before", "Store it first."
        )
    machine = hashlib.sha256(f"{target.host}:{target.port}".encode()).hexdigest()[:16]
    lock_file = lineage.base / f"lock-{machine}"
    with exclusive_lock(lock_file), connect(target) as remote:
        yield _RemoteWriter(remote, target, lineage.name, version, bundle, lock_file)
