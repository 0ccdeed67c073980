"""JSON: every record whole, retired ones included (``certmgr.inventory/1``).

What is exported and imported again is the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inventory.errors import CertmgrError, UsageError
from inventory.importers.entry import ImportProblem
from inventory.importers.plan import ORDER, REFERENCES, ImportItem, ImportPlan, key_of, label
from inventory.names import normalise_host
from inventory.store import contacts, domains, records, servers
from inventory.targets import PROTOCOLS, parse_port
from inventory.vocabulary import PARTY_FIELDS, Purpose, RecordState, Role

SCHEMA = "certmgr.inventory/1"
MAX_BYTES = 1 << 30


def write(plan: ImportPlan) -> str:
    """References are places in the lists of the document: ``{"client": 0}`` is the first client."""
    places = {kind: {key: n for n, key in enumerate(plan.items[kind])} for kind in ORDER}
    document: dict[str, Any] = {"schema": SCHEMA}
    for kind in ORDER:
        listed = []
        for item in plan.items[kind].values():
            row = dict(item.values)
            for column, of_kind in REFERENCES[kind].items():
                value = row.pop(column)
                row[column.removesuffix("_id")] = None if value is None else places[of_kind][value]
            row["tags"] = sorted(item.tags)
            if kind == "contact":
                row["ways"] = [{"kind": k, "value": v, "state": s} for k, v, s in item.ways or []]
            listed.append(row)
        document[f"{kind}s"] = listed
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def read(path: Path, plan: ImportPlan) -> None:
    """Adds the document to the plan.

    A record that is wrong becomes a problem, and so does what refers to it.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES >> 20} MB", "", "Split it.")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", error.strerror or str(error), "Name a readable JSON file."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not JSON",
            str(error)[:200],
            "Export one to compare: certmgr export --format json.",
        ) from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(
            f"{path} is not an inventory", f"its schema is not {SCHEMA}", "See docs/import.md."
        )
    keys: dict[str, list[Any]] = {}
    for kind in ORDER:
        rows = document.get(f"{kind}s", [])
        if not isinstance(rows, list):
            raise UsageError(f"{path}: '{kind}s' is not a list", "", "See docs/import.md.")
        plan.rows += len(rows)
        keys[kind] = _keys(kind, rows, keys)
        for number, row in enumerate(rows):
            where = f"{path}: {kind}s[{number}]"
            try:
                if keys[kind][number] is None:
                    raise UsageError(
                        "it is no record", "its names or what it refers to are missing"
                    )
                _put(plan, kind, row, keys, number)
            except CertmgrError as error:
                plan.problems.append(ImportProblem(where, str(error)))
                keys[kind][number] = None
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
                        where, f"it is no record ({type(error).__name__}: {str(error)[:80]})"
                    )
                )
                keys[kind][number] = None
    _drop_dangling(plan, path)


def _drop_dangling(plan: ImportPlan, path: Path) -> None:
    """A record may name a later one of its kind, which was then left out, or stand in a circle of
    resellers: it is left out too.
    """
    for kind, column in (("client", "reseller_id"), ("contact", "fallback_id")):
        items = plan.items[kind]
        while True:
            wrong = [
                i
                for i in items.values()
                if i.id is None
                and i.values.get(column) is not None
                and i.values[column] not in items
            ]
            wrong += (
                []
                if wrong or kind != "client"
                else [i for i in items.values() if i.id is None and _circular(items, i)]
            )
            if not wrong:
                break
            for item in wrong:
                plan.problems.append(
                    ImportProblem(
                        f"{path}: {kind} {item.values.get('number') or item.values.get('name')}",
                        "what it refers to was left out, or is a circle",
                    )
                )
                _drop(plan, item)


def _circular(items: dict[Any, ImportItem], item: ImportItem) -> bool:
    passed, current = {item.key}, item.values.get("reseller_id")
    while current is not None and current in items:
        if current in passed:
            return True
        passed.add(current)
        current = items[current].values.get("reseller_id")
    return False


def _drop(plan: ImportPlan, item: ImportItem) -> None:
    """Takes a planned record back, with everything planned that refers to it."""
    plan.items[item.kind].pop(item.key, None)
    if item.kind == "client":
        plan.client_names.pop(item.values["name"], None)
    for kind in ORDER:
        for column, of_kind in REFERENCES[kind].items():
            if of_kind == item.kind and kind != item.kind:
                for other in [
                    i
                    for i in plan.items[kind].values()
                    if i.id is None and i.values.get(column) == item.key
                ]:
                    plan.problems.append(
                        ImportProblem(f"{kind} {label(other)}", f"its {item.kind} was left out")
                    )
                    _drop(plan, other)


