"""Brings one certificate to one target: put it there, test, reload; a test that fails undoes what
was put. The outcome is a value: other targets go on.

The order is the same for every kind, under one lock: the switch (one rename), the test, the reload.
Exit codes prove little: that it is served is seen by a look.
"""

from __future__ import annotations

import hashlib
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
    folder,
    make_folder,
    modes,
    read_at,
    remove_at,
    require_trusted,
    sweep,
    token,
    write_at,
    writing,
)
from certmgr.deploy.hooks import CommandResult
from certmgr.deploy.lineage import Lineage, safe_name
from certmgr.deploy.locks import alone, mark_reload, settle
from certmgr.deploy.ssh import connected
from certmgr.deploy.versions import Version, VersionStore
from certmgr.x509.bundle import CertificateBundle
from certmgr.x509.pkcs12 import build_pkcs12
from inventory.errors import CertmgrError, UsageError

if TYPE_CHECKING:
    from certmgr.deploy.ssh import Remote

KEPT = 5


@dataclass(frozen=True, slots=True)
class TargetResult:
    """``what``: one sentence.

    ``retry``: whether trying again later may help without anybody's help. ``output``: of the
    program that failed, printable.
    """

    target: str
    ok: bool
    what: str
    retry: bool = False
    output: str = ""


class TargetWriter(Protocol):
    """Where it is put.

    ``put`` makes it what the server will load; ``back`` undoes that; ``keep`` is called when it
    stays.
    """

    def put(self) -> None: ...

    def back(self) -> None: ...

    def keep(self) -> None: ...

    def run(self, command: Sequence[str]) -> CommandResult: ...

    @property
    def lock_file(self) -> Path: ...


def deliver(
    target: TargetSettings,
    name: str,
    material: CertificateBundle,
    lineage_dir: Path,
    *,
    label: str = "",
    secret: Callable[[str], str] | None = None,
) -> TargetResult:
    """Blocks for at most a few times ``target.timeout``, and for the lock.

    ``name``: of the lineage below ``lineage_dir``. ``label``: the target's word in the
    configuration. ``secret``: the value behind ``env:NAME`` or ``file:PATH``. Never raises for what
    goes wrong at the target.
    """

    try:
        lineage = Lineage(lineage_dir, safe_name(name))
        with _place(target, lineage, material, secret or configured) as place:
            return _carry_out(target, place, label)
    except CertmgrError as error:
        return TargetResult(label, False, str(error), retry=not isinstance(error, UsageError))


def _carry_out(target: TargetSettings, place: TargetWriter, label: str) -> TargetResult:
    settle(place.lock_file, target.settle)
    place.put()
    if target.test:
        try:
            tested = place.run(target.test)
        except CertmgrError:
            place.back()
            raise
        if not tested.ok:
            place.back()
            what = (
                f"{hooks.shown(target.test)} does not accept it: {tested.sentence}; it was taken"
                " back, and nothing was reloaded"
            )
            return TargetResult(label, False, what, True, tested.output)
    place.keep()
    if target.reload:
        try:
            done = place.run(target.reload)
        finally:
            mark_reload(place.lock_file)
        if not done.ok:
            what = (
                f"it is in place, but {hooks.shown(target.reload)} failed: {done.sentence}; the"
                " server may still show the old one"
            )
            return TargetResult(label, False, what, True, done.output)
    return TargetResult(label, True, "in place, and reloaded" if target.reload else "in place")


@contextmanager
def _place(
    target: TargetSettings,
    lineage: Lineage,
    material: CertificateBundle,
    secret: Callable[[str], str],
) -> Iterator[TargetWriter]:
    if target.kind == "ssh":
        with _over_ssh(target, lineage, material) as place:
            yield place
        return
    run = _Local(
        target,
        {"CERTMGR_LINEAGE": lineage.name, "CERTMGR_SHA256": material.sha256},
        lineage.lock_file,
    )
    with lineage.lock():
        match target.kind:
            case "reload":
                yield _Live(run, lineage, material)
            case "files":
                yield _Files(run, _filled(target.directory, lineage.name), lineage.name, material)
            case "pkcs12":
                yield _Pkcs12(
                    run,
                    _filled(target.path, lineage.name),
                    material,
                    secret(target.password),
                    target.alias or lineage.name,
                )
            case _:
                raise UsageError(
                    f"There is no kind of target '{target.kind[:30]}'",
                    "",
                    "Correct kind in the configuration.",
                )


