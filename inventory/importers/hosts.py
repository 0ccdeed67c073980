"""Which names of a configuration can be endpoints. Pure."""

from __future__ import annotations

from inventory.errors import InvalidName
from inventory.names import normalise_host


def skipped(name: str) -> str | None:
    """Why a configured name is no host of its own; None where it is one."""
    if name.startswith("~"):
        return "is a pattern: add the names that it stands for by hand"
    if "*" in name:
        return "is a wildcard: add the names that it stands for by hand"
    try:
        host = normalise_host(name)
    except InvalidName as error:
        return f"is no host name ({error.why or error.what})"
    return None if "." in host or ":" in host else "has no dot, so it is no public name"
