"""Orders in and out: CSV and JSON with the same columns (docs/orders.md).

What is there already, by vendor and number, is changed and not added twice.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from inventory.db.database import Database, Tx
from inventory.errors import CertmgrError, UsageError
from inventory.files import read_regular, require_regular
from inventory.importers.csv_format import cells_of
from inventory.importers.entry import ImportProblem
from inventory.models.tables import order, order_name
from inventory.store import clients, purchases
from inventory.store.records import Row
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
SCHEMA = "certmgr.order-export/1"
MAX_FILE = 200_000_000
_PLAIN = (
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
_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(slots=True)
class ImportResult:
    """``lines``: what changed, in words."""

    rows: int = 0
    added: int = 0
    changed: int = 0
    lines: list[str] = field(default_factory=list)
    problems: list[ImportProblem] = field(default_factory=list)


class _Rollback(Exception):
    pass


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, str] | str]]:
    require_regular(path)
    yield from cells_of(path, COLUMNS, "vendor")


def read_json(path: Path) -> Iterator[tuple[str, dict[str, str] | str]]:
    """``{"schema": "certmgr.order-export/1", "orders": [{column: value}]}``."""
    raw = read_regular(path, MAX_FILE)
    if len(raw) > MAX_FILE:
        raise UsageError(
            f"{path} is too large", f"the limit is {MAX_FILE // 1_000_000} MB", "Split it."
        )
    try:
        document = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON",
            str(error)[:120],
            "Export one to see the form: certmgr purchase export --format json.",
        ) from None
    rows = document.get("orders") if isinstance(document, dict) else None
    if not isinstance(rows, list) or document.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} is no export of orders",
            f'it needs "schema": "{SCHEMA}" and a list of "orders"',
            "Export one to see the form: certmgr purchase export --format json.",
        )
    for number, row in enumerate(rows, 1):
        where = f"{path}: order {number}"
        if not isinstance(row, dict):
            yield where, "it is no object"
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


def take(
    database: Database,
    rows: Iterable[tuple[str, dict[str, str] | str]],
    zone: str,
    now: datetime,
    *,
    dry_run: bool,
) -> ImportResult:
    """Every good row goes in, in one transaction; a bad one is reported with its place."""
    done = ImportResult()
    try:
        with database.write(now) as tx:
            for where, row in rows:
                done.rows += 1
                if isinstance(row, str):
                    done.problems.append(ImportProblem(where, row))
                    continue
                try:
                    with tx.conn.begin_nested():
                        _one(tx, row, zone, done)
                except (CertmgrError, ValueError, OverflowError) as error:
                    done.problems.append(ImportProblem(where, str(error)))
            if dry_run:
                raise _Rollback
    except _Rollback:
        pass
    return done


def _one(tx: Tx, row: dict[str, str], zone: str, done: ImportResult) -> None:
    given: dict[str, Any] = {k: row[k] for k in _PLAIN if row.get(k)}
    for column, key, last in (
        ("start", "starts_at", False),
        ("end", "ends_at", True),
        ("domain_validated", "dcv_at", False),
        ("organisation_validated", "organisation_at", False),
    ):
        if row.get(column):
            given[key] = _day(row[column], zone, last=last)
    if row.get("years"):
        if not (row["years"].isascii() and row["years"].isdigit() and len(row["years"]) < 4):
            raise UsageError(f"'{printable(row['years'], 20)}' years", "it is a number")
        given["years"] = int(row["years"])
    if row.get("auto_renew"):
        if row["auto_renew"].lower() not in _YES:
            raise UsageError(
                f"auto_renew is '{printable(row['auto_renew'], 20)}'", "", "Write yes or no."
            )
        given["auto_renew"] = _YES[row["auto_renew"].lower()]
    if row.get("documents"):
        given["documents"] = row["documents"].split("|")
    names = row.get("names", "").split()
    if not row.get("client"):
        raise UsageError("An order needs a client", "", "Fill in its customer number.")
    before = _before(tx, row, given, names)
    if before is None:
        row_id, _ = purchases.add(tx, row["client"], given, names)
        if row.get("state") == "cancelled":
            purchases.cancel(tx, f"#{row_id}", "imported as cancelled")
        done.added += 1
        done.lines.append(
            f"order {row.get('vendor', '')} {row.get('number', '')} of client {row['client']}:"
            " added"
        )
        return
    changes = purchases.edit(tx, f"#{before['id']}", given, names or None)
    if changes:
        done.changed += 1
        done.lines.append(
            f"order #{before['id']}:"
            f" {', '.join(f'{k} {a} -> {b}' for k, (a, b) in changes.items())}"
        )


def _before(
    tx: Tx, row: Mapping[str, str], given: Mapping[str, Any], names: Sequence[str]
) -> Row | None:
    """The order that this row is about: of the same client by vendor and number; without a number
    by vendor, start and names.
    """
    owner = clients.find(tx.conn, row["client"])
    query = select(order).where(
        order.c.client_id == owner["id"], order.c.vendor == row.get("vendor", "").strip()
    )
    if row.get("number"):
        found = (
            tx.conn.execute(query.where(order.c.number == row["number"].strip())).mappings().first()
        )
        return None if found is None else dict(found)
    if "starts_at" not in given:
        return None
    wanted = sorted(purchases.pattern(n) for n in names)
    for candidate in tx.conn.execute(
        query.where(
            order.c.starts_at == int(given["starts_at"].timestamp()), order.c.number.is_(None)
        )
    ).mappings():
        have = sorted(
            tx.conn.scalars(
                select(order_name.c.name).where(order_name.c.order_id == candidate["id"])
            )
        )
        if have == wanted:
            return dict(candidate)
    return None


def _day(text: str, zone: str, *, last: bool) -> datetime:
    try:
        if len(text) > 10:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(
                UTC
            )
        day = date.fromisoformat(text) + timedelta(days=int(last))
        return datetime.combine(day, time(0), ZoneInfo(zone)).astimezone(UTC) - timedelta(
            seconds=int(last)
        )
    except (ValueError, OverflowError):
        raise UsageError(
            f"'{printable(text, 40)}' is not a date", "", "Write 2026-11-30."
        ) from None


def _plain(row: Row) -> dict[str, Any]:
    def moment(seconds: int | None) -> str:
        return (
            ""
            if seconds is None
            else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        )

    return {
        "client": row["client"],
        "vendor": row["vendor"],
        "number": row["number"] or "",
        "names": " ".join(row["names"]),
        "validation": row["validation"],
        "kind": row["kind"],
        "years": str(row["years"]),
        "start": moment(row["starts_at"]),
        "end": moment(row["ends_at"]),
        "price": row["price"] or "",
        "currency": row["currency"] or "",
        "fee": row["fee"] or "",
        "warranty": row["warranty"] or "",
        "bought_by": row["bought_by"],
        "contact": str(row["contact_id"] or ""),
        "auto_renew": "yes" if row["auto_renew"] else "no",
        "domain_validated": moment(row["dcv_at"]),
        "organisation_validated": moment(row["organisation_at"]),
        "documents": "|".join(json.loads(row["documents"])),
        "note": row["note"] or "",
        "state": row["state"],
    }


def write(rows: Sequence[Row], form: str) -> str:
    """``rows``: of :func:`inventory.store.purchases.listing`. A contact is written as its id."""
    plain = [_plain(r) for r in rows]
    if form == "json":
        return json.dumps({"schema": SCHEMA, "orders": plain}, ensure_ascii=True, indent=2) + "\n"
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in plain:
        writer.writerow([guard_cell(row[c]) for c in COLUMNS])
    return buffer.getvalue()
