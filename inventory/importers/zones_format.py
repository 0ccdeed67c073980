"""Zones and their assignments in the JSON of an inventory.

They are apart from the kinds of the plan: an assignment refers to a client, a server, or nothing,
and their order counts, since the first zone of several gives the state of an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from inventory.db.database import Tx
from inventory.errors import CertmgrError, UsageError
from inventory.importers.entry import ImportProblem
from inventory.importers.plan import ImportPlan, Key, PlannedAssignment, PlannedZone
from inventory.names import normalise
from inventory.store import bulk, editing
from inventory.vocabulary import ZoneScopeKind
from inventory.zone_names import DEFAULT_ZONE, is_zone_name

ZONES, ASSIGNMENTS = "zones", "zone_assignments"
_REFERENCE = {ZoneScopeKind.CLIENT: "client", ZoneScopeKind.SERVER: "server"}


def add_stored(conn: Connection, plan: ImportPlan, keys: Mapping[str, Mapping[int, Key]]) -> None:
    """Add the zones of the inventory to its plan. ``keys``: kind -> row id -> key."""
    # SQLite belongs to one machine, and without workers no zone would ever be visited from.
    plan.has_zones = conn.dialect.name == "postgresql"
    for zone in bulk.zones(conn):
        plan.zones[zone.name] = PlannedZone(
            zone.note, zone.state, zone.created_at, zone.retired_at, id=zone.id
        )
    for scope in bulk.zone_scopes(conn):
        kind = _REFERENCE.get(scope.kind)
        # A client that was erased may have left its assignment.
        key = keys[kind].get(scope.row_id) if kind is not None else None
        if kind is None or key is not None:
            assignment = PlannedAssignment(scope.zone, scope.kind, key, scope.value)
            plan.assignments[assignment] = True


def document(plan: ImportPlan, indexes: Mapping[str, Mapping[Key, int]]) -> dict[str, Any]:
    """Return the lists of the document; none if the inventory has no zones."""
    found: dict[str, Any] = {}
    if plan.zones:
        found[ZONES] = [
            {
                "name": name,
                "note": zone.note,
                "state": zone.state,
                "created_at": zone.created_at,
                "retired_at": zone.retired_at,
            }
            for name, zone in plan.zones.items()
        ]
    if plan.assignments:
        found[ASSIGNMENTS] = [
            {"zone": a.zone, "kind": str(a.kind)}
            | (
                {"value": a.value}
                if a.key is None
                else {_REFERENCE[a.kind]: indexes[_REFERENCE[a.kind]][a.key]}
            )
            for a in plan.assignments
        ]
    return found


def read(
    document: Mapping[str, Any],
    plan: ImportPlan,
    keys: Mapping[str, Sequence[Key | None]],
    name: str,
) -> None:
    """Add the zones of a document to the plan.

    Args:
        document: The document.
        plan: The plan, which has the other records of the document.
        keys: Kind -> key of each of its records; None: it was skipped.
        name: The file, for problems.
    """
    for part, plan_row in ((ZONES, _plan_zone), (ASSIGNMENTS, _plan_assignment)):
        rows = document.get(part, [])
        if not isinstance(rows, list):
            raise UsageError(f"{name}: '{part}' is not a list", "", "See certmgr help import.")
        plan.rows += len(rows)
        for number, row in enumerate(rows):
            where = f"{name}: {part}[{number}]"
            try:
                if not plan.has_zones:
                    raise UsageError(
                        "zones need an inventory in PostgreSQL",
                        "SQLite belongs to one machine, and a zone is a vantage point of another",
                    )
                plan_row(plan, row, keys)
            except CertmgrError as error:
                plan.problems.append(ImportProblem(where, str(error)))
            # The document may have any shape, so any wrong type is a problem of its record.
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                reason = f"{type(error).__name__}: {str(error)[:80]}"
                plan.problems.append(ImportProblem(where, f"it is not a valid record ({reason})"))


def _plan_zone(plan: ImportPlan, row: Mapping[str, Any], _: object) -> None:
    name = row["name"]
    if not isinstance(name, str) or not is_zone_name(name) or name == DEFAULT_ZONE:
        raise UsageError(f"'{str(name)[:60]}' cannot be the name of a zone")
    note = row.get("note")
    if note is not None and not isinstance(note, str):
        raise UsageError("'note' is not a text")
    note = editing.clean(note, "note", editing.MAX_TEXT)
    state = editing.choice(row.get("state"), "state", ("active", "retired")) or "active"
    times = [row.get("created_at"), row.get("retired_at")]
    for at in times:
        if at is not None and (type(at) is not int or not 0 <= at < 1 << 40):
            raise UsageError("its times are not in seconds since 1970")
    known = plan.zones.get(name)
    if known is None:
        plan.zones[name] = PlannedZone(note, state, times[0], times[1])
        return
    # To retire a zone closes what only it saw, which an import does not do.
    if state == "retired" and known.state != "retired":
        raise UsageError(
            f"The zone {name} is retired in the file and in use here",
            "",
            f"Retire it: certmgr zone retire {name}",
        )
    if (note is not None and note != known.note) or state != known.state:
        known.note = note if note is not None else known.note
        known.state, known.is_changed = state, True
        known.retired_at = known.retired_at if state == "retired" else None


def _plan_assignment(
    plan: ImportPlan, row: Mapping[str, Any], keys: Mapping[str, Sequence[Key | None]]
) -> None:
    zone, kind = str(row["zone"]), ZoneScopeKind(row["kind"])
    known = plan.zones.get(zone)
    if zone != DEFAULT_ZONE and (known is None or known.state == "retired"):
        raise UsageError(f"There is no zone '{zone[:60]}' in use")
    if zone == DEFAULT_ZONE and kind is ZoneScopeKind.INTERNAL:
        raise UsageError("The default zone cannot be the only one that reaches a name")
    key, value = None, ""
    if (reference := _REFERENCE.get(kind)) is not None:
        index = row[reference]
        if type(index) is not int or not 0 <= index < len(keys[reference]):
            raise UsageError(f"'{str(index)[:40]}' is not an index of a list of the document")
        key = keys[reference][index]
        if key is None:
            raise UsageError(f"its {reference} was skipped")
    elif kind is ZoneScopeKind.TAG:
        value = editing.clean_tag(row["value"])
    else:
        value = normalise(row["value"])
    plan.assignments.setdefault(PlannedAssignment(zone, kind, key, value), False)


def apply(tx: Tx, plan: ImportPlan) -> None:
    """Write the zones and assignments of the plan, after the records that they refer to."""
    for name, zone in plan.zones.items():
        values = {"note": zone.note, "state": zone.state, "retired_at": zone.retired_at}
        if zone.id is None:
            created = tx.at if zone.created_at is None else zone.created_at
            zone.id = bulk.insert_zone(tx, {"name": name, "created_at": created, **values})
            tx.audit("import", "zone", zone.id, {"label": name})
        elif zone.is_changed:
            bulk.update_zone(tx, zone.id, values)
            tx.audit("edit", "zone", zone.id, {"note": zone.note, "state": zone.state})
    for assignment, exists in plan.assignments.items():
        if exists:
            continue
        reference = _REFERENCE.get(assignment.kind)
        row_id = 0
        if reference is not None and assignment.key is not None:
            row_id = plan.items[reference][assignment.key].id or 0
        bulk.insert_zone_scope(tx, assignment.zone, assignment.kind, row_id, assignment.value)
        plan.assignments[assignment] = True
        tx.audit(
            "assign",
            "zone",
            row_id or None,
            {"zone": assignment.zone, "kind": str(assignment.kind)},
        )
