"""Delivery of the certificate of a lineage to its targets.

This module performs I/O. The row of each target is ``pending`` before the target is changed and
``done`` after it, so that the next run repeats what a process that died left.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Unpack

from certmgr.acme import backoff
from certmgr.acme.context import IssuanceContext
from certmgr.deploy.batch import BatchMember, deploy_batch
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.targets import TargetResult, deploy_to_target
from certmgr.x509.bundle import CertificateBundle
from inventory.errors import CertmgrError
from inventory.records import DeploymentRecord, LineageRecord
from inventory.store import deployments, lineages
from inventory.store.lineages import LineageColumns

_log = logging.getLogger(__name__)


def version_of(folder: Lineage, sha256: str) -> Version | None:
    """Return the newest version that holds the leaf with this fingerprint."""
    versions = [v for v in folder.versions() if v.digest == sha256[:12]]
    return versions[-1] if versions else None


def note(context: IssuanceContext, row: LineageRecord, **values: Unpack[LineageColumns]) -> None:
    """Record what was observed about a lineage, in a separate transaction."""
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


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """What is delivered for one lineage.

    Attributes:
        row: The lineage.
        folder: The lineage on disk.
        version: The version of its newest certificate.
        bundle: The content of that version.
    """

    row: LineageRecord
    folder: Lineage
    version: Version
    bundle: CertificateBundle


def deliver(context: IssuanceContext, item: DeliveryItem, again: bool) -> Delivery:
    """Deliver one lineage to every target that is due. A failing target does not stop the others.

    Raises:
        CertmgrError: The live directory cannot be switched.
    """
    result = deliver_together(context, [item], again)[item.row.id]
    if isinstance(result, CertmgrError):
        raise result
    return result


def deliver_together(
    context: IssuanceContext, items: Sequence[DeliveryItem], again: bool
) -> dict[int, Delivery | CertmgrError]:
    """Deliver several lineages to every target that is due; a target reloads once for all.

    Returns:
        Id of a lineage -> its delivery, or why its live directory cannot be switched.
    """
    by_id = {item.row.id: item for item in items}
    failures: dict[int, list[TargetResult]] = {item.row.id: [] for item in items}
    errors: dict[int, CertmgrError] = {}
    due: list[DeploymentRecord] = []
    for item in items:
        try:
            due += _due(context, item, again)
        except CertmgrError as error:
            # One lineage that is held must not keep the others of the batch from their servers.
            errors[item.row.id] = error
    # One target after the other: a lineage is complete at the first before the second one reloads.
    for target, jobs in _by_target(context, due).items():
        # Rows of an older certificate may still be due: they get the newest one, once.
        wanted = [by_id[i] for i in dict.fromkeys(j.lineage_id for j in jobs)]
        results = _deploy(context, target, [BatchMember(w.row.name, w.bundle) for w in wanted])
        for job in jobs:
            result = results[by_id[job.lineage_id].row.name]
            _record(context, job, result)
            if not result.ok:
                failures[job.lineage_id].append(result)
    tried = Counter(job.lineage_id for job in due)
    return {
        id: errors[id] if id in errors else Delivery(failed, tried[id] > len(failed))
        for id, failed in failures.items()
    }


def _due(context: IssuanceContext, item: DeliveryItem, again: bool) -> list[DeploymentRecord]:
    """Return the deliveries of a lineage that are due, and switch what no target switches."""
    row, configured = item.row, context.settings.acme.targets
    assert row.sha256 is not None
    with context.write() as tx:
        deployments.schedule(tx, row.id, row.sha256, row.targets)
        if again:
            deployments.schedule_again(tx, row.id, row.sha256, row.targets)
        due = deployments.listing(tx.conn, lineage_id=row.id, due=tx.at)
    _log.info("%s: %d target(s) are due", row.name, len(due))
    # A target that reloads switches the live directory itself, as part of its test and reload.
    if not any(configured[t].kind == "reload" for t in row.targets if t in configured):
        item.folder.switch(item.version)
    return due


def _by_target(
    context: IssuanceContext, due: Sequence[DeploymentRecord]
) -> dict[str, list[DeploymentRecord]]:
    """Group deliveries by target. Those that reload come first: they switch live directories."""
    configured = context.settings.acme.targets
    groups: dict[str, list[DeploymentRecord]] = {}
    for job in sorted(
        due,
        key=lambda j: (j.target not in configured or configured[j.target].kind != "reload", j.id),
    ):
        groups.setdefault(job.target, []).append(job)
    return groups


def _deploy(
    context: IssuanceContext, target: str, members: Sequence[BatchMember]
) -> dict[str, TargetResult]:
    settings = context.settings.acme.targets.get(target)
    if settings is None:
        # An administrator removed or renamed the target. The lineages with other targets are not
        # affected.
        missing = TargetResult(target, False, f"the configuration has no [acme.target.{target}]")
        return {m.name: missing for m in members}
    context.checkpoint(f"deliver {target}")
    return deploy_batch(settings, members, context.base, label=target)


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
    # Each target again, also those that failed with the new certificate: all must serve the same
    # pair.
    results = [
        deploy_to_target(configured[t], row.name, bundle, context.base, label=t) for t in targets
    ]
    note(context, row, deployed=bundle.sha256)
    return [r for r in results if not r.ok]
