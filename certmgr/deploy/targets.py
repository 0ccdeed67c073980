"""Deploys one certificate to one target: stage it, test, commit, reload.

If the test fails, the certificate is rolled back. The result is a value, so that a failure does not
stop the other targets.

All kinds of targets use the same order under one lock: the switch (one rename), the test, the
reload. Exit codes do not prove that the certificate is served. A verification does, afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from certmgr.config.acme import TargetSettings
from certmgr.config.secret_values import secret as configured
from certmgr.deploy import hooks
from certmgr.deploy.lineage import LOCK_FILE, Lineage, base_lock, safe_name
from certmgr.deploy.locks import record_reload, wait_after_reload
from certmgr.deploy.writers.files import FilesWriter
from certmgr.deploy.writers.interface import (
    LocalContext,
    TargetWriter,
    with_lineage_name,
)
from certmgr.deploy.writers.live_folder import LiveFolderWriter
from certmgr.deploy.writers.pkcs12 import Pkcs12Writer
from certmgr.deploy.writers.remote import remote_target
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError

_log = logging.getLogger(__name__)


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
        environment = {
            # What a reload program may need to know. Values are checked before they reach it.
            "CERTMGR_LINEAGE": lineage.name,
            "CERTMGR_LINEAGES": lineage.name,
            "CERTMGR_SHA256": bundle.sha256,
        }
        # The lock spans the switch, the test and the reload: two lineages in between each other's
        # steps would let a server read files of both halves.
        with open_target(target, lineage_dir, environment, secret or configured) as make:
            return _deploy(target, make(lineage, bundle), label)
    except CertmgrError as error:
        # A usage error needs a change of the configuration, so that a retry cannot help.
        return TargetResult(label, False, str(error), retry=not isinstance(error, UsageError))


def _deploy(target: TargetSettings, writer: TargetWriter, label: str) -> TargetResult:
    """Stage, test, commit and reload."""
    # Before the switch: a server that is still reading must not meet files of two versions.
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
    # The test accepted the certificate: from here on a death leaves the new version in use, which
    # the next run reloads again.
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


MakeWriter = Callable[[Lineage, CertificateBundle], TargetWriter]


@contextmanager
def open_target(
    target: TargetSettings, base: Path, environment: Mapping[str, str], secret: Callable[[str], str]
) -> Iterator[MakeWriter]:
    """Hold the lock of a target, and yield a function that makes its writers.

    Args:
        target: The settings of the target.
        base: The base folder of the lineages.
        environment: CERTMGR_* for the programs of the target.
        secret: Resolves ``env:NAME`` or ``file:PATH``.
    """
    if target.kind == "ssh":
        with remote_target(target, base) as make:
            yield make
        return
    with base_lock(base):
        local = LocalContext(target, environment, base / LOCK_FILE)
        yield partial(_local_writer, target, local, secret)


def _local_writer(
    target: TargetSettings,
    local: LocalContext,
    secret: Callable[[str], str],
    lineage: Lineage,
    bundle: CertificateBundle,
) -> TargetWriter:
    match target.kind:
        case "reload":
            return LiveFolderWriter(local, lineage, bundle)
        case "files":
            directory = with_lineage_name(target.directory, lineage.name)
            return FilesWriter(local, directory, lineage.name, bundle)
        case "pkcs12":
            return Pkcs12Writer(
                local,
                with_lineage_name(target.path, lineage.name),
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
