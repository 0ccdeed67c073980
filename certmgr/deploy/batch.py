"""Deploys many certificates to one target with one test and one reload.

A reload of nginx with a thousand sites reads a thousand certificates. A reload per renewed lineage
would keep it reading for hours, and each wait for the one before (``settle``).

A batch is deployed as a whole or not at all: if its test or its reload fails, all of it is rolled
back, and the target is tested (or reloaded) once more without it. If that fails too, the cause is
not in the batch. Otherwise its halves are tried, so that the certificate that the server does not
accept is found, and only that one stays behind.

Order of durability: each member is staged with a durable link to the version before; the test; the
reload; then each member is committed. If the process dies in between, the next deployment of a
member repeats it, and can still roll back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from certmgr.config.acme import TargetSettings
from certmgr.config.secret_values import secret as configured
from certmgr.deploy import hooks
from certmgr.deploy.hooks import CommandResult
from certmgr.deploy.lineage import Lineage, safe_name
from certmgr.deploy.locks import record_reload, wait_after_reload
from certmgr.deploy.targets import TargetResult, deploy_to_target, open_target
from certmgr.deploy.writers.interface import TargetWriter
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError, UsageError

_log = logging.getLogger(__name__)

# Attempts that fail before the rest of a batch is left for the next run. One bad certificate of 50
# costs seven; a server on which many fail needs an administrator, not a hundred tests.
MAX_FAILED_ATTEMPTS = 16
# The names of a batch are one environment variable, of which a program gets 8,000 characters.
_MAX_NAMES = 7500


@dataclass(frozen=True, slots=True)
class BatchMember:
    """A lineage of a batch. ``bundle``: its key and certificates."""

    name: str
    bundle: CertificateBundle


def deploy_batch(
    target: TargetSettings,
    members: Sequence[BatchMember],
    lineage_dir: Path,
    *,
    label: str = "",
    secret: Callable[[str], str] | None = None,
) -> dict[str, TargetResult]:
    """Deploy certificates to a target, at most ``target.batch`` of them with one reload.

    Failures are returned and not raised. A single certificate is deployed as by
    :func:`~certmgr.deploy.targets.deploy_to_target`.

    Args:
        target: The settings of the target.
        members: The lineages, each once.
        lineage_dir: The base folder of the lineages.
        label: The name of the target in the configuration.
        secret: Resolves ``env:NAME`` or ``file:PATH``; None for the default.

    Returns:
        Name of a lineage -> its result.
    """
    results: dict[str, TargetResult] = {}
    # One after the other, so that the second reload begins when the server has read the first.
    for chunk in _chunks(members, target.batch):
        if len(chunk) == 1:
            (one,) = chunk
            results[one.name] = deploy_to_target(
                target, one.name, one.bundle, lineage_dir, label=label, secret=secret
            )
            continue
        batch = _Batch(target, lineage_dir, label, secret or configured)
        batch.deploy(chunk)
        results |= batch.results
    return results


def _chunks(members: Sequence[BatchMember], size: int) -> Iterator[list[BatchMember]]:
    chunk: list[BatchMember] = []
    length = 0
    for member in members:
        if chunk and (len(chunk) == size or length + len(member.name) >= _MAX_NAMES):
            yield chunk
            chunk, length = [], 0
        chunk.append(member)
        length += len(member.name) + 1
    if chunk:
        yield chunk


def _parts(
    members: Sequence[BatchMember], done: Container[str], *, single: bool
) -> Iterator[list[BatchMember]]:
    """Yield the parts of a batch that are tried next: its halves, or one member at a time."""
    # Halves find one bad certificate among n in about log2(n) attempts.
    half = (len(members) + 1) // 2
    parts = [[m] for m in members] if single else [list(members[:half]), list(members[half:])]
    for part in parts:
        if left := [m for m in part if m.name not in done]:
            yield left


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Why a target does not accept a batch.

    Attributes:
        message: The reason in words.
        output: The output of the program that failed.
        alone: Whether the target failed without the batch, too, so that no member is the cause.
    """

    message: str
    output: str
    alone: bool


