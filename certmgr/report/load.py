"""Reads the input of a client's report from the inventory.

All queries about sites are limited to that client. Accepted findings are few, so they are read for
all clients, and count only if they cover an endpoint of this client.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.cases import topics as casework
from certmgr.cases.purchase_topics import purchase_topics
from certmgr.compliance.assessment import judge
from certmgr.compliance.load import load_domain_facts
from certmgr.compliance.milestones import Deadline
from certmgr.config.context import Context
from certmgr.config.settings import ProviderSettings, Settings
from certmgr.inspection.status import EndpointStatus
from certmgr.inspection.trust_ends import EndpointTrust, StoredTrust
from certmgr.purchases.load import lead_times, load
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import purchase_deadlines
from certmgr.renewers.load import load_facts
from certmgr.renewers.renewer import RenewalFacts
from certmgr.report.facts import DatedItem, ReportInput
from inventory.db.database import from_epoch
from inventory.records import ContactRecord
from inventory.store import cases, clients, contacts, domains, findings, issuances
from inventory.vocabulary import Acceptance, FindingDecision, WindowState
from notifiers.pipeline.topic import Topic
from notifiers.wording.cases import DATES
from notifiers.wording.catalogue import Language, language
from notifiers.wording.scope import names_in

PURCHASES_AHEAD = timedelta(days=60)
_ROLES = ("owner", "technical", "billing")


@dataclass(frozen=True, slots=True, kw_only=True)
class _CurrentFacts:
    """What has no history, so that a report of the past omits it: see ``ReportInput``."""

    case_topics: Sequence[Topic] = ()
    dates: Sequence[DatedItem] = ()
    case_names: Mapping[str, str] = field(default_factory=dict)
    trust: Mapping[int, EndpointTrust] = field(default_factory=dict)
    trust_rules: str = ""
    renewers: RenewalFacts | None = None


def load_report_input(
    context: Context,
    number: str,
    *,
    as_of: datetime | None,
    deadlines: Sequence[Deadline],
    chosen_language: str | None = None,
    trust: StoredTrust | None = None,
) -> ReportInput:
    """Return the input of one client's report.

    Args:
        context: The inventory, the configuration and the clock.
        number: Customer number.
        as_of: Time of the report. For a past time, the report shows what was known then.
        deadlines: Dated rules and the provider's deadlines.
        chosen_language: Language instead of the contact's.
        trust: Of the report before, so that anchors and CA certificates are loaded once.
    """
    database, provider, now = context.database, context.settings.provider, context.now()
    at = as_of or now
    past = as_of if as_of is not None and as_of <= now else None
    with database.read() as conn:
        row = clients.find(conn, number)
        people = contacts.listing(conn, client_id=row.id)
        assigned = _assigned(conn, row.id, past)
        current = _CurrentFacts()
        if past is None:
            # The rules of a past day are not kept.
            trust = trust.on(conn) if trust else StoredTrust.of(conn, context.settings)
            current = _current_facts(conn, row.id, at, context.settings, trust)
    facts, stored_statuses = load_domain_facts(database, now, as_of=as_of, client=row.number)
    statuses = [s.for_client() for s in stored_statuses]
    with database.read() as conn:
        owners = _owners_in_evidence(conn, statuses)
    measured = max((s.last_attempt for s in statuses if s.last_attempt is not None), default=None)
    return ReportInput(
        number=row.number,
        name=row.name,
        provider=provider.name,
        contact=row.account_manager or "",
        language=_reader_language(people, chosen_language, provider),
        as_of=at,
        domains=facts,
        statuses=statuses,
        rows=judge(facts, deadlines, at),
        deadlines=deadlines,
        assigned=assigned,
        measured=from_epoch(measured),
        zone=ZoneInfo(provider.time_zone),
        case_topics=current.case_topics,
        case_names=current.case_names,
        dates=current.dates,
        trust=current.trust,
        trust_rules=current.trust_rules,
        renewers=current.renewers,
        owners=owners,
        client_id=row.id,
    )


def _owners_in_evidence(conn: Connection, statuses: Sequence[EndpointStatus]) -> dict[str, int]:
    """Return the owners of the names in the evidence of all findings."""
    shown = (f for s in statuses for f in (*s.findings, *(f for f, _ in s.accepted)))
    return domains.owners_of(conn, names_in(shown))


def _reader_language(
    people: Sequence[ContactRecord], chosen: str | None, provider: ProviderSettings
) -> Language:
    """Return the language and time zone of the client's reader.

    Args:
        people: The contacts of the client.
        chosen: Language instead of the contact's.
        provider: Language and time zone if no contact has one.
    """
    # They are those of the owner, if one is recorded.
    ranked = sorted(people, key=lambda p: _ROLES.index(p.role) if p.role in _ROLES else len(_ROLES))
    code = chosen or next((p.language for p in ranked if p.language), None) or provider.language
    zone = next((p.time_zone for p in ranked if p.time_zone), None) or provider.time_zone
    return language(code, zone)


def _current_facts(
    conn: Connection, client_id: int, at: datetime, settings: Settings, stored: StoredTrust
) -> _CurrentFacts:
    leads, provider = lead_times(settings), settings.provider.name
    topics, dates, names = _purchases_and_cases(conn, client_id, at, leads, provider)
    return _CurrentFacts(
        case_topics=topics,
        dates=dates,
        case_names=names,
        trust=stored.endpoints(client_id=client_id),
        trust_rules=stored.rules.version,
        renewers=load_facts(conn, at, client_id),
    )


def _purchases_and_cases(
    conn: Connection, client_id: int, at: datetime, leads: LeadTimes, provider: str
) -> tuple[list[Topic], list[DatedItem], dict[str, str]]:
    """Return the actions and dates of the client's purchases and open cases.

    The third value is the reference of the case per name.
    """
    # Ended cases have no further dates and no actions.
    rows = cases.listing(conn, client_id=client_id, states=cases.OPEN)
    purchases = load(conn, client_id, ended=False)
    issued = issuances.of_cases(conn, [r.id for r in rows])
    by_id = {p.id: p for p in purchases}
    names = {n: r.reference for r in rows for n in r.names}
    topics = [
        casework.case_topic(r, issued.get(r.id, ()), by_id.get(r.order_id or 0), at, 60, provider)
        for r in rows
    ]
    # The names of open cases are passed on, because a purchase with a case needs no second task.
    topics += purchase_topics(conn, at, leads, PURCHASES_AHEAD, {client_id: names}, client_id)
    # A certificate that needs no reissue has an event already, from its endpoint.
    dates = [
        DatedItem(d.at, "order", DATES[d.kind], {"order": p.label}, p.names)
        for p in purchases
        for d in purchase_deadlines(p, leads, at)
        if d.kind != "certificate" or d.due is not None
    ]
    for row in rows:
        start = from_epoch(row.window_start)
        # A proposed window is not a date yet; only an agreed one is.
        if row.window_state is WindowState.AGREED and start is not None:
            dates.append(
                DatedItem(
                    start,
                    "window",
                    DATES["window"],
                    {"reference": row.reference},
                    tuple(row.names),
                )
            )
    return topics, dates, names


def _assigned(conn: Connection, client_id: int, past: datetime | None) -> list[Acceptance]:
    """Return the assignments that may concern the client.

    One for a domain or an endpoint is matched by its id later.
    """
    assigned = findings.acceptances(conn, past, kind=FindingDecision.ASSIGN)
    return [a for a in assigned if a.client_id in (None, client_id)]
