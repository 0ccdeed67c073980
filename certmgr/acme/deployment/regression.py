"""Rollback of a certificate that caused a regression, and endpoints behind a CDN.

This module performs I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment.delivery import note, rollback
from certmgr.acme.results import DeployResult, DeployState
from certmgr.deploy.lineage import Lineage, Version
from certmgr.deploy.rollback import OldVersion, RollbackAction, SwitchState, decide, switch_states
from certmgr.inspection.verification import Observation
from inventory.records import LineageRecord
from inventory.store import certificate_ends, endpoints, revocation

_log = logging.getLogger(__name__)

# Enough for the rollback to a version before the last one, and for keys that a revocation by key
# needs.
VERSIONS_KEPT = 5


def roll_back_on_regression(
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
        revoked = revocation.is_revoked(conn, previous.sha256)
    ours_before = any(s.sha256 == previous.sha256 for s in before)
    known = OldVersion(
        previous.sha256,
        previous.leaf.not_after,
        revoked,
        previous.sha256 in row.compromised,
    )
    rolled_back = row.rolled_back is not None and row.rolled_back == row.sha256
    assert row.sha256 is not None
    verdict = decide(
        before, after, ours_before, known, rolled_back, context.now(), new_sha256=row.sha256
    )
    # An administrator may prefer a new certificate with a fault over the old one: [acme] roll_back.
    if verdict.action is RollbackAction.KEEP or not context.settings.acme.roll_back:
        return None
    if verdict.action is RollbackAction.STAFF:
        return DeployResult(row.name, row.client, DeployState.STAFF, verdict.reason)
    _log.warning("rolling %s back: %s", row.name, verdict.reason)
    # Written before the switch: if the process dies in between, the certificate is not deployed
    # again before an administrator decides.
    note(context, row, rolled_back=row.sha256, error=None)
    # Key and certificate go back together, as one version, to every target.
    rollback(context, row, folder, old, previous)
    return DeployResult(
        row.name,
        row.client,
        DeployState.ROLLED_BACK,
        f"{verdict.reason}; the previous certificate is in use again. Fix the cause, then run"
        f" certmgr lineage deploy {row.name}",
    )


def behind_cdn(
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
            for e in endpoints.of_clients(conn, [row.client_id]).get(row.client_id, ())
            if e.host in hosts
        ]
        places = certificate_ends.places(conn, ids)
    # The inventory decides, and not an address list of CDNs, which changes without notice.
    return {p.host for p in places.values() if p.parties.hosts == "cdn"}
