"""Rows of an import, added to its plan.

A row is checked completely before a part of it is planned, so that an invalid row changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from inventory.errors import CertmgrError, UsageError
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.plan import ImportItem, ImportPlan, Key, label
from inventory.names import normalise_host
from inventory.store import contacts, domains, editing, servers
from inventory.targets import Target, parse
from inventory.vocabulary import PARTY_FIELDS, HttpsPolicy, Purpose, Role


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
    methods = [contacts.parse_method(m) for m in row.contact_methods]
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
        _move_site(plan, host, key)
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
    # A role or language without a person describes no contact.
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
    # An existing contact keeps its role if the file has none.
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
            f"To move it: certmgr domain edit {host} --client {shlex.quote(number)}.",
        )
    # Without an endpoint, the row means the web site of the domain.
    target = parse(row.target) if row.target.strip() else Target(host)
    site = _site_above(plan, host, target.port, target.protocol) if target.host == host else None
    owner = number if site is None else _owner_of(plan, site)
    if site is not None and owner != number:
        raise UsageError(
            f"The endpoint {target} already belongs to the domain {site.key[0][0]} of the client"
            f" {owner}",
            "what is found there has one owner",
            f"To give it to another client: certmgr endpoint retire {target}, then import again.",
        )
    fields = row.domain_fields
    values: dict[str, Any] = {
        "name": host,
        "purpose": editing.choice(fields.get("purpose"), "purpose", tuple(Purpose)),
        "policy": editing.choice(fields.get("policy"), "HTTPS policy", tuple(HttpsPolicy)),
        "state": editing.choice(fields.get("state"), "state", ("active", "leaving")),
        "paths": " ".join(domains.paths([fields.get("paths") or ""])) or None,
        "note": editing.clean(fields.get("note"), "note", editing.MAX_TEXT),
        **editing.parties({f: fields.get(f) for f in PARTY_FIELDS}),
    }
    server = editing.clean(row.server, "server")
    if server is not None:
        values["server_id"] = (server,)
    endpoint = {
        "host": target.host,
        "port": target.port,
        "protocol": target.protocol,
        "addresses": " ".join(servers.addresses(row.addresses)) or None,
    }
    return values, endpoint, host


def _site_above(plan: ImportPlan, host: str, port: int, protocol: str) -> ImportItem | None:
    """Return the endpoint that a domain above a host has for the site of the host itself."""
    if ((host,), host, port, protocol) in plan.items["endpoint"]:
        return None
    labels = host.split(".")
    for above in (".".join(labels[i:]) for i in range(1, len(labels) - 1)):
        site = plan.items["endpoint"].get(((above,), host, port, protocol))
        domain = plan.items["domain"].get((above,))
        if site is None or domain is None:
            continue
        # A retired record keeps its owner, and is not visited.
        if "retired" not in (site.values.get("state"), domain.values.get("state")):
            return site
    return None


def _owner_of(plan: ImportPlan, endpoint: ImportItem) -> str:
    domain = plan.items["domain"][endpoint.key[0]]
    number: str = domain.values["client_id"][0]
    return number


def _move_site(plan: ImportPlan, host: str, key: Key) -> None:
    """Give a domain the endpoint of its site that a domain above it has, with its history."""
    site = _site_above(plan, host, key[2], key[3]) if key[1] == host else None
    if site is not None:
        del plan.items["endpoint"][site.key]
        site.key = key
        plan.items["endpoint"][key] = site
