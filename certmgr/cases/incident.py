"""Incidents: a CA that must revoke within a day, a stolen key, a broken machine. Certificates are sorted by who replaces them, and cases opened in one go."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.cases.states import ENDED, State
from certmgr.cases.work import Desk
from certmgr.orders.load import robot
from inventory.errors import UsageError
from inventory.model import Parties
from inventory.store import cases, domains, incidents, records, servers
from inventory.store.records import Row
from inventory.text import printable

MAX_SERIALS = 100_000
# What still has to be replaced, by whom; the first two need no case.
SORTS = ("replaced", "automatic", "ours", "client", "unknown")
_SERIAL = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class Item:
    """One certificate of one client. ``hosts``: where it is served; empty where it is not any more."""

    serial: str
    sha256: str | None
    client: str | None
    client_id: int | None
    hosts: tuple[str, ...]
    sort: str


def read_serials(text: str) -> tuple[list[str], list[str]]:
    """(serials in lower-case hexadecimal without leading zeros, lines that are none). One a line; colons, 0x and a first column of a CSV are understood."""
    found: dict[str, None] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        cell = re.split(r"[,;\t ]", line.strip())[0].strip("\"'").lower()
        if not cell or cell.startswith("#") or (number == 1 and cell in ("serial", "serialnumber", "serial_number")):
            continue
        bare = cell.removeprefix("0x").replace(":", "").lstrip("0")
        if _SERIAL.fullmatch(bare):
            found[bare] = None
        else:
            wrong.append(f"line {number}: '{printable(cell, 60)}'")
        if len(found) > MAX_SERIALS:
            raise UsageError("There are too many serial numbers", f"the limit is {MAX_SERIALS:,}", "Split the file.")
    return list(found), wrong


def sort_of(parties: Parties, tags: Iterable[str]) -> str:
    """Who replaces a certificate that is served. Pure."""
    if robot(parties, tags):
        return "automatic"
    return "ours" if "us" in (parties.renews or parties.buys, parties.buys) else "client"


def sort_out(
    serials: Sequence[str],
    known: Mapping[str, Sequence[Row]],
    served: Sequence[Row],
    places: Mapping[int, tuple[Parties, Sequence[str]]],
) -> list[Item]:
    """``known``: serial -> certificates. ``served``: rows of live leaves. ``places``: domain id -> who does what, and tags. Pure."""
    found: list[Item] = []
    live: dict[str, list[Row]] = {}
    for row in served:
        live.setdefault(row["sha256"], []).append(row)
    for serial in serials:
        certificates = known.get(serial, ())
        if not certificates:
            found.append(Item(serial, None, None, None, (), "unknown"))
        for one in certificates:
            rows = live.get(one["sha256"], [])
            if not rows:
                found.append(Item(serial, one["sha256"], None, None, (), "replaced"))
            found += _clients(serial, one["sha256"], rows, places)
    return found


def _clients(serial: str, sha256: str, rows: Sequence[Row], places: Mapping[int, tuple[Parties, Sequence[str]]]) -> list[Item]:
    by_client: dict[int, list[Row]] = {}
    for row in rows:
        by_client.setdefault(row["client_id"], []).append(row)
    found = []
    for client_id, mine in by_client.items():
        sorts = {sort_of(*places.get(r["domain_id"], (Parties(), ()))) for r in mine}
        # Of several the one that needs the most: a certificate that one robot and one client use is the client's.
        sort = next(s for s in ("client", "ours", "automatic") if s in sorts)
        found.append(Item(serial, sha256, mine[0]["client"], client_id, tuple(dict.fromkeys(r["host"] for r in mine)), sort))
    return found


def select(desk: Desk, *, serials: Sequence[str] = (), issuer: str = "", server: str = "") -> list[Item]:
    """What an incident concerns. Raises NotFound for a server that is none."""
    with desk.database.read() as conn:
        if server:
            servers.find(conn, server)
        served = incidents.served(conn, server_name=server or None)
        places = {r["id"]: (r["parties"], r["tags"]) for r in domains.listing(conn)}
        if issuer:
            served = [r for r in served if issuer.casefold() in r["issuer"].casefold()]
        chosen = list(serials) if serials else list(dict.fromkeys(r["serial"] for r in served))
        known = incidents.by_serials(conn, chosen)
    hashes = {r["sha256"] for r in served}
    if not serials:
        # Two CAs may have used one number: only what was selected counts.
        known = {s: [c for c in rows if c["sha256"] in hashes] for s, rows in known.items()}
    return sort_out(chosen, known, served, places)


def open_(desk: Desk, items: Sequence[Item], kind: str, what: str, until: datetime, reason: str) -> tuple[Row, Counter[str]]:
    """One transaction: the incident, its items, and a case for each certificate that people replace. A case that is open already joins it."""
    if until <= desk.now:
        raise UsageError("The time by which they must be replaced has passed", "", "Give a later --until.")
    if not items:
        raise UsageError(
            "No certificate is concerned", "nothing that is served fits", "Check the serial numbers, the issuer or the server."
        )
    words = records.required(reason, "reason", 500)
    counts: Counter[str] = Counter()
    with desk.database.write(desk.now) as tx:
        row = incidents.add(tx, kind, what, int(until.timestamp()), words)
        rows = []
        for item in items:
            case_id = None
            if item.sort in ("ours", "client") and item.client is not None and item.client_id is not None:
                case_id, joined = _case(desk, tx, row, item, words)
                counts["joined" if joined else "opened"] += 1
            counts[item.sort] += 1
            rows.append(
                {
                    "serial": item.serial,
                    "sha256": item.sha256,
                    "client_id": item.client_id,
                    "names": " ".join(item.hosts),
                    "sort": item.sort,
                    "case_id": case_id,
                }
            )
        incidents.add_items(tx, row["id"], rows)
    return row, counts


def _case(desk: Desk, tx: Any, row: Row, item: Item, reason: str) -> tuple[int, bool]:
    assert item.client is not None
    assert item.client_id is not None
    if busy := cases.open_for(tx.conn, item.client_id, item.hosts):
        incidents.join_case(tx, busy[0]["id"], row["id"], row["until"])
        return int(busy[0]["id"]), True
    given = {
        "kind": "incident",
        "incident_id": row["id"],
        "ends_at": row["until"],
        "bought_by": "us" if item.sort == "ours" else "client",
    }
    made = desk.open_in(tx, item.client, item.hosts, given, f"{row['reference']}: {reason}")
    return int(made["id"]), False


def done(item: Row) -> bool:
    """Whether an item of an incident is over, by what was seen: its case was closed with proof; without one, the certificate is served nowhere."""
    if item["state"] is not None:
        return bool(item["state"] == State.CLOSED)
    return bool(item["sort"] != "unknown" and item["served"] == 0)


def stands(item: Row) -> str:
    """In one word: done, stopped (its case ended without proof), or the state of its case, or still served."""
    if done(item):
        return "done"
    if item["state"] is not None:
        return "stopped" if item["state"] in ENDED else str(item["state"])
    return "not known" if item["sort"] == "unknown" else "still served"


def settle(desk: Desk) -> list[str]:
    """Closes the incidents of which everything was seen. Returns their references."""
    closed = []
    with desk.database.read() as conn:
        open_ones = [(r, incidents.items(conn, r["id"])) for r in incidents.listing(conn)]
    for row, items in open_ones:
        if all(done(i) for i in items if i["sort"] != "unknown"):
            with desk.database.write(desk.now) as tx:
                incidents.close(tx, row["id"])
            closed.append(row["reference"])
    return closed
