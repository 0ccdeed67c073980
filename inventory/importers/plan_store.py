"""The plan of an import, read from the inventory and applied to it in one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from inventory.db.database import Tx
from inventory.db.sql import chunks
from inventory.importers import zones_format
from inventory.importers.plan import KINDS, REFERENCES, ImportItem, ImportPlan, Key, key_of, label
from inventory.store import bulk, editing

BATCH = 1000


def snapshot(conn: Connection) -> ImportPlan:
    """Return all records of the inventory, as a plan without changes."""
    plan = ImportPlan()
    keys: dict[str, dict[int, Key]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        tags = editing.tags_of(conn, kind)
        rows = bulk.rows(conn, kind)
        seen: dict[Key, int] = {}
        # All keys first: the reseller of a client may be a later client.
        for row in rows:
            direct = {
                c: keys[k].get(row[c])
                for c, k in REFERENCES[kind].items()
                if k != kind and row[c] is not None
            }
            keys[kind][row["id"]] = key_of(kind, row, direct, seen)
        for row in rows:
            row_id = row.pop("id")
            for column, of_kind in REFERENCES[kind].items():
                if row[column] is not None:
                    row[column] = keys[of_kind][row[column]]
            key = keys[kind][row_id]
            plan.items[kind][key] = ImportItem(
                kind, key, row, row_id, tags=set(tags.get(row_id, ()))
            )
    plan.client_names = {
        item.values["name"]: item.values["number"] for item in plan.items["client"].values()
    }
    zones_format.add_stored(conn, plan, keys)
    by_contact = bulk.contact_methods(conn)
    for item in plan.items["contact"].values():
        item.contact_methods = by_contact.get(item.id or 0, [])
    return plan


def apply(tx: Tx, plan: ImportPlan) -> None:
    """Write the additions and changes of the plan, and record them in the audit log.

    Kinds are written in the order of :data:`KINDS`, because later kinds refer to earlier ones.
    """
    plan.applied = plan.counts()
    for kind in KINDS:
        self_references = {c for c, k in REFERENCES[kind].items() if k == kind}
        items = list(plan.items[kind].values())
        new, edits = [i for i in items if i.id is None], [i for i in items if i.before]
        # Changes first: a new row may use a name that a change gives free.
        for item in edits:
            _update(tx, plan, item, set(item.before) - self_references)
        # Large imports are written in batches, which limits the size of a statement.
        for batch in chunks(new, BATCH):
            ids = bulk.insert_rows(tx, kind, [_columns(tx, plan, i) for i in batch])
            for item, row_id in zip(batch, ids, strict=True):
                item.id = row_id
            # The audit log removes the label, because it may contain personal data.
            tx.audit_many("import", kind, [(i.id, {"label": label(i)}) for i in batch])
        # References within the kind last, because all rows exist now.
        for item in edits:
            _update(tx, plan, item, set(item.before) & self_references)
        for item in new:
            _update(tx, plan, item, {c for c in self_references if item.values.get(c) is not None})
        tx.audit_many(
            "edit",
            kind,
            [(i.id, {c: [b, i.values[c]] for c, b in i.before.items()}) for i in edits],
        )
        bulk.add_tags(tx, kind, [(i.id, tag) for i in items if i.id for tag in sorted(i.new_tags)])
    bulk.replace_contact_methods(
        tx,
        {
            i.id: i.new_contact_methods
            for i in plan.items["contact"].values()
            if i.id is not None and i.new_contact_methods is not None
        },
    )
    zones_format.apply(tx, plan)


def _update(tx: Tx, plan: ImportPlan, item: ImportItem, columns: set[str]) -> None:
    if columns:
        # All columns are computed, because references become ids only now.
        values = _columns(tx, plan, item)
        assert item.id is not None
        bulk.update_row(tx, item.kind, item.id, {c: values[c] for c in columns})


_DEFAULTS: dict[str, dict[str, Any]] = {
    "client": {"state": "active"},
    "server": {"state": "active", "addresses": "", "backends": ""},
    "contact": {"state": "active", "role": "owner"},
    "domain": {"state": "active", "purpose": "site", "paths": ""},
    "endpoint": {"state": "active"},
}


def _columns(tx: Tx, plan: ImportPlan, item: ImportItem) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(bulk.columns(item.kind)) | {"created_at": tx.at}
    row |= _DEFAULTS[item.kind] | {k: v for k, v in item.values.items() if k in row}
    for column, kind in REFERENCES[item.kind].items():
        if row[column] is not None:
            # A row of the same kind may not exist yet; apply() sets these references last.
            row[column] = plan.items[kind][row[column]].id
    return row
