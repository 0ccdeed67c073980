"""Health checks of cases for ``certmgr doctor``.

They find keys that are missing or readable by other users, overdue cases, and cases without an
assignee.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from certmgr.cases.service import key_store
from certmgr.cases.states import is_overdue
from certmgr.config.context import Context
from certmgr.x509.key_store import local_path
from inventory.errors import CertmgrError
from inventory.store import cases, issuances

OK, WARNING, FAULT = "ok", "warning", "fault"


def examine(context: Context) -> Iterator[tuple[str, str, str]]:
    """Yield the results of all checks as (state, finding, remedy)."""
    with context.read() as conn:
        rows = cases.listing(conn, states=cases.OPEN)
        issued = issuances.of_cases(conn, [r.id for r in rows])
    folder = key_store(context.settings).directory
    # A readable folder exposes all keys at once, so that it is a fault and not a warning.
    if folder.exists() and folder.stat().st_mode & 0o077:
        yield FAULT, f"other users can access the keys in {folder}", f"chmod 700 {folder}"
    # Only open cases still need their keys.
    for row in rows:
        for issuance in issued.get(row.id, ()):
            if problem := _key_problem(issuance.key_reference):
                yield (
                    FAULT,
                    f"{row.reference}: {problem}",
                    "Restore it from the backup of the keys, or create a new CSR.",
                )
    now = context.now()
    overdue = sum(is_overdue(r, now) for r in rows)
    unassigned = sum(r.staff_id is None for r in rows)
    if overdue:
        yield (
            WARNING,
            f"{overdue} of {len(rows)} open cases are overdue",
            "certmgr case list --overdue",
        )
    if unassigned:
        # Notices name the assignee, so that a case without one leaves the client without a name.
        yield (
            WARNING,
            f"{unassigned} open case(s) have no assignee, so clients do not know who does what",
            "certmgr case assign REFERENCE --by CONTACT",
        )
    if rows and not overdue and not unassigned:
        yield OK, f"{len(rows)} open, none overdue", ""


def _key_problem(reference: str | None) -> str:
    """Return what is wrong with a key file; empty if it is private and readable, or remote."""
    if reference is None:
        return ""
    try:
        path: Path = local_path(reference)
        mode = path.stat().st_mode
    except CertmgrError:
        return ""  # the key is on another machine, which checks it there
    except OSError as error:
        return f"its key {reference} cannot be read ({error.strerror})"
    return f"other users can read its key {path}" if mode & 0o077 else ""
