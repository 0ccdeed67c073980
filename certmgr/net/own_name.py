"""The name with which this machine introduces itself to mail servers."""

from __future__ import annotations

import socket
from functools import cache

from inventory.names import is_ehlo_name

# A name that means every machine, and so none to a mail server.
_LOCAL = ("localhost", "localdomain")


def _is_full(name: str) -> bool:
    labels = name.lower().split(".")
    return len(labels) > 1 and labels[-1] not in _LOCAL and is_ehlo_name(name)


# The system may wait for the DNS, so it is asked once per process.
@cache
def own_name() -> str:
    """Return the full name of this machine, or an empty text if it has none.

    Only if the host name has no domain, the system is asked for one, as ``hostname --fqdn`` does.
    """
    name = socket.gethostname().rstrip(".")
    if not _is_full(name):
        name = socket.getfqdn().rstrip(".")
    return name if _is_full(name) else ""


def ehlo_literal(sock: socket.socket) -> str:
    """Return our address on a connection as an address literal.

    A machine without a full name uses it in its place (RFC 5321 4.1.1.1, 4.1.3).
    """
    # The zone of a link-local address means nothing on another machine.
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
