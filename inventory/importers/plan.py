"""What an import would change, and the change itself.

Planning is pure over a snapshot; applying is one transaction.

Every row is checked whole before any part of it is planned, so that a bad row leaves nothing
behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Table, insert, select, update

from inventory.db.database import Tx
from inventory.errors import CertmgrError, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.models import tables
from inventory.names import normalise_host
from inventory.store import contacts, domains, records, servers
from inventory.targets import Target, parse
from inventory.vocabulary import PARTY_FIELDS, Purpose, Role

ORDER = ("client", "server", "contact", "domain", "endpoint")
# A column of each kind that holds another row: column -> kind.
REFERENCES = {
    "client": {"reseller_id": "client"},
    "server": {},
    "contact": {"client_id": "client", "fallback_id": "contact"},
    "domain": {"client_id": "client", "server_id": "server"},
    "endpoint": {"domain_id": "domain"},
}
_TABLES: dict[str, Table] = {kind: tables.metadata.tables[kind] for kind in ORDER}
Key = tuple[Any, ...]


@dataclass(slots=True)
class ImportItem:
    """A row that exists (``id``) or will.

    References in ``values`` are keys of other items. ``before``: what a change replaces.
    """

    kind: str
    key: Key
    values: dict[str, Any]
    id: int | None = None
    before: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    new_tags: set[str] = field(default_factory=set)
    ways: list[tuple[str, str, str]] | None = None  # kind, value, state
    new_ways: list[tuple[str, str, str]] | None = None


@dataclass(slots=True)
class ImportPlan:
    items: dict[str, dict[Key, ImportItem]] = field(
        default_factory=lambda: {kind: {} for kind in ORDER}
    )
    problems: list[ImportProblem] = field(default_factory=list)
    rows: int = 0
    client_names: dict[str, str] = field(default_factory=dict)
    applied: dict[str, dict[str, int]] = field(default_factory=dict)

    def put(
        self, kind: str, key: Key, values: Mapping[str, Any], tags: Iterable[str] = ()
    ) -> ImportItem:
        """Adds the item, or changes what ``values`` gives. None says nothing."""
        item = self.items[kind].get(key)
        if item is None:
            item = self.items[kind][key] = ImportItem(
                kind, key, {k: v for k, v in values.items() if v is not None}
            )
        else:
            for column, value in values.items():
                if value is not None and item.values.get(column) != value:
                    if item.id is not None:
                        item.before.setdefault(column, item.values.get(column))
                    item.values[column] = value
        item.new_tags |= set(tags) - item.tags
        return item

    def added(self) -> list[ImportItem]:
        return [i for kind in ORDER for i in self.items[kind].values() if i.id is None]

    def changed(self) -> list[ImportItem]:
        return [
            i
            for kind in ORDER
            for i in self.items[kind].values()
            if i.id is not None and (i.before or i.new_tags or i.new_ways is not None)
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        total = {kind: {"added": 0, "changed": 0} for kind in ORDER}
        for item in self.added():
            total[item.kind]["added"] += 1
        for item in self.changed():
            total[item.kind]["changed"] += 1
        return total

    def lines(self) -> Iterable[str]:
        """The difference in words: ``+`` added, ``~`` changed."""
        for item in self.added():
            yield f"+ {item.kind} {label(item)}"
        for item in self.changed():
            said = [f"{c} {_shown(b)} -> {_shown(item.values[c])}" for c, b in item.before.items()]
            said += [f"tag {t}" for t in sorted(item.new_tags)]
            if item.new_ways is not None:
                said.append("ways " + ", ".join(f"{k}:{v}" for k, v, _ in item.new_ways))
            yield f"~ {item.kind} {label(item)}: {'; '.join(said)}"


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value[0] if isinstance(value, tuple) else value)


def label(item: ImportItem) -> str:
    if item.kind == "endpoint":
        return str(Target(item.values["host"], item.values["port"], item.values["protocol"]))
    if item.kind == "contact":
        client = item.values.get("client_id")
        return f"{item.values['name']} of {_shown(client) if client else 'the staff'}"
    return str(
        item.values.get("name")
        if item.kind != "client"
        else f"{item.values['number']} {item.values['name']}"
    )


# -- snapshot


def key_of(
    kind: str, row: Mapping[str, Any], references: Mapping[str, Any], seen: dict[Key, int]
) -> Key:
    """The natural key of a row: what an export and an import agree upon.

    A contact's name may stand twice: they are counted.
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
        if row["state"] != "retired":
            return (row["name"],)
        base = (row["name"], "retired", references.get("client_id"), row["created_at"])
        seen[base] = seen.get(base, 0) + 1
        return (*base, seen[base])
    return (references.get("domain_id"), row["host"], row["port"], row["protocol"])


