"""Writes the inventory as the CSV that inventory/importers/csv_format.py reads.

A cell that a spreadsheet would read as a formula starts with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from inventory.importers.csv_format import COLUMNS
from inventory.importers.plan import ImportItem, ImportPlan
from inventory.targets import Target
from inventory.text import guard_cell


def write(plan: ImportPlan) -> str:
    """Return all active records as CSV.

    The first contact of a client is in the rows of its domains; each further one has a row.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(plan):
        writer.writerow([guard_cell(row.get(c, "")) for c in COLUMNS])
    return buffer.getvalue()


def rows(plan: ImportPlan) -> Iterator[dict[str, str]]:
    """Yield the cells of each row of the export."""
    active = {
        # Retired records are only in the JSON export.
        kind: [i for i in items.values() if i.values.get("state") != "retired"]
        for kind, items in plan.items.items()
    }
    contacts = _contact_cells(active["contact"])
    domains = _domain_cells(active["domain"], _endpoint_cells(active["endpoint"]))
    for item in active["client"]:
        v = item.values
        client = {
            "client": v["number"],
            "client_name": v["name"],
            "account_manager": v["account_manager"] or "",
        }
        people = contacts.get(item.key, [])
        first = people[0] if people else {}
        client_domains = domains.get(item.key, [])
        yield from (client | first | d for d in client_domains)
        # A client without domains still needs a row, which then has the tags of the client.
        if not client_domains:
            yield client | first | {"tags": " ".join(sorted(item.tags))}
        yield from (client | p for p in people[1:])


_CellsByKey = dict[object, list[dict[str, str]]]


def _contact_cells(contacts: list[ImportItem]) -> _CellsByKey:
    """Return key of a client -> the cells of each of its contacts."""
    found: _CellsByKey = {}
    for item in contacts:
        by_kind = {
            k: [v for kind, v, _ in item.contact_methods or [] if kind == k]
            for k in ("email", "phone")
        }
        found.setdefault(item.values["client_id"], []).append(
            {
                "contact": item.values["name"],
                "contact_role": item.values["role"],
                "email": " ".join(by_kind["email"]),
                # Telephone numbers contain spaces.
                "phone": ", ".join(by_kind["phone"]),
                "language": item.values["language"] or "",
                "time_zone": item.values["time_zone"] or "",
            }
        )
    return found


def _endpoint_cells(endpoints: list[ImportItem]) -> _CellsByKey:
    """Return key of a domain -> the cells of each of its endpoints."""
    found: _CellsByKey = {}
    for item in endpoints:
        v = item.values
        target = Target(v["host"], v["port"], v["protocol"])
        found.setdefault(v["domain_id"], []).append(
            {"endpoint": target.key, "addresses": v["addresses"] or ""}
        )
    return found


def _domain_cells(domains: list[ImportItem], endpoints: _CellsByKey) -> _CellsByKey:
    """Return key of a client -> the cells of each endpoint of its domains."""
    found: _CellsByKey = {}
    for item in domains:
        v = item.values
        domain = {
            "domain": v["name"],
            "server": v["server_id"][0] if v["server_id"] else "",
            "purpose": v["purpose"],
            "paths": v.get("paths") or "",
            "policy": v["policy"] or "",
            **{f: v[f] or "" for f in ("hosts", "dns", "buys", "renews")},
            "state": v["state"],
            "tags": " ".join(sorted(item.tags)),
            "note": v["note"] or "",
        }
        found.setdefault(v["client_id"], []).extend(domain | e for e in endpoints.get(item.key, []))
    return found
