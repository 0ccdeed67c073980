"""From the facts about the inventory to a :class:`Dashboard`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

from certmgr.cases.states import CLIENT, PROVIDER, is_overdue, waits_for
from certmgr.compliance.milestones import Deadline
from certmgr.dashboard.causes import severity_groups
from certmgr.dashboard.certificates import (
    ended_count,
    is_automatic,
    losing_cover,
    weeks_ahead,
)
from certmgr.dashboard.facts import DashboardInput
from certmgr.dashboard.model import (
    CasesInState,
    ClientRow,
    Dashboard,
    RenewalRow,
    RuleCompliance,
    Tile,
    TrendRow,
)
from certmgr.inspection.status import EndpointStatus, counts
from certmgr.renewers.renewer import RenewalMethod
from inventory.db.database import from_epoch
from inventory.text import printable
from inventory.vocabulary import RunState
from notifiers.wording.catalogue import Language
from notifiers.wording.dashboard import CASE_STATES, COMPLIANCE, RENEWALS
from notifiers.wording.dashboard import DashboardPhrases as P
from notifiers.wording.report import STATES

NEXT_WEEKS, LATER_WEEKS = 13, 58  # 90 and 400 days
# Dates further ahead are not shown.
AHEAD = timedelta(days=800)
# The most urgent first.
_URGENCY = ("fault", "unknown", "attention", "ok")


def build(facts: DashboardInput, *, max_clients: int | None = 200) -> Dashboard:
    """Return the dashboard.

    Args:
        facts: The facts.
        max_clients: How many clients are listed; None for all.
    """
    language = facts.language
    total = counts(s.verdict for s in facts.statuses)
    summary, state = summary_of(language, total)
    scan_text, scan_state = _last_scan(facts)
    losing, more_losing = losing_cover(facts)
    clients = _clients(facts)
    renewals, renewal_text = _renewals(facts)
    return Dashboard(
        language=language.code,
        provider=printable(facts.provider, 100),
        as_of_text=language.timestamp(facts.as_of),
        summary=summary,
        state=state,
        scan_text=scan_text,
        scan_state=scan_state,
        tiles=tuple(Tile(s, language(STATES[s]), total[s]) for s in _URGENCY),
        groups=severity_groups(facts),
        weeks=weeks_ahead(facts, NEXT_WEEKS),
        later=weeks_ahead(facts, LATER_WEEKS),
        ended=ended_count(facts),
        losing=losing,
        more_losing=more_losing,
        deadlines=_deadlines(facts),
        cases=_cases(facts),
        renewals=renewals,
        renewal_text=renewal_text,
        trend=tuple(
            TrendRow(
                text=language.timestamp(run.finished),
                critical=run.critical,
                high=run.high,
                checked=run.checked,
                undetermined=run.undetermined,
            )
            for run in facts.history
        ),
        clients=clients[:max_clients],
        more_clients=0 if max_clients is None else max(0, len(clients) - max_clients),
    )


def summary_of(language: Language, total: dict[str, int]) -> tuple[str, str]:
    """Return the summary sentence and its state, the worst verdict of a site."""
    if not total["endpoints"]:
        # An empty inventory is not in order: nothing was checked.
        return language(P.no_sites), "unknown"
    for state, one, many in (
        ("fault", P.faults, P.faults_many),
        ("unknown", P.unknowns, P.unknowns_many),
        ("attention", P.attention, P.attention_many),
    ):
        if total[state]:
            return language.count(one, many, total[state]), state
    return language(P.all_good), "ok"


def _last_scan(facts: DashboardInput) -> tuple[str, str]:
    """Return when the last scan ended and how. Old facts must not look like those of today."""
    language, run = facts.language, facts.last_run
    # Only the past has no renewers, and no last run.
    if facts.renewers is None:
        return language(P.scan_past), "ok"
    finished = None if run is None else from_epoch(run.finished_at)
    if run is None or finished is None:
        return language(P.scan_none), "attention"
    date = language.timestamp(finished)
    if run.state == RunState.COMPLETE:
        return language(P.scan_complete).format(date=date), "ok"
    reason = printable(run.reason or str(run.state), 200)
    return language(P.scan_other).format(date=date, reason=reason), "attention"


def _deadlines(facts: DashboardInput) -> tuple[RuleCompliance, ...]:
    """Return the dated rules ahead with the number of domains per compliance state."""
    language = facts.language
    by_rule: dict[str, Counter[str]] = {}
    for row in facts.rows:
        by_rule.setdefault(row.deadline.name, Counter())[str(row.state)] += 1
    shown = []
    for deadline in facts.deadlines:
        # Compared as a duration, because the calendar may end before the sum.
        if deadline.at <= facts.as_of or deadline.at - facts.as_of > AHEAD:
            continue
        # A rule that a scan cannot check has no rows, and gets no counts.
        found = by_rule.get(deadline.name, Counter())
        shown.append(
            RuleCompliance(
                name=deadline.name,
                at_text=_date_text(facts, deadline),
                # The provider wrote this title, so no catalogue has a translation of it.
                title=printable(deadline.title if deadline.own else language(deadline.title), 300),
                kind="own" if deadline.own else "rule",
                confirmed=deadline.confirmed,
                counts={language(t): found[s] for s, t in COMPLIANCE.items() if found[s]},
            )
        )
    return tuple(shown)


def _date_text(facts: DashboardInput, deadline: Deadline) -> str:
    # A deadline of the provider ends with its day there, and a rule of the industry in UTC.
    if deadline.precision == "day":
        return facts.language.day(deadline.at, facts.zone if deadline.own else UTC)
    return facts.language.month(deadline.at)


def _cases(facts: DashboardInput) -> tuple[CasesInState, ...] | None:
    """Return the open cases per state; None if they are not known."""
    if facts.cases is None:
        return None
    rows = []
    for state, text in CASE_STATES.items():
        found = [c for c in facts.cases if c.state == state]
        if found:
            parties = Counter(waits_for(c) for c in found)
            rows.append(
                CasesInState(
                    state=facts.language(text),
                    client=parties[CLIENT],
                    provider=parties[PROVIDER],
                    overdue=sum(is_overdue(c, facts.as_of) for c in found),
                )
            )
    return tuple(rows)


def _renewals(facts: DashboardInput) -> tuple[tuple[RenewalRow, ...] | None, str]:
    """Return how many names are renewed in each way, and the share that is automatic.

    A name with several endpoints counts once.
    """
    if facts.renewers is None:
        return None, ""
    names = {(s.client_id, s.target.host) for s in facts.statuses}
    found = Counter(facts.renewers.renewer(client_id, host).method for client_id, host in names)
    automatic = sum(is_automatic(facts, client_id, host) for client_id, host in names)
    rows = tuple(
        RenewalRow(facts.language(RENEWALS[m]), found[m], m not in _BY_HAND)
        for m in RenewalMethod
        if found[m]
    )
    # Rounded down, so that 100 % means every name.
    share = f"{100 * automatic // len(names)} %" if names else "0 %"
    text = facts.language(P.automatic).format(share=share, total=len(names))
    return rows, text if names else ""


_BY_HAND = (RenewalMethod.PURCHASE, RenewalMethod.NONE)


def _clients(facts: DashboardInput) -> tuple[ClientRow, ...]:
    """Return the clients, the most urgent first."""
    by_client: dict[str, list[EndpointStatus]] = {}
    for status in facts.statuses:
        by_client.setdefault(status.client, []).append(status)
    rows = [(_urgency(found), _client(facts, n, found)) for n, found in by_client.items()]
    # The number makes the order the same on each page.
    return tuple(row for _, row in sorted(rows, key=lambda r: (r[0], r[1].number)))


def _urgency(statuses: Sequence[EndpointStatus]) -> tuple[Any, ...]:
    """Return the order of a client: critical and other faults, then what ends first."""
    critical = sum(any(f.severity == "critical" for f in s.findings) for s in statuses)
    total = counts(s.verdict for s in statuses)
    # A client without any end comes after those with one.
    end = min((s.not_after for s in statuses if s.not_after is not None), default=None)
    return (
        -critical,
        -total["fault"],
        -total["unknown"],
        -total["attention"],
        end is None,
        end or 0,
    )


def _client(facts: DashboardInput, number: str, statuses: Sequence[EndpointStatus]) -> ClientRow:
    total = counts(s.verdict for s in statuses)
    state = next((s for s in _URGENCY if total[s]), "unknown")
    # What has ended is a fault already; the next end is the next date to act by.
    ahead = [e for s in statuses if (e := from_epoch(s.not_after)) is not None and e > facts.as_of]
    return ClientRow(
        number=printable(number, 60),
        name=printable(facts.client_names.get(number, ""), 100),
        state=state,
        state_text=facts.language(STATES[state]),
        sites=total["endpoints"],
        fault=total["fault"],
        attention=total["attention"],
        unknown=total["unknown"],
        next_text=facts.language.date(min(ahead)) if ahead else "",
    )
