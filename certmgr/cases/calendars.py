"""All windows, ends of certificates, order dates and deadlines as calendar entries, of one client
or of all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.cases.window import InstallationWindow
from certmgr.compliance.assessment import own_deadlines
from certmgr.config.settings import Settings
from certmgr.purchases.load import leads_of, load
from certmgr.purchases.terms import purchase_deadlines
from inventory.db.database import Database, from_epoch
from inventory.names import display
from inventory.store import cases, clients, domains, purchases
from inventory.store.incidents import names as names_of
from notifiers.calendar import CalendarEntry
from notifiers.wording.cases import DATES, filled

BACK, AHEAD = timedelta(days=60), timedelta(days=1200)


def entries(
    database: Database, settings: Settings, now: datetime, client: str | None = None
) -> list[CalendarEntry]:
    """Soonest first.

    Of one client nothing of another is in it: every row comes from a query of that client, and
    names of a shared certificate are left out.
    """
    zone = ZoneInfo(settings.provider.time_zone)
    with database.read() as conn:
        row = clients.find(conn, client) if client else None
        client_id = row["id"] if row else None
        found = [
            *_windows(conn, client_id, now),
            *_orders(conn, settings, client_id, now),
            *_certificates(conn, client_id, now),
        ]
        tags = (
            frozenset(t for r in domains.listing(conn, client_id=client_id) for t in r["tags"])
            if row
            else frozenset()
        )
    for due in own_deadlines(database):
        if now - BACK <= due.at <= now + AHEAD and (row is None or due.is_for(row["number"], tags)):
            day = due.at.astimezone(zone).date()
            found.append(CalendarEntry(f"deadline-{due.name}@certmgr", due.title, due.text, day))
    return sorted(
        found,
        key=lambda e: (
            (
                e.start.astimezone(UTC).isoformat()
                if isinstance(e.start, datetime)
                else e.start.isoformat()
            ),
            e.uid,
        ),
    )


def _windows(conn: Connection, client_id: int | None, now: datetime) -> list[CalendarEntry]:
    found = []
    for row in cases.listing(conn, client_id=client_id):
        start, end = from_epoch(row["window_start"]), from_epoch(row["window_end"])
        if start is None or end is None or row["window_state"] == "none" or end < now - BACK:
            continue
        names = ", ".join(display(n) for n in row["names"][:10])
        title = f"{filled(DATES['window'], {'reference': row['reference']})}: {names}"
        window = InstallationWindow(start, end, row["window_zone"])
        text = f"Client {row['client']}\n{window.text}\nState: {row['state']}"
        cancelled = row["window_state"] == "cancelled"
        found.append(
            CalendarEntry(
                uid=f"{row['reference'].lower()}-window@certmgr",
                title=title,
                text=text,
                start=start,
                end=end,
                sequence=row["window_sequence"],
                cancelled=cancelled,
            )
        )
    return found


_VALIDATIONS = ("dcv", "organisation")


def _orders(
    conn: Connection, settings: Settings, client_id: int | None, now: datetime
) -> list[CalendarEntry]:
    found, zone = [], ZoneInfo(settings.provider.time_zone)
    for order in load(conn, client_id, ended=False):
        for clock in purchase_deadlines(order, leads_of(settings), now):
            if not now - BACK <= clock.at <= now + AHEAD:
                continue
            text = f"Client {order.client}: {', '.join(display(n) for n in order.names[:10])}"
            if clock.due is not None:
                verb = "To be done again by" if clock.what in _VALIDATIONS else "Begin by"
                text += f"\n{verb} {clock.due.astimezone(zone):%Y-%m-%d}"
            title = filled(DATES[clock.what], {"order": order.label})
            found.append(
                CalendarEntry(
                    f"order-{order.id}-{clock.what}@certmgr",
                    title,
                    text,
                    clock.at.astimezone(zone).date(),
                )
            )
    return found


def _certificates(conn: Connection, client_id: int | None, now: datetime) -> list[CalendarEntry]:
    mine = domains.names_of_clients(
        conn, sorted({r["client_id"] for r in domains.listing(conn, client_id=client_id)})
    )
    found = []
    for row in purchases.live(conn, client_id):
        end = from_epoch(row["not_after"])
        if end is None or not now - BACK <= end <= now + AHEAD:
            continue
        own = purchases.own_names(names_of(row), mine.get(row["client_id"], ()))
        names = ", ".join(display(n) for n in own[:10])
        found.append(
            CalendarEntry(
                f"certificate-{row['sha256'][:32]}-{row['client_id']}@certmgr",
                f"Certificate ends: {names or 'a name of the client'}",
                f"Client {row['client']}, serial {row['serial']}",
                end.date(),
            )
        )
    return found
