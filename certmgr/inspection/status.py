"""The status of the inventory: endpoints with their open findings, and how findings are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from certmgr.checks.actors import with_actor
from certmgr.checks.adjustments import for_port
from certmgr.checks.certificate import date_findings_of
from certmgr.checks.folding import parent_of
from certmgr.inspection.planned import RENEWED, Plans, of_lineage
from certmgr.inspection.server_down import NOT_CONNECTED, ServerDown, of_server, servers_down
from certmgr.renewers.plan import EXPIRING, RenewalPlan
from inventory.dates import days_left
from inventory.db.database import Database, from_epoch
from inventory.records import ListedFinding
from inventory.store import certificates, clients, domains, endpoint_status, findings, server_faults
from inventory.store.endpoint_status import StatusRow
from inventory.store.finding_columns import finding_of
from inventory.targets import Target
from inventory.vocabulary import (
    SEVERITY_ORDER,
    ZONE_DIFFERENCE,
    Acceptance,
    Finding,
    Parties,
    Severity,
    Verdict,
    verdict_of,
)

# Findings that depend on the current date alone, given the certificate.
_DATE_CODES = frozenset(
    {"certificate-expired", "certificate-expiring", "certificate-not-yet-valid"}
)


@dataclass(slots=True)
class EndpointStatus:
    """The status of one endpoint. Timestamps are epoch seconds or None.

    Attributes:
        leaf: SHA-256 of the leaf that was observed last.
        error: The reason of the last failure, or why there is no status yet.
        findings: Open findings that count for the verdict.
        accepted: Findings that do not count, each with its acceptance.
        planned: The renewal that is due and in time. If it has begun, its finding does not count.
        never: Whether the endpoint was never judged.
        down: The server of the endpoint, if it is down for several names.
        differs: Whether a fault that only some zones see was left out (:meth:`for_client`).
    """

    id: int
    target: Target
    client: str
    client_id: int
    server: str | None
    leaf: str | None
    not_after: int | None
    issuer: str | None
    last_attempt: int | None
    last_good: int | None
    error: str | None
    verdict: Verdict
    findings: list[Finding] = field(default_factory=list)
    accepted: list[tuple[Finding, Acceptance]] = field(default_factory=list)
    domain_id: int = 0
    never: bool = False
    down: ServerDown | None = None
    planned: RenewalPlan | None = None
    differs: bool = False

    def for_client(self) -> EndpointStatus:
        """Return the status without what staff have to find out first.

        What only some zones see is no fault of the site, and it is not well either: without another
        fault, the endpoint is unknown.
        """
        kept = [f for f in self.findings if f.code != ZONE_DIFFERENCE]
        accepted = [(f, a) for f, a in self.accepted if f.code != ZONE_DIFFERENCE]
        if len(kept) == len(self.findings) and len(accepted) == len(self.accepted):
            return self
        left_out = {f.severity for f in self.findings if f.code == ZONE_DIFFERENCE}
        differs = not left_out.isdisjoint({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM})
        verdict = verdict_of({f.severity for f in kept})
        if differs and verdict is not Verdict.FAULT:
            verdict = Verdict.UNKNOWN
        return replace(self, findings=kept, accepted=accepted, verdict=verdict, differs=differs)

    @property
    def codes_found(self) -> frozenset[str]:
        """The codes of all findings of the endpoint, accepted or not."""
        return frozenset(f.code for f in (*self.findings, *(f for f, _ in self.accepted)))

    def days_left(self, now: datetime) -> int | None:
        """Return the days until the certificate expires; None if no certificate is known."""
        timestamp = from_epoch(self.not_after)
        return None if timestamp is None else days_left(timestamp, now)


def load(
    database: Database,
    now: datetime,
    *,
    as_of: datetime | None = None,
    client: str | None = None,
    tag: str | None = None,
    run_id: int | None = None,
    skip_healthy: bool = False,
) -> list[EndpointStatus]:
    """Return the status of the endpoints, the one that expires first at the beginning.

    Args:
        database: The inventory.
        now: The current time.
        as_of: In the past: what was known then. In the future: what is known now, with the
            validity dates judged at that time.
        client: Only the endpoints of this client (number or name).
        tag: Only endpoints with this tag.
        run_id: Only endpoints of this scan run.
        skip_healthy: Leave out judged endpoints without an open finding. It has no effect with
            ``as_of``, since another date may have other findings.
    """
    past = as_of is not None and as_of <= now
    at = as_of or now
    # One read, so that endpoints, findings and acceptances are of the same time.
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        if past:
            rows = endpoint_status.status_at(conn, at, client_id=client_id, tag_name=tag)
        else:
            rows = endpoint_status.current_status(
                conn,
                client_id=client_id,
                tag_name=tag,
                run_id=run_id,
                skip_healthy=skip_healthy and as_of is None,
            )
        open_rows = findings.listing(conn, at=at if past else None, client_id=client_id)
        accepted = findings.acceptances(conn, at if past else None)
        # Only a future date needs the validity dates again, to judge them at that date.
        starts = certificates.not_before_of(conn) if as_of is not None and not past else {}
        # Whether a server is down shows at the names of all its clients.
        faults = [] if past else server_faults.not_connected(conn, NOT_CONNECTED)
        down = servers_down(faults)
        # Only a future date, and the names of a server that is down, need who is responsible.
        needed = None if starts else {r.domain_id for r in rows if r.id in down}
        parties = domains.parties_by_domain(conn, client_id, needed)
        plans = None if past else Plans.read(conn, rows, open_rows, at, ahead=bool(starts))
    facts = _SharedFacts(at, accepted, starts, down, parties, plans)
    by_endpoint = _by_endpoint(open_rows)
    return [_judged(row, by_endpoint.get(row.id, []), facts) for row in rows]


@dataclass(frozen=True, slots=True)
class _SharedFacts:
    """What the status of each endpoint is judged with.

    Attributes:
        at: The time of the status.
        accepted: Acceptances in force then.
        starts: Leaf -> its first day of validity; empty unless ``at`` lies ahead.
        down: Endpoint -> the server that is down.
        parties: Domain -> its parties.
        plans: The planned renewals; None for a time in the past.
    """

    at: datetime
    accepted: Sequence[Acceptance]
    starts: Mapping[str, int | None]
    down: Mapping[int, ServerDown]
    parties: Mapping[int, Parties]
    plans: Plans | None


def _judged(row: StatusRow, known: list[Finding], facts: _SharedFacts) -> EndpointStatus:
    """Return the status of an endpoint from its open findings."""
    plans, parties = facts.plans, facts.parties.get(row.domain_id)
    if facts.starts and row.leaf is not None:
        known = _at_future(known, facts.starts.get(row.leaf), row, parties, facts.at)
    # A server that is down is the task of its host, whatever role the code has.
    if row.id in facts.down:
        known = [of_server(f, parties) for f in known]
    plan = None if plans is None else plans.of(row, known)
    if plans is not None and not RENEWED.isdisjoint(f.code for f in known):
        known = [of_lineage(f, plans.lineage(row)) for f in known]
    # What needs no decision of a person any more is no fault.
    if plan is not None and plan.begun:
        known = [f for f in known if f.code != EXPIRING]
    status = _endpoint_status(row, known, facts.accepted, facts.at)
    status.down, status.planned = facts.down.get(row.id), plan
    return status


def _by_endpoint(rows: Iterable[ListedFinding]) -> dict[int, list[Finding]]:
    """Return endpoint id -> its findings."""
    found: dict[int, list[Finding]] = {}
    for row in rows:
        found.setdefault(row.endpoint_id, []).append(finding_of(row))
    return found


def _at_future(
    known: list[Finding],
    not_before: int | None,
    row: StatusRow,
    parties: Parties | None,
    at: datetime,
) -> list[Finding]:
    """Return the findings as they would be at a later time: those about dates are judged again."""
    # All other findings stay: what a later scan would find is unknown.
    kept = [f for f in known if f.code not in _DATE_CODES]
    start, end = from_epoch(not_before), from_epoch(row.not_after)
    if start is None or end is None:
        return known  # without dates nothing can be judged
    # The actor of a date finding depends on these two findings, as in a scan.
    elsewhere = any(f.code == "points-elsewhere" for f in known)
    default = any(f.code == "default-certificate" for f in known)
    dated = for_port(Target(row.host, row.port, row.protocol), date_findings_of(start, end, at, ()))
    future = [
        with_actor(
            f, parties, elsewhere=elsewhere, ever_had_certificate=True, serves_default=default
        )
        for f in dated
    ]
    return sorted([*kept, *future], key=lambda f: SEVERITY_ORDER[f.severity])


def _endpoint_status(
    row: StatusRow, known: list[Finding], acceptances: Sequence[Acceptance], at: datetime
) -> EndpointStatus:
    open_, accepted = split_accepted(known, acceptances, row.client_id, row.domain_id, row.id, at)
    # An endpoint that was only scanned in incomplete runs is unknown, not ok.
    never = (row.last_attempt is None or row.judged_at is None) and not known
    verdict = Verdict.UNKNOWN if never else verdict_of({f.severity for f in open_})
    return EndpointStatus(
        id=row.id,
        target=Target(row.host, row.port, row.protocol),
        client=row.client,
        client_id=row.client_id,
        server=row.server,
        leaf=row.leaf,
        not_after=row.not_after,
        issuer=row.issuer,
        last_attempt=row.last_attempt,
        last_good=row.last_good,
        error=row.error_reason or (_UNJUDGED_REASONS[row.last_attempt is None] if never else None),
        verdict=verdict,
        findings=open_,
        accepted=accepted,
        domain_id=row.domain_id,
        never=never,
    )


# By whether the endpoint was never scanned.
_UNJUDGED_REASONS = {
    True: "it was not checked yet",
    False: "it was checked only in a run that was not complete",
}


def split_accepted(
    known: Iterable[Finding],
    acceptances: Sequence[Acceptance],
    client_id: int | None,
    domain_id: int | None,
    endpoint_id: int | None,
    at: datetime,
) -> tuple[list[Finding], list[tuple[Finding, Acceptance]]]:
    """Return the findings that count, and the accepted ones, each with its acceptance."""
    # This runs once per endpoint, so the usual case without acceptances is left early.
    if not acceptances:
        return list(known), []
    open_, accepted = [], []
    for finding in known:
        acceptance = next(
            (
                a
                for a in acceptances
                if a.covers(finding.code, client_id, domain_id, endpoint_id, at)
            ),
            None,
        )
        if acceptance is None:
            open_.append(finding)
        else:
            accepted.append((finding, acceptance))
    return open_, accepted


# Severities from the worst. Lower ones are remarks: the site is ok.
FAULT_SEVERITIES = ("critical", "high", "undetermined", "medium")


def counted(known: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are counted and shown: the one rule for all commands.

    Those of severity info need no action. A finding that the action for another one resolves too is
    no second fault (:func:`certmgr.checks.folding.parent_of`).
    """
    codes = frozenset(f.code for f in known)
    return [f for f in known if f.severity != "info" and not parent_of(f.code, codes)]


