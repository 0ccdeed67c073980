"""Import and export of purchases: CSV and JSON with the same columns (docs/purchases.md).

A purchase that is stored already, with the same vendor and number, is changed and not added again.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from inventory.db.database import Database, Tx, to_epoch
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular, require_regular
from inventory.importers.csv_format import read_cells
from inventory.importers.entry import ImportProblem
from inventory.names import certificate_name
from inventory.records import ListedPurchase
from inventory.store import clients, purchase_changes, purchases
from inventory.text import guard_cell, printable

COLUMNS = (
    "client",
    "vendor",
    "number",
    "names",
    "validation",
    "kind",
    "years",
    "start",
    "end",
    "price",
    "currency",
    "fee",
    "warranty",
    "bought_by",
    "contact",
    "auto_renew",
    "domain_validated",
    "organisation_validated",
    "documents",
    "note",
    "state",
)
# The schema keeps its old name, because programs depend on it.
SCHEMA = "certmgr.order-export/1"
# Bytes; the document is parsed in memory.
MAX_FILE = 200_000_000
_TEXT_COLUMNS = (
    "vendor",
    "number",
    "validation",
    "kind",
    "price",
    "currency",
    "fee",
    "warranty",
    "bought_by",
    "contact",
    "note",
)
_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(slots=True)
class ImportResult:
    """Result of an import.

    Attributes:
        rows: Number of rows that were read.
        lines: The changes, as text.
        problems: Rows that were skipped.
    """

    rows: int = 0
    added: int = 0
    changed: int = 0
    lines: list[str] = field(default_factory=list)
    problems: list[ImportProblem] = field(default_factory=list)


# A dry run runs the whole transaction, so that it reports what the import would.
class _Rollback(Exception):
    """Ends the transaction of a dry run."""


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield (file and line, column -> cell) per row, or the reason why it cannot be read."""
    require_regular(path)
    yield from read_cells(path, COLUMNS, "vendor")


def read_json(path: Path) -> Iterator[tuple[str, dict[str, str] | str]]:
    """Yield (file and number, column -> value) per purchase, or the reason why it cannot be read.

    The document is ``{"schema": "certmgr.order-export/1", "orders": [{column: value}]}``.

    Raises:
        UsageError: The file is not an export of purchases.
    """
    raw = read_regular(path, MAX_FILE)
    if len(raw) > MAX_FILE:
        raise UsageError(
            f"{path} is too large", f"the limit is {MAX_FILE // 1_000_000} MB", "Split it."
        )
    try:
        # The library recognises UTF-8 with a mark, UTF-16 and UTF-32.
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON",
            str(error)[:120],
            "To see the format: certmgr purchase export --format json.",
        ) from None
    rows = document.get("orders") if isinstance(document, dict) else None
    # Any other JSON would be read as a list without purchases, and report success.
    if not isinstance(rows, list) or document.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} is not an export of purchases",
            f'it needs "schema": "{SCHEMA}" and a list of "orders"',
            "To see the format: certmgr purchase export --format json.",
        )
    for number, row in enumerate(rows, 1):
        where = f"{path}: purchase {number}"
        if not isinstance(row, dict):
            yield where, "it is not a JSON object"
        # A misspelt key would otherwise be ignored, and its value lost.
        elif unknown := set(row) - set(COLUMNS):
            yield where, f"unknown key '{printable(sorted(unknown)[0], 60)}'"
        else:
            yield (
                where,
                {
                    k: " ".join(map(str, v)) if isinstance(v, list) else "" if v is None else str(v)
                    for k, v in row.items()
                },
            )


def apply(
    database: Database,
    rows: Iterable[tuple[str, dict[str, str] | str]],
    zone: str,
    now: datetime,
    *,
    dry_run: bool,
) -> ImportResult:
    """Import all valid rows in one transaction; report the invalid ones.

    Args:
        database: The inventory.
        rows: Rows of :func:`read_csv` or :func:`read_json`.
        zone: Time zone of the dates.
        now: Time of the import.
        dry_run: Whether to roll the transaction back and only report the changes.
    """
    result = ImportResult()
    try:
        with database.write(now) as tx:
            for where, row in rows:
                result.rows += 1
                if isinstance(row, str):
                    result.problems.append(ImportProblem(where, row))
                    continue
                # A savepoint per row: an invalid row leaves nothing in the transaction.
                try:
                    with tx.conn.begin_nested():
                        _import_row(tx, row, zone, result)
                except (CertmgrError, ValueError, OverflowError) as error:
                    result.problems.append(ImportProblem(where, str(error)))
            if dry_run:
                raise _Rollback
    except _Rollback:
        pass
    return result


def _import_row(tx: Tx, row: dict[str, str], zone: str, result: ImportResult) -> None:
    """Add or change the purchase of one row, and count it in the result."""
    given = _stated_values(row, zone)
    names = row.get("names", "").split()
    if not row.get("client"):
        raise UsageError("A purchase needs a client", "", "Fill in its customer number.")
    existing = _existing(tx, row, given, names)
    if existing is None:
        row_id, _ = purchase_changes.add(tx, row["client"], given, names)
        # A purchase cannot be added as cancelled, so it is cancelled in a second step.
        if row.get("state") == "cancelled":
            purchase_changes.cancel(tx, f"#{row_id}", "imported as cancelled")
        result.added += 1
        result.lines.append(
            f"purchase {row.get('vendor', '')} {row.get('number', '')} of client {row['client']}:"
            " added"
        )
        return
    # An empty cell changes nothing: a list of a vendor has fewer columns than the inventory.
    changes = purchase_changes.edit(tx, f"#{existing}", given, names or None)
    if changes:
        result.changed += 1
        result.lines.append(
            f"purchase {purchases.reference(existing)}:"
            f" {', '.join(f'{k} {a} -> {b}' for k, (a, b) in changes.items())}"
        )


