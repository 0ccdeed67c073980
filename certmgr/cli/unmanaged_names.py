"""Notes about names that a command takes although the inventory does not have them.

A certificate may cover names that are hosted elsewhere, so they are accepted. A misspelt name would
be requested, paid and installed like any other, so each one is named at once.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence

import click
from sqlalchemy import Connection

from certmgr.cli.output import cell
from inventory.names import display
from inventory.store import clients, domain_owners, domains

# A purchase has up to 250 names, and a list of hundreds would hide what else was printed.
MAX_NOTES = 10


def echo_unmanaged(conn: Connection, client_id: int, names: Sequence[str], undo: str = "") -> None:
    """Print a note per name that belongs to no client, and what to do, on standard error.

    Args:
        conn: The connection.
        client_id: The client of the command.
        names: The names, as they are stored.
        undo: How to begin again with the right name, as a sentence.
    """
    unknown = domain_owners.unmanaged(conn, names)
    if not unknown:
        return
    # A client number may be any text, and the command is meant to be copied into a shell.
    number = shlex.quote(clients.by_id(conn, client_id).number)
    own = sorted(domains.names_of_client(conn, client_id))
    for name in unknown[:MAX_NOTES]:
        # A wildcard name is not a host, so the domain above it is suggested.
        host = name.removeprefix("*.")
        # Only names of this client: that of another would be refused.
        similar = difflib.get_close_matches(host, own, n=3, cutoff=0.75)
        meant = ", ".join(display(n) for n in similar)
        hint = f" Did you mean {cell(meant, 300)}?{f' {undo}' if undo else ''}" if meant else ""
        click.echo(
            f"Note: {cell(display(name), 260)} belongs to no client of the inventory, so no scan"
            f" checks it.{hint} To scan it: certmgr domain add {cell(display(host), 260)} --client"
            f" {cell(number)}",
            err=True,
        )
    if len(unknown) > MAX_NOTES:
        click.echo(f"... and {len(unknown) - MAX_NOTES} more names of no client.", err=True)
