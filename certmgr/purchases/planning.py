"""From inventory and configuration to a forecast and a comparison."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from certmgr.purchases.forecast import Forecast, Prices, UnmanagedCertificate, forecast
from certmgr.purchases.load import automatic, leads_of, load
from inventory.db.database import Database, from_epoch
from inventory.errors import UsageError
from inventory.store import clients, domains, purchases
from inventory.store.incidents import names as names_of


def prices_of(settings: Settings) -> Prices:
    given = settings.forecast
    return Prices(
        currency=given.currency,
        fee=Decimal(given.fee),
        hours=Decimal(given.hours),
        rate=Decimal(given.rate),
        by_years=(Decimal(given.price_1), Decimal(given.price_2), Decimal(given.price_3)),
        acme_hours=Decimal(given.acme_hours),
    )


def lifetime_days(text: str | None) -> int | None:
    """``45d`` or ``45``. Raises :class:`UsageError`."""
    if text is None:
        return None
    bare = text.removesuffix("d")
    if not (bare.isascii() and bare.isdigit() and 1 <= int(bare) <= 1827):
        raise UsageError(f"'{text[:20]}' is not a lifetime", "it is 1 to 1827 days", "Write 45d.")
    return int(bare)


def loose_of(
    conn: Connection, known: Container[str], client_id: int | None = None
) -> list[UnmanagedCertificate]:
    """Live certificates of no order that people renew.

    ``known``: SHA-256 of those that belong to one.
    """
    robots = automatic(conn, client_id)
    mine = domains.names_of_clients(
        conn, sorted({r["client_id"] for r in domains.listing(conn, client_id=client_id)})
    )
    found = []
    for row in purchases.live(conn, client_id):
        own = purchases.own_names(names_of(row), mine.get(row["client_id"], ()))
        end = from_epoch(row["not_after"])
        if (
            row["sha256"] in known
            or end is None
            or not own
            or all((row["client_id"], n.removeprefix("*.")) in robots for n in own)
        ):
            continue
        found.append(UnmanagedCertificate(row["client"], own, end))
    return found


def read(
    database: Database,
    settings: Settings,
    now: datetime,
    until: datetime,
    *,
    client: str | None = None,
    today: datetime | None = None,
    lifetime: int | None = None,
) -> Forecast:
    if until <= now:
        raise UsageError(
            "A forecast ends in the future", f"{until:%Y-%m-%d} has passed", "Give a later --until."
        )
    if (until - now).days > 3660:
        raise UsageError(
            "A forecast covers ten years at most",
            "nobody knows the rules after that",
            "Give an earlier --until.",
        )
    with database.read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        known = [
            o for o in load(conn, client_id, ended=False) if o.ends >= (today or now)
        ]  # what lapsed is not bought again
        loose = loose_of(conn, frozenset(i.sha256 for o in known for i in o.issued), client_id)
    return forecast(
        known,
        loose,
        now,
        until,
        leads_of(settings),
        prices_of(settings),
        ZoneInfo(settings.provider.time_zone),
        lifetime,
    )
