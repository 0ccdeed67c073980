"""Check of configured names and addresses: which of them can be endpoints. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

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


def is_local(address: str) -> bool:
    """Return whether only this machine reaches what listens on an address.

    Args:
        address: As a web server's configuration has it, with or without a port, such as
            ``127.0.0.1:8443``, ``[::1]:8443``, ``localhost:8443``, ``*:443`` or ``8443``.
    """
    host = address[1:].partition("]")[0] if address.startswith("[") else address.partition(":")[0]
    if host.lower().rstrip(".") == "localhost":
        return True
    if not re.search(r"[.:]", host):
        return False  # a port alone, or an asterisk
    try:
        ip = ip_address(host)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback


def local_reason(
    server: str, ports: Collection[int], *, socket: bool = False, site: bool = True
) -> str:
    """Return what is skipped of a server with TLS that only its own machine reaches.

    Args:
        server: Its names, or what it is.
        ports: Its ports, if they are known.
        socket: Whether it listens on a socket of the file system.
        site: Whether it is a web site. Another server on its machine passes its requests on, so
            that the site is imported nevertheless.
    """
    if ports:
        noun = "port" if len(ports) == 1 else "ports"
        what = f"{noun} {', '.join(str(p) for p in sorted(ports))} of {server}"
    else:
        what = f"a Unix socket of {server}" if socket else server
    reason = f"{what}, which only its own machine reaches"
    return f"{reason}; the site is imported with port 443" if site else reason