def _filled(text: str, name: str) -> str:
    """Only a lineage's name, which is a safe word, is ever put into a path."""
    return text.replace("{name}", safe_name(name))


class _Local:
    """What local targets share: who runs programs, and the modes of the files."""

    def __init__(
        self, target: TargetSettings, environment: Mapping[str, str], lock_file: Path
    ) -> None:
        self._target, self._environment, self.lock_file = target, environment, lock_file

    def run(self, command: Sequence[str]) -> CommandResult:
        return hooks.run(
            command,
            user=self._target.user,
            timeout=self._target.timeout,
            extra_environment=self._environment,
        )

    @property
    def modes(self) -> Modes:
        return modes(self._target.owner, self._target.group, self._target.mode)

    @property
    def legacy(self) -> bool:
        return self._target.legacy


class _Live:
    """The live folder of the lineage, which the server is configured with."""

    def __init__(self, local: _Local, lineage: Lineage, material: CertificateBundle) -> None:
        self.run, self.lock_file, self._local, self._lineage, self._material = (
            local.run,
            local.lock_file,
            local,
            lineage,
            material,
        )

    def put(self) -> None:
        version = self._lineage.store(
            self._material.key_pem, self._material.chain_der, modes=self._local.modes
        )
        self._before = self._lineage.attempt(version)

    def back(self) -> None:
        self._lineage.back(self._before)

    def keep(self) -> None:
        self._lineage.settle()


class _Files:
    """A folder with ``versions/``, one link ``current``, and stable links through it.

    Another lineage's is refused.
    """

    def __init__(
        self, local: _Local, directory: str, name: str, material: CertificateBundle
    ) -> None:
        self.run, self.lock_file, self._modes, self._name, self._material = (
            local.run,
            local.lock_file,
            local.modes,
            name,
            material,
        )
        self._directory = Path(directory)
        self._shelf = VersionStore(
            f"'{name}'", self._directory / "versions", self._directory / "current", self._directory
        )

    def put(self) -> None:
        with writing(f"{self._directory} cannot be made"):
            require_trusted(self._directory)
            _make_parents(self._directory.parent)
            for path in (self._directory, self._directory / "versions"):
                make_folder(path, self._modes)
                require_trusted(path)
            self._claim()
        self._before = self._shelf.attempt(self._shelf.store(self._material, self._modes))

    def _claim(self) -> None:
        """Two lineages in one folder would take turns in it."""
        with folder(self._directory) as handle:
            try:
                owner = read_at(handle, "lineage").decode(errors="replace")
            except FileNotFoundError:
                temporary = token("new")
                write_at(handle, temporary, self._name.encode(), Modes())
                os.rename(temporary, "lineage", src_dir_fd=handle, dst_dir_fd=handle)
                return
        if owner != self._name:
            raise UsageError(
                f"{self._directory} belongs to the lineage '{owner[:80]}'",
                "",
                "Write {name} in the directory of the target.",
            )

    def back(self) -> None:
        self._shelf.back(self._before)

    def keep(self) -> None:
        self._shelf.settle()
        with suppress(CertmgrError):  # old versions that stay do no harm
            self._shelf.prune(KEPT, ())


def _make_parents(path: Path) -> None:
    """Folders that are passed through, and not listed by others."""
    for place in reversed([p for p in (path, *path.parents) if not p.exists()]):
        make_folder(place, Modes())
        place.chmod(0o711)


