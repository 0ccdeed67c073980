"""Short ways to import and to export an inventory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from inventory.db.database import Database
from inventory.importers import csv_format, json_format, plan
from inventory.importers.entry import ImportProblem, ImportRow


def import_text(database: Database, text: str | bytes, kind: str = "csv") -> plan.ImportPlan:
    """Import ``text`` as a file of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{kind}"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with database.read() as conn:
            planned = plan.snapshot(conn)
        if kind == "json":
            json_format.read(path, planned)
        else:
            plan.add_entries(planned, csv_format.read(path))
        with database.write() as tx:
            plan.apply(tx, planned)
        return planned


def export_text(database: Database, kind: str = "csv") -> str:
    """Return the whole inventory as a file of this kind."""
    with database.read() as conn:
        everything = plan.snapshot(conn)
    return csv_format.write(everything) if kind == "csv" else json_format.write(everything)


HEAD = "client,client_name,contact,email,domain,purpose,endpoint,tags\n"


def split(found: Iterable[ImportRow | ImportProblem]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return domain and target of each entry, and place and reason of each problem."""
    rows = list(found)
    entries = [(e.domain, e.target) for e in rows if isinstance(e, ImportRow)]
    return entries, [f"{p.where} {p.reason}" for p in rows if isinstance(p, ImportProblem)]
