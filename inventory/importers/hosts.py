"""Check of configured names: which of them can be endpoints. Pure."""

from __future__ import annotations

from inventory.errors import InvalidName
from inventory.names import normalise_host


def skip_reason(name: str) -> str | None:
    """Return why a configured name cannot be an endpoint, or None if it can be one."""
    # nginx marks regular expressions with "~".
    if name.startswith("~"):
        return "is a regular expression: add its names with certmgr domain add"
    # Apache has "?" for one character.
    if "*" in name or "?" in name:
        return "is a wildcard: add its names with certmgr domain add"
    # cPanel gives this ServerName to the virtual host of a wildcard.
    if name.startswith("_wildcard_."):
        return "stands for a wildcard: add its names with certmgr domain add"
    try:
        host = normalise_host(name)
    except InvalidName as error:
        return f"is not a host name ({error.why or error.what})"
    # A colon is an IPv6 address, which needs no dot.
    return None if "." in host or ":" in host else "has no dot, so it is not a public name"
