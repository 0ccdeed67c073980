"""Deployment of a lineage's newest certificate to its targets, verification that it is live, and
rollback after a regression.

This module performs I/O.

Order of durability: the version is completely on disk before the switch. The row of each target is
``pending`` before the target is changed and ``done`` after it. ``deployed`` is written after the
switch. If the process dies in between, the old or the new pair is in use. The next run delivers to
the same targets again, which has no effect on those that are done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from certmgr.acme import backoff
from certmgr.acme.context import IssuanceContext
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.rollback import OldVersion, RollbackAction, SwitchState, decide, switch_states
from certmgr.deploy.targets import TargetResult, deploy_to_target
from certmgr.inspection import live_check
from certmgr.inspection.verification import Observation, Verification, VerificationState, verify
from certmgr.x509.bundle import CertificateBundle
from inventory.certificates import parse
from inventory.errors import Busy, CertmgrError
from inventory.records import DeploymentRecord, LineageRecord
from inventory.store import cases, certificate_ends, lineages

_log = logging.getLogger(__name__)

# Seconds between two checks. Most servers show the new certificate shortly after their reload.
CHECK_INTERVALS = (0.1, 0.4, 1.0, 2.0, 4.0, 8.0)
VERSIONS_KEPT = 5


@dataclass(frozen=True, slots=True)
class DeployResult:
    """The result of deploying one lineage.

    Attributes:
        lineage: The name of the lineage.
        client: The number of the client.
        state: live (verified at all endpoints), placed (deployed, no endpoint to verify it at),
            unseen (an endpoint serves another certificate), untold (undetermined, a check failed),
            failed (a target failed), rolled-back, staff (an administrator must decide), nothing
            (nothing to deploy) or busy (another process works on the lineage).
        message: The reason in words.
        failures: The targets that failed.
    """

    lineage: str
    client: str
    state: str
    message: str
    failures: tuple[TargetResult, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether no failure has to be reported."""
        # A check that failed is not evidence of a failed deployment.
        return self.state in ("live", "placed", "nothing", "busy", "untold")


def deploy(
    context: IssuanceContext, lineage_id: int, *, again: bool = False, patience: float | None = None
) -> DeployResult:
    """Deploy the newest certificate of a lineage and verify that it is live.

    Failures of a target or a check are results and not exceptions.

    Args:
        context: The shared dependencies.
        lineage_id: The lineage.
        again: Whether to deploy to targets that have the certificate already, and after a rollback.
        patience: Seconds to wait until the certificate is live; None for the configured time.
    """
    with context.read() as conn:
        row = lineages.by_id(conn, lineage_id)
    _log.info("deploying the lineage %s", row.name)
    try:
        with context.lineage_lock(row.name):
            return _deploy(
                context,
                row,
                again,
                context.settings.acme.verification_seconds if patience is None else patience,
            )
    except Busy as error:
        return DeployResult(row.name, row.client, "busy", str(error))
    except CertmgrError as error:
        return DeployResult(row.name, row.client, "failed", str(error))


