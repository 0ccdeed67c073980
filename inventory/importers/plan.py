"""Plan of an import: all records of the inventory, and what would change.

The plan is a value. ``plan_store`` reads it from the inventory and applies it; ``plan_rows`` and
``json_format`` change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inventory.importers.entry import ImportProblem
from inventory.targets import Target
from inventory.vocabulary import ZoneScopeKind

# In the order of their references: a kind refers only to earlier kinds or to itself.
KINDS = ("client", "server", "contact", "domain", "endpoint")
# Columns that refer to another row: column -> kind of that row.
REFERENCES = {
    "client": {"reseller_id": "client"},
    "server": {},
    "contact": {"client_id": "client", "fallback_id": "contact"},
    "domain": {"client_id": "client", "server_id": "server"},
    "endpoint": {"domain_id": "domain"},
}
Key = tuple[Any, ...]


@dataclass(slots=True)
class ImportItem:
    """A record that exists or will be added.

    Attributes:
        kind: One of :data:`KINDS`.
        key: Natural key (see :func:`key_of`).
        values: Columns, a list as text as in a file. A reference is the key of another item.
        id: Id of an existing row. None for a record that will be added.
        before: Old values of the columns that change.
        contact_methods: (kind, value, state) of a contact.
        new_contact_methods: The methods after the import, if they change.
    """

    kind: str
    key: Key
    values: dict[str, Any]
    id: int | None = None
    before: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    new_tags: set[str] = field(default_factory=set)
    contact_methods: list[tuple[str, str, str]] | None = None
    new_contact_methods: list[tuple[str, str, str]] | None = None


@dataclass(slots=True)
class PlannedZone:
    """A zone that exists or will be added. ``created_at`` is None if the import dates it."""

    note: str | None
    state: str
    created_at: int | None
    retired_at: int | None
    id: int | None = None
    is_changed: bool = False


@dataclass(frozen=True, slots=True)
class PlannedAssignment:
    """What is visited from a zone.

    Attributes:
        key: The key of the client or server; None for other kinds.
        value: The tag or name; empty for other kinds.
    """

    zone: str
    kind: ZoneScopeKind
    key: Key | None
    value: str

    def __str__(self) -> str:
        """Return it as an administrator refers to it."""
        return f"{self.zone}: {self.kind} {self.value if self.key is None else self.key[0]}"


@dataclass(slots=True)
class ImportPlan:
    """All records, with the changes of an import.

    Attributes:
        items: Kind -> key -> record.
        problems: Rows that were skipped.
        rows: Number of rows that were read.
        client_names: Name of a client -> its number.
        zones: Name -> zone, without the default one.
        assignments: What is visited from each zone, in its order -> whether it is so already.
        has_zones: Whether the inventory can have zones.
        applied: Counts of added and changed records, after the plan was applied.
    """

    items: dict[str, dict[Key, ImportItem]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    problems: list[ImportProblem] = field(default_factory=list)
    rows: int = 0
    client_names: dict[str, str] = field(default_factory=dict)
    zones: dict[str, PlannedZone] = field(default_factory=dict)
    assignments: dict[PlannedAssignment, bool] = field(default_factory=dict)
    has_zones: bool = True
    applied: dict[str, dict[str, int]] = field(default_factory=dict)

    def put(
        self, kind: str, key: Key, values: Mapping[str, Any], tags: Iterable[str] = ()
    ) -> ImportItem:
        """Add a record, or change it; return it. A value of None leaves the old value."""
        item = self.items[kind].get(key)
        if item is None:
            # Values that are not given are left out, so that the defaults of the columns apply.
            item = self.items[kind][key] = ImportItem(
                kind, key, {k: v for k, v in values.items() if v is not None}
            )
        else:
            for column, value in values.items():
                # A file without a value does not clear the stored one: most lists have fewer
                # columns.
                if value is not None and item.values.get(column) != value:
                    # Only an existing row has an old value to report.
                    if item.id is not None:
                        item.before.setdefault(column, item.values.get(column))
                    item.values[column] = value
        # Tags are added and never removed by an import.
        item.new_tags |= set(tags) - item.tags
        return item

    def added(self) -> list[ImportItem]:
        """Return the records that will be added."""
        return [i for kind in KINDS for i in self.items[kind].values() if i.id is None]

    def changed(self) -> list[ImportItem]:
        """Return the existing records that will change."""
        return [
            i
            for kind in KINDS
            for i in self.items[kind].values()
            if i.id is not None and (i.before or i.new_tags or i.new_contact_methods is not None)
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of added and changed records per kind."""
        total = {kind: {"added": 0, "changed": 0} for kind in KINDS}
        for item in self.added():
            total[item.kind]["added"] += 1
        for item in self.changed():
            total[item.kind]["changed"] += 1
        total["zone"] = {
            "added": sum(z.id is None for z in self.zones.values()),
            "changed": sum(z.is_changed for z in self.zones.values()),
        }
        added = sum(not exists for exists in self.assignments.values())
        total["zone assignment"] = {"added": added, "changed": 0}
        return total

    def lines(self) -> Iterable[str]:
        """Yield the changes for ``--dry-run``: ``+`` for added, ``~`` for changed records."""
        for item in self.added():
            yield f"+ {item.kind} {label(item)}{_details(item)}"
        for item in self.changed():
            changes = [
                f"{c} {_value_text(b)} -> {_value_text(item.values[c])}"
                for c, b in item.before.items()
            ]
            changes += [f"tag {t}" for t in sorted(item.new_tags)]
            if item.new_contact_methods is not None:
                changes.append(
                    "contact methods "
                    + ", ".join(f"{k}:{v}" for k, v, _ in item.new_contact_methods)
                )
            yield f"~ {item.kind} {label(item)}: {'; '.join(changes)}"
        for name, zone in self.zones.items():
            if zone.id is None:
                yield f"+ zone {name}"
            elif zone.is_changed:
                yield f"~ zone {name}: {zone.state}, note {_value_text(zone.note)}"
        for assignment, exists in self.assignments.items():
            if not exists:
                yield f"+ zone assignment {assignment}"