def snapshot(conn: Any) -> ImportPlan:
    """Everything that exists, as a plan without changes."""
    plan = ImportPlan()
    keys: dict[str, dict[int, Key]] = {kind: {} for kind in ORDER}
    for kind in ORDER:
        table = _TABLES[kind]
        tags = records.tags_of(conn, kind)
        rows = [dict(r) for r in conn.execute(select(table).order_by(table.c.id)).mappings()]
        seen: dict[Key, int] = {}
        for row in rows:  # keys first: a client may name a later client as its reseller
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
    way = tables.contact_way
    by_contact: dict[int, list[tuple[str, str, str]]] = {}
    for row in conn.execute(select(way).order_by(way.c.contact_id, way.c.position)).mappings():
        by_contact.setdefault(row["contact_id"], []).append(
            (row["kind"], row["value"], row["state"])
        )
    for item in plan.items["contact"].values():
        item.ways = by_contact.get(item.id or 0, [])
    return plan


# -- rows


def add_entries(plan: ImportPlan, entries: Iterable[ImportRow | ImportProblem]) -> None:
    """Plans every good row; bad ones become problems."""
    for entry in entries:
        plan.rows += 1
        if isinstance(entry, ImportProblem):
            plan.problems.append(entry)
            continue
        try:
            _add(plan, entry)
        except CertmgrError as error:
            plan.problems.append(ImportProblem(entry.where, str(error)))


def _add(plan: ImportPlan, entry: ImportRow) -> None:
    number = records.required(entry.client, "client", 60)
    client_values = _client_values(plan, entry, number)
    tags = [records.clean_tag(t) for t in entry.tags]
    ways = [contacts.parse_way(w) for w in entry.ways]
    contact_values = _contact_values(entry)
    domain_values, endpoint_values, host = _domain_values(plan, entry, number)
    server = records.clean(entry.server, "server")
    named: tuple[tuple[str, Key], ...] = (
        ("server", (server,)),
        ("contact", ((number,), contact_values.get("name"), 1)),
    )
    for kind, key in named:
        if key in plan.items[kind] and plan.items[kind][key].values.get("state") == "retired":
            raise UsageError(
                f"The {kind} '{label(plan.items[kind][key])}' is retired", "", "Name another one."
            )
    # Nothing was planned so far: from here on nothing can fail.
    if (name := client_values.get("name")) is not None:
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
            {"name": server, **({} if (server,) in plan.items["server"] else {"kind": "web"})},
        )
    if contact_values:
        _put_contact(plan, client, contact_values, ways)
    if domain_values is not None and endpoint_values is not None:
        domain = plan.put("domain", (host,), domain_values | {"client_id": client.key}, tags)
        key = (
            domain.key,
            endpoint_values["host"],
            endpoint_values["port"],
            endpoint_values["protocol"],
        )
        endpoint = plan.put("endpoint", key, endpoint_values | {"domain_id": domain.key})
        if endpoint.values.get("state") == "retired":
            plan.put("endpoint", key, {"state": "active"})
            endpoint.before.setdefault("retired_at", endpoint.values.get("retired_at"))
            endpoint.values["retired_at"] = None
    else:
        client.new_tags |= set(tags) - client.tags


def _client_values(plan: ImportPlan, entry: ImportRow, number: str) -> dict[str, Any]:
    fields = entry.client_fields
    values: dict[str, Any] = {
        "number": number,
        "account_manager": records.clean(fields.get("account_manager"), "account manager"),
    }
    name = records.clean(fields.get("name"), "client name")
    known = plan.items["client"].get((number,))
    if known is not None and known.values.get("state") == "retired":
        raise UsageError(f"The client {number} is retired", "", "Use another number.")
    if name is None and known is None:
        name = number
    if name is not None:
        holder = plan.client_names.get(name, number)
        if holder != number:
            raise UsageError(
                f"The client name '{name}' belongs to the client {holder} already",
                "a name stands for one client",
            )
        values["name"] = name
    return values


def _contact_values(entry: ImportRow) -> dict[str, Any]:
    fields = entry.contact_fields
    name = records.clean(entry.contact, "contact name")
    if name is None and not entry.ways:
        return {}
    return {
        "name": name or entry.ways[0],
        "role": records.choice(fields.get("role"), "role", tuple(Role)),
        "language": contacts.language(fields.get("language")),
        "time_zone": contacts.time_zone(fields.get("time_zone")),
    }