def _deploy(
    context: IssuanceContext, row: LineageRecord, again: bool, patience: float
) -> DeployResult:
    folder = Lineage(context.base, row.name)
    version = version_of(folder, row.sha256) if row.sha256 else None
    if version is None and row.sha256:
        return DeployResult(
            row.name,
            row.client,
            "failed",
            "its certificate is not on disk yet; certmgr renew --due stores it there",
        )
    if version is None:
        return DeployResult(row.name, row.client, "nothing", "there is no certificate to deploy")
    # A certificate that caused a regression is never deployed automatically a second time.
    if row.rolled_back == row.sha256 and not again:
        return DeployResult(
            row.name,
            row.client,
            "staff",
            "it was rolled back after a regression; fix the cause (certmgr lineage show), then run"
            f" certmgr lineage deploy {row.name}",
        )
    bundle = folder.read(version)
    endpoints = _live_check_targets(context, row)
    old = folder.current()
    before: list[Observation] = []
    changes = row.deployed != row.sha256 or old != version
    # A regression is the difference between the observations before and after the switch.
    if changes and endpoints:
        before = _observe(context, endpoints)
    failures = _deliver(context, row, folder, version, bundle, again)
    if folder.current() == version and row.deployed != row.sha256:
        _note(context, row, deployed=row.sha256)
    if failures and folder.current() != version:
        return DeployResult(
            row.name, row.client, "failed", _failure_text(failures), tuple(failures)
        )
    verification, after = _await_live(context, endpoints, bundle, patience)
    verified_at = context.now_epoch if verification.state is VerificationState.LIVE else None
    # Each run verifies a certificate again that is served nowhere; only changes are written.
    if (row.proof, row.proven_at) != (verification.sentence[:1000], verified_at):
        _note(context, row, proof=verification.sentence[:1000], proven_at=verified_at)
    if (
        verification.state is not VerificationState.LIVE
        and endpoints
        and changes
        and old is not None
        and old != version
    ):
        result = _roll_back_on_regression(context, row, folder, old, before, after)
        if result is not None:
            return result
    live = verification.state is VerificationState.LIVE
    if live:
        folder.prune(VERSIONS_KEPT)
    elif endpoints and (behind := _behind_cdn(context, row, folder, version, before, after)):
        # If one endpoint shows the new certificate, only those behind the CDN are left. If none
        # does, nothing was verified.
        live = any(x.sha256 == row.sha256 for x in after)
        endpoints = endpoints if live else []
        sentence = (
            f"{verification.sentence[:800]}; behind a CDN, which never shows our certificate:"
            f" {behind}"
        )
        _note(context, row, proven_at=context.now_epoch if live else None, proof=sentence)
    if failures:
        return DeployResult(
            row.name, row.client, "failed", _failure_text(failures), tuple(failures)
        )
    state = (
        "live"
        if live
        else "placed"
        if not endpoints
        else "untold"
        if verification.state is VerificationState.UNKNOWN
        else "unseen"
    )
    return DeployResult(
        row.name,
        row.client,
        state,
        verification.sentence
        if endpoints
        else "deployed; there is no endpoint at which it can be verified",
    )


def version_of(folder: Lineage, sha256: str) -> Version | None:
    """Return the newest version that holds the leaf with this fingerprint."""
    versions = [v for v in folder.versions() if v.digest == sha256[:12]]
    return versions[-1] if versions else None


def _note(context: IssuanceContext, row: LineageRecord, **values: object) -> None:
    with context.write() as tx:
        lineages.note(tx, row.id, **values)


def _failure_text(failures: Sequence[TargetResult]) -> str:
    return "; ".join(f"{d.target}: {d.message}" for d in failures)


# -- targets


def _deliver(
    context: IssuanceContext,
    row: LineageRecord,
    folder: Lineage,
    version: Version,
    bundle: CertificateBundle,
    again: bool,
) -> list[TargetResult]:
    """Deliver to every target that is due, and return those that failed.

    A failing target does not stop the others.
    """
    configured = context.settings.acme.targets
    targets = row.targets.split()
    assert row.sha256 is not None
    with context.write() as tx:
        lineages.to_deliver(tx, row.id, row.sha256, targets)
        if again:
            lineages.deliver_again(tx, row.id, row.sha256, targets)
        due = lineages.deliveries(tx.conn, lineage_id=row.id, due=tx.at)
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
    return failures


def _record(context: IssuanceContext, job: DeploymentRecord, result: TargetResult) -> None:
    with context.write() as tx:
        if result.ok:
            lineages.delivered(tx, job.id)
        else:
            # A failing target is retried with growing pauses, like a failing order.
            wait = backoff.retry(job.attempts + 1, context.random())
            lineages.not_delivered(
                tx,
                job.id,
                f"{result.message}{': ' + result.output[-300:] if result.output else ''}",
                tx.at + int(wait),
            )


# -- verification


def _live_check_targets(
    context: IssuanceContext, row: LineageRecord
) -> list[live_check.LiveCheckTarget]:
    """Return the client's endpoints that the names of the newest certificate cover."""
    with context.read() as conn:
        endpoints = cases.endpoints_of_clients(conn, [row.client_id]).get(row.client_id, [])
        ders = cases.chain_of(conn, [row.sha256] if row.sha256 is not None else [])
    names = parse(ders[0]).names if ders else ()
    hosts = {r.host for r in endpoints}
    return [p for p in live_check.live_check_targets(names, endpoints) if p.target.host in hosts]


def _observe(
    context: IssuanceContext, endpoints: Sequence[live_check.LiveCheckTarget]
) -> list[Observation]:
    """Check every endpoint once for each key type."""
    return live_check.check_live(context.settings, endpoints)


def _same_key_type(
    observations: Sequence[Observation], bundle: CertificateBundle
) -> list[Observation]:
    """Return the observations of the lineage's key type.

    A server may also have a certificate of the other key type, which is another lineage.
    """
    return [o for o in observations if o.key_type == bundle.leaf.key_type]