def _keys(kind: str, rows: list[Any], keys: dict[str, list[Any]]) -> list[Any]:
    found: list[Any] = []
    seen: dict[Any, int] = {}
    for row in rows:
        try:
            direct = {}
            for column, of_kind in REFERENCES[kind].items():
                place = row.get(column.removesuffix("_id"))
                if of_kind != kind and place is not None:
                    direct[column] = keys[of_kind][_place(place, keys[of_kind])]
                    if direct[column] is None:
                        raise KeyError(column)
            names = {
                k: normalise_host(row[k])
                for k in ("name", "host")
                if k in row and kind in ("domain", "endpoint")
            }
            found.append(
                key_of(kind, {"state": "active", "created_at": None} | row | names, direct, seen)
            )
        except (CertmgrError, KeyError, TypeError, IndexError, AttributeError):
            found.append(None)
    return found


def _place(place: Any, keys: list[Any]) -> int:
    """A reference is an index into a list of the document; a bool is not an index."""
    if type(place) is not int or not 0 <= place < len(keys):
        raise UsageError(f"'{str(place)[:40]}' is no place in a list of the document")
    return place


_REQUIRED = {"domain": "client", "endpoint": "domain"}


def _text(row: dict[str, Any], name: str, limit: int = 200) -> str | None:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{name}' is not a text")
    return records.clean(value, name, limit)


def _put(
    plan: ImportPlan, kind: str, row: dict[str, Any], keys: dict[str, list[Any]], number: int
) -> None:
    states = tuple(RecordState) if kind == "domain" else ("active", "retired")
    values: dict[str, Any] = {
        "state": records.choice(row.get("state"), "state", states) or "active"
    }
    for name in ("created_at", "retired_at"):
        if row.get(name) is not None:
            values[name] = int(row[name])
            if not 0 <= values[name] < 1 << 40:
                raise UsageError(f"'{name}' is no instant in seconds since 1970")
    if kind in ("client", "server", "domain"):
        values |= records.parties({f: row.get(f) for f in PARTY_FIELDS}) | {
            "note": _text(row, "note", records.MAX_TEXT)
        }
    if kind == "client":
        values |= {
            "number": records.required(row["number"], "number", 60),
            "name": records.required(row["name"], "name"),
        }
        values["account_manager"] = _text(row, "account_manager")
        if plan.client_names.setdefault(values["name"], values["number"]) != values["number"]:
            raise UsageError(
                f"The client name '{values['name']}' belongs to another client already"
            )
    elif kind == "server":
        values |= {
            "name": records.required(row["name"], "name"),
            "kind": records.choice(row.get("kind"), "kind", servers.KINDS) or "web",
        }
        values |= {
            "keeper": _text(row, "keeper"),
            "addresses": servers.addresses([row.get("addresses") or ""]),
        }
        values["backends"] = _text(row, "backends", records.MAX_TEXT) or ""
    elif kind == "contact":
        values |= {
            "name": records.required(row["name"], "name"),
            "role": records.choice(row.get("role"), "role", tuple(Role)) or "owner",
        }
        values |= {
            "language": contacts.language(row.get("language")),
            "time_zone": contacts.time_zone(row.get("time_zone")),
        }
    elif kind == "domain":
        values |= {
            "name": normalise_host(row["name"]),
            "purpose": records.choice(row.get("purpose"), "purpose", tuple(Purpose)) or "site",
        }
        values["paths"] = domains.paths([_text(row, "paths", 4000) or ""]) or None
        values["policy"] = records.choice(row.get("policy"), "policy", ("required", "optional"))
    else:
        if row["protocol"] not in PROTOCOLS:
            raise UsageError(
                f"'{str(row['protocol'])[:40]}' is not a protocol",
                f"known are {', '.join(PROTOCOLS)}",
            )
        values |= {
            "host": normalise_host(row["host"]),
            "port": parse_port(str(row["port"])),
            "protocol": row["protocol"],
        }
        values["addresses"] = servers.addresses([row.get("addresses") or ""]) or None
    for column, of_kind in REFERENCES[kind].items():
        place = row.get(column.removesuffix("_id"))
        if place is not None:
            values[column] = keys[of_kind][_place(place, keys[of_kind])]
            if values[column] is None:
                raise UsageError(f"its {of_kind} was left out")
        elif _REQUIRED.get(kind) == column.removesuffix("_id"):
            raise UsageError(f"it has no {of_kind}")
    ways = _ways(row) if kind == "contact" else None
    if not isinstance(row.get("tags") or [], list):
        raise UsageError("'tags' is not a list")
    tags = [records.clean_tag(t) for t in row.get("tags") or []]
    key = keys[kind][number]
    known = plan.items["domain"].get(key) if kind == "domain" else None
    if known is not None and known.values["client_id"] != values["client_id"]:
        raise UsageError(
            f"The domain {key[0]} belongs to another client already", "a name has one client"
        )
    item = plan.put(kind, key, values, tags)
    if ways is not None and ways != (item.ways or []):
        item.new_ways = ways


def _ways(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for way in row.get("ways") or []:
        kind, value = contacts.parse_way(f"{way['kind']}:{way['value']}")
        found.append(
            (kind, value, records.choice(way.get("state"), "state", ("good", "bad")) or "good")
        )
    return list({(k, v): (k, v, state) for k, v, state in found}.values())