def _details(item: ImportItem) -> str:
    """Return what a scan would visit in addition to the record itself, and how it is reached."""
    parts = [
        f"{column} {item.values[column]}"
        for column in ("addresses", "paths", "backends")
        if item.values.get(column)
    ]
    if item.new_contact_methods:
        parts.append(", ".join(f"{k}:{v}" for k, v, _ in item.new_contact_methods))
    return f" ({'; '.join(parts)})" if parts else ""


def _value_text(value: Any) -> str:
    return "unset" if value is None else str(value[0] if isinstance(value, tuple) else value)


def label(item: ImportItem) -> str:
    """Return a record as an administrator refers to it."""
    if item.kind == "endpoint":
        return str(Target(item.values["host"], item.values["port"], item.values["protocol"]))
    if item.kind == "contact":
        client = item.values.get("client_id")
        return f"{item.values['name']} of {_value_text(client) if client else 'the staff'}"
    return str(
        item.values.get("name")
        if item.kind != "client"
        else f"{item.values['number']} {item.values['name']}"
    )


def key_of(
    kind: str, row: Mapping[str, Any], references: Mapping[str, Any], seen: dict[Key, int]
) -> Key:
    """Return the natural key of a row, by which an import recognises it.

    Two contacts of a client may have the same name, so contacts are numbered. A retired domain does
    not reserve its name, so its key has its client and the time of its creation too.

    Args:
        kind: One of :data:`KINDS`.
        row: The columns.
        references: Keys of the rows that it refers to.
        seen: Number of rows per key so far; it is updated.
    """
    # The key is what administrators identify the record by, since the ids of two databases differ.
    if kind == "client":
        return (row["number"],)
    if kind == "server":
        return (row["name"],)
    if kind == "contact":
        base: Key = (references.get("client_id"), row["name"])
        seen[base] = seen.get(base, 0) + 1
        return (*base, seen[base])
    if kind == "domain":
        # An active name is unique over all clients.
        if row["state"] != "retired":
            return (row["name"],)
        base = (row["name"], "retired", references.get("client_id"), row["created_at"])
        seen[base] = seen.get(base, 0) + 1
        return (*base, seen[base])
    return (references.get("domain_id"), row["host"], row["port"], row["protocol"])
