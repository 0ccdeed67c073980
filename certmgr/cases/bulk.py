"""One step of all cases of an incident.

Each case changes in a separate transaction: if the process dies, the cases before it are done,
and the same command continues with the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from certmgr.cases.service import CaseService
from certmgr.cases.states import CaseAction, next_state
from inventory.errors import CertmgrError
from inventory.records import CaseRecord
from inventory.store import cases, incidents
from inventory.vocabulary import CaseState


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of the cases of an incident.

    Attributes:
        incident: The reference of the incident.
        done: The references of the cases that changed.
        skipped: Reference and state of the cases to which the step does not apply.
        failed: Reference and error of the cases that could not be changed.
    """

    incident: str
    done: list[str] = field(default_factory=list)
    skipped: list[tuple[str, CaseState]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def of_incident(
    service: CaseService,
    incident: str,
    action: CaseAction | None,
    change: Callable[[str], object],
) -> BulkResult:
    """Take one step of every open case of an incident.

    Args:
        service: The service for cases.
        incident: The reference of the incident.
        action: The step. None for the client's approval, which is recorded in the state ``checked``
            alone.
        change: Takes the step of the case with a reference.

    Raises:
        NotFound: There is no such incident.
    """
    with service.context.read() as conn:
        row = incidents.find(conn, incident)
        # A case that a later incident took over still replaces certificates of this one.
        ids = {i.case_id for i in incidents.items(conn, row.id)}
        listed = [
            c
            for c in cases.listing(conn, states=cases.OPEN)
            if c.incident_id == row.id or c.id in ids
        ]
    result = BulkResult(row.reference)
    for case in listed:
        if not _applies(case, action):
            result.skipped.append((case.reference, case.state))
            continue
        try:
            change(case.reference)
        # One case that fails must not delay the others: the date of the incident holds for all.
        except CertmgrError as error:
            result.failed.append((case.reference, str(error)))
        else:
            result.done.append(case.reference)
    return result


def _applies(case: CaseRecord, action: CaseAction | None) -> bool:
    if action is None:
        return case.state == CaseState.CHECKED and case.approved_at is None
    # The key of such a case is the client's: a CSR of ours would replace it.
    if action is CaseAction.CSR and (case.own_csr or case.state != CaseState.REQUESTED):
        return False
    return next_state(case.state, action) is not None
