"""What a run from several zones stores and concludes.

Each zone's view is stored with the facts of its shard. At the end of the run, in the transaction
that ends it, the proposals of the first zone are adjusted: what only some zones see opens as one
difference, and not as a fault of the site.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from certmgr.checks.zone_judgement import ZoneJudgement, ZoneSight, judge_zones
from certmgr.inspection.report import EndpointReport
from certmgr.inspection.suspicion import blind
from inventory.db.database import Tx, to_epoch
from inventory.records import NewZoneView, ZoneViewRecord
from inventory.store import findings, proposals, runs, zone_views
from inventory.store.proposals import ProposedChanges
from inventory.vocabulary import ZONE_DIFFERENCE, Actor, Finding


def view_of(key: int, report: EndpointReport) -> NewZoneView:
    """Return what a zone saw in a visit, as it is stored."""
    return NewZoneView(
        endpoint_id=key,
        at=to_epoch(report.at),
        good=report.good,
        error=None if report.error is None else report.error[1],
        addresses=tuple(a.address for a in report.addresses),
        unrouted=tuple(a.address for a in report.addresses if a.no_route),
        findings=tuple(report.findings),
        served={a.address: a.chain[0] for a in report.addresses if a.seen},
    )


def sights_of(views: Sequence[ZoneViewRecord]) -> list[ZoneSight]:
    """Return what the zones saw that can be compared.

    A zone without a route to any address, such as one without IPv6, saw nothing of the endpoint.
    """
    return [
        ZoneSight(
            zone=v.zone,
            first=v.first,
            good=v.good,
            error=v.error or "",
            addresses=v.addresses,
            unrouted=v.unrouted,
            leaves=frozenset(v.served.values()) if v.good else frozenset(),
            findings=v.findings,
        )
        for v in views
        if not v.addresses or set(v.addresses) != set(v.unrouted)
    ]


def adjusted(
    changes: ProposedChanges,
    known: Collection[tuple[int, Finding]],
    judgement: ZoneJudgement,
) -> ProposedChanges:
    """Return the changes of an endpoint without what does not hold for the site. Pure.

    Args:
        changes: What the first zone proposes.
        known: The open findings, with their ids.
        judgement: What the zones together mean.
    """
    withheld = judgement.withheld
    gone = {key for key, f in known if f.code in withheld}
    opened = [f for f in changes.opened if f.code not in withheld]
    updated = [(key, f) for key, f in changes.updated if key not in gone]
    closed = list(dict.fromkeys((*changes.closed, *sorted(gone))))
    before = next(((key, f) for key, f in known if f.code == ZONE_DIFFERENCE), None)
    difference = judgement.difference
    if difference is not None:
        # Staff find out who causes it before anyone is asked.
        difference = replace(difference, actor=Actor.STAFF, outcome=None)
        if before is None:
            opened.append(difference)
        elif before[1] != difference:
            updated.append((before[0], difference))
    elif before is not None:
        closed.append(before[0])
    return replace(changes, opened=tuple(opened), updated=tuple(updated), closed=tuple(closed))


def conclude_zones(tx: Tx, run_id: int) -> None:
    """Adjust what a run proposes for the endpoints that several zones visited.

    Only in the transaction that ends a complete run, before its proposals take effect.
    """
    # Without control targets, only this shows that the network of a zone failed.
    blind_zones = {z.zone: z.missed for z in zone_views.reach(tx.conn, run_id) if blind(z)}
    runs.add_notes(
        tx,
        run_id,
        [
            f"zone {zone}: it reached none of {count} endpoint(s) that other zones reach, so its"
            " network is probably at fault, and nothing was judged from there"
            for zone, count in blind_zones.items()
        ],
    )
    for views in zone_views.compared(tx.conn, run_id):
        ids = sorted(views)
        known = findings.open_findings(tx.conn, ids)
        proposed = proposals.proposals_of(tx.conn, run_id, ids)
        for key in ids:
            seeing = [v for v in views[key] if v.zone not in blind_zones]
            judgement = judge_zones(sights_of(seeing))
            # Nothing can be compared, so the first zone alone decides, as without zones.
            if judgement is None:
                continue
            at = max(v.at for v in views[key])
            changes = proposed.get(key) or ProposedChanges(at=at)
            new = adjusted(changes, known.get(key, ()), judgement)
            if new != changes:
                proposals.replace_proposal(tx, run_id, key, new)
