"""Plan of an import, and its application.

Planning is pure and works on a snapshot of the inventory. The plan is applied in one transaction.
A row is checked completely before a part of it is planned, so that an invalid row changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, delete, insert, select, update

from inventory.db.database import Tx
from inventory.errors import CertmgrError, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.models import ContactMethod, Tag, metadata
from inventory.names import normalise_host
from inventory.store import contacts, domains, editing, servers
from inventory.targets import Target, parse
from inventory.vocabulary import PARTY_FIELDS, Purpose, Role

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
_TABLES: dict[str, Table] = {kind: metadata.tables[kind] for kind in KINDS}
Key = tuple[Any, ...]


@dataclass(slots=True)
class ImportItem:
    """A record that exists or will be added.

    Attributes:
        kind: One of :data:`KINDS`.
        key: Natural key (see :func:`key_of`).
        values: Columns. A reference is the key of another item.
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
class ImportPlan:
    """All records, with the changes of an import.

    Attributes:
        items: Kind -> key -> record.
        problems: Rows that were skipped.
        rows: Number of rows that were read.
        client_names: Name of a client -> its number.
        applied: Counts of added and changed records, after the plan was applied.
    """

    items: dict[str, dict[Key, ImportItem]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    problems: list[ImportProblem] = field(default_factory=list)
    rows: int = 0
    client_names: dict[str, str] = field(default_factory=dict)
    applied: dict[str, dict[str, int]] = field(default_factory=dict)

    def put(
        self, kind: str, key: Key, values: Mapping[str, Any], tags: Iterable[str] = ()
    ) -> ImportItem:
        """Add a record, or change it; return it. A value of None leaves the old value."""
        item = self.items[kind].get(key)
        if item is None:
            item = self.items[kind][key] = ImportItem(
                kind, key, {k: v for k, v in values.items() if v is not None}
            )
        else:
            for column, value in values.items():
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
        return total

    def lines(self) -> Iterable[str]:
        """Yield the changes for ``--dry-run``: ``+`` for added, ``~`` for changed records."""
        for item in self.added():
            yield f"+ {item.kind} {label(item)}"
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


# -- snapshot


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


def snapshot(conn: Any) -> ImportPlan:
    """Return all records of the inventory, as a plan without changes."""
    plan = ImportPlan()
    keys: dict[str, dict[int, Key]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        table = _TABLES[kind]
        tags = editing.tags_of(conn, kind)
        rows = [dict(r) for r in conn.execute(select(table).order_by(table.c.id)).mappings()]
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
    by_contact: dict[int, list[tuple[str, str, str]]] = {}
    for row in conn.execute(
        select(ContactMethod).order_by(ContactMethod.contact_id, ContactMethod.position)
    ).mappings():
        by_contact.setdefault(row["contact_id"], []).append(
            (row["kind"], row["value"], row["state"])
        )
    for item in plan.items["contact"].values():
        item.contact_methods = by_contact.get(item.id or 0, [])
    return plan


# -- rows


def add_rows(plan: ImportPlan, rows: Iterable[ImportRow | ImportProblem]) -> None:
    """Plan all valid rows; invalid rows become problems."""
    for row in rows:
        plan.rows += 1
        if isinstance(row, ImportProblem):
            plan.problems.append(row)
            continue
        try:
            _add_row(plan, row)
        except CertmgrError as error:
            plan.problems.append(ImportProblem(row.where, str(error)))


def _add_row(plan: ImportPlan, row: ImportRow) -> None:
    number = editing.required(row.client, "client", 60)
    client_values = _client_values(plan, row, number)
    tags = [editing.clean_tag(t) for t in row.tags]
    methods = [contacts.parse_way(m) for m in row.contact_methods]
    contact_values = _contact_values(row)
    domain_values, endpoint_values, host = _domain_values(plan, row, number)
    # The server is referred to by name and may be added by the same row.
    server = editing.clean(row.server, "server")
    referenced: tuple[tuple[str, Key], ...] = (
        ("server", (server,)),
        ("contact", ((number,), contact_values.get("name"), 1)),
    )
    for kind, key in referenced:
        if key in plan.items[kind] and plan.items[kind][key].values.get("state") == "retired":
            raise UsageError(
                f"The {kind} '{label(plan.items[kind][key])}' is retired", "", "Name another one."
            )
    # The whole row is valid. Planning starts here, and no step of it can fail.
    if (name := client_values.get("name")) is not None:
        # A renamed client gives its old name free for a later row.
        if (known := plan.items["client"].get((number,))) is not None and plan.client_names.get(
            known.values["name"]
        ) == number:
            del plan.client_names[known.values["name"]]
        plan.client_names[name] = number
    client = plan.put("client", (number,), client_values)
    if server is not None:
        plan.put(
            "server",
            (server,),
            # A new server is a web server until an administrator changes its kind.
            {"name": server, **({} if (server,) in plan.items["server"] else {"kind": "web"})},
        )
    if contact_values:
        _put_contact(plan, client, contact_values, methods)
    if domain_values is not None and endpoint_values is not None:
        domain = plan.put("domain", (host,), domain_values | {"client_id": client.key}, tags)
        key = (
            domain.key,
            endpoint_values["host"],
            endpoint_values["port"],
            endpoint_values["protocol"],
        )
        endpoint = plan.put("endpoint", key, endpoint_values | {"domain_id": domain.key})
        # An endpoint that the file contains is in use again.
        if endpoint.values.get("state") == "retired":
            plan.put("endpoint", key, {"state": "active"})
            endpoint.before.setdefault("retired_at", endpoint.values.get("retired_at"))
            endpoint.values["retired_at"] = None
    else:
        # A row without a domain describes the client, and its tags belong to the client.
        client.new_tags |= set(tags) - client.tags


def _client_values(plan: ImportPlan, row: ImportRow, number: str) -> dict[str, Any]:
    fields = row.client_fields
    values: dict[str, Any] = {
        "number": number,
        "account_manager": editing.clean(fields.get("account_manager"), "account manager"),
    }
    name = editing.clean(fields.get("name"), "client name")
    known = plan.items["client"].get((number,))
    if known is not None and known.values.get("state") == "retired":
        raise UsageError(f"The client {number} is retired", "", "Use another number.")
    # A new client without a name is named after its number.
    if name is None and known is None:
        name = number
    if name is not None:
        holder = plan.client_names.get(name, number)
        if holder != number:
            raise UsageError(
                f"The client name '{name}' already belongs to the client {holder}",
                "names of clients are unique",
                "Use another name.",
            )
        values["name"] = name
    return values


def _contact_values(row: ImportRow) -> dict[str, Any]:
    fields = row.contact_fields
    name = editing.clean(row.contact, "contact name")
    # A contact is recognised by its name, or by its first contact method.
    if name is None and not row.contact_methods:
        return {}
    return {
        "name": name or row.contact_methods[0],
        "role": editing.choice(fields.get("role"), "role", tuple(Role)),
        "language": contacts.language(fields.get("language")),
        "time_zone": contacts.time_zone(fields.get("time_zone")),
    }


def _put_contact(
    plan: ImportPlan, client: ImportItem, values: dict[str, Any], methods: list[tuple[str, str]]
) -> None:
    key = (client.key, values["name"], 1)
    if key not in plan.items["contact"] and not values.get("role"):
        values["role"] = "owner"
    item = plan.put("contact", key, values | {"client_id": client.key})
    current = (
        item.new_contact_methods
        if item.new_contact_methods is not None
        else (item.contact_methods or [])
    )
    # Methods are added and never removed, because a row may contain only one of them.
    new = [(k, v, "good") for k, v in methods if (k, v) not in {(a, b) for a, b, _ in current}]
    if new or (item.id is None and item.new_contact_methods is None):
        item.new_contact_methods = [*current, *dict.fromkeys(new)]


def _domain_values(
    plan: ImportPlan, row: ImportRow, number: str
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str]:
    # A row may describe only a client and a contact.
    if not row.domain.strip():
        if row.target.strip():
            raise UsageError(
                "The row has an endpoint and no domain",
                "",
                "Give the domain that the endpoint belongs to.",
            )
        return None, None, ""
    host = normalise_host(row.domain)
    known = plan.items["domain"].get((host,))
    if known is not None and known.values["client_id"] != (number,):
        raise UsageError(
            f"The domain {host} already belongs to the client {known.values['client_id'][0]}",
            "a domain belongs to one client",
            f"To move it: certmgr domain edit {host} --client {number}.",
        )
    fields = row.domain_fields
    values: dict[str, Any] = {
        "name": host,
        "purpose": editing.choice(fields.get("purpose"), "purpose", tuple(Purpose)),
        "policy": editing.choice(fields.get("policy"), "HTTPS policy", ("required", "optional")),
        "state": editing.choice(fields.get("state"), "state", ("active", "leaving")),
        "paths": domains.paths([fields.get("paths") or ""]) or None,
        "note": editing.clean(fields.get("note"), "note", editing.MAX_TEXT),
        **editing.parties({f: fields.get(f) for f in PARTY_FIELDS}),
    }
    server = editing.clean(row.server, "server")
    if server is not None:
        values["server_id"] = (server,)
    # Without an endpoint, the row means the web site of the domain.
    target = parse(row.target) if row.target.strip() else Target(host)
    endpoint = {
        "host": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "addresses": servers.addresses(row.addresses) or None,
    }
    return values, endpoint, host


# -- applying


def apply(tx: Tx, plan: ImportPlan) -> None:
    """Write the additions and changes of the plan, and record them in the audit log.

    Kinds are written in the order of :data:`KINDS`, because later kinds refer to earlier ones.
    """
    plan.applied = plan.counts()
    for kind in KINDS:
        table, self_references = (
            _TABLES[kind],
            {c for c, k in REFERENCES[kind].items() if k == kind},
        )
        items = list(plan.items[kind].values())
        new, edits = [i for i in items if i.id is None], [i for i in items if i.before]
        # Changes first: a new row may use a name that a change gives free.
        for item in edits:
            _update(tx, plan, item, set(item.before) - self_references)
        # Large imports are written in batches, which limits the size of a statement.
        for start in range(0, len(new), 1000):
            batch = new[start : start + 1000]
            rows = [_columns(tx, plan, i, table) for i in batch]
            ids = (
                tx.conn.execute(
                    insert(table).returning(table.c.id, sort_by_parameter_order=True), rows
                )
                .scalars()
                .all()
            )
            for item, row_id in zip(batch, ids, strict=True):
                item.id = int(row_id)
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
        _write_tags(tx, kind, items)
    _write_contact_methods(tx, list(plan.items["contact"].values()))


def _update(tx: Tx, plan: ImportPlan, item: ImportItem, columns: set[str]) -> None:
    if columns:
        table = _TABLES[item.kind]
        values = _columns(tx, plan, item, table)
        tx.conn.execute(
            update(table).where(table.c.id == item.id).values({c: values[c] for c in columns})
        )


_DEFAULTS: dict[str, dict[str, Any]] = {
    "client": {"state": "active"},
    "server": {"state": "active", "addresses": "", "backends": ""},
    "contact": {"state": "active", "role": "owner"},
    "domain": {"state": "active", "purpose": "site", "paths": ""},
    "endpoint": {"state": "active"},
}


def _columns(tx: Tx, plan: ImportPlan, item: ImportItem, table: Table) -> dict[str, Any]:
    row: dict[str, Any] = {c.name: None for c in table.c if c.name != "id"} | {"created_at": tx.at}
    row |= _DEFAULTS[item.kind] | {k: v for k, v in item.values.items() if k in row}
    for column, kind in REFERENCES[item.kind].items():
        if row[column] is not None:
            # A row of the same kind may not exist yet; apply() sets these references last.
            row[column] = plan.items[kind][row[column]].id
    return row


def _write_tags(tx: Tx, kind: str, items: list[ImportItem]) -> None:
    rows = [{"kind": kind, "row_id": i.id, "name": t} for i in items for t in sorted(i.new_tags)]
    if rows:
        tx.conn.execute(insert(Tag), rows)


def _write_contact_methods(tx: Tx, items: list[ImportItem]) -> None:
    rows = []
    for item in items:
        if item.new_contact_methods is None:
            continue
        # The position is part of a row, so all methods of a contact are written again.
        if item.contact_methods:
            tx.conn.execute(delete(ContactMethod).where(ContactMethod.contact_id == item.id))
        rows += [
            {"contact_id": item.id, "position": n, "kind": k, "value": v, "state": s}
            for n, (k, v, s) in enumerate(item.new_contact_methods)
        ]
    if rows:
        tx.conn.execute(insert(ContactMethod), rows)
