"""Whether the certificate of a lineage is served: its endpoints, probed until it is live.

This module performs I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

from certmgr.acme.context import IssuanceContext
from certmgr.inspection import live_check, zone_checks
from certmgr.inspection.reload_patience import until_live
from certmgr.inspection.verification import Observation, Verification, verify
from certmgr.x509.bundle import CertificateBundle
from inventory.certificates import parse
from inventory.records import LineageRecord
from inventory.store import certificates, endpoints, zones


def live_check_targets(
    context: IssuanceContext, row: LineageRecord
) -> list[live_check.LiveCheckTarget]:
    """Return the client's endpoints that the names of the newest certificate cover."""
    with context.read() as conn:
        # Only endpoints of the lineage's client: another client's site under the same name server
        # is not ours to judge.
        visited = endpoints.of_clients(conn, [row.client_id]).get(row.client_id, [])
        ders = certificates.ders_in_order(conn, [row.sha256] if row.sha256 is not None else [])
        zones_of = zones.of_hosts(conn, row.client_id)
    names = parse(ders[0]).names if ders else ()
    hosts = {r.host for r in visited}
    targets = live_check.live_check_targets(names, visited)
    return zone_checks.with_zones([t for t in targets if t.target.host in hosts], zones_of)


def observe(
    context: IssuanceContext, endpoints: Sequence[live_check.LiveCheckTarget]
) -> list[Observation]:
    """Check every endpoint once for each key type."""
    return zone_checks.observe(context, endpoints, here=live_check.check_live)


def _same_key_type(
    observations: Sequence[Observation], bundle: CertificateBundle
) -> list[Observation]:
    """Return the observations of the lineage's key type.

    A server may also have a certificate of the other key type, which is another lineage.
    """
    return [o for o in observations if o.key_type == bundle.leaf.key_type]


def await_live(
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

    def check() -> Verification:
        observations[:] = observe(context, endpoints)
        return verify(expected, _same_key_type(observations, bundle))

    return until_live(check, patience, context.wait), observations
