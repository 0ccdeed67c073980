"""Forecast and prices from the inventory and the configuration."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from certmgr.config.context import Context
from certmgr.config.settings import Settings
from certmgr.purchases.forecast import Forecast, Prices, UnmanagedCertificate, forecast
from certmgr.purchases.load import lead_times, load
from certmgr.renewers.load import load_facts
from certmgr.renewers.renewer import RenewalFacts
from inventory.db.database import from_epoch
from inventory.errors import UsageError
from inventory.store import certificates, clients, domains


def prices_of(settings: Settings) -> Prices:
    """Return the prices of the section [forecast] of the configuration."""
    section = settings.forecast
    return Prices(
        currency=section.currency,
        fee=Decimal(section.fee),
        hours=Decimal(section.hours),
        rate=Decimal(section.rate),
        by_years=(Decimal(section.price_1), Decimal(section.price_2), Decimal(section.price_3)),
        acme_hours=Decimal(section.acme_hours),
    )


def lifetime_days(text: str | None) -> int | None:
    """Return the days of a lifetime such as ``45d`` or ``45``.

    Raises:
        UsageError: The text is not a number of days between 1 and 1827.
    """
    if text is None:
        return None
    number = text.removesuffix("d")
    # isdigit() alone also accepts digits of other scripts. 1827 days are five years.
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 1827):
        raise UsageError(
            f"'{text[:20]}' is not a lifetime", "a lifetime is 1 to 1827 days", "Write 45d."
        )
    return int(number)


def unmanaged_certificates(
    conn: Connection, facts: RenewalFacts, known: Container[str], client_id: int | None = None
) -> list[UnmanagedCertificate]:
    """Return the live certificates without a purchase and without automatic renewal.

    Args:
        conn: An open connection.
        facts: Who renews which name.
        known: SHA-256 fingerprints of the certificates that belong to a purchase.
        client_id: Only certificates of this client.
    """
    names_by_client = domains.names_of_clients(
        conn, sorted({r.client_id for r in domains.listing(conn, client_id=client_id)})
    )
    unmanaged = []
    for row in certificates.live(conn, client_id):
        # A certificate may be shared with another client, whose names are not shown to this one.
        own = certificates.own_names(row.names, names_by_client.get(row.client_id, ()))
        end = from_epoch(row.not_after)
        if row.sha256 in known or end is None or not own or facts.all_automatic(row.client_id, own):
            continue
        unmanaged.append(UnmanagedCertificate(row.client, own, end))
    return unmanaged


def load_forecast(
    context: Context,
    begin: datetime,
    until: datetime,
    *,
    client: str | None = None,
    lifetime: int | None = None,
) -> Forecast:
    """Return the forecast of one client or of all clients.

    Args:
        context: The inventory, lead times, prices and time zone, and the current time.
        begin: Start of the forecast; may be in the future.
        until: End of the forecast.
        client: Customer number; all clients if it is None.
        lifetime: Assumed maximum lifetime of a certificate, in days.

    Raises:
        UsageError: The period is empty or longer than ten years.
    """
    if until <= begin:
        raise UsageError(
            "The forecast ends before it starts",
            f"{until:%Y-%m-%d} is not after {begin:%Y-%m-%d}",
            "Give a later --until.",
        )
    # The lifetime limits of certificates that far in the future are not decided.
    if (until - begin).days > 3660:
        raise UsageError(
            "A forecast covers at most ten years",
            "the rules after that are not known",
            "Give an earlier --until.",
        )
    now, settings = context.now(), context.settings
    with context.read() as conn:
        # The client of a customer number is resolved first, so that each query below is scoped to
        # it.
        client_id = clients.find(conn, client).id if client else None
        # A purchase that has already lapsed is not bought again.
        running = [o for o in load(conn, client_id, ended=False) if o.ends >= now]
        # Who renews a name is known for today only, also for a forecast that begins later.
        facts = load_facts(conn, now, client_id)
        unmanaged = unmanaged_certificates(
            conn, facts, frozenset(i.sha256 for o in running for i in o.issued), client_id
        )
    # What automation renews by now is neither installed by hand nor bought again.
    current = [o for o in running if not facts.all_automatic(o.client_id, o.names)]
    return forecast(
        current,
        unmanaged,
        begin,
        until,
        lead_times(settings),
        prices_of(settings),
        ZoneInfo(settings.provider.time_zone),
        lifetime,
    )
