"""How the inventory stands: endpoints with their open findings, and the causes that one action each
would fix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from certmgr.checks.actors import with_actor
from certmgr.checks.certificate import date_findings_of
from certmgr.checks.judge import for_port
from inventory.dates import days_left
from inventory.db.database import Database, from_epoch
from inventory.names import display, registered_domain
from inventory.store import clients, domains, endpoint_status, findings
from inventory.targets import Target
from inventory.vocabulary import SEVERITY_ORDER, Acceptance, Finding, Parties, Verdict, verdict_of

_DATE_CODES = frozenset(
    {"certificate-expired", "certificate-expiring", "certificate-not-yet-valid"}
)


@dataclass(slots=True)
class EndpointStatus:
    """One endpoint.

    Instants are epoch seconds or None. ``accepted``: findings that are out of the verdict, with who
    and until when.
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
    never: bool = False  # nothing was ever judged

    def days_left(self, now: datetime) -> int | None:
        moment = from_epoch(self.not_after)
        return None if moment is None else days_left(moment, now)


def load(
    database: Database,
    now: datetime,
    *,
    as_of: datetime | None = None,
    client: str | None = None,
    tag: str | None = None,
    run_id: int | None = None,
    troubled: bool = False,
) -> list[EndpointStatus]:
    """Soonest end first.

    ``as_of`` in the past: what was known then; in the future: today's knowledge at that time.
    ``troubled``: leaves out what has no open finding, where that can be told without looking at
    each.
    """
    past = as_of is not None and as_of <= now
    at = as_of or now
    with database.read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        if past:
            rows = endpoint_status.standings_then(conn, at, client_id=client_id, tag_name=tag)
        else:
            rows = endpoint_status.standings(
                conn,
                client_id=client_id,
                tag_name=tag,
                run_id=run_id,
                troubled=troubled and as_of is None,
            )
        open_rows = findings.listing(conn, at=at if past else None, client_id=client_id)
        accepted = findings.acceptances(conn, at if past else None)
        starts = endpoint_status.not_before_of(conn) if as_of is not None and not past else {}
        parties = domains.parties_by_domain(conn, client_id) if starts else {}
    by_endpoint: dict[int, list[Finding]] = {}
    for row in open_rows:
        one = Finding(
            code=row["code"],
            severity=row["severity"],
            addresses=tuple(row["addresses"]),
            evidence=row["evidence"],
            actor=row["actor"],
            outcome=row["outcome"],
        )
        by_endpoint.setdefault(row["endpoint_id"], []).append(one)
    made = []
    for row in rows:
        known = by_endpoint.get(row.id, [])
        if starts and row.leaf is not None:
            known = _at_future(known, starts.get(row.leaf), row, parties.get(row.domain_id), at)
        made.append(_standing(row, known, accepted, at))
    return made


def _at_future(
    known: list[Finding], not_before: int | None, row: Any, parties: Parties | None, at: datetime
) -> list[Finding]:
    """Findings about dates made anew for a later time."""
    kept = [f for f in known if f.code not in _DATE_CODES]
    start, end = from_epoch(not_before), from_epoch(row.not_after)
    if start is None or end is None:
        return known
    elsewhere = any(f.code == "points-elsewhere" for f in known)
    default = any(f.code == "default-certificate" for f in known)
    fresh = for_port(Target(row.host, row.port, row.protocol), date_findings_of(start, end, at, ()))
    made = [
        with_actor(f, parties, elsewhere=elsewhere, ever_had_certificate=True, not_theirs=default)
        for f in fresh
    ]
    return sorted([*kept, *made], key=lambda f: SEVERITY_ORDER[f.severity])


def _standing(
    row: Any, known: list[Finding], acceptances: Sequence[Acceptance], at: datetime
) -> EndpointStatus:
    open_, accepted = split_accepted(known, acceptances, row.client_id, row.domain_id, row.id, at)
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
        error=row.error_reason or (_NEVER[row.last_attempt is None] if never else None),
        verdict=verdict,
        findings=open_,
        accepted=accepted,
        domain_id=row.domain_id,
        never=never,
    )


# By whether there was no look at all.
_NEVER = {True: "never looked at", False: "looked at, in a run that was not complete"}