def count_findings(statuses: Iterable[EndpointStatus]) -> Counter[tuple[str, str]]:
    """Return the number of findings by (code, severity), as all commands count them."""
    return Counter((f.code, str(f.severity)) for s in statuses for f in counted(s.findings))


def changes(
    statuses: Iterable[EndpointStatus],
    opened: Set[tuple[int, str]],
    closed: Set[tuple[int, str]],
) -> tuple[int, int]:
    """Return how many findings a run opened and closed, as all commands count findings.

    Args:
        statuses: All endpoints that have findings.
        opened: Endpoint id and code of what the run opened.
        closed: The same of what it closed.
    """
    present = {s.id: s.findings for s in statuses}
    new = sum((i, f.code) in opened for i, known in present.items() for f in counted(known))
    codes: dict[int, set[str]] = {i: {f.code for f in known} for i, known in present.items()}
    for endpoint_id, code in closed:
        codes.setdefault(endpoint_id, set()).add(code)
    return new, sum(not parent_of(code, codes[endpoint_id]) for endpoint_id, code in closed)


def findings_text(numbers: Mapping[tuple[str, str], int]) -> str:
    """Return the number of findings and remarks in words, such as ``3 findings, 2 remarks``."""
    remarks = sum(n for (_, severity), n in numbers.items() if severity not in FAULT_SEVERITIES)
    found = sum(numbers.values()) - remarks
    return f"{found:,} finding(s)" + (f" and {remarks:,} remark(s)" if remarks else "")