@dataclass(slots=True)
class _Batch:
    """The attempts for one chunk.

    Attributes:
        results: Name -> result, of the members that are done.
        failed_attempts: How many attempts failed.
    """

    target: TargetSettings
    base: Path
    label: str
    secret: Callable[[str], str]
    results: dict[str, TargetResult] = field(default_factory=dict)
    failed_attempts: int = 0

    def deploy(self, members: Sequence[BatchMember]) -> None:
        """Deploy some members, and record the result of each."""
        _log.info("deploying %d lineage(s) to the target %s", len(members), self.label)
        try:
            rejection = self._together(members)
        # The lock, the connection or the programs: nothing was staged, or it was rolled back.
        except CertmgrError as error:
            self._fail(members, str(error), retry=not isinstance(error, UsageError))
            return
        if rejection is None:
            return
        self.failed_attempts += 1
        left = [m for m in members if m.name not in self.results]
        enough = self.failed_attempts >= MAX_FAILED_ATTEMPTS
        if len(left) <= 1 or enough or (rejection.alone and not self._accepts(left[0])):
            self._fail(left, rejection.message, output=rejection.output)
            return
        _log.info("%s: %s; parts of it are tried", self.label, rejection.message)
        for part in _parts(left, self.results, single=rejection.alone):
            self.deploy(part)

    def _accepts(self, member: BatchMember) -> bool:
        """Deploy one member of a batch that failed with and without its certificates.

        A program that reads CERTMGR_LINEAGE fails for each batch, and succeeds for one lineage.
        """
        self.deploy([member])
        return self.results[member.name].ok

    def _fail(
        self,
        members: Sequence[BatchMember],
        message: str,
        *,
        retry: bool = True,
        output: str = "",
    ) -> None:
        for member in members:
            self.results.setdefault(
                member.name, TargetResult(self.label, False, message, retry, output)
            )

    def _together(self, members: Sequence[BatchMember]) -> _Rejection | None:
        """Try all members at once. Record the results, except for those that are rolled back."""
        environment = {"CERTMGR_LINEAGES": " ".join(m.name for m in members)}
        # Missing for several on purpose: a program that needs it must fail, and not do its work for
        # one of them only.
        if len(members) == 1:
            environment["CERTMGR_LINEAGE"] = members[0].name
            environment["CERTMGR_SHA256"] = members[0].bundle.sha256
        with open_target(self.target, self.base, environment, self.secret) as make:
            staged: dict[str, TargetWriter] = {}
            for member in members:
                # A member that cannot be staged, such as one that is held, stops no other.
                try:
                    writer = make(Lineage(self.base, safe_name(member.name)), member.bundle)
                    if not staged:
                        # A server that still reads after the last reload must not see half of a
                        # switch.
                        wait_after_reload(writer.lock_file, self.target.settle)
                    writer.stage()
                except CertmgrError as error:
                    self._fail([member], str(error), retry=not isinstance(error, UsageError))
                    continue
                staged[member.name] = writer
            return self._activate(staged) if staged else None

    def _activate(self, staged: Mapping[str, TargetWriter]) -> _Rejection | None:
        """Test, reload and commit what is staged; roll it back if one of both fails."""
        target, first = self.target, next(iter(staged.values()))
        if target.test and not (tested := _run(first, target.test)).ok:
            self._roll_back(staged)
            # With the files of before: does it accept the configuration at all?
            alone = not _run(first, target.test).ok
            message = (
                f"{hooks.display_command(target.test)} does not accept the certificates:"
                f" {tested.sentence}; they were rolled back, and nothing was reloaded"
            )
            return _Rejection(message, tested.output, alone)
        if target.reload and not (reloaded := self._reload(first)).ok:
            self._roll_back(staged)
            # A server that did reload reads the files of before again.
            alone = not self._reload(first).ok
            message = (
                f"{hooks.display_command(target.reload)} failed: {reloaded.sentence}; the"
                " certificates were rolled back"
            )
            return _Rejection(message, reloaded.output, alone)
        text = "deployed and reloaded" if target.reload else "deployed"
        for name, writer in staged.items():
            try:
                writer.commit()
            except CertmgrError as error:
                # It is in use, and a later run repeats the deployment and commits it.
                self.results[name] = TargetResult(self.label, False, str(error), True)
            else:
                others = f" together with {len(staged) - 1} other(s)" if len(staged) > 1 else ""
                message = text + others
                self.results[name] = TargetResult(self.label, True, message)
        return None

    def _reload(self, writer: TargetWriter) -> CommandResult:
        # A failed or killed program may have sent the signal already, so that its time counts.
        try:
            return _run(writer, self.target.reload)
        finally:
            record_reload(writer.lock_file)

    def _roll_back(self, staged: Mapping[str, TargetWriter]) -> None:
        for name, writer in staged.items():
            # One that cannot be rolled back must not keep the others in use.
            try:
                writer.rollback()
            except CertmgrError as error:
                self.results[name] = TargetResult(self.label, False, str(error), True)


def _run(writer: TargetWriter, command: Sequence[str]) -> CommandResult:
    """Run a program of the target. One that cannot be run has accepted nothing."""
    try:
        return writer.run(command)
    except CertmgrError as error:
        return CommandResult(False, output=f"{error.what}: {error.why}")
