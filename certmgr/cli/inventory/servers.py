"""``certmgr server``: add, list, show, edit and retire servers."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.output import pairs, paragraph, show
from certmgr.cli.shared import (
    PARTIES,
    CommandContext,
    change_tags,
    changed,
    format_option,
    given,
    party_options,
    pass_app,
    retired_option,
    tag_option,
    untag_option,
)
from inventory.names import display
from inventory.records import ListedServer
from inventory.store import domains, servers

_SERVER_COLUMNS = ("name", "kind", "keeper", "addresses", "backends", "domains", "state")


@click.group()
def server() -> None:
    """Manage our machines and load balancers.

    A name points to us if it resolves to an address of one of them.
    """


def _server_options(command: Any) -> Any:
    for option in (
        click.option("--note", metavar="TEXT", help="Free text."),
        click.option(
            "--backend",
            "backends",
            multiple=True,
            metavar="HOST[:PORT]",
            help="Private address behind a load balancer; may be repeated.",
        ),
        click.option(
            "--address",
            "addresses",
            multiple=True,
            metavar="IP",
            help="Public address; may be repeated.",
        ),
        click.option("--maintainer", "keeper", metavar="NAME", help="Maintainer of the server."),
        click.option(
            "--kind",
            type=click.Choice(["web", "mail", "balancer", "panel", "cdn", "other"]),
            help="Kind of server.",
        ),
    ):
        command = option(command)
    return party_options(command)


def _server_values(
    values: dict[str, Any], addresses: tuple[str, ...], backends: tuple[str, ...]
) -> dict[str, Any]:
    """Return the given options as values of columns; an option that is not given is left out."""
    # An option that may be repeated is an empty tuple if it was not given. An edit must then keep
    # the stored addresses, so it becomes None.
    return given(**values, addresses=list(addresses) or None, backends=list(backends) or None)


@server.command("add")
@click.argument("name")
@_server_options
@tag_option
@pass_app
def server_add(
    app: CommandContext,
    /,
    name: str,
    addresses: tuple[str, ...],
    backends: tuple[str, ...],
    tags: tuple[str, ...],
    **values: Any,
) -> None:
    """Add a server.

    \b
    certmgr server add web1 --address 192.0.2.10 --maintainer Ines
    """

    # The first server may be the first record at all, so a missing database is created.
    with app.open(create=True).write(app.now()) as tx:
        # One transaction: a wrong tag or address leaves no server without its other values.
        servers.add(tx, _server_values({"name": name, **values}, addresses, backends), tags)
    click.echo(f"Server {name} added.")


@server.command("list")
@retired_option
@format_option
@pass_app
def server_list(app: CommandContext, retired: bool, output_format: str) -> None:
    """List servers."""

    with app.open().read() as conn:
        rows = servers.listing(conn, retired=retired)
    show("servers", _SERVER_COLUMNS, [_server_row(r) for r in rows], output_format)


def _server_row(row: ListedServer) -> dict[str, Any]:
    """Return a server with its addresses and backends as text, as the JSON schema has them."""
    # A list would change the type of a key that programs read.
    return row.as_dict() | {
        "addresses": " ".join(row.addresses),
        "backends": " ".join(row.backends),
    }


@server.command("show")
@click.argument("name")
@format_option
@pass_app
def server_show(app: CommandContext, name: str, output_format: str) -> None:
    """Show one server with its domains."""

    with app.open().read() as conn:
        # find() reports an unknown name as NotFound, and next() below would fail without words.
        servers.find(conn, name)
        # find() accepts a retired server, so the listing must include it too.
        row = next(r for r in servers.listing(conn, retired=True) if r.name == name)
        names = domains.listing(conn, server_name=name)
    if output_format != "table":
        show("servers", _SERVER_COLUMNS, [_server_row(row)], output_format)
        return
    shown = _server_row(row)
    pairs([(k, shown[k]) for k in (*_SERVER_COLUMNS, *PARTIES, "note")])
    # The list of domains shows whom an outage of the server would affect.
    for domain in names:
        paragraph(f"{display(domain.name)} (client {domain.client})", " " * 8, "domain  ")


@server.command("edit")
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", help="New name.")
@_server_options
@tag_option
@untag_option
@pass_app
def server_edit(
    app: CommandContext,
    /,
    name: str,
    new_name: str | None,
    addresses: tuple[str, ...],
    backends: tuple[str, ...],
    tags: tuple[str, ...],
    untags: tuple[str, ...],
    **values: Any,
) -> None:
    """Change a server. --address and --backend replace all earlier values."""

    with app.open().write(app.now()) as tx:
        row_id = servers.find(tx.conn, name).id
        message = changed(
            f"Server {name}",
            servers.edit(
                tx, name, _server_values({"name": new_name, **values}, addresses, backends)
            ),
        )
        message += change_tags(tx, "server", row_id, tags, untags)
    # The message is printed after the commit: a wrong tag undoes the whole change.
    click.echo(message)


@server.command("retire")
@click.argument("name")
@pass_app
def server_retire(app: CommandContext, name: str) -> None:
    """Retire a server that has no domains."""

    with app.open().write(app.now()) as tx:
        # The store refuses a server that still has domains: they inherit parties and addresses from
        # it.
        servers.retire(tx, name)
    click.echo(f"Server {name} retired.")