def _put_contact(
    plan: ImportPlan, client: ImportItem, values: dict[str, Any], ways: list[tuple[str, str]]
) -> None:
    key = (client.key, values["name"], 1)
    if key not in plan.items["contact"] and not values.get("role"):
        values["role"] = "owner"
    item = plan.put("contact", key, values | {"client_id": client.key})
    have = item.new_ways if item.new_ways is not None else (item.ways or [])
    fresh = [(k, v, "good") for k, v in ways if (k, v) not in {(a, b) for a, b, _ in have}]
    if fresh or (item.id is None and item.new_ways is None):
        item.new_ways = [*have, *dict.fromkeys(fresh)]


def _domain_values(
    plan: ImportPlan, entry: ImportRow, number: str
) -> tuple[dict[str, Any] | None, dict[str, Any] | None, str]:
    if not entry.domain.strip():
        if entry.target.strip():
            raise UsageError(
                "The row has an endpoint and no domain",
                "",
                "Give the domain that the endpoint belongs to.",
            )
        return None, None, ""
    host = normalise_host(entry.domain)
    known = plan.items["domain"].get((host,))
    if known is not None and known.values["client_id"] != (number,):
        raise UsageError(
            f"The domain {host} belongs to the client {known.values['client_id'][0]} already",
            "a name has one client",
            f"To move it: certmgr domain edit {host} --client {number}.",
        )
    fields = entry.domain_fields
    values: dict[str, Any] = {
        "name": host,
        "purpose": records.choice(fields.get("purpose"), "purpose", tuple(Purpose)),
        "policy": records.choice(fields.get("policy"), "HTTPS policy", ("required", "optional")),
        "state": records.choice(fields.get("state"), "state", ("active", "leaving")),
        "paths": domains.paths([fields.get("paths") or ""]) or None,
        "note": records.clean(fields.get("note"), "note", records.MAX_TEXT),
        **records.parties({f: fields.get(f) for f in PARTY_FIELDS}),
    }
    server = records.clean(entry.server, "server")
    if server is not None:
        values["server_id"] = (server,)
    target = parse(entry.target) if entry.target.strip() else Target(host)
    endpoint = {
        "host": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "addresses": servers.addresses(entry.addresses) or None,
    }
    return values, endpoint, host


# -- applying


def apply(tx: Tx, plan: ImportPlan) -> None:
    """Writes what the plan adds and changes, and audits it.

    References are resolved kind by kind.
    """
    plan.applied = plan.counts()
    for kind in ORDER:
        table, own = _TABLES[kind], {c for c, k in REFERENCES[kind].items() if k == kind}
        items = list(plan.items[kind].values())
        new, edits = [i for i in items if i.id is None], [i for i in items if i.before]
        # Changes first: a new row may take a name that a change sets free.
        for item in edits:
            _update(tx, plan, item, set(item.before) - own)
        for start in range(0, len(new), 1000):
            part = new[start : start + 1000]
            rows = [_columns(tx, plan, i, table) for i in part]
            ids = (
                tx.conn.execute(
                    insert(table).returning(table.c.id, sort_by_parameter_order=True), rows
                )
                .scalars()
                .all()
            )
            for item, row_id in zip(part, ids, strict=True):
                item.id = int(row_id)
            tx.audit_many("import", kind, [(i.id, {"label": label(i)}) for i in part])
        # References within the kind last: every row exists now.
        for item in edits:
            _update(tx, plan, item, set(item.before) & own)
        for item in new:
            _update(tx, plan, item, {c for c in own if item.values.get(c) is not None})
        tx.audit_many(
            "edit",
            kind,
            [(i.id, {c: [b, i.values[c]] for c, b in i.before.items()}) for i in edits],
        )
        _write_tags(tx, kind, items)
    _write_ways(tx, list(plan.items["contact"].values()))


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
            # A row of the same kind may not exist yet: it is filled in when all of them do.
            row[column] = plan.items[kind][row[column]].id
    return row


def _write_tags(tx: Tx, kind: str, items: list[ImportItem]) -> None:
    rows = [{"kind": kind, "row_id": i.id, "name": t} for i in items for t in sorted(i.new_tags)]
    if rows:
        tx.conn.execute(insert(tables.tag), rows)


def _write_ways(tx: Tx, items: list[ImportItem]) -> None:
    rows = []
    for item in items:
        if item.new_ways is None:
            continue
        if item.ways:
            tx.conn.execute(
                tables.contact_way.delete().where(tables.contact_way.c.contact_id == item.id)
            )
        rows += [
            {"contact_id": item.id, "position": n, "kind": k, "value": v, "state": s}
            for n, (k, v, s) in enumerate(item.new_ways)
        ]
    if rows:
        tx.conn.execute(insert(tables.contact_way), rows)
