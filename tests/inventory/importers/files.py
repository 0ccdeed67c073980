"""Helpers that import and export an inventory as text."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from inventory.db.database import Database
from inventory.importers import csv_export, csv_format, json_format, plan_rows, plan_store
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.plan import ImportPlan


def import_text(database: Database, text: str | bytes, kind: str = "csv") -> ImportPlan:
    """Import ``text`` as a file of this kind; return the applied plan."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{kind}"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with database.read() as conn:
            planned = plan_store.snapshot(conn)
        if kind == "json":
            json_format.read(path, planned)
        else:
            plan_rows.add_rows(planned, csv_format.read(path))
        with database.write() as tx:
            plan_store.apply(tx, planned)
        return planned


def export_text(database: Database, kind: str = "csv") -> str:
    """Return the whole inventory as a file of this kind."""
    with database.read() as conn:
        everything = plan_store.snapshot(conn)
    return csv_export.write(everything) if kind == "csv" else json_format.write(everything)


HEAD = "client,client_name,contact,email,domain,purpose,endpoint,tags\n"


def split(
    rows_and_problems: Iterable[ImportRow | ImportProblem],
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the domain and target of each row, and the location and reason of each problem."""
    results = list(rows_and_problems)
    rows = [(e.domain, e.target) for e in results if isinstance(e, ImportRow)]
    return rows, [f"{p.where} {p.reason}" for p in results if isinstance(p, ImportProblem)]
