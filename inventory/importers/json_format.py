"""JSON: all records with all fields, retired ones included (``certmgr.inventory/1``).

The format is lossless: an export of an imported export is identical.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inventory.errors import CertmgrError, UsageError
from inventory.importers import plan_guard, zones_format
from inventory.importers.entry import ImportProblem
from inventory.importers.format import (
    Certainty,
    ImportFormat,
    ImportSource,
    Rows,
    SourceSample,
)
from inventory.importers.plan import KINDS, REFERENCES, ImportItem, ImportPlan, key_of, label
from inventory.importers.table import read_source
from inventory.names import normalise_host
from inventory.store import contacts, domains, editing, servers
from inventory.targets import parse_port, parse_protocol
from inventory.vocabulary import PARTY_FIELDS, HttpsPolicy, Purpose, RecordState, Role

SCHEMA = "certmgr.inventory/1"
# 1 GB: the document is parsed in memory.
MAX_BYTES = 1 << 30


def write(plan: ImportPlan) -> str:
    """Return the document.

    A reference is an index into a list of the document: ``{"client": 0}`` is the first client.
    """
    # References by index, because ids of one database mean nothing in another.
    indexes = {kind: {key: n for n, key in enumerate(plan.items[kind])} for kind in KINDS}
    # The schema lets an import recognise the document.
    document: dict[str, Any] = {"schema": SCHEMA}
    for kind in KINDS:
        records_of_kind = []
        for item in plan.items[kind].values():
            row = dict(item.values)
            for column, of_kind in REFERENCES[kind].items():
                value = row.pop(column)
                row[column.removesuffix("_id")] = None if value is None else indexes[of_kind][value]
            row["tags"] = sorted(item.tags)
            if kind == "contact":
                row["ways"] = [
                    {"kind": k, "value": v, "state": s} for k, v, s in item.contact_methods or []
                ]
            records_of_kind.append(row)
        document[f"{kind}s"] = records_of_kind
    document |= zones_format.document(plan, indexes)
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read(path: Path, plan: ImportPlan) -> None:
    """Add the document to the plan.

    An invalid record becomes a problem, and so does each record that refers to it.

    Raises:
        UsageError: The file cannot be read, or is not an inventory.
    """
    document = _document(path)
    keys: dict[str, list[Any]] = {}
    for kind in KINDS:
        rows = document.get(f"{kind}s", [])
        if not isinstance(rows, list):
            raise UsageError(f"{path}: '{kind}s' is not a list", "", "See certmgr help import.")
        # Invalid records count as rows too, so that the report shows how many were read.
        plan.rows += len(rows)
        keys[kind] = _keys(kind, rows, keys)
        for number, row in enumerate(rows):
            where = f"{path}: {kind}s[{number}]"
            try:
                if keys[kind][number] is None:
                    raise UsageError(
                        "it is not a valid record",
                        "its name or a record that it refers to is missing or invalid",
                    )
                _plan_record(plan, kind, row, keys, number)
            except CertmgrError as error:
                plan.problems.append(ImportProblem(where, str(error)))
                keys[kind][number] = None
            # The document may have any shape, so any wrong type is a problem of its record.
            except (
                KeyError,
                TypeError,
                ValueError,
                IndexError,
                AttributeError,
                OverflowError,
            ) as error:
                plan.problems.append(
                    ImportProblem(
                        where,
                        f"it is not a valid record ({type(error).__name__}: {str(error)[:80]})",
                    )
                )
                keys[kind][number] = None
    _drop_dangling(plan, path)
    # A client or server that was dropped is none that a zone can be assigned to.
    kept = {
        kind: [key if key in plan.items[kind] else None for key in keys[kind]]
        for kind in ("client", "server")
    }
    zones_format.read(document, plan, kept, str(path))


def _document(path: Path) -> dict[str, Any]:
    """Return the document of a file; raise UsageError if it is not an inventory."""
    data = read_source(path, MAX_BYTES)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON",
            str(error)[:200],
            "Export one to compare: certmgr export --format json.",
        ) from None
    # Any other JSON would be read as an inventory without records, and report success.
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} is not an inventory", f"its schema is not {SCHEMA}", "See certmgr help import."
        )
    return document


def _drop_dangling(plan: ImportPlan, path: Path) -> None:
    """Drop planned records whose reseller or fallback contact was rejected.

    A record may refer to a later record of its kind, which is known to be invalid only now. Clients
    that are resellers of each other are dropped too.
    """
    for kind, column in (("client", "reseller_id"), ("contact", "fallback_id")):
        items = plan.items[kind]
        # Dropping a record can make further records invalid, so the check is repeated.
        while True:
            rejected = [
                i
                for i in items.values()
                if i.id is None
                and i.values.get(column) is not None
                and i.values[column] not in items
            ]
            rejected += (
                []
                if rejected or kind != "client"
                else [i for i in items.values() if i.id is None and _circular(items, i)]
            )
            if not rejected:
                break
            for item in rejected:
                plan.problems.append(
                    ImportProblem(
                        f"{path}: {kind} {item.values.get('number') or item.values.get('name')}",
                        "a record that it refers to was skipped, or refers back to it",
                    )
                )
                _drop(plan, item)


def _circular(items: dict[Any, ImportItem], item: ImportItem) -> bool:
    visited, current = {item.key}, item.values.get("reseller_id")
    while current is not None and current in items:
        if current in visited:
            return True
        visited.add(current)
        current = items[current].values.get("reseller_id")
    return False


def _drop(plan: ImportPlan, item: ImportItem) -> None:
    """Remove a planned record and all planned records that refer to it."""
    plan.items[item.kind].pop(item.key, None)
    if item.kind == "client":
        plan.client_names.pop(item.values["name"], None)
    for kind in KINDS:
        for column, of_kind in REFERENCES[kind].items():
            # References within the kind are checked by _drop_dangling().
            if of_kind == item.kind and kind != item.kind:
                for other in [
                    i
                    for i in plan.items[kind].values()
                    if i.id is None and i.values.get(column) == item.key
                ]:
                    plan.problems.append(
                        ImportProblem(f"{kind} {label(other)}", f"its {item.kind} was skipped")
                    )
                    _drop(plan, other)


def _keys(kind: str, rows: list[Any], keys: dict[str, list[Any]]) -> list[Any]:
    """Return the natural key of each record; None for an invalid record."""
    record_keys: list[Any] = []
    seen: dict[Any, int] = {}
    for row in rows:
        try:
            direct = {}
            for column, of_kind in REFERENCES[kind].items():
                reference = row.get(column.removesuffix("_id"))
                if of_kind != kind and reference is not None:
                    direct[column] = keys[of_kind][_index(reference, keys[of_kind])]
                    if direct[column] is None:
                        raise KeyError(column)
            names = {
                k: normalise_host(row[k])
                for k in ("name", "host")
                if k in row and kind in ("domain", "endpoint")
            }
            record_keys.append(
                key_of(kind, {"state": "active", "created_at": None} | row | names, direct, seen)
            )
        except (CertmgrError, KeyError, TypeError, IndexError, AttributeError):
            record_keys.append(None)
    return record_keys


def _index(value: Any, keys: list[Any]) -> int:
    """Return a reference as an index into a list of the document.

    Raises:
        UsageError: It is not an index of the list.
    """
    # A bool is an int in Python, and JSON's true is not an index.
    if type(value) is not int or not 0 <= value < len(keys):
        raise UsageError(
            f"'{str(value)[:40]}' is not an index of a list of the document",
            "",
            "Indexes start at 0.",
        )
    return value


_REQUIRED = {"domain": "client", "endpoint": "domain"}


def _text(row: dict[str, Any], name: str, limit: int = 200) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{name}' is not a text")
    return editing.clean(value, name, limit)


def _plan_record(
    plan: ImportPlan, kind: str, row: dict[str, Any], keys: dict[str, list[Any]], number: int
) -> None:
    """Check one record completely, then put it into the plan."""
    values = _shared_values(kind, row) | _own_values(plan, kind, row)
    values |= _references(kind, row, keys)
    methods = _contact_methods(row) if kind == "contact" else None
    # A string would be read as a list of one-letter tags.
    if not isinstance(row.get("tags") or [], list):
        raise UsageError("'tags' is not a list")
    tags = [editing.clean_tag(t) for t in row.get("tags") or []]
    key = keys[kind][number]
    # An import never moves a domain to another client.
    known = plan.items["domain"].get(key) if kind == "domain" else None
    if known is not None and known.values["client_id"] != values["client_id"]:
        raise UsageError(
            f"The domain {key[0]} already belongs to another client",
            "a domain belongs to one client",
        )
    item = plan.put(kind, key, values, tags)
    # Unlike a row of CSV, a record of this format has all methods, so they replace the stored ones.
    if methods is not None and methods != (item.contact_methods or []):
        item.new_contact_methods = methods


def _shared_values(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that several kinds have: state, times, parties and note."""
    # Only a domain can be leaving.
    states = tuple(RecordState) if kind == "domain" else ("active", "retired")
    values: dict[str, Any] = {
        "state": editing.choice(row.get("state"), "state", states) or "active"
    }
    for name in ("created_at", "retired_at"):
        if row.get(name) is not None:
            values[name] = int(row[name])
            # 2^40 seconds are 34,000 years: beyond, ``datetime`` fails when the record is shown.
            if not 0 <= values[name] < 1 << 40:
                raise UsageError(f"'{name}' is not a time in seconds since 1970")
    if kind in ("client", "server", "domain"):
        # A contact and an endpoint have no parties.
        values |= editing.parties({f: row.get(f) for f in PARTY_FIELDS})
        values["note"] = _text(row, "note", editing.MAX_TEXT)
    return values


