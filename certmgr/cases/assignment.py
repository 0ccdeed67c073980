"""The assignee of a case: the administrator who is responsible for it."""

from __future__ import annotations

from certmgr.cases.service import CaseService
from inventory.db.database import Tx
from inventory.errors import UsageError
from inventory.records import CaseRecord
from inventory.store import (
    case_changes,
    cases,
    contacts,
)


def assign(service: CaseService, reference: str, staff: str) -> CaseRecord:
    """Assign a case to an administrator.

    Raises:
        NotFound: There is no such case or contact.
        UsageError: The contact belongs to a client.
    """
    row = service.read(reference)
    with service.context.write() as tx:
        staff_id = choose_assignee(tx, staff)
        columns: case_changes.CaseColumns = {"staff_id": staff_id, "staff_named": 1}
        return case_changes.change(tx, row, "take", columns, f"assigned to {staff}")


def choose_assignee(tx: Tx, key: str | None, before: int | None = None) -> int | None:
    """Return the assignee of a new case, or the named one.

    This is the named contact, else the assignee of the previous case if still an
    administrator, else the administrator with the fewest open cases.

    Args:
        tx: The transaction.
        key: The key of the named contact.
        before: The assignee of the previous case.

    Returns:
        The id of the contact; None if there is no administrator.
    """
    if key:
        # A client's contact would receive the keys and tasks of the provider.
        row = contacts.find(tx.conn, key)
        if row.client_id is not None:
            raise UsageError(
                f"{row.name} is a contact of a client",
                "a case is assigned to a contact of the provider",
                "Name a contact without a client.",
            )
        return int(row.id)
    # A person may name any contact of the provider. The automatic choice takes administrators
    # only.
    administrators = [
        c for c in contacts.listing(tx.conn) if c.client_id is None and c.role == "administrator"
    ]
    # A renewal stays with the administrator of the previous case.
    if before in [int(c.id) for c in administrators]:
        return before
    # Equal numbers are common at first; the lower id makes the choice repeatable.
    workload = cases.open_cases_by_assignee(tx.conn)
    return min(
        (int(c.id) for c in administrators),
        key=lambda i: (workload.get(i, 0), i),
        default=None,
    )