class _Pkcs12:
    """One file, written beside its place and renamed.

    The one before waits under a second link until the test is over.
    """

    def __init__(
        self, local: _Local, path: str, material: CertificateBundle, password: str, alias: str
    ) -> None:
        self.run, self.lock_file, self._local, self._path, self._material = (
            local.run,
            local.lock_file,
            local,
            Path(path),
            material,
        )
        self._password, self._alias = password, alias
        name = hashlib.sha256(self._path.name.encode()).hexdigest()[:12]
        self._saved = f".certmgr-saved-{name}"

    def put(self) -> None:
        if self._material.key_pem is None:
            raise UsageError(
                "A PKCS#12 needs the private key",
                "the client has it",
                "Use another kind of target for this lineage.",
            )
        if not self._password:
            raise UsageError(
                "A PKCS#12 needs a password",
                "without one its key is in the open for most tools",
                "Set password of the target.",
            )
        data = self._built(self._material.key_pem)
        require_trusted(self._path.parent)
        with (
            writing(f"{self._path} cannot be written"),
            folder(self._path.parent, follow=True) as handle,
        ):
            sweep(self._path.parent)
            self._save(handle)
            temporary = token("new")
            try:
                write_at(handle, temporary, data, self._local.modes)
                os.rename(temporary, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=handle)
                raise
            os.fsync(handle)

    def _save(self, handle: int) -> None:
        """A link that is there already is of a process that died before its test was over: then
        that one is the last good one.
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

    def _built(self, key_pem: bytes) -> bytes:
        return build_pkcs12(
            load_pem_private_key(key_pem, None),
            self._material.chain,
            alias=self._alias,
            password=self._password,
            legacy=self._local.legacy,
        )

    def back(self) -> None:
        with (
            writing(f"{self._path} cannot be restored"),
            folder(self._path.parent, follow=True) as handle,
        ):
            try:
                os.rename(self._saved, self._path.name, src_dir_fd=handle, dst_dir_fd=handle)
            except FileNotFoundError:  # there was none
                os.unlink(self._path.name, dir_fd=handle)
            os.fsync(handle)

    def keep(self) -> None:
        with (
            writing(f"{self._path.parent} cannot be written to"),
            suppress(FileNotFoundError),
            folder(self._path.parent, follow=True) as handle,
        ):
            remove_at(handle, self._saved)


# -- another machine


class _Far:
    """Folders on another machine."""

    def __init__(
        self,
        remote: Remote,
        target: TargetSettings,
        name: str,
        version: Version,
        material: CertificateBundle,
        lock_file: Path,
    ) -> None:
        self.run, self.lock_file, self._remote, self._target = remote.run, lock_file, remote, target
        self._directory, self._name, self._version, self._material = (
            _filled(target.directory, name),
            name,
            version.name,
            material,
        )
        self._before: str | None = None

    def put(self) -> None:
        mode = int(self._target.mode, 8) if self._target.mode else 0o600
        self._remote.prepare(self._directory, self._name, self._target.group)
        self._remote.store(
            self._directory,
            self._version,
            self._material,
            self._target.owner,
            self._target.group,
            mode,
        )
        self._before = self._remote.attempt(
            self._directory, self._version, list(self._material.files)
        )

    def back(self) -> None:
        self._remote.back(self._directory, self._before)

    def keep(self) -> None:
        self._remote.settle(self._directory)
        self._remote.prune(self._directory, (self._version, self._before))


@contextmanager
def _over_ssh(
    target: TargetSettings, lineage: Lineage, material: CertificateBundle
) -> Iterator[TargetWriter]:
    """Its own lock: a machine that hangs keeps nobody from reloading here."""

    version = lineage.holding(material)
    if version is None:
        raise CertmgrError(
            f"'{lineage.name}' has no such version", "it was not stored before", "Store it first."
        )
    where = hashlib.sha256(f"{target.host}:{target.port}".encode()).hexdigest()[:16]
    lock_file = lineage.base / f"lock-{where}"
    with alone(lock_file), connected(target) as remote:
        yield _Far(remote, target, lineage.name, version, material, lock_file)