def urgency(status: EndpointStatus) -> tuple[int, float, str, int]:
    """Return the sort key of an endpoint: severity, then the end of its certificate."""
    severities = [SEVERITY_ORDER[f.severity] for f in status.findings]
    # What was never judged may hide a fault, so it does not rank below a healthy endpoint.
    if status.never:
        severities.append(SEVERITY_ORDER["undetermined"])
    worst = min(severities, default=len(SEVERITY_ORDER))
    end = float("inf") if status.not_after is None else float(status.not_after)
    return worst, end, status.target.host, status.target.port


def totals(
    database: Database,
    statuses: Sequence[EndpointStatus],
    *,
    client: str | None = None,
    tag: str | None = None,
    run_id: int | None = None,
) -> dict[str, int]:
    """Return the number of endpoints by verdict.

    Args:
        database: The inventory.
        statuses: The endpoints that :func:`load` returned with ``skip_healthy``. All others are
            counted as ok.
        client: The client that was passed to :func:`load`.
        tag: The tag that was passed to :func:`load`.
        run_id: The run that was passed to :func:`load`.
    """
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        all_count = endpoint_status.count(conn, client_id=client_id, tag_name=tag, run_id=run_id)
    total = counts(s.verdict for s in statuses)
    total["ok"] += all_count - total["endpoints"]
    total["endpoints"] = all_count
    return total


def counts(verdicts: Iterable[str]) -> dict[str, int]:
    """Return the number of all verdicts (``endpoints``), and of each."""
    total = {"endpoints": 0, "ok": 0, "attention": 0, "fault": 0, "unknown": 0}
    for verdict in verdicts:
        total["endpoints"] += 1
        total[str(verdict)] += 1
    return total
