"""Incidents: many certificates have to be replaced by one date.

Examples are a CA that must revoke within a day, a stolen key, and a broken machine. The affected
certificates are categorised by the party that replaces them (``incident_selection``), and all cases
open at once. ``incident_progress`` counts what is left.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from certmgr.cases import new_case
from certmgr.cases.incident_categories import AffectedCertificate
from certmgr.cases.service import CaseService
from inventory.db.database import Tx
from inventory.errors import UsageError
from inventory.records import IncidentRecord
from inventory.store import cases, domain_owners, editing, incidents
from inventory.store.incidents import NewIncidentItem
from inventory.vocabulary import CaseKind, IncidentCategory, IncidentKind, Party

_log = logging.getLogger(__name__)


def open_incident(
    service: CaseService,
    items: Sequence[AffectedCertificate],
    kind: IncidentKind,
    what: str,
    until: datetime,
    reason: str,
) -> tuple[IncidentRecord, Counter[str]]:
    """Open an incident with its items and cases in one transaction.

    A case opens for each certificate that the client or the provider replaces. Open cases of the
    same names become part of the incident.

    Args:
        service: The service for cases.
        items: The affected certificates.
        kind: How they were selected.
        what: The criterion of the selection.
        until: The time by which they must be replaced.
        reason: The reason, which only the staff reads.

    Returns:
        The row of the incident, and the number of items per category and of cases opened or joined.

    Raises:
        UsageError: The time has passed, there are no items, or the reason is empty.
    """
    _require_open_incident(service, items, until)
    reason = editing.required(reason, "reason", 500)
    counts: Counter[str] = Counter()
    # All or nothing: a crash leaves no case that belongs to no incident, and the command can
    # be repeated.
    with service.context.write() as tx:
        row = incidents.add(tx, kind, what, int(until.timestamp()), reason)
        new_items: list[NewIncidentItem] = []
        for item in items:
            counts[item.category] += 1
            in_cases = _open_or_join_cases(service, tx, row, item, reason)
            for entry in in_cases:
                counts["joined" if entry.joined else "opened"] += 1
                new_items.append(_item(item, entry.names, entry.case_id))
            # What is replaced automatically needs no case. If every host belongs to another client
            # by now, the item stays visible without one.
            if not in_cases:
                new_items.append(_item(item, item.hosts, None))
        incidents.add_items(tx, row.id, new_items)
    _log.info("incident %s opened: %d items, %d new cases", row.id, len(items), counts["opened"])
    return row, counts


def _require_open_incident(
    service: CaseService, items: Sequence[AffectedCertificate], until: datetime
) -> None:
    """Require a time in the future and at least one certificate.

    Raises:
        UsageError: The time has passed, or there are no items.
    """
    if until <= service.now:
        raise UsageError(
            "The time by which they must be replaced has passed", "", "Give a later --until."
        )
    # The next run closes an incident without items, which would then appear to be resolved.
    if not items:
        raise UsageError(
            "No certificate is affected",
            "no served certificate matches",
            "Check the serial numbers, the issuer or the server.",
        )


def _item(item: AffectedCertificate, names: Sequence[str], case_id: int | None) -> NewIncidentItem:
    return NewIncidentItem(
        serial=item.serial,
        sha256=item.sha256,
        client_id=item.client_id,
        names=tuple(names),
        sort=item.category,
        case_id=case_id,
    )


@dataclass(frozen=True, slots=True)
class _CaseOfItem:
    """A case that replaces an item.

    Attributes:
        case_id: The case.
        names: The names of the item in it.
        joined: Whether it was open before the incident.
    """

    case_id: int
    names: list[str]
    joined: bool


def _open_or_join_cases(
    service: CaseService, tx: Tx, row: IncidentRecord, item: AffectedCertificate, reason: str
) -> list[_CaseOfItem]:
    """Add the open cases of an item to the incident, and open one case for the remaining names."""
    # The other categories are replaced automatically, or there is nothing to replace.
    if (
        item.category not in (IncidentCategory.OURS, IncidentCategory.CLIENT)
        or item.client is None
        or item.client_id is None
    ):
        return []
    result: list[_CaseOfItem] = []
    owners = {n: domain_owners.owner_of(tx.conn, n.removeprefix("*.")) for n in item.by_hand}
    # A case contains only names of its client. Names that another client owns are left out.
    remaining = [
        n for n, owner in owners.items() if owner is None or owner.client_id == item.client_id
    ]
    # A name has one open case at most. That case joins the incident with the work done so far.
    for open_case in cases.open_for(tx.conn, item.client_id, item.by_hand):
        joined = cases.find(tx.conn, open_case.reference)
        joined_names = [n for n in remaining if n in joined.names]
        remaining = [n for n in remaining if n not in joined_names]
        if joined_names:
            new_case.join_incident(service, tx, joined, row, reason)
            result.append(_CaseOfItem(joined.id, joined_names, joined=True))
    if remaining:
        options = new_case.CaseOptions(
            kind=CaseKind.INCIDENT,
            incident_id=row.id,
            ends_at=row.until,
            bought_by=Party.US if item.category is IncidentCategory.OURS else Party.CLIENT,
        )
        text = f"{row.reference}: {reason}"
        opened = new_case.open_case_in(service, tx, item.client, remaining, options, text)
        result.append(_CaseOfItem(opened.id, remaining, joined=False))
    return result
