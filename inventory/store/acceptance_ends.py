"""How acceptances and assignments end before their date.

They are withdrawn by a person, one alone or all that one command recorded; an assignment also
ends when another person gets the same fault. What was selected by fault (``--server``,
``--cause``) ends with that fault as well: one that a later scan finds at the same place is
another one, which no person has promised to fix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, select, update

from inventory.db.database import Tx
from inventory.db.sql import chunks
from inventory.errors import NotFound, UsageError
from inventory.models import StoredAcceptance, StoredFinding
from inventory.vocabulary import FindingDecision

_IN_FORCE = StoredAcceptance.withdrawn_at.is_(None)
_ASSIGNMENT = and_(StoredAcceptance.kind == FindingDecision.ASSIGN, _IN_FORCE)


def withdraw(tx: Tx, acceptance_id: int) -> None:
    """End one acceptance or assignment now.

    Raises:
        NotFound: There is none, or it was withdrawn before.
    """
    if not _end(tx, StoredAcceptance.id == acceptance_id):
        raise _missing(acceptance_id)


def withdraw_batch(tx: Tx, acceptance_id: int) -> int:
    """End all that one command recorded, and return their number.

    Those that ended before, one by one or with their fault, are left as they are.

    Args:
        tx: The transaction.
        acceptance_id: Any of them, even one that has ended.

    Raises:
        NotFound: There is no such acceptance or assignment, or all of them have ended.
        UsageError: It was recorded alone.
    """
    query = select(StoredAcceptance.batch).where(StoredAcceptance.id == acceptance_id)
    row = tx.conn.execute(query).first()
    if row is None:
        raise _missing(acceptance_id)
    if row.batch is None:
        raise UsageError(
            f"{acceptance_id} was recorded alone",
            "--all ends what --server or --cause selected",
            f"Run certmgr finding withdraw {acceptance_id}.",
        )
    if not (ended := _end(tx, StoredAcceptance.batch == row.batch)):
        raise _missing(acceptance_id)
    return ended


def end_replaced(tx: Tx, code: str, scope: Mapping[str, int | None]) -> int:
    """End earlier assignments of a fault at exactly this scope, and return their number.

    A fault has one assignee. An earlier promise that stayed in force would come back when the
    later one is withdrawn, although its person was relieved of the fault.

    Args:
        tx: The transaction that records the new one.
        code: The finding code.
        scope: The columns of the scope; None means that it is not limited by this column.
    """
    same = [getattr(StoredAcceptance, column) == value for column, value in scope.items()]
    return _end(tx, and_(_ASSIGNMENT, StoredAcceptance.code == code, *same))


def end_with_faults(tx: Tx, finding_ids: Sequence[int]) -> None:
    """End the assignments that were selected by fault, together with their faults.

    Args:
        tx: The transaction that closes the findings.
        finding_ids: The findings that it closes. Each was the only open one of its code at its
            endpoint, so an assignment in force is about it, even one that was recorded after the
            probe.
    """
    for part in chunks(finding_ids):
        query = (
            select(StoredAcceptance.id)
            .join(
                StoredFinding,
                and_(
                    StoredFinding.endpoint_id == StoredAcceptance.endpoint_id,
                    StoredFinding.code == StoredAcceptance.code,
                ),
            )
            .where(
                StoredFinding.id.in_(part),
                StoredAcceptance.batch.is_not(None),
                _ASSIGNMENT,
            )
        )
        if ids := list(tx.conn.scalars(query)):
            _end(tx, StoredAcceptance.id.in_(ids))


def _end(tx: Tx, selected: ColumnElement[bool]) -> int:
    """Withdraw what is selected and in force, and return the number."""
    # The condition makes a second withdrawal change nothing, instead of the date of the first.
    changed = tx.conn.scalars(
        update(StoredAcceptance)
        .where(selected, _IN_FORCE)
        .values(withdrawn_at=tx.at)
        .returning(StoredAcceptance.id)
    ).all()
    tx.audit_many("withdraw", "finding", [(key, {}) for key in sorted(changed)])
    return len(changed)


def _missing(acceptance_id: int) -> NotFound:
    return NotFound(
        f"There is no acceptance or assignment {acceptance_id} in force",
        "",
        "See certmgr finding list --accepted and --assigned.",
    )
