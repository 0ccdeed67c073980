"""Orders from the inventory as values, with the certificates that were recognised as theirs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from certmgr.config.settings import Settings
from certmgr.purchases.coverage import Remark, belongs, remarks
from certmgr.purchases.model import LeadTimes, Purchase, PurchasedCertificate
from inventory.certificates import organisation
from inventory.db.database import from_epoch
from inventory.store import domains, purchases
from inventory.vocabulary import Parties

ROBOT_TAG = "auto-renewed"
ROBOTS = ("panel", "cdn")


def leads_of(settings: Settings) -> LeadTimes:
    notify = settings.notify
    return LeadTimes(notify.purchase_days, notify.validation_days, notify.installation_days)


def _moment(seconds: int) -> datetime:
    moment = from_epoch(seconds)
    assert moment is not None
    return moment


def _issued(row: Mapping[str, Any], *, recorded: bool, live: bool) -> PurchasedCertificate:
    return PurchasedCertificate(
        sha256=row["sha256"],
        serial=row["serial"],
        not_before=_moment(row["not_before"]),
        not_after=_moment(row["not_after"]),
        names=tuple(json.loads(row["names"])),
        recorded=recorded,
        live=live,
    )


def order_of(row: Mapping[str, Any], live: Iterable[Mapping[str, Any]] = ()) -> Purchase:
    """``live``: what the client's endpoints serve now."""
    served = {r["sha256"]: r for r in live}
    issued = {
        r["sha256"]: _issued(r, recorded=True, live=r["sha256"] in served) for r in row["issued"]
    }
    made = Purchase(
        id=row["id"],
        client_id=row["client_id"],
        client=row["client"],
        vendor=row["vendor"],
        number=row["number"] or "",
        validation=row["validation"],
        kind=row["kind"],
        years=row["years"],
        starts=_moment(row["starts_at"]),
        ends=_moment(row["ends_at"]),
        names=tuple(row["names"]),
        bought_by=row["bought_by"],
        price=Decimal(row["price"]) if row["price"] is not None else None,
        fee=Decimal(row["fee"]) if row["fee"] is not None else None,
        currency=row["currency"] or "",
        auto_renew=bool(row["auto_renew"]),
        dcv=from_epoch(row["dcv_at"]),
        organisation=from_epoch(row["organisation_at"]),
        renewed=row["successor_id"] is not None,
        state=row["state"],
        issued=tuple(issued.values()),
    )
    for sha256, one in served.items():
        if sha256 not in issued:
            seen = _issued(one, recorded=False, live=True)
            if belongs(made, seen, organisation(one["issuer"])):
                issued[sha256] = seen
    return replace(made, issued=tuple(sorted(issued.values(), key=lambda i: i.not_before)))


def load(
    conn: Connection,
    client_id: int | None = None,
    *,
    ids: Sequence[int] | None = None,
    ended: bool = True,
) -> list[Purchase]:
    """Every order of a client, or of all."""
    rows = purchases.listing(conn, client_id=client_id, ids=ids, ended=ended)
    by_client: dict[int, list[Mapping[str, Any]]] = {}
    concerned = (
        client_id
        if client_id is not None
        else (rows[0]["client_id"] if len({r["client_id"] for r in rows}) == 1 else None)
    )
    for row in purchases.live(conn, concerned, buyers=True) if rows else ():
        by_client.setdefault(row["client_id"], []).append(row)
    found = {r["id"]: order_of(r, by_client.get(r["client_id"], ())) for r in rows}
    for row in rows:
        after = found.get(row["successor_id"] or 0)
        if after is not None:
            # What reaches past the end of an order was issued for the one that follows it.
            taken = [
                i
                for i in found[row["id"]].issued
                if i.not_after > found[row["id"]].ends + timedelta(days=1) and i not in after.issued
            ]
            found[after.id] = replace(
                after, issued=tuple(sorted([*after.issued, *taken], key=lambda i: i.not_before))
            )
    return list(found.values())


def is_automation(parties: Parties, tags: Iterable[str]) -> str:
    """What renews by itself for a domain, empty where nothing is known to."""
    party = parties.renews or parties.buys
    if party in ROBOTS:
        return str(party)
    return ROBOT_TAG if ROBOT_TAG in tags else ""


def automatic(conn: Connection, client_id: int | None = None) -> dict[tuple[int, str], str]:
    """(client id, name) -> which robot renews it."""
    found = {}
    for row in domains.listing(conn, client_id=client_id):
        if which := is_automation(row["parties"], row["tags"]):
            found[(row["client_id"], row["name"])] = which
    return found


def parents(name: str) -> list[str]:
    """The name and the names that it stands under."""
    labels = name.removeprefix("*.").split(".")
    return [".".join(labels[i:]) for i in range(len(labels))]


def looked_after(conn: Connection, client_ids: Iterable[int]) -> set[tuple[int, str]]:
    """(client id, domain) of those clients' active domains that no robot renews."""
    wanted = sorted(set(client_ids))
    scopes: list[int | None] = list(wanted) if len(wanted) <= 50 else [None]
    return {
        (r["client_id"], r["name"])
        for i in scopes
        for r in domains.listing(conn, client_id=i)
        if r["state"] == "active" and not is_automation(r["parties"], r["tags"])
    }


def look_through(conn: Connection, now: datetime, client_id: int | None = None) -> list[Remark]:
    """What is paid and unused, covered twice, covered by nothing, or of no order."""
    listed = domains.listing(conn, client_id=client_id)
    names = [
        (r["client"], r["client_id"], r["name"]) for r in listed if r["purpose"] not in ("parked",)
    ]
    mine: dict[int, set[str]] = {}
    for r in listed:
        mine.setdefault(r["client_id"], set()).add(r["name"])
    known = domains.names_of_clients(conn, sorted(mine))
    live = []
    for row in purchases.live(conn, client_id):
        issued = _issued(row, recorded=False, live=True)
        own = purchases.own_names(issued.names, known.get(row["client_id"], ()))
        shown = PurchasedCertificate(
            sha256=issued.sha256,
            serial=issued.serial,
            not_before=issued.not_before,
            not_after=issued.not_after,
            names=own,
            recorded=False,
            live=True,
        )
        live.append((row["client"], row["client_id"], shown, organisation(row["issuer"])))
    return remarks(load(conn, client_id), names, live, automatic(conn, client_id), now)
