"""Purchases of the inventory as values, with the certificates recognised as theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from certmgr.purchases.coverage import Remark, belongs, remarks
from certmgr.purchases.model import LeadTimes, Purchase, PurchasedCertificate
from certmgr.renewers.load import load_facts
from inventory.certificates import organisation
from inventory.db.database import from_epoch
from inventory.records import ListedPurchase, LiveCertificate, PurchasedLeaf
from inventory.store import certificates, domains, purchases


def lead_times(settings: Settings) -> LeadTimes:
    """Return the lead times of the section [notify] of the configuration."""
    notify = settings.notify
    return LeadTimes(notify.purchase_days, notify.validation_days, notify.installation_days)


def _required_time(seconds: int) -> datetime:
    timestamp = from_epoch(seconds)
    assert timestamp is not None
    return timestamp


def _certificate(
    row: PurchasedLeaf | LiveCertificate, *, recorded: bool, live: bool
) -> PurchasedCertificate:
    return PurchasedCertificate(
        sha256=row.sha256,
        serial=row.serial,
        not_before=_required_time(row.not_before),
        not_after=_required_time(row.not_after),
        names=row.names,
        recorded=recorded,
        live=live,
    )


def purchase_from_row(row: ListedPurchase, live: Iterable[LiveCertificate] = ()) -> Purchase:
    """Return a purchase with its recorded and its recognised certificates.

    Args:
        row: A row of :func:`inventory.store.purchases.listing`.
        live: Rows of the certificates that the client's endpoints serve now.
    """
    served = {r.sha256: r for r in live}
    issued = {r.sha256: _certificate(r, recorded=True, live=r.sha256 in served) for r in row.issued}
    purchase = Purchase(
        id=row.id,
        client_id=row.client_id,
        client=row.client,
        vendor=row.vendor,
        number=row.number or "",
        validation=row.validation,
        kind=row.kind,
        years=row.years,
        starts=_required_time(row.starts_at),
        ends=_required_time(row.ends_at),
        names=tuple(row.names),
        bought_by=row.bought_by,
        price=Decimal(row.price) if row.price is not None else None,
        fee=Decimal(row.fee) if row.fee is not None else None,
        currency=row.currency or "",
        auto_renew=bool(row.auto_renew),
        dcv=from_epoch(row.dcv_at),
        organisation=from_epoch(row.organisation_at),
        renewed=row.successor_id is not None,
        state=row.state,
        issued=tuple(issued.values()),
    )
    # Clients often install a certificate without a case, so nothing links it to the purchase.
    for sha256, live_row in served.items():
        if sha256 not in issued:
            certificate = _certificate(live_row, recorded=False, live=True)
            if belongs(purchase, certificate, organisation(live_row.issuer)):
                issued[sha256] = certificate
    return replace(purchase, issued=tuple(sorted(issued.values(), key=lambda i: i.not_before)))


def load(
    conn: Connection,
    client_id: int | None = None,
    *,
    ids: Sequence[int] | None = None,
    ended: bool = True,
) -> list[Purchase]:
    """Return the purchases of one client, or of all clients.

    Args:
        conn: An open connection.
        client_id: Only purchases of this client.
        ids: Only purchases with these ids.
        ended: Whether purchases that ended are included.
    """
    # The rows contain the recorded certificates; the recognised ones are computed below.
    rows = purchases.listing(conn, client_id=client_id, ids=ids, ended=ended)
    live_by_client: dict[int, list[LiveCertificate]] = {}
    # If all rows belong to one client, only that client's live certificates are read.
    live_client_id = (
        client_id
        if client_id is not None
        else (rows[0].client_id if len({r.client_id for r in rows}) == 1 else None)
    )
    for leaf in certificates.live(conn, live_client_id, buyers=True) if rows else ():
        live_by_client.setdefault(leaf.client_id, []).append(leaf)
    by_id = {r.id: purchase_from_row(r, live_by_client.get(r.client_id, ())) for r in rows}
    for row in rows:
        successor = by_id.get(row.successor_id or 0)
        if successor is not None:
            # A certificate that outlives the end of its purchase was issued for the successor.
            moved = [
                i
                for i in by_id[row.id].issued
                if i.not_after > by_id[row.id].ends + timedelta(days=1)
                and i not in successor.issued
            ]
            by_id[successor.id] = replace(
                successor,
                issued=tuple(sorted([*successor.issued, *moved], key=lambda i: i.not_before)),
            )
    return list(by_id.values())


def coverage_remarks(conn: Connection, now: datetime, client_id: int | None = None) -> list[Remark]:
    """Return the remarks of :mod:`certmgr.purchases.coverage` for one client or for all clients."""
    listed = domains.listing(conn, client_id=client_id)
    # A parked name may have no certificate.
    names = [(r.client, r.client_id, r.name) for r in listed if r.purpose not in ("parked",)]
    domains_by_client: dict[int, set[str]] = {}
    for row in listed:
        domains_by_client.setdefault(row.client_id, set()).add(row.name)
    names_by_client = domains.names_of_clients(conn, sorted(domains_by_client))
    # Only names in domains of the client belong to the comparison.
    live = []
    for leaf in certificates.live(conn, client_id):
        certificate = _certificate(leaf, recorded=False, live=True)
        # A certificate may be shared with another client, whose names are not shown to this one.
        own = certificates.own_names(certificate.names, names_by_client.get(leaf.client_id, ()))
        visible = PurchasedCertificate(
            sha256=certificate.sha256,
            serial=certificate.serial,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            names=own,
            recorded=False,
            live=True,
        )
        live.append((leaf.client, leaf.client_id, visible, organisation(leaf.issuer)))
    return remarks(load(conn, client_id), names, live, load_facts(conn, now, client_id), now)
