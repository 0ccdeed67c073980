"""CSV: one row an endpoint, with its client and contact (docs/import.md).

Cells that a spreadsheet would take for formulas carry an apostrophe.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from inventory.errors import UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.plan import ImportPlan
from inventory.targets import Target
from inventory.text import guard_cell, printable, unguard_cell

COLUMNS = (
    "client",
    "client_name",
    "account_manager",
    "contact",
    "contact_role",
    "email",
    "phone",
    "language",
    "time_zone",
    "server",
    "domain",
    "purpose",
    "paths",
    "policy",
    "hosts",
    "dns",
    "buys",
    "renews",
    "state",
    "endpoint",
    "addresses",
    "tags",
    "note",
)
MAX_HEADER = 65_536
MAX_FIELD = 65_536


def _open(path: Path) -> TextIO:
    """UTF-8 with or without a BOM; else Windows-1252, which Excel writes."""
    try:
        with path.open("rb") as raw:
            sample_good = _is_utf8(raw.read())
        return path.open(
            encoding="utf-8-sig" if sample_good else "cp1252", errors="replace", newline=""
        )
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable CSV file."
        ) from None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _header(file: TextIO, path: Path, columns: Sequence[str], needed: str) -> tuple[list[str], str]:
    """The column names and the delimiter (comma, semicolon or tab)."""
    line = file.readline(MAX_HEADER + 1)
    if len(line) > MAX_HEADER:
        raise UsageError(
            f"{path}:1 is too long for a header",
            f"over {MAX_HEADER:,} characters",
            f"The columns are {', '.join(columns)}.",
        )
    best: list[str] = []
    delimiter = ","
    for candidate in (",", ";", "\t"):
        names = [n.strip().lower() for n in next(csv.reader([line], delimiter=candidate), [])]
        if len(set(names) & set(columns)) > len(set(best) & set(columns)):
            best, delimiter = names, candidate
    if needed not in best:
        raise UsageError(
            f"{path}:1 has no column '{needed}'",
            "the first line names the columns",
            f"They are {', '.join(columns)}.",
        )
    for name in best:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            todo = f"Did you mean '{near[0]}'?" if near else f"They are {', '.join(columns)}."
            raise UsageError(f"{path}:1: unknown column '{printable(name, 60)}'", "", todo)
        if best.count(name) > 1:
            raise UsageError(f"{path}:1: the column '{name}' stands twice", "", "Remove one.")
    return best, delimiter


def read(path: Path) -> Iterator[ImportRow | ImportProblem]:
    """Raises :class:`UsageError` for an unusable file or header; a bad row is a Problem."""
    for where, row in cells_of(path, COLUMNS, "client"):
        yield ImportProblem(where, row) if isinstance(row, str) else entry(where, row)


def cells_of(
    path: Path, columns: Sequence[str], needed: str
) -> Iterator[tuple[str, dict[str, str] | str]]:
    """(where, column -> cell) of each row that is not empty; in place of the cells why a row cannot
    be read. The first line names the columns.
    """
    csv.field_size_limit(MAX_FIELD)
    with _open(path) as file:
        names, delimiter = _header(file, path, columns, needed)
        reader = csv.reader(file, delimiter=delimiter)
        while True:
            where = f"{path}:{reader.line_num + 2}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield where, f"not CSV: {error}"
                continue
            if not any(c.strip() for c in cells):
                continue
            if len(cells) > len(names):
                yield where, f"{len(cells):,} cells, and the header has {len(names)} columns"
                continue
            yield where, {n: unguard_cell(c.strip()) for n, c in zip(names, cells, strict=False)}


def entry(where: str, row: dict[str, str]) -> ImportRow:
    def of(*names: str) -> dict[str, str]:
        return {n: row[n] for n in names if row.get(n)}

    client = {k.removeprefix("client_"): v for k, v in of("client_name", "account_manager").items()}
    contact = {
        k.removeprefix("contact_"): v
        for k, v in of("contact_role", "language", "time_zone").items()
    }
    ways = [f"email:{v}" for v in row.get("email", "").split()]
    ways += [f"phone:{v.strip()}" for v in row.get("phone", "").split(",") if v.strip()]
    return ImportRow(
        where,
        client=row.get("client", ""),
        client_fields=client,
        contact=row.get("contact", ""),
        contact_fields=contact,
        ways=ways,
        server=row.get("server", ""),
        domain=row.get("domain", ""),
        domain_fields=of(
            "purpose", "paths", "policy", "hosts", "dns", "buys", "renews", "state", "note"
        ),
        target=row.get("endpoint", ""),
        addresses=row.get("addresses", "").split(),
        tags=row.get("tags", "").split(),
    )


def write(plan: ImportPlan) -> str:
    """What is active, in the documented columns.

    A client's further contacts have rows of their own.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows(plan):
        writer.writerow([guard_cell(row.get(c, "")) for c in COLUMNS])
    return buffer.getvalue()


def rows(plan: ImportPlan) -> Iterator[dict[str, str]]:
    active = {
        kind: [i for i in items.values() if i.values.get("state") != "retired"]
        for kind, items in plan.items.items()
    }
    contacts: dict[object, list[dict[str, str]]] = {}
    for item in active["contact"]:
        by_kind = {
            k: [v for kind, v, _ in item.ways or [] if kind == k] for k in ("email", "phone")
        }
        contacts.setdefault(item.values["client_id"], []).append(
            {
                "contact": item.values["name"],
                "contact_role": item.values["role"],
                "email": " ".join(by_kind["email"]),
                "phone": ", ".join(by_kind["phone"]),
                "language": item.values["language"] or "",
                "time_zone": item.values["time_zone"] or "",
            }
        )
    endpoints: dict[object, list[dict[str, str]]] = {}
    for item in active["endpoint"]:
        v = item.values
        target = Target(v["host"], v["port"], v["protocol"])
        endpoints.setdefault(v["domain_id"], []).append(
            {"endpoint": target.key, "addresses": v["addresses"] or ""}
        )
    domains: dict[object, list[dict[str, str]]] = {}
    for item in active["domain"]:
        v = item.values
        about = {
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
        domains.setdefault(v["client_id"], []).extend(
            about | e for e in endpoints.get(item.key, [])
        )
    for item in active["client"]:
        v = item.values
        about = {
            "client": v["number"],
            "client_name": v["name"],
            "account_manager": v["account_manager"] or "",
        }
        people = contacts.get(item.key, [])
        first = people[0] if people else {}
        own = domains.get(item.key, [])
        yield from (about | first | d for d in own)
        if not own:
            yield about | first | {"tags": " ".join(sorted(item.tags))}
        yield from (about | p for p in people[1:])
