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
from collections.abc import Sequence

from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment.delivery import (
    Delivery,
    DeliveryItem,
    deliver,
    failure_text,
    note,
    version_of,
)
from certmgr.acme.deployment.live_verification import await_live, live_check_targets, observe
from certmgr.acme.deployment.regression import VERSIONS_KEPT, behind_cdn, roll_back_on_regression
from certmgr.acme.results import DeployResult, DeployState
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.targets import TargetResult
from certmgr.inspection.verification import Observation, Verification
from inventory.errors import Busy, CertmgrError
from inventory.records import LineageRecord
from inventory.store import lineages
from inventory.vocabulary import VerificationState

_log = logging.getLogger(__name__)


def deploy(
    context: IssuanceContext, lineage_id: int, *, again: bool = False, patience: float | None = None
) -> DeployResult:
    """Deploy the newest certificate of a lineage and verify that it is live.

    Failures of a target or a check are results and not exceptions.

    Args:
        context: The shared dependencies.
        lineage_id: The lineage.
        again: Whether to deploy to targets that have the certificate already, and after a rollback.
        patience: Seconds to wait until the certificate is live; None for the configured time,
            which also applies if a target gets the certificate only now.
    """
    with context.read() as conn:
        row = lineages.by_id(conn, lineage_id)
    _log.info("deploying the lineage %s", row.name)
    try:
        with context.lineage_lock(row.name):
            deployment = begin(context, row, again=again)
            if isinstance(deployment, DeployResult):
                return deployment
            deployment.observe()
            delivery = deliver(context, deployment.item, again)
            return deployment.finish(delivery, patience)
    except Busy as error:
        return DeployResult(row.name, row.client, DeployState.BUSY, str(error))
    except CertmgrError as error:
        return DeployResult(row.name, row.client, DeployState.FAILED, str(error))


def begin(
    context: IssuanceContext, row: LineageRecord, *, again: bool = False
) -> LineageDeployment | DeployResult:
    """Return the deployment of a lineage, whose lock the caller holds.

    Returns:
        A result instead, if there is nothing to deploy or an administrator has to decide first.

    Raises:
        CertmgrError: The version on disk is damaged.
    """
    folder = Lineage(context.base, row.name)
    version = version_of(folder, row.sha256) if row.sha256 else None
    if version is None:
        state, message = (
            (
                DeployState.FAILED,
                "its certificate is not on disk yet; certmgr renew --due stores it there",
            )
            if row.sha256
            else (DeployState.NOTHING, "there is no certificate to deploy")
        )
        return DeployResult(row.name, row.client, state, message)
    # A certificate that caused a regression is never deployed automatically a second time.
    if row.rolled_back == row.sha256 and not again:
        return DeployResult(
            row.name,
            row.client,
            DeployState.STAFF,
            "it was rolled back after a regression; fix the cause (certmgr lineage show), then run"
            f" certmgr lineage deploy {row.name}",
        )
    return LineageDeployment(context, row, folder, version)


class LineageDeployment:
    """One deployment of a version: the switch, the verification, and a rollback if it is needed."""

    def __init__(
        self, context: IssuanceContext, row: LineageRecord, folder: Lineage, version: Version
    ) -> None:
        self.context, self.row, self.folder, self.version = context, row, folder, version
        self.bundle = folder.read(version)
        self.endpoints = live_check_targets(context, row)
        self.old = folder.current()
        # A repeated delivery of the certificate in use cannot cause a regression.
        self.before: list[Observation] = []
        self.changes = row.deployed != row.sha256 or self.old != version

    @property
    def item(self) -> DeliveryItem:
        """What is delivered."""
        return DeliveryItem(self.row, self.folder, self.version, self.bundle)

    def observe(self) -> None:
        """Record what the endpoints serve before the switch.

        A regression is the difference between the observations before and after it.
        """
        if self.changes and self.endpoints:
            self.before = observe(self.context, self.endpoints)

    def finish(self, delivery: Delivery, patience: float | None) -> DeployResult:
        """Verify that the delivered certificate is live, and roll it back after a regression.

        Args:
            delivery: What was delivered.
            patience: Seconds to wait until it is live; None for the configured time.
        """
        context, row, before = self.context, self.row, self.before
        failures, delivered = delivery
        if patience is None:
            patience = context.settings.acme.verification_seconds
        # A server that reloaded just now needs its time, also in a retry of an earlier run.
        if delivered:
            patience = max(patience, context.settings.acme.verification_seconds)
        switched = self.folder.current() == self.version
        if switched and row.deployed != row.sha256:
            note(context, row, deployed=row.sha256)
        # Nothing changed, so there is nothing to verify.
        if failures and not switched:
            return self._failed(failures)
        verification, after = await_live(context, self.endpoints, self.bundle, patience)
        self._record(verification)
        live = verification.state is VerificationState.LIVE
        if not live and (rolled_back := self._roll_back(before, after)) is not None:
            return rolled_back
        verified_at_any = bool(self.endpoints)
        if live:
            # Old versions go only after the new one was seen live; until then each may be needed
            # for a rollback.
            self.folder.prune(VERSIONS_KEPT)
        elif self.endpoints and (
            behind := behind_cdn(context, row, self.folder, self.version, before, after)
        ):
            # If one endpoint shows the new certificate, only those behind the CDN are left. If none
            # does, nothing was verified.
            live = verified_at_any = any(x.sha256 == row.sha256 for x in after)
            self._record_behind_cdn(verification, behind, live)
        if failures:
            return self._failed(failures)
        return self._result(verification, live, verified_at_any)

    def _record(self, verification: Verification) -> None:
        row = self.row
        live = verification.state is VerificationState.LIVE
        verified_at = self.context.now_epoch if live else None
        proof = verification.sentence[:1000]
        # Each run verifies a certificate again that is served nowhere; only changes are written.
        state = verification.state if verification.probed else None
        if (row.proof, row.proven_at, row.verification) != (proof, verified_at, state):
            note(self.context, row, proof=proof, proven_at=verified_at, verification=state)

    def _roll_back(
        self, before: Sequence[Observation], after: Sequence[Observation]
    ) -> DeployResult | None:
        # Without an observation or a previous version there is neither evidence nor a way back.
        if not (self.endpoints and self.changes) or self.old in (None, self.version):
            return None
        assert self.old is not None
        return roll_back_on_regression(self.context, self.row, self.folder, self.old, before, after)

    def _record_behind_cdn(self, verification: Verification, behind: str, live: bool) -> None:
        note(
            self.context,
            self.row,
            proven_at=self.context.now_epoch if live else None,
            verification=VerificationState.LIVE if live else verification.state,
            proof=f"{verification.sentence[:800]}; behind a CDN, which never shows our certificate:"
            f" {behind}",
        )

    def _failed(self, failures: Sequence[TargetResult]) -> DeployResult:
        return DeployResult(
            self.row.name,
            self.row.client,
            DeployState.FAILED,
            failure_text(failures),
            tuple(failures),
        )

    def _result(
        self, verification: Verification, live: bool, verified_at_any: bool
    ) -> DeployResult:
        message = verification.sentence
        if not verified_at_any:
            message = "deployed; there is no endpoint at which it can be verified"
        if live:
            state = DeployState.LIVE
        elif not verified_at_any:
            state = DeployState.PLACED
        # A failed check is no evidence that another certificate is served.
        elif verification.state is VerificationState.UNKNOWN:
            state = DeployState.UNDETERMINED
        else:
            state = DeployState.UNSEEN
        return DeployResult(self.row.name, self.row.client, state, message)
