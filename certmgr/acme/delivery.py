"""Delivery of the certificate of a lineage to its targets.

This module performs I/O. The row of each target is ``pending`` before the target is changed and
``done`` after it, so that the next run repeats what a process that died left.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from certmgr.acme import backoff
from certmgr.acme.context import IssuanceContext
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.targets import TargetResult, deploy_to_target
from certmgr.x509.bundle import CertificateBundle
from inventory.records import DeploymentRecord, LineageRecord
from inventory.store import deployments, lineages

_log = logging.getLogger(__name__)


def version_of(folder: Lineage, sha256: str) -> Version | None:
    """Return the newest version that holds the leaf with this fingerprint."""
    versions = [v for v in folder.versions() if v.digest == sha256[:12]]
    return versions[-1] if versions else None


def note(context: IssuanceContext, row: LineageRecord, **values: object) -> None:
    with context.write() as tx:
        lineages.note(tx, row.id, **values)


def failure_text(failures: Sequence[TargetResult]) -> str:
    return "; ".join(f"{d.target}: {d.message}" for d in failures)


class Delivery(NamedTuple):
    """The result of a delivery.

    Attributes:
        failures: The targets that failed.
        delivered: Whether a target got the certificate now, so that its server just reloaded.
    """

    failures: list[TargetResult]
    delivered: bool


def deliver(
    context: IssuanceContext,
    row: LineageRecord,
    folder: Lineage,
    version: Version,
    bundle: CertificateBundle,
    again: bool,
) -> Delivery:
    """Deliver to every target that is due. A failing target does not stop the others."""
    configured = context.settings.acme.targets
    targets = row.targets
    assert row.sha256 is not None
    with context.write() as tx:
        deployments.schedule(tx, row.id, row.sha256, targets)
        if again:
            deployments.schedule_again(tx, row.id, row.sha256, targets)
        due = deployments.listing(tx.conn, lineage_id=row.id, due=tx.at)
    _log.info("%s: %d target(s) are due", row.name, len(due))
    # A target that reloads switches the live directory itself, as part of its test and reload.
    if not any(configured[t].kind == "reload" for t in targets if t in configured):
        folder.switch(version)
    failures = []
    # Targets that reload come first, because they switch the live directory.
    for job in sorted(
        due,
        key=lambda j: (
            j.target not in configured or configured[j.target].kind != "reload",
            j.id,
        ),
    ):
        target = job.target
        if target not in configured:
            result = TargetResult(target, False, f"the configuration has no [acme.target.{target}]")
        else:
            context.checkpoint(f"deliver {target}")
            result = deploy_to_target(
                configured[target], row.name, bundle, context.base, label=target
            )
        _record(context, job, result)
        if not result.ok:
            failures.append(result)
    return Delivery(failures, len(due) > len(failures))


def _record(context: IssuanceContext, job: DeploymentRecord, result: TargetResult) -> None:
    with context.write() as tx:
        if result.ok:
            deployments.succeeded(tx, job.id)
        else:
            # A failing target is retried with growing pauses, like a failing order.
            wait = backoff.retry(job.attempts + 1, context.random())
            deployments.failed(
                tx,
                job.id,
                f"{result.message}{': ' + result.output[-300:] if result.output else ''}",
                tx.at + int(wait),
            )


def rollback(
    context: IssuanceContext,
    row: LineageRecord,
    folder: Lineage,
    old: Version,
    bundle: CertificateBundle,
) -> list[TargetResult]:
    """Deliver the key and certificate of an older version to every target.

    Returns:
        The targets that failed.
    """
    configured = context.settings.acme.targets
    targets = [t for t in row.targets if t in configured]
    if not any(configured[t].kind == "reload" for t in targets):
        folder.switch(old)
    results = [
        deploy_to_target(configured[t], row.name, bundle, context.base, label=t) for t in targets
    ]
    note(context, row, deployed=bundle.sha256)
    return [r for r in results if not r.ok]
