"""What the report of one client is made from, read from the inventory.

Every query about sites is scoped to that client; acceptances are few, and count only where they
cover one of its endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from certmgr.cases import topics as casework
from certmgr.compliance.assessment import judge, subjects
from certmgr.compliance.milestones import Deadline
from certmgr.purchases.load import load
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import purchase_deadlines
from certmgr.report.view import DatedItem, ReportInput
from inventory.db.database import Database, from_epoch, to_epoch
from inventory.models.tables import run
from inventory.store import cases, clients, contacts, findings
from inventory.vocabulary import Acceptance
from notifiers.pipeline.topic import Topic
from notifiers.wording.cases import DATES
from notifiers.wording.catalogue import Language, language

LEADS = LeadTimes()
AHEAD_OF_ORDERS = timedelta(days=60)
_ROLES = ("owner", "technical", "billing")


def material(
    database: Database,
    number: str,
    now: datetime,
    *,
    as_of: datetime | None,
    provider: str,
    dues: Sequence[Deadline],
    default_language: str,
    default_zone: str,
    chosen: str | None = None,
    leads: LeadTimes = LEADS,
) -> ReportInput:
    """``number``: the client's.

    ``as_of``: the past as it was known then. ``chosen``: a language in place of the contact's.
    """
    at = as_of or now
    past = as_of if as_of is not None and as_of <= now else None
    with database.read() as conn:
        row = clients.find(conn, number)
        people = contacts.listing(conn, client_id=row["id"])
        taken = [
            a for a in findings.acceptances(conn, past, kind="take") if _concerns(a, row["id"])
        ]
        led, dates, leads_it = (
            _purchases(conn, row["id"], at, leads) if past is None else ([], [], {})
        )
        ended = select(run.c.vantage).where(
            run.c.state == "complete", run.c.finished_at <= to_epoch(at)
        )
        vantage = conn.execute(
            ended.order_by(run.c.finished_at.desc(), run.c.id.desc()).limit(1)
        ).scalar()
    found, standings = subjects(database, now, as_of=as_of, client=row["number"])
    measured = max((s.last_attempt for s in standings if s.last_attempt is not None), default=None)
    people.sort(key=lambda p: _ROLES.index(p["role"]) if p["role"] in _ROLES else len(_ROLES))
    spoken = (
        chosen or next((p["language"] for p in people if p["language"]), None) or default_language
    )
    zone = next((p["time_zone"] for p in people if p["time_zone"]), None) or default_zone
    reader: Language = language(spoken, zone)
    return ReportInput(
        number=row["number"],
        name=row["name"],
        provider=provider,
        contact=row["account_manager"] or "",
        language=reader,
        as_of=at,
        subjects=found,
        standings=standings,
        rows=judge(found, dues, at),
        deadlines=dues,
        taken=taken,
        vantage=vantage or "",
        measured=from_epoch(measured),
        zone=ZoneInfo(default_zone),
        led=led,
        led_names=leads_it,
        dates=dates,
    )


def _purchases(
    conn: Connection, client_id: int, at: datetime, leads: LeadTimes
) -> tuple[list[Topic], list[DatedItem], dict[str, str]]:
    """The actions and dates of the client's orders and open cases, and the names under a case."""
    rows = cases.listing(conn, client_id=client_id, states=cases.OPEN)
    known = load(conn, client_id, ended=False)
    issued = cases.issuances(conn, [r["id"] for r in rows])
    by_id = {o.id: o for o in known}
    names = {n: r["reference"] for r in rows for n in r["names"]}
    led = [
        casework.of_case(r, issued.get(r["id"], ()), by_id.get(r["order_id"] or 0), at, 60)
        for r in rows
    ]
    led += casework.of_orders(conn, at, leads, AHEAD_OF_ORDERS, {client_id: names}, client_id)
    dates = [
        DatedItem(c.at, "order", DATES[c.what], {"order": o.label}, o.names)
        for o in known
        for c in purchase_deadlines(o, leads, at)
        if c.what != "certificate" or c.due is not None
    ]
    for row in rows:
        start = from_epoch(row["window_start"])
        if row["window_state"] == "agreed" and start is not None:
            dates.append(
                DatedItem(
                    start,
                    "window",
                    DATES["window"],
                    {"reference": row["reference"]},
                    tuple(row["names"]),
                )
            )
    return led, dates, names


def _concerns(acceptance: Acceptance, client_id: int) -> bool:
    """A promise for another client is none of this one's.

    One for a domain or an endpoint is matched by its id later.
    """
    return acceptance.client_id in (None, client_id)
