"""Incidents: a CA that must revoke within a day, a stolen key, a broken machine.

Certificates are sorted by who replaces them, and cases opened in one go.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certmgr.cases.service import CaseService
from certmgr.cases.states import ENDED, CaseState
from certmgr.purchases.load import is_automation
from certmgr.x509.names import name_covers
from inventory.errors import UsageError
from inventory.names import as_ip, registered_domain
from inventory.store import cases, domains, incidents, purchases, records, servers
from inventory.store.records import Row
from inventory.text import printable
from inventory.vocabulary import Parties

MAX_SERIALS = 100_000
MAX_FILE = 20_000_000
# What still has to be replaced, by whom; the first two need no case.
SORTS = ("replaced", "automatic", "ours", "client", "unknown")
_SERIAL = re.compile(r"[0-9a-f]{1,40}")


@dataclass(frozen=True, slots=True)
class AffectedCertificate:
    """One certificate of one client.

    ``hosts``: where it is served, and the client's other names in it; empty where it is served
    nowhere any more.
    """

    serial: str
    sha256: str | None
    client: str | None
    client_id: int | None
    hosts: tuple[str, ...]
    sort: str


def read_serials(text: str) -> tuple[list[str], list[str]]:
    """(serials in lower-case hexadecimal without leading zeros, lines that are none).

    One a line; colons, 0x and a first column of a CSV are understood.
    """
    found: dict[str, None] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        cell = re.split(r"[,;\t ]", line.strip())[0].strip("\"'").lower()
        if (
            not cell
            or cell.startswith("#")
            or (number == 1 and cell in ("serial", "serialnumber", "serial_number"))
        ):
            continue
        bare = cell.removeprefix("0x").replace(":", "").lstrip("0")
        if _SERIAL.fullmatch(bare):
            found[bare] = None
        else:
            wrong.append(f"line {number}: '{printable(cell, 60)}'")
        if len(found) > MAX_SERIALS:
            raise UsageError(
                "There are too many serial numbers",
                f"the limit is {MAX_SERIALS:,}",
                "Split the file.",
            )
    return list(found), wrong


def sort_of(parties: Parties, tags: Iterable[str]) -> str:
    """Who replaces a certificate that is served. Pure."""
    if is_automation(parties, tags):
        return "automatic"
    return "ours" if "us" in (parties.renews or parties.buys, parties.buys) else "client"


def sort_out(
    serials: Sequence[str],
    known: Mapping[str, Sequence[Row]],
    served: Sequence[Row],
    places: Mapping[int, tuple[Parties, Sequence[str]]],
) -> list[AffectedCertificate]:
    """``known``: serial -> certificates.

    ``served``: rows of live leaves. ``places``: domain id -> who does what, and tags. Pure.
    """
    found: list[AffectedCertificate] = []
    live: dict[str, list[Row]] = {}
    for row in served:
        live.setdefault(row["sha256"], []).append(row)
    for serial in serials:
        certificates = known.get(serial, ())
        if not certificates:
            found.append(
                AffectedCertificate(
                    serial=serial,
                    sha256=None,
                    client=None,
                    client_id=None,
                    hosts=(),
                    sort="unknown",
                )
            )
        for one in certificates:
            rows = live.get(one["sha256"], [])
            if not rows:
                found.append(
                    AffectedCertificate(
                        serial=serial,
                        sha256=one["sha256"],
                        client=None,
                        client_id=None,
                        hosts=(),
                        sort="replaced",
                    )
                )
            found += _clients(serial, one["sha256"], rows, places)
    return found


def _clients(
    serial: str,
    sha256: str,
    rows: Sequence[Row],
    places: Mapping[int, tuple[Parties, Sequence[str]]],
) -> list[AffectedCertificate]:
    by_client: dict[int, list[Row]] = {}
    for row in rows:
        by_client.setdefault(row["client_id"], []).append(row)
    found = []
    for client_id, mine in by_client.items():
        sorts = {sort_of(*places.get(r["domain_id"], (Parties(), ()))) for r in mine}
        # Of several the one that needs the most: a certificate that one robot and one client use is
        # the client's.
        sort = next(s for s in ("client", "ours", "automatic") if s in sorts)
        hosts = list(dict.fromkeys(r["host"] for r in mine))
        own = list(
            dict.fromkeys(n for r in mine[:1] for n in incidents.names(r) if _theirs(n, hosts))
        )
        # The names of the certificate that are the client's, and hosts that none of them covers.
        names = [*own, *[h for h in hosts if not any(name_covers(n, h) for n in own)]]
        found.append(
            AffectedCertificate(
                serial=serial,
                sha256=sha256,
                client=mine[0]["client"],
                client_id=client_id,
                hosts=tuple(names),
                sort=sort,
            )
        )
    return found


def _theirs(name: str, hosts: Sequence[str]) -> bool:
    """Whether a name of a shared certificate is this client's: served by it, a wildcard over it, or
    beside it in one registered domain of its own.
    """
    if any(name_covers(name, h) for h in hosts):
        return True
    bare = name.removeprefix("*.")
    return as_ip(bare) is None and any(
        as_ip(h) is None and registered_domain(h) == registered_domain(bare) for h in hosts
    )


def select(
    desk: CaseService, *, serials: Sequence[str] = (), issuer: str = "", server: str = ""
) -> list[AffectedCertificate]:
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


def open_(
    desk: CaseService,
    items: Sequence[AffectedCertificate],
    kind: str,
    what: str,
    until: datetime,
    reason: str,
) -> tuple[Row, Counter[str]]:
    """One transaction: the incident, its items, and a case for each certificate that people
    replace. A case that is open already joins it.
    """
    if until <= desk.now:
        raise UsageError(
            "The time by which they must be replaced has passed", "", "Give a later --until."
        )
    if not items:
        raise UsageError(
            "No certificate is concerned",
            "nothing that is served fits",
            "Check the serial numbers, the issuer or the server.",
        )
    words = records.required(reason, "reason", 500)
    counts: Counter[str] = Counter()
    with desk.database.write(desk.now) as tx:
        row = incidents.add(tx, kind, what, int(until.timestamp()), words)
        rows = []
        for item in items:
            counts[item.sort] += 1
            row_of = {
                "serial": item.serial,
                "sha256": item.sha256,
                "client_id": item.client_id,
                "sort": item.sort,
            }
            if item.sort not in ("ours", "client") or item.client is None or item.client_id is None:
                rows.append(row_of | {"names": " ".join(item.hosts), "case_id": None})
                continue
            for case_id, names, joined in _cases(desk, tx, row, item, words):
                counts["joined" if joined else "opened"] += 1
                rows.append(row_of | {"names": " ".join(names), "case_id": case_id})
        incidents.add_items(tx, row["id"], rows)
    return row, counts


def _cases(
    desk: CaseService, tx: Any, row: Row, item: AffectedCertificate, reason: str
) -> list[tuple[int, list[str], bool]]:
    """(case, the names of the item that it is about, whether it was open before).

    What is open joins with its own names; one is opened for the rest.
    """
    assert item.client is not None
    assert item.client_id is not None
    found: list[tuple[int, list[str], bool]] = []
    owners = {n: purchases.owner_of(tx.conn, n.removeprefix("*.")) for n in item.hosts}
    left = [
        n for n, owner in owners.items() if owner is None or owner["client_id"] == item.client_id
    ]
    for busy in cases.open_for(tx.conn, item.client_id, item.hosts):
        joined = cases.find(tx.conn, busy["reference"])
        mine = [n for n in left if n in joined["names"]]
        left = [n for n in left if n not in mine]
        if mine:
            desk.join(tx, joined, row, reason)
            found.append((int(joined["id"]), mine, True))
    if left:
        given = {
            "kind": "incident",
            "incident_id": row["id"],
            "ends_at": row["until"],
            "bought_by": "us" if item.sort == "ours" else "client",
        }
        made = desk.open_in(tx, item.client, left, given, f"{row['reference']}: {reason}")
        found.append((int(made["id"]), left, False))
    return found


def done(item: Row) -> bool:
    """Whether an item of an incident is over, by what was seen: its case was closed with proof;
    without one, the certificate is served nowhere.
    """
    if item["state"] is not None:
        return bool(item["state"] == CaseState.CLOSED)
    return bool(item["sort"] != "unknown" and item["served"] == 0)


def stands(item: Row) -> str:
    """In one word: done, stopped (its case ended without proof), or the state of its case, or still
    served.
    """
    if done(item):
        return "done"
    if item["state"] is not None:
        return "stopped" if item["state"] in ENDED else str(item["state"])
    return "not known" if item["sort"] == "unknown" else "still served"


def settle(desk: CaseService) -> list[str]:
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
