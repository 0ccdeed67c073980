"""What holds for open findings besides that they were found, for lists of findings.

A list shows the same as the status: which findings count, which are accepted or planned, who fixes
them, and whose task a server is that is down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from sqlalchemy import Connection

from certmgr.inspection.planned import RENEWED, Plans, of_lineage
from certmgr.inspection.server_down import NOT_CONNECTED, of_server, servers_down
from certmgr.renewers.plan import EXPIRING, RenewalPlan
from inventory.records import ListedFinding
from inventory.store import domains, endpoint_status, findings, server_faults
from inventory.vocabulary import Acceptance, Finding, FindingDecision, Parties, deciding


class FindingStanding(StrEnum):
    """Whether a finding counts for the verdict, and if not, why."""

    OPEN = "open"
    PLANNED = "planned"
    ACCEPTED = "accepted"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class FindingState:
    """A finding as the status counts it.

    Attributes:
        finding: The finding; one of a server that is down is a task of its host.
        standing: Whether it counts for the verdict.
        plan: The renewal that is due and in time, also if a person still has to begin it.
        acceptance: The acceptance by which it does not count.
        assignment: Who fixes it, and until when.
    """

    finding: Finding
    standing: FindingStanding = FindingStanding.OPEN
    plan: RenewalPlan | None = None
    acceptance: Acceptance | None = None
    assignment: Acceptance | None = None


@dataclass(frozen=True, slots=True)
class FindingStates:
    """What the states of findings are decided from.

    Attributes:
        plans: Endpoint id -> the renewal of its certificate that is due and in time.
        lineages: Endpoint id -> the lineage that renews its certificate.
        down: The endpoints whose server is down.
        parties: The parties by domain id; empty if no server is down.
        accepted: The acceptances in force.
        assigned: The assignments in force.
        now: The time of the answer.
    """

    plans: Mapping[int, RenewalPlan]
    lineages: Mapping[int, str]
    down: frozenset[int]
    parties: Mapping[int, Parties]
    accepted: Sequence[Acceptance]
    assigned: Sequence[Acceptance]
    now: datetime

    @classmethod
    def read(
        cls,
        conn: Connection,
        rows: Sequence[ListedFinding],
        now: datetime,
        *,
        client_id: int | None = None,
    ) -> Self:
        """Read what decides the states of open findings.

        Args:
            conn: An open connection.
            rows: The findings.
            now: The time of the answer.
            client_id: The client, if all of them are of one.
        """
        not_connected = server_faults.not_connected(conn, NOT_CONNECTED)
        down = frozenset(servers_down(not_connected))
        plans, renewing = _renewals(conn, rows, now, client_id)
        return cls(
            plans=plans,
            lineages=renewing,
            down=down,
            parties=domains.parties_by_domain(conn, client_id) if down else {},
            accepted=findings.acceptances(conn, now),
            assigned=findings.acceptances(conn, now, kind=FindingDecision.ASSIGN),
            now=now,
        )

    def of(self, row: ListedFinding, finding: Finding) -> FindingState:
        """Return the state of a finding.

        Args:
            row: The stored finding.
            finding: What its reader may see of it.
        """
        if row.closed_at is not None:
            return FindingState(finding, FindingStanding.CLOSED)
        if row.endpoint_id in self.down:
            finding = of_server(finding, self.parties.get(row.domain_id))
        finding = of_lineage(finding, self.lineages.get(row.endpoint_id, ""))
        scope = (row.client_id, row.domain_id, row.endpoint_id, self.now)
        matching = (a for a in self.assigned if a.covers(row.code, *scope))
        state = FindingState(finding, assignment=deciding(matching, self.now))
        plan = self.plans.get(row.endpoint_id) if row.code == EXPIRING else None
        # What needs no decision of a person any more is no fault, accepted or not.
        if plan is not None and plan.begun:
            return replace(state, standing=FindingStanding.PLANNED, plan=plan)
        acceptance = next((a for a in self.accepted if a.covers(row.code, *scope)), None)
        if acceptance is not None:
            standing = FindingStanding.ACCEPTED
            return replace(state, standing=standing, plan=plan, acceptance=acceptance)
        return replace(state, plan=plan)


def _renewals(
    conn: Connection, rows: Sequence[ListedFinding], now: datetime, client_id: int | None
) -> tuple[dict[int, RenewalPlan], dict[int, str]]:
    """Return the renewals that are due and in time, and the lineages, each by endpoint id."""
    ending = {r.endpoint_id for r in rows if r.code in RENEWED and r.closed_at is None}
    if not ending:
        return {}, {}
    listed = endpoint_status.current_status(conn, client_id=client_id, skip_healthy=True)
    served = [r for r in listed if r.id in ending]
    if (plans := Plans.read(conn, served, rows, now)) is None:
        return {}, {}
    # Whether the certificate there is the one that is renewed depends on all findings of the
    # endpoint, and a list may have been limited to one code.
    known = findings.open_findings(conn, sorted(ending))
    found = {r.id: plans.of(r, [f for _, f in known.get(r.id, ())]) for r in served}
    renewing = {r.id: plans.lineage(r) for r in served}
    return {key: plan for key, plan in found.items() if plan is not None}, renewing
