"""Search for clients and domains by what a person remembers of them."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select

from inventory.errors import InvalidName
from inventory.models import Client, Domain
from inventory.names import display, normalise_host
from inventory.store import suggestions
from inventory.targets import parse


def client_number(conn: Connection, text: str) -> str:
    """Return the number of the client with this number or name, or a part of its name.

    Raises:
        NotFound: No client has it, or several have; the error names what may be meant.
    """
    exact = conn.execute(
        select(Client.number)
        .where(or_(Client.number == text, Client.name == text))
        # The name of one client may be the number of another; the number decides.
        .order_by((Client.number == text).desc())
    ).scalar()
    if exact is not None:
        return str(exact)
    wanted = suggestions.folded(text[: suggestions.MAX_TEXT])
    rows = [(str(n), str(name)) for n, name in conn.execute(select(Client.number, Client.name))]
    parts = [n for n, name in rows if wanted and wanted in suggestions.folded(f"{n} {name}")]
    if len(parts) == 1:
        return parts[0]
    raise suggestions.not_found(conn, "client", text, "certmgr client list")


def domain_name(conn: Connection, text: str) -> str:
    """Return the domain with this name, at this URL, or with this in its name if it is the only.

    Raises:
        NotFound: No domain has it, or several have; the error names what may be meant.
    """
    try:
        host = parse(text).host
    except InvalidName:
        # Not a target, but it may be a part of a name, such as a label without a dot.
        host = normalise_host(text)
    active = Domain.state != "retired"
    if conn.execute(select(Domain.id).where(active, Domain.name == host)).first() is not None:
        return host
    parts = suggestions.names_with(conn, host)
    if len(parts) == 1:
        return parts[0]
    raise suggestions.not_found(conn, "domain", display(host), "certmgr domain list")
