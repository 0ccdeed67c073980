"""Which of the certificates that end soon are renewed as planned, for a whole status.

Only :meth:`Plans.read` touches the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, Self

from sqlalchemy import Connection

from certmgr.renewers.load import load_facts_of
from certmgr.renewers.plan import (
    EXPIRING,
    RenewalPlan,
    ServedDates,
    assigned_plan,
    renewal_plan,
)
from certmgr.renewers.renewer import RenewalFacts
from inventory.db.database import from_epoch
from inventory.records import ListedFinding
from inventory.store import certificates, findings
from inventory.vocabulary import Acceptance, Actor, Finding, FindingDecision

RENEWED = frozenset({EXPIRING, "certificate-expired"})
"""The findings that a renewal ends."""


def of_lineage(finding: Finding, lineage: str) -> Finding:
    """Return a finding about the end of a certificate that a lineage of ours renews.

    To renew it by hand would be the wrong advice: both certificates would be installed over each
    other, and the cause would stay.

    Args:
        finding: The finding.
        lineage: The name of the lineage; empty if none renews it.
    """
    if not lineage or finding.code not in RENEWED:
        return finding
    evidence = finding.evidence | {"variant": "lineage", "lineage": lineage}
    return replace(finding, evidence=evidence, actor=Actor.PROVIDER, outcome=None)


class LeafRow(Protocol):
    """A row with the certificate of an endpoint, such as one of a status."""

    @property
    def id(self) -> int: ...
    @property
    def client_id(self) -> int: ...
    @property
    def domain_id(self) -> int: ...
    @property
    def host(self) -> str: ...
    @property
    def leaf(self) -> str | None: ...
    @property
    def not_after(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Plans:
    """What the plans are decided from.

    Attributes:
        starts: The start of each certificate by its SHA-256, in epoch seconds.
        assigned: The assignments of findings.
        now: The time of the answer.
    """

    facts: RenewalFacts
    starts: Mapping[str, int]
    assigned: Sequence[Acceptance]
    now: datetime

    @classmethod
    def read(
        cls,
        conn: Connection,
        rows: Sequence[LeafRow],
        open_rows: Sequence[ListedFinding],
        now: datetime,
        *,
        ahead: bool = False,
    ) -> Self | None:
        """Return the plans; None if no certificate ends soon, so that there is none.

        Args:
            conn: An open connection.
            rows: The endpoints of the status.
            open_rows: Their open findings.
            now: The time of the answer.
            ahead: Whether that is in the future, when other certificates end soon than today.
        """
        ending = {r.endpoint_id for r in open_rows if r.code in RENEWED}
        selected = [r for r in rows if (ahead or r.id in ending) and r.leaf is not None]
        if not selected:
            return None
        return cls(
            facts=load_facts_of(conn, now, {r.client_id for r in selected}),
            starts=certificates.not_before_of(conn, {r.leaf for r in selected if r.leaf}),
            assigned=findings.acceptances(conn, now, kind=FindingDecision.ASSIGN),
            now=now,
        )

    def lineage(self, row: LeafRow) -> str:
        """Return the name of the lineage that renews the host; empty if none does."""
        renewer = self.facts.renewer(row.client_id, row.host)
        return renewer.reference if renewer.ours else ""

    def of(self, row: LeafRow, known: Sequence[Finding]) -> RenewalPlan | None:
        """Return the plan for an endpoint of the status with these findings."""
        codes = {f.code for f in known}
        start = from_epoch(self.starts.get(row.leaf)) if row.leaf is not None else None
        end = from_epoch(row.not_after)
        if EXPIRING not in codes or start is None or end is None:
            return None
        served = ServedDates(start, end)
        plan = renewal_plan(self.facts, row.client_id, row.host, served, self.now, codes)
        if plan is None:
            return None
        scope = (row.client_id, row.domain_id, row.id, self.now)
        matching = (a for a in self.assigned if a.covers(EXPIRING, *scope))
        return assigned_plan(plan, matching, self.now)
