"""Reads the facts of the dashboard from the inventory.

The page is for administrators, so the queries are not limited to a client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.compliance.assessment import judge
from certmgr.compliance.load import all_deadlines, load_domain_facts
from certmgr.config.context import Context
from certmgr.dashboard.facts import DashboardInput, RunFaults
from certmgr.inspection.status import split_accepted
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.renewers.load import load_facts
from inventory.records import FindingPeriod
from inventory.store import cases, certificates, clients, findings, runs
from inventory.vocabulary import Acceptance, Finding, FindingDecision
from notifiers.wording.catalogue import language

# About two weeks of daily runs.
RUNS = 14
_SEVERE = ("critical", "high")


def load_dashboard_input(
    context: Context,
    *,
    as_of: datetime | None = None,
    language_code: str | None = None,
) -> DashboardInput:
    """Return the facts of the dashboard.

    Args:
        context: The inventory, the configuration and the clock.
        as_of: In the past: what was known then. In the future: what is known now, with the
            validity dates judged at that time.
        language_code: The language; None: that of the provider.
    """
    now, settings, database = context.now(), context.settings, context.database
    at = as_of or now
    past = as_of if as_of is not None and as_of <= now else None
    provider = settings.provider
    deadlines = all_deadlines(database, past)
    facts, statuses = load_domain_facts(database, now, as_of=as_of)
    with context.read() as conn:
        # A client who was retired later still needs a name on a page about the past.
        names = {c.number: c.name for c in clients.listing(conn, retired=past is not None)}
        # There are no runs of the future, so a later date shows those until now.
        history = _history(conn, min(at, now))
        # Trust rules, renewers and cases have no history.
        trust = StoredTrust.of(conn, settings).endpoints() if past is None else {}
        renewers = load_facts(conn, at) if past is None else None
        starts = certificates.not_before_of(conn) if past is None else {}
        open_cases = cases.listing(conn, states=cases.OPEN) if past is None else None
        last_run = runs.last_run(conn) if past is None else None
        assigned = findings.acceptances(conn, at, kind=FindingDecision.ASSIGN)
    return DashboardInput(
        language=language(language_code or provider.language, provider.time_zone),
        as_of=at,
        provider=provider.name,
        statuses=statuses,
        rows=judge(facts, deadlines, at),
        deadlines=deadlines,
        history=history,
        client_names=names,
        last_run=last_run,
        zone=ZoneInfo(provider.time_zone),
        trust=trust,
        renewers=renewers,
        starts=starts,
        cases=open_cases,
        assigned=assigned,
    )


def _history(conn: Connection, until: datetime) -> list[RunFaults]:
    """Return the faults after each of the last complete runs of the whole inventory."""
    complete = runs.recent_complete(conn, until, RUNS)
    if not complete:
        return []
    periods = findings.periods(conn, complete[-1].finished_at, _SEVERE)
    history = []
    for run in complete:
        finished = datetime.fromtimestamp(run.finished_at, UTC)
        # Acceptances are those at the end of each run: a later one must not hide old faults.
        worst = _worst_severities(periods, finished, findings.acceptances(conn, finished))
        critical = sum(s == "critical" for s in worst.values())
        history.append(
            RunFaults(finished, critical, len(worst) - critical, run.checked, run.undetermined)
        )
    return history


def _worst_severities(
    periods: Sequence[FindingPeriod], at: datetime, acceptances: Sequence[Acceptance]
) -> Mapping[int, str]:
    """Return endpoint id -> critical or high, for the findings that counted at a time."""
    moment = at.timestamp()
    worst: dict[int, str] = {}
    for period in periods:
        closed, retired = period.closed_at, period.retired_at
        if (
            period.opened_at > moment
            or (closed is not None and closed <= moment)
            # The findings of a retired endpoint were not closed, but they are not faults any more.
            or (retired is not None and retired <= moment)
        ):
            continue
        finding = Finding(code=period.code, severity=period.severity)
        counted, _ = split_accepted(
            [finding], acceptances, period.client_id, period.domain_id, period.endpoint_id, at
        )
        if counted and worst.get(period.endpoint_id) != "critical":
            # The worst severity of an endpoint wins, whatever the order of its findings is.
            worst[period.endpoint_id] = str(period.severity)
    return worst