def split_accepted(
    known: Iterable[Finding],
    acceptances: Sequence[Acceptance],
    client_id: int | None,
    domain_id: int | None,
    endpoint_id: int | None,
    at: datetime,
) -> tuple[list[Finding], list[tuple[Finding, Acceptance]]]:
    """(findings that count, findings that are accepted and by which acceptance)."""
    if not acceptances:
        return list(known), []
    open_, accepted = [], []
    for one in known:
        cover = next(
            (a for a in acceptances if a.covers(one.code, client_id, domain_id, endpoint_id, at)),
            None,
        )
        if cover is None:
            open_.append(one)
        else:
            accepted.append((one, cover))
    return open_, accepted


# Which one action mends a finding: at a server, at a certificate, at a name server, or at the
# client.
_BY_CERTIFICATE = frozenset(
    {
        "certificate-expired",
        "certificate-expiring",
        "certificate-not-yet-valid",
        "san-missing",
        "self-signed",
        "untrusted-root",
        "verification-disputed",
        "ca-distrusted",
        "certificate-malformed",
        "validity-too-long",
        "key-weak",
        "signature-weak",
        "sct-missing",
        "name-mismatch",
        "revoked",
        "revocation-unknown",
    }
)
_BY_NAME_SERVER = frozenset({"name-not-found", "dns-failure", "caa-mismatch", "dane-mismatch"})
_BY_CLIENT = frozenset(
    {"points-elsewhere", "address-refused", "client-certificate-required", "mixed-content"}
)


@dataclass(slots=True)
class Cause:
    """Findings that one action would mend.

    ``where``: the server, certificate, name server or client in words.
    """

    kind: str
    where: str
    code: str
    severity: str
    actor: str
    endpoints: list[Target]
    clients: set[str]
    example: Finding


def causes(standings: Iterable[EndpointStatus]) -> list[Cause]:
    """Largest first; ties by severity. Info is left out. Pure."""
    found: dict[tuple[str, str, str, str], Cause] = {}
    for standing in standings:
        folded = (
            {"name-mismatch"}
            if any(f.code == "default-certificate" for f in standing.findings)
            else set()
        )
        for one in standing.findings:
            if one.severity == "info" or one.code in folded:
                continue
            kind, where = place_of(
                standing.target,
                standing.client,
                standing.server,
                standing.leaf,
                standing.issuer,
                one,
            )
            key = (kind, where, one.code, one.actor)
            cause = found.get(key)
            if cause is None:
                cause = found[key] = Cause(
                    kind=kind,
                    where=where,
                    code=one.code,
                    severity=one.severity,
                    actor=one.actor,
                    endpoints=[],
                    clients=set(),
                    example=one,
                )
            cause.endpoints.append(standing.target)
            cause.clients.add(standing.client)
            if SEVERITY_ORDER[one.severity] < SEVERITY_ORDER[cause.severity]:
                cause.severity, cause.example = one.severity, one
    return sorted(
        found.values(),
        key=lambda c: (-len(c.endpoints), SEVERITY_ORDER[c.severity], c.code, c.where),
    )


def place_of(
    target: Target,
    client: str,
    server: str | None,
    leaf: str | None,
    issuer: str | None,
    one: Finding,
) -> tuple[str, str]:
    """(kind, which one) of what one action would have to mend: a name server, a client, a
    certificate, a server.
    """
    if one.code in _BY_NAME_SERVER:
        return "name server", f"of {display(registered_domain(target.host))}"
    if one.code in _BY_CLIENT:
        return "client", client
    if one.code in _BY_CERTIFICATE and leaf is not None:
        return "certificate", f"{leaf[:16]} of {issuer or 'unknown issuer'}"
    if server is not None:
        return "server", server
    return "server", ", ".join(one.addresses[:3]) or display(target.host)


def totals(
    database: Database,
    standings: Sequence[EndpointStatus],
    *,
    client: str | None = None,
    tag: str | None = None,
    run_id: int | None = None,
) -> dict[str, int]:
    """Counts by verdict, where ``standings`` are the troubled ones: whoever is not among them is
    well.
    """
    with database.read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        every = endpoint_status.count(conn, client_id=client_id, tag_name=tag, run_id=run_id)
    total = counts(s.verdict for s in standings)
    total["ok"] += every - total["endpoints"]
    total["endpoints"] = every
    return total


def counts(verdicts: Iterable[str]) -> dict[str, int]:
    total = {"endpoints": 0, "ok": 0, "attention": 0, "fault": 0, "unknown": 0}
    for verdict in verdicts:
        total["endpoints"] += 1
        total[str(verdict)] += 1
    return total
