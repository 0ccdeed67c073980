"""What an import may not do unasked: other clients' records, contacts, addresses. Pure.

A customer list often comes from the client. It must not redirect the notices of a client, nor point
a scan to an address inside the provider's network.
"""

from __future__ import annotations

from collections.abc import Callable

from inventory.importers.entry import ImportProblem
from inventory.importers.plan import ImportItem, ImportPlan, label
from inventory.text import printable

# Columns of existing records whose change redirects notices or scans.
_SENSITIVE = {
    "client": ("reseller_id",),
    "contact": ("name", "role", "fallback_id", "language", "time_zone", "state"),
    "server": ("addresses", "backends"),
    "domain": ("paths",),
    "endpoint": ("addresses",),
}


def sensitive(plan: ImportPlan) -> list[str]:
    """Return the changes to existing contacts, addresses and paths, one line each."""
    return [line for item in _affected(plan) for line in _lines(item)]


def withhold(plan: ImportPlan) -> int:
    """Take the changes of :func:`sensitive` out of the plan, and return their number."""
    count = 0
    for item in _affected(plan):
        for column in _changed(item):
            # The stored value stays, and the rest of the record is imported.
            item.values[column] = item.before.pop(column)
            count += 1
        if item.new_contact_methods is not None:
            item.new_contact_methods = None
            count += 1
    return count


def _affected(plan: ImportPlan) -> list[ImportItem]:
    return [
        item
        for item in plan.changed()
        if _changed(item) or (item.kind == "contact" and item.new_contact_methods is not None)
    ]


def _changed(item: ImportItem) -> list[str]:
    return [c for c in _SENSITIVE.get(item.kind, ()) if c in item.before]


def _lines(item: ImportItem) -> list[str]:
    lines = [
        f"! {item.kind} {label(item)}: {c} {_text(item.before[c])} -> {_text(item.values[c])}"
        for c in _changed(item)
    ]
    if item.new_contact_methods is not None:
        old, new = (
            ", ".join(f"{k}:{v}" for k, v, _ in methods or ()) or "unset"
            for methods in (item.contact_methods, item.new_contact_methods)
        )
        lines.append(f"! contact {label(item)}: contact methods {old} -> {new}")
    return lines


def _text(value: object) -> str:
    return "unset" if value in (None, "") else str(value)


def refuse_internal(
    plan: ImportPlan, refusal: Callable[[str], str | None], key: str = "[network] allow"
) -> None:
    """Drop the addresses of an import that a scan must not visit; each becomes a problem.

    Args:
        plan: The plan; it is changed.
        refusal: Returns why an address is not visited; None if it may be.
        key: The configuration key that permits an address.
    """
    for kind in ("endpoint", "server"):
        for item in plan.items[kind].values():
            # Stored addresses that do not change were accepted before.
            if item.id is not None and "addresses" not in item.before:
                continue
            addresses = str(item.values.get("addresses") or "").split()
            reasons = {a: reason for a in addresses if (reason := refusal(a)) is not None}
            if not reasons:
                continue
            named = ", ".join(f"{printable(a, 60)} ({r})" for a, r in reasons.items())
            plan.problems.append(
                ImportProblem(
                    f"{kind} {label(item)}",
                    f"the address {named} is internal: permit it in {key}, or add"
                    " --internal-addresses",
                )
            )
            if item.id is not None:
                item.values["addresses"] = item.before.pop("addresses")
            else:
                kept = " ".join(a for a in addresses if a not in reasons)
                item.values["addresses"] = kept or ("" if kind == "server" else None)


def refuse_other_clients(plan: ImportPlan, number: str) -> None:
    """Take everything out of the plan that is not of one client; each becomes a problem.

    Args:
        plan: The plan; it is changed.
        number: The customer number of the client.
    """
    for kind, items in plan.items.items():
        for key, item in list(items.items()):
            owner = _owner(plan, item)
            # A new server belongs to no client and changes nothing for another one.
            if owner == number or (kind == "server" and item.id is None):
                continue
            # Records of other clients that stay as they are need no report.
            if item.id is not None and not (item.before or item.new_tags or _renewed(item)):
                continue
            plan.problems.append(
                ImportProblem(
                    f"{kind} {label(item)}",
                    f"it is of {f'the client {owner}' if owner else 'no client'}, and --client is"
                    f" {number}",
                )
            )
            if item.id is None:
                del items[key]
                continue
            for column in list(item.before):
                item.values[column] = item.before.pop(column)
            item.new_tags.clear()
            item.new_contact_methods = None
    # A record that was taken out must not be referred to.
    for kind, column in (("client", "reseller_id"), ("contact", "fallback_id")):
        for item in plan.items[kind].values():
            if item.id is None and item.values.get(column) not in (None, *plan.items[kind]):
                del item.values[column]


def _renewed(item: ImportItem) -> bool:
    return item.new_contact_methods is not None


def _owner(plan: ImportPlan, item: ImportItem) -> str | None:
    """Return the customer number to which a record belongs; None for a shared or dropped one."""
    if item.kind == "endpoint":
        domain = plan.items["domain"].get(item.values["domain_id"])
        return None if domain is None else _owner(plan, domain)
    if item.kind == "client":
        return str(item.values["number"])
    if item.kind in ("contact", "domain"):
        client = item.values.get("client_id")
        return None if client is None else str(client[0])
    return None