def _await_live(
    context: IssuanceContext,
    endpoints: Sequence[live_check.LiveCheckTarget],
    bundle: CertificateBundle,
    patience: float,
) -> tuple[Verification, list[Observation]]:
    """Check repeatedly until all endpoints serve the certificate or the time is over.

    Returns:
        The last verification and its observations.
    """
    expected = {bundle.leaf.key_type: bundle.sha256}
    observations: list[Observation] = []
    verification = verify(expected, observations)
    if not endpoints:
        return verification, observations
    left, attempt = patience, 0
    while True:
        started = time.monotonic()
        observations = _observe(context, endpoints)
        left -= time.monotonic() - started
        verification = verify(expected, _same_key_type(observations, bundle))
        if verification.state is VerificationState.LIVE or left <= 0:
            return verification, observations
        pause = min(CHECK_INTERVALS[min(attempt, len(CHECK_INTERVALS) - 1)], left)
        left, attempt = left - pause, attempt + 1
        context.wait(pause)


# -- regressions


def _roll_back_on_regression(
    context: IssuanceContext,
    row: LineageRecord,
    folder: Lineage,
    old: Version,
    before: Sequence[Observation],
    after: Sequence[Observation],
) -> DeployResult | None:
    """Roll the certificate back if it caused a regression.

    Returns:
        The result of the deployment; None if the certificate stays.
    """
    previous = folder.read(old)
    with context.read() as conn:
        revoked = lineages.revocation_of(conn, previous.sha256)
    ours_before = any(s.sha256 == previous.sha256 for s in before)
    known = OldVersion(
        previous.sha256,
        previous.leaf.not_after,
        revoked,
        previous.sha256 in row.compromised.split(),
    )
    rolled_back = row.rolled_back is not None and row.rolled_back == row.sha256
    assert row.sha256 is not None
    verdict = decide(
        before, after, ours_before, known, rolled_back, context.now(), new_sha256=row.sha256
    )
    if verdict.action is RollbackAction.KEEP or not context.settings.acme.roll_back:
        return None
    if verdict.action is RollbackAction.STAFF:
        return DeployResult(row.name, row.client, "staff", verdict.reason)
    # Written before the switch: if the process dies in between, the certificate is not deployed
    # again before an administrator decides.
    _note(context, row, rolled_back=row.sha256, error=None)
    rollback(context, row, folder, old, previous)
    return DeployResult(
        row.name,
        row.client,
        "rolled-back",
        f"{verdict.reason}; the previous certificate is in use again. Fix the cause, then run"
        f" certmgr lineage deploy {row.name}",
    )


def _behind_cdn(
    context: IssuanceContext,
    row: LineageRecord,
    folder: Lineage,
    version: Version,
    before: Sequence[Observation],
    after: Sequence[Observation],
) -> str:
    """Return the endpoints behind a CDN if all others are live.

    Only a domain with ``hosts = cdn`` in the inventory counts as behind a CDN. Elsewhere another
    valid certificate means that the new one is not live.

    Returns:
        The endpoints as text; empty if an endpoint is neither live nor behind a CDN.
    """
    others = [v for v in folder.versions() if v != version]
    older = {
        x
        for x in (folder.read(v).sha256 for v in others[-VERSIONS_KEPT:])
        if any(y.sha256 == x for y in (*before, *after))
    }
    if older:
        return ""  # an older certificate of the lineage was served: no CDN, and not live yet
    assert row.sha256 is not None
    states = switch_states(before, after, False, "", row.sha256, context.now())
    elsewhere = {
        s.location for s in after if s.host in _cdn_hosts(context, row, {s.host for s in after})
    }
    if not all(
        s.state is SwitchState.LIVE or (s.state is SwitchState.CDN and s.location in elsewhere)
        for s in states
    ):
        return ""
    return ", ".join(s.location for s in states if s.state is SwitchState.CDN)


def _cdn_hosts(context: IssuanceContext, row: LineageRecord, hosts: set[str]) -> set[str]:
    with context.read() as conn:
        ids = [
            e.id
            for e in cases.endpoints_of_clients(conn, [row.client_id]).get(row.client_id, ())
            if e.host in hosts
        ]
        endpoints = certificate_ends.places(conn, ids)
    return {p.host for p in endpoints.values() if p.parties.hosts == "cdn"}


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
    targets = [t for t in row.targets.split() if t in configured]
    if not any(configured[t].kind == "reload" for t in targets):
        folder.switch(old)
    results = [
        deploy_to_target(configured[t], row.name, bundle, context.base, label=t) for t in targets
    ]
    _note(context, row, deployed=bundle.sha256)
    return [r for r in results if not r.ok]
