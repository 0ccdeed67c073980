"""What may be wrong around cases: keys that are gone or open to others, work that nobody leads.

For ``certmgr doctor``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from certmgr.cases.service import key_store
from certmgr.cases.states import overdue
from certmgr.config.settings import Settings
from certmgr.x509.key_store import local_path
from inventory.db.database import Database
from inventory.errors import CertmgrError
from inventory.store import cases

OK, WARNING, FAULT = "ok", "warning", "fault"


def examine(
    database: Database, settings: Settings, now: datetime
) -> Iterator[tuple[str, str, str]]:
    """(state, what, what to do)."""
    with database.read() as conn:
        rows = cases.listing(conn, states=cases.OPEN)
        issued = cases.issuances(conn, [r["id"] for r in rows])
    folder = key_store(settings).directory
    if folder.exists() and folder.stat().st_mode & 0o077:
        yield FAULT, f"the keys in {folder} can be reached by others", f"chmod 700 {folder}"
    for row in rows:
        for issuance in issued.get(row["id"], ()):
            if problem := _key(issuance["key_reference"]):
                yield (
                    FAULT,
                    f"{row['reference']}: {problem}",
                    "Restore it from the backup of the keys, or make a new CSR.",
                )
    late = sum(overdue(r, now) for r in rows)
    alone = sum(r["staff_id"] is None for r in rows)
    if late:
        yield (
            WARNING,
            f"{late} of {len(rows)} open cases are overdue",
            "certmgr case list --overdue",
        )
    if alone:
        yield (
            WARNING,
            f"{alone} open case(s) are led by nobody, so clients are not told who does what",
            "certmgr case take REFERENCE --by CONTACT",
        )
    if rows and not late and not alone:
        yield OK, f"{len(rows)} open, none overdue", ""


def _key(reference: str | None) -> str:
    if reference is None:
        return ""
    try:
        path: Path = local_path(reference)
        mode = path.stat().st_mode
    except CertmgrError:
        return ""  # another machine has it
    except OSError as error:
        return f"its key {reference} cannot be read ({error.strerror})"
    return f"its key {path} can be read by others" if mode & 0o077 else ""
