"""Reads the input of a client's report from the inventory.

All queries about sites are limited to that client. Accepted findings are few, so they are read for
all clients, and count only if they cover an endpoint of this client.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.cases import topics as casework
from certmgr.cases.purchase_topics import purchase_topics
from certmgr.compliance.assessment import judge
from certmgr.compliance.load import load_domain_facts
from certmgr.compliance.milestones import Deadline
from certmgr.config.settings import Settings
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.purchases.load import load
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import purchase_deadlines
from certmgr.renewers.load import load_facts
from certmgr.report.facts import DatedItem, ReportInput
from inventory.db.database import Database, from_epoch
from inventory.records import ContactRecord
from inventory.store import cases, clients, contacts, domains, findings, issuances, runs
from inventory.vocabulary import Acceptance, FindingDecision, WindowState
from notifiers.pipeline.topic import Topic
from notifiers.wording.cases import DATES
from notifiers.wording.catalogue import Language, language
from notifiers.wording.scope import names_in

LEADS = LeadTimes()
PURCHASES_AHEAD = timedelta(days=60)
_ROLES = ("owner", "technical", "billing")


def load_report_input(
    database: Database,
    number: str,
    now: datetime,
    *,
    as_of: datetime | None,
    provider: str,
    deadlines: Sequence[Deadline],
    default_language: str,
    default_zone: str,
    chosen_language: str | None = None,
    leads: LeadTimes = LEADS,
    settings: Settings | None = None,
) -> ReportInput:
    """Return the input of one client's report.

    Args:
        database: The inventory.
        number: Customer number.
        now: Current time.
        as_of: Time of the report. For a past time, the report shows what was known then.
        provider: Name of the provider.
        deadlines: Dated rules and the provider's deadlines.
        default_language: Language if no contact has one.
        default_zone: Time zone of the provider.
        chosen_language: Language instead of the contact's.
        leads: Lead times of purchases.
        settings: Trust store and rules of browsers; None: the defaults.
    """
    at = as_of or now
    past = as_of if as_of is not None and as_of <= now else None
    with database.read() as conn:
        row = clients.find(conn, number)
        people = contacts.listing(conn, client_id=row.id)
        assigned = [
            a
            for a in findings.acceptances(conn, past, kind=FindingDecision.ASSIGN)
            if _concerns(a, row.id)
        ]
        # Purchases and cases have no history, so a report of the past omits them.
        case_topics, dates, case_names = (
            _purchases_and_cases(conn, row.id, at, leads, provider)
            if past is None
            else ([], [], {})
        )
        # The last complete run at the time of the report is the source of its facts.
        vantage = runs.vantage_at(conn, at)
        trust, version = {}, ""
        # The rules of a past day are not kept.
        if past is None:
            stored = StoredTrust.of(conn, settings or Settings())
            trust, version = stored.endpoints(client_id=row.id), stored.rules.version
        renewers = load_facts(conn, at, row.id) if past is None else None
    facts, stored_statuses = load_domain_facts(database, now, as_of=as_of, client=row.number)
    statuses = [s.for_client() for s in stored_statuses]
    with database.read() as conn:
        # The names are in the evidence of the findings, so this query follows theirs.
        owners = domains.owners_of(
            conn,
            names_in(f for s in statuses for f in (*s.findings, *(x for x, _ in s.accepted))),
        )
    measured = max((s.last_attempt for s in statuses if s.last_attempt is not None), default=None)
    return ReportInput(
        number=row.number,
        name=row.name,
        provider=provider,
        contact=row.account_manager or "",
        language=_reader_language(people, chosen_language, default_language, default_zone),
        as_of=at,
        domains=facts,
        statuses=statuses,
        rows=judge(facts, deadlines, at),
        deadlines=deadlines,
        assigned=assigned,
        vantage=vantage or "",
        measured=from_epoch(measured),
        zone=ZoneInfo(default_zone),
        case_topics=case_topics,
        case_names=case_names,
        dates=dates,
        trust=trust,
        trust_rules=version,
        renewers=renewers,
        owners=owners,
        client_id=row.id,
    )


def _reader_language(
    people: Sequence[ContactRecord], chosen: str | None, default: str, default_zone: str
) -> Language:
    """Return the language and time zone of the client's reader.

    Args:
        people: The contacts of the client.
        chosen: Language instead of the contact's.
        default: Language if no contact has one.
        default_zone: Time zone if no contact has one.
    """
    # They are those of the owner, if one is recorded.
    ranked = sorted(people, key=lambda p: _ROLES.index(p.role) if p.role in _ROLES else len(_ROLES))
    code = chosen or next((p.language for p in ranked if p.language), None) or default
    return language(code, next((p.time_zone for p in ranked if p.time_zone), None) or default_zone)


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


def _concerns(acceptance: Acceptance, client_id: int) -> bool:
    """Return whether an assignment may concern the client.

    One for a domain or an endpoint is matched by its id later.
    """
    return acceptance.client_id in (None, client_id)