def _own_values(plan: ImportPlan, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that only this kind has."""
    match kind:
        case "client":
            return _client_values(plan, row)
        case "server":
            return {
                "name": editing.required(row["name"], "name"),
                "kind": editing.choice(row.get("kind"), "kind", servers.KINDS) or "web",
                "keeper": _text(row, "keeper"),
                "addresses": " ".join(servers.addresses([row.get("addresses") or ""])),
                "backends": _text(row, "backends", editing.MAX_TEXT) or "",
            }
        case "contact":
            return {
                "name": editing.required(row["name"], "name"),
                "role": editing.choice(row.get("role"), "role", tuple(Role)) or "owner",
                "language": contacts.language(row.get("language")),
                "time_zone": contacts.time_zone(row.get("time_zone")),
            }
        case "domain":
            paths = domains.paths([_text(row, "paths", 4000) or ""])
            return {
                "name": normalise_host(row["name"]),
                "purpose": editing.choice(row.get("purpose"), "purpose", tuple(Purpose)) or "site",
                "paths": " ".join(paths) or None,
                "policy": editing.choice(row.get("policy"), "HTTPS policy", tuple(HttpsPolicy)),
            }
        case _:
            return {
                "host": normalise_host(row["host"]),
                "port": parse_port(str(row["port"])),
                "protocol": parse_protocol(str(row["protocol"])),
                "addresses": " ".join(servers.addresses([row.get("addresses") or ""])) or None,
            }


def _client_values(plan: ImportPlan, row: dict[str, Any]) -> dict[str, Any]:
    number = editing.required(row["number"], "number", 60)
    name = editing.required(row["name"], "name")
    # Commands accept a client's name instead of its number, so it must name one client.
    if plan.client_names.setdefault(name, number) != number:
        raise UsageError(f"The client name '{name}' already belongs to another client")
    return {"number": number, "name": name, "account_manager": _text(row, "account_manager")}


def _references(kind: str, row: dict[str, Any], keys: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the keys of the records that a record refers to, by column.

    Raises:
        UsageError: A reference is missing or invalid, or its record was skipped.
    """
    values: dict[str, Any] = {}
    for column, of_kind in REFERENCES[kind].items():
        reference = row.get(column.removesuffix("_id"))
        if reference is not None:
            values[column] = keys[of_kind][_index(reference, keys[of_kind])]
            if values[column] is None:
                raise UsageError(f"its {of_kind} was skipped")
        elif _REQUIRED.get(kind) == column.removesuffix("_id"):
            raise UsageError(f"it has no {of_kind}")
    return values


def _contact_methods(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    methods = []
    for method in row.get("ways") or []:
        kind, value = contacts.parse_method(f"{method['kind']}:{method['value']}")
        methods.append(
            (kind, value, editing.choice(method.get("state"), "state", ("good", "bad")) or "good")
        )
    # A method that occurs twice is stored once.
    return list({(k, v): (k, v, state) for k, v, state in methods}.values())


def _add(plan: ImportPlan, source: ImportSource) -> Rows:
    """Add the document to the plan, and yield no row."""
    read(source.path, plan)
    # Records name their client. A list that one client sent must not change those of another.
    if source.client:
        plan_guard.refuse_other_clients(plan, source.client)
    yield from ()


def _has_schema(sample: SourceSample) -> bool:
    return sample.text.lstrip()[:1] == "{" and '"schema"' in sample.text


FORMAT = ImportFormat(
    name="json",
    summary="an export of certmgr, with all records and all fields",
    read=_add,
    signs={Certainty.SCHEMA: _has_schema},
    names_clients=True,
)