def _stated_values(row: Mapping[str, str], zone: str) -> dict[str, Any]:
    """Return column -> value of the cells that are filled, for :func:`purchase_changes.add`."""
    given: dict[str, Any] = {k: row[k] for k in _TEXT_COLUMNS if row.get(k)}
    for column, key, last in (
        ("start", "starts_at", False),
        # A term ends with its last day.
        ("end", "ends_at", True),
        ("domain_validated", "dcv_at", False),
        ("organisation_validated", "organisation_at", False),
    ):
        if row.get(column):
            given[key] = _parse_date(row[column], zone, last=last)
    if row.get("years"):
        # isdigit() alone accepts digits of other scripts, which int() converts silently.
        if not (row["years"].isascii() and row["years"].isdigit() and len(row["years"]) < 4):
            raise UsageError(
                f"'{printable(row['years'], 20)}' is not a number of years",
                "",
                "Write a number such as 1.",
            )
        given["years"] = int(row["years"])
    if row.get("auto_renew"):
        if row["auto_renew"].lower() not in _BOOLEANS:
            raise UsageError(
                f"auto_renew is '{printable(row['auto_renew'], 20)}'", "", "Write yes or no."
            )
        given["auto_renew"] = _BOOLEANS[row["auto_renew"].lower()]
    if row.get("documents"):
        given["documents"] = row["documents"].split("|")
    return given


def _existing(
    tx: Tx, row: Mapping[str, str], given: Mapping[str, Any], names: Sequence[str]
) -> int | None:
    """Return the id of the stored purchase that a row describes, or None."""
    owner = clients.find(tx.conn, row["client"])
    start = given.get("starts_at")
    number = row.get("number", "").strip()
    return purchases.same_purchase(
        tx.conn,
        owner.id,
        vendor=row.get("vendor", "").strip(),
        number=number if row.get("number") else None,
        starts_at=None if start is None else to_epoch(start),
        names=[] if row.get("number") or start is None else [certificate_name(n) for n in names],
    )


def _parse_date(text: str, zone: str, *, last: bool) -> datetime:
    """Return the first or the last second of a day; a text with a time is that time."""
    try:
        text = _iso_date(text.strip())
        if len(text) > 10:
            timestamp = datetime.fromisoformat(text)
            # A spreadsheet writes a date as its first moment.
            if timestamp.tzinfo is None and timestamp.time() == time(0):
                return _parse_date(text[:10], zone, last=last)
            return (
                timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=ZoneInfo(zone))
            ).astimezone(UTC)
        # The last second of a day is the second before the next day starts.
        day = date.fromisoformat(text) + timedelta(days=int(last))
        return datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC) - timedelta(
            seconds=int(last)
        )
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{printable(text, 40)}' is not a date", "", "Write 2026-11-30."
        ) from None


def _iso_date(text: str) -> str:
    """Return a date as spreadsheets write it in ISO form; another text unchanged.

    They write 30.11.2026, 30/11/2026, 11/30/2026, or the days since 1899-12-30. A date such as
    03/04/2026 has two readings and stays as it is, so that it is refused.
    """
    if re.fullmatch(r"[2-9]\d{4}(\.0+)?", text):
        return (date(1899, 12, 30) + timedelta(days=int(text[:5]))).isoformat()
    match = re.fullmatch(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?: 0{1,2}:00(?::00)?)?", text)
    if match is None:
        return text
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    # Dots stand between day and month; with a slash, Americans write the month first.
    if match[2] == "." or first > 12 or first == second:
        return date(year, second, first).isoformat()
    return date(year, first, second).isoformat() if second > 12 else text


def _cells(row: ListedPurchase) -> dict[str, Any]:
    """Return the cells of a purchase."""

    def timestamp(seconds: int | None) -> str:
        return (
            ""
            if seconds is None
            else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )

    return {
        "client": row.client,
        "vendor": row.vendor,
        "number": row.number or "",
        "names": " ".join(row.names),
        "validation": row.validation,
        "kind": row.kind,
        "years": str(row.years),
        "start": timestamp(row.starts_at),
        "end": timestamp(row.ends_at),
        "price": row.price or "",
        "currency": row.currency or "",
        "fee": row.fee or "",
        "warranty": row.warranty or "",
        "bought_by": row.bought_by,
        "contact": str(row.contact_id or ""),
        "auto_renew": "yes" if row.auto_renew else "no",
        "domain_validated": timestamp(row.dcv_at),
        "organisation_validated": timestamp(row.organisation_at),
        "documents": "|".join(row.documents),
        "note": row.note or "",
        "state": row.state,
    }


def write(rows: Sequence[ListedPurchase], output_format: str) -> str:
    """Return the purchases as CSV or JSON. A contact is written as its id.

    Args:
        rows: Rows of :func:`inventory.store.purchases.listing`.
        output_format: csv or json.
    """
    cells = [_cells(r) for r in rows]
    if output_format == "json":
        return json.dumps({"schema": SCHEMA, "orders": cells}, ensure_ascii=True, indent=2) + "\n"
    # In memory, because a listing of purchases is small.
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in cells:
        # Notes and numbers are typed by clients, and a spreadsheet would execute a formula in them.
        writer.writerow([guard_cell(row[c]) for c in COLUMNS])
    return buffer.getvalue()
