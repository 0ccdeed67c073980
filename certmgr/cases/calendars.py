"""Calendar entries for installation windows, certificate ends, purchase dates and deadlines.

They cover one client or all clients.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.cases.window import InstallationWindow
from certmgr.compliance.load import own_deadlines
from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.purchases.load import lead_times, load
from certmgr.purchases.model import LeadTimes
from certmgr.purchases.terms import purchase_deadlines
from inventory.dates import SHORT_LIVED
from inventory.db.database import from_epoch
from inventory.names import display
from inventory.store import cases, certificates, clients, contacts, domains
from inventory.vocabulary import WindowState
from notifiers.calendar import CalendarEntry
from notifiers.wording.cases import DATES, filled

# Past entries stay for a while: a calendar that is refreshed from the file deletes what the
# file does not contain any more.
PAST_RANGE, FUTURE_RANGE = timedelta(days=60), timedelta(days=1200)


def calendar_entries(context: Context, client: str | None = None) -> list[CalendarEntry]:
    """Return the calendar entries of one client or of all clients, soonest first.

    The entries of one client contain no data of another: each row comes from a query for that
    client. Names of a shared certificate that belong to other clients are left out.

    All-day entries have the day of their reader: in the time zone of the client's owner for a
    calendar of one client, and else in that of the provider.

    Args:
        context: The inventory, the configuration and the clock.
        client: The key of one client; None for all clients.

    Raises:
        NotFound: The client does not exist.
    """
    now, settings = context.now(), context.settings
    with context.read() as conn:
        row = clients.find(conn, client) if client else None
        client_id = row.id if row else None
        zone = _zone_of_reader(conn, client_id, settings)
        result = [
            *_windows(conn, client_id, now),
            *_purchases(conn, lead_times(settings), client_id, now, zone),
            *_certificates(conn, client_id, now, zone),
        ]
        tags = (
            frozenset(t for r in domains.listing(conn, client_id=client_id) for t in r.tags)
            if row
            else frozenset()
        )
    # The administrator may have limited a deadline to some clients or tags.
    for due in own_deadlines(context.database):
        if now - PAST_RANGE <= due.at <= now + FUTURE_RANGE and (
            row is None or due.is_for(row.number, tags)
        ):
            # The provider set it by its own calendar, and it is the same day for every reader.
            day = due.at.astimezone(ZoneInfo(settings.provider.time_zone)).date()
            result.append(CalendarEntry(f"deadline-{due.name}@certmgr", due.title, due.text, day))
    return sorted(
        result,
        # Days and times cannot be compared with each other, so their ISO texts are.
        key=lambda e: (
            (
                e.start.astimezone(UTC).isoformat()
                if isinstance(e.start, datetime)
                else e.start.isoformat()
            ),
            e.uid,
        ),
    )


def _zone_of_reader(conn: Connection, client_id: int | None, settings: Settings) -> ZoneInfo:
    """Return the time zone in which the reader of a calendar counts days."""
    people = [] if client_id is None else contacts.listing(conn, client_id=client_id)
    # The owner first; other contacts keep their order.
    people.sort(key=lambda p: p.role != "owner")
    stated = next((p.time_zone for p in people if p.time_zone), None)
    return ZoneInfo(stated or settings.provider.time_zone)


def _windows(conn: Connection, client_id: int | None, now: datetime) -> list[CalendarEntry]:
    result = []
    for row in cases.listing(conn, client_id=client_id):
        start, end = from_epoch(row.window_start), from_epoch(row.window_end)
        if (
            start is None
            or end is None
            or row.window_state is WindowState.NONE
            or end < now - PAST_RANGE
        ):
            continue
        names = ", ".join(display(n) for n in row.names[:10])
        title = f"{filled(DATES['window'], {'reference': row.reference})}: {names}"
        window = InstallationWindow(start, end, row.window_zone or "UTC")
        text = f"Client {row.client}\n{window.text}\nState: {row.state}"
        # A cancelled window stays in the file, so that calendars remove the entry they have.
        cancelled = row.window_state is WindowState.CANCELLED
        result.append(
            CalendarEntry(
                uid=f"{row.reference.lower()}-window@certmgr",
                title=title,
                text=text,
                start=start,
                end=end,
                sequence=row.window_sequence,
                cancelled=cancelled,
            )
        )
    return result


# These deadlines name the last day of a validation; the others name the day to begin.
_VALIDATIONS = ("dcv", "organisation")


def _purchases(
    conn: Connection, leads: LeadTimes, client_id: int | None, now: datetime, zone: ZoneInfo
) -> list[CalendarEntry]:
    result = []
    for purchase in load(conn, client_id, ended=False):
        for deadline in purchase_deadlines(purchase, leads, now):
            if not now - PAST_RANGE <= deadline.at <= now + FUTURE_RANGE:
                continue
            names = ", ".join(display(n) for n in purchase.names[:10])
            text = f"Client {purchase.client}: {names}"
            if deadline.due is not None:
                verb = "To be done again by" if deadline.kind in _VALIDATIONS else "Begin by"
                text += f"\n{verb} {deadline.due.astimezone(zone):%Y-%m-%d}"
            title = filled(DATES[deadline.kind], {"order": purchase.label})
            result.append(
                CalendarEntry(
                    f"order-{purchase.id}-{deadline.kind}@certmgr",
                    title,
                    text,
                    deadline.at.astimezone(zone).date(),
                )
            )
    return result


def _certificates(
    conn: Connection, client_id: int | None, now: datetime, zone: ZoneInfo
) -> list[CalendarEntry]:
    client_names = domains.names_of_clients(
        conn, sorted({r.client_id for r in domains.listing(conn, client_id=client_id)})
    )
    result = []
    for row in certificates.live(conn, client_id):
        end = from_epoch(row.not_after)
        if end is None or not now - PAST_RANGE <= end <= now + FUTURE_RANGE:
            continue
        # It is replaced every few days, automatically: its end is no date to plan for.
        if timedelta(seconds=row.not_after - row.not_before) < SHORT_LIVED:
            continue
        # A shared certificate also names other clients, who must not appear in this entry.
        own = certificates.own_names(row.names, client_names.get(row.client_id, ()))
        names = ", ".join(display(n) for n in own[:10])
        result.append(
            CalendarEntry(
                # The client is a part of the UID: a shared certificate has one entry per client.
                f"certificate-{row.sha256[:32]}-{row.client_id}@certmgr",
                f"Certificate ends: {names or 'a name of the client'}",
                f"Client {row.client}, serial {row.serial}",
                end.astimezone(zone).date(),
            )
        )
    return result
