"""Which client owns a name, and whether all names of a request belong to one client.

Everything that is bought, requested or installed for names passes here first, so that no
certificate of one client covers a name of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from inventory.db.sql import fetch
from inventory.errors import Conflict, UsageError
from inventory.models import Client, Domain
from inventory.names import certificate_name, display
from inventory.records import DomainOwner

# Vendors sell up to 250 names per certificate.
MAX_NAMES = 250


def owner_of(conn: Connection, host: str) -> DomainOwner | None:
    """Return the domain that a host is or is below, if it is not retired.

    Args:
        conn: The connection.
        host: A name in A-labels, without ``*.``.

    Returns:
        The nearest domain with its client; None if the inventory has no such domain.
    """
    labels = host.split(".")
    # The top-level domain itself belongs to no client, so it is not looked up.
    parents = [".".join(labels[i:]) for i in range(len(labels) - 1 or 1)]
    query = (
        select(Domain.id, Domain.name, Domain.client_id, Domain.server_id, Client.number)
        .join(Client, Client.id == Domain.client_id)
        .where(Domain.name.in_(parents), Domain.state != "retired")
    )
    rows = fetch(conn, DomainOwner, query)
    # A subdomain may belong to another client than its parent, so that the longest name decides.
    return max(rows, key=lambda r: len(r.name), default=None)


def unmanaged(conn: Connection, names: Sequence[str]) -> list[str]:
    """Return those of some names that no domain of the inventory covers, in their order.

    Args:
        conn: The connection.
        names: Names in A-labels, also with ``*.``.
    """
    return [n for n in names if owner_of(conn, n.removeprefix("*.")) is None]


def names_of(
    conn: Connection, client_id: int, texts: Sequence[str], limit: int = MAX_NAMES
) -> tuple[list[str], list[str]]:
    """Parse the names of a request of one client.

    Args:
        conn: The connection.
        client_id: The client.
        texts: Names as typed; each text may hold several, separated by commas or spaces.
        limit: The number of names that are allowed.

    Returns:
        The names as they are stored, in their order and without duplicates; and those of them that
        the inventory does not have.

    Raises:
        UsageError: There are too many names.
        InvalidName: A name is invalid.
        Conflict: A name belongs to another client.
    """
    found = list(
        dict.fromkeys(certificate_name(t) for text in texts for t in text.replace(",", " ").split())
    )
    if len(found) > limit:
        raise UsageError(
            f"There are {len(found)} names", f"one certificate covers at most {limit} here"
        )
    unmanaged = []
    for name in found:
        host = name.removeprefix("*.")
        owner = owner_of(conn, host)
        # One client must never control a certificate for the name of another.
        if owner is not None and owner.client_id != client_id:
            raise Conflict(
                f"{display(host)} belongs to the client {owner.number}",
                "a certificate covers the names of one client",
                "Name the right client, or move the domain first: certmgr domain edit.",
            )
        # A certificate may cover names that are hosted elsewhere. They are accepted and reported.
        if owner is None:
            unmanaged.append(name)
    return found, unmanaged
