"""CSV: one row per endpoint, with its client and contact (docs/import.md).

A cell that a spreadsheet would read as a formula starts with an apostrophe.
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
# Limits against files that are not CSV, such as a binary file without line breaks.
MAX_HEADER = 65_536
MAX_FIELD = 65_536


def _open(path: Path) -> TextIO:
    """Open a file as UTF-8, with or without a BOM, or else as Windows-1252, which Excel writes."""
    try:
        with path.open("rb") as raw:
            is_utf8 = _is_utf8(raw.read())
        return path.open(
            encoding="utf-8-sig" if is_utf8 else "cp1252", errors="replace", newline=""
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
    """Return the column names and the delimiter: comma, semicolon or tab."""
    # The limit keeps a file without line breaks out of memory.
    line = file.readline(MAX_HEADER + 1)
    if len(line) > MAX_HEADER:
        raise UsageError(
            f"{path}:1 is too long for a header",
            f"over {MAX_HEADER:,} characters",
            f"The columns are {', '.join(columns)}.",
        )
    # Spreadsheets write semicolons in some languages, so the delimiter with the most known columns
    # is taken.
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
            # For a misspelt column, the nearest known name is suggested.
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"They are {', '.join(columns)}."
            raise UsageError(f"{path}:1: unknown column '{printable(name, 60)}'", "", hint)
        if best.count(name) > 1:
            raise UsageError(f"{path}:1: the column '{name}' occurs twice", "", "Remove one.")
    return best, delimiter


def read(path: Path) -> Iterator[ImportRow | ImportProblem]:
    """Yield each row of the file, or a problem for an invalid row.

    Raises:
        UsageError: The file or its header is unusable.
    """
    for where, row in read_cells(path, COLUMNS, "client"):
        yield ImportProblem(where, row) if isinstance(row, str) else row_from_cells(where, row)


def read_cells(
    path: Path, columns: Sequence[str], needed: str
) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield (file and line, column -> cell) per row that is not empty.

    For an unreadable row, the reason is yielded instead of the cells.

    Args:
        path: The file; its first line contains the column names.
        columns: Known columns.
        needed: Column that the header must have.

    Raises:
        UsageError: The file or its header is unusable.
    """
    # The limit of the csv module is global, and its default is larger.
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
            # Spreadsheets often write empty rows at the end.
            if not any(c.strip() for c in cells):
                continue
            # An unquoted delimiter in a text shifts the cells, so the row is not imported.
            if len(cells) > len(names):
                yield where, f"{len(cells):,} cells, and the header has {len(names)} columns"
                continue
            yield where, {n: unguard_cell(c.strip()) for n, c in zip(names, cells, strict=False)}


def row_from_cells(where: str, row: dict[str, str]) -> ImportRow:
    """Return the import row of one line of the file."""

    def filled(*names: str) -> dict[str, str]:
        return {n: row[n] for n in names if row.get(n)}

    client = {
        k.removeprefix("client_"): v for k, v in filled("client_name", "account_manager").items()
    }
    contact = {
        k.removeprefix("contact_"): v
        for k, v in filled("contact_role", "language", "time_zone").items()
    }
    # Phone numbers contain spaces, so they are separated by commas.
    methods = [f"email:{v}" for v in row.get("email", "").split()]
    methods += [f"phone:{v.strip()}" for v in row.get("phone", "").split(",") if v.strip()]
    return ImportRow(
        where,
        client=row.get("client", ""),
        client_fields=client,
        contact=row.get("contact", ""),
        contact_fields=contact,
        contact_methods=methods,
        server=row.get("server", ""),
        domain=row.get("domain", ""),
        domain_fields=filled(
            "purpose", "paths", "policy", "hosts", "dns", "buys", "renews", "state", "note"
        ),
        target=row.get("endpoint", ""),
        addresses=row.get("addresses", "").split(),
        tags=row.get("tags", "").split(),
    )


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
    contacts: dict[object, list[dict[str, str]]] = {}
    for item in active["contact"]:
        by_kind = {
            k: [v for kind, v, _ in item.contact_methods or [] if kind == k]
            for k in ("email", "phone")
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
        domains.setdefault(v["client_id"], []).extend(
            domain | e for e in endpoints.get(item.key, [])
        )
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
