"""``certmgr endpoint``: add, list, show, edit and retire endpoints."""

from __future__ import annotations

from typing import Any

import click

from certmgr.cli.known_words import require_known
from certmgr.cli.output import epoch_text, pairs, show, table
from certmgr.cli.shared import (
    CommandContext,
    change_tags,
    changed,
    client_filter,
    format_option,
    given,
    pass_app,
    retired_option,
    tag_filter,
    tag_option,
    untag_option,
)
from certmgr.cli.tables import MINOR, Column
from inventory.errors import UsageError
from inventory.store import clients, endpoints
from inventory.targets import PROTOCOLS, Target, parse, parse_protocol

_ENDPOINT_COLUMNS = ("target", "client", "domain", "addresses", "state", "created_at", "tags")
address_option = click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="IP",
    help="Connect to this address instead of asking the DNS; may be repeated.",
)


@click.group()
def endpoint() -> None:
    """Manage endpoints, which a scan checks: host, port and protocol."""


@endpoint.command("add")
@click.argument("target")
@click.option(
    "--domain",
    "domain_name",
    metavar="NAME",
    help="Domain of the endpoint. Default: the domain that contains the host.",
)
@address_option
@tag_option
@pass_app
def endpoint_add(
    app: CommandContext,
    /,
    target: str,
    domain_name: str | None,
    addresses: tuple[str, ...],
    tags: tuple[str, ...],
) -> None:
    """Add an endpoint: host[:port][/protocol].

    \b
    certmgr endpoint add mail.example.com:25/smtp
    """

    parsed = parse(target)
    # The file is not created here: an endpoint needs a domain, so an inventory exists already.
    with app.open().write(app.now()) as tx:
        endpoints.add(tx, parsed, domain_name, addresses, tags)
    click.echo(f"Endpoint {parsed} ({parsed.protocol}) added.")


def _endpoint_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint with its target, times and addresses as text."""
    return row | {
        "target": Target(row["host"], row["port"], row["protocol"]).key,
        "created_at": epoch_text(row["created_at"]),
        # Fixed addresses only; without them each scan resolves the host.
        "addresses": list(row["addresses"] or ()),
    }


@endpoint.command("list")
@client_filter
@tag_filter
@retired_option
@format_option
@pass_app
def endpoint_list(
    app: CommandContext, client: str | None, tag: str | None, retired: bool, output_format: str
) -> None:
    """List endpoints."""

    with app.open().read() as conn:
        # A misspelt tag would list nothing, which is read as "no such endpoints".
        require_known(conn, tag=tag)
        client_id = clients.find(conn, client).id if client else None
        rows = endpoints.listing(conn, client_id=client_id, tag_name=tag, retired=retired)
    shown = [_endpoint_row(r.as_dict()) for r in rows]
    if output_format == "table" and shown:
        # The domain is a part of most targets, so it is the first column to be left out.
        columns = (*_ENDPOINT_COLUMNS[:2], Column("DOMAIN", MINOR), *_ENDPOINT_COLUMNS[3:5], "tags")
        table(
            [c if isinstance(c, Column) else c.upper() for c in columns],
            [[r[k] for k in (*_ENDPOINT_COLUMNS[:5], "tags")] for r in shown],
        )
        return
    show("endpoints", _ENDPOINT_COLUMNS, shown, output_format)


@endpoint.command("show")
@click.argument("target")
@format_option
@pass_app
def endpoint_show(app: CommandContext, target: str, output_format: str) -> None:
    """Show one endpoint."""

    with app.open().read() as conn:
        row_id = endpoints.find(conn, parse(target)).id
        # The listing adds client, domain and tags to the row.
        row = next(r for r in endpoints.listing(conn) if r.id == row_id)
    # One endpoint is easier to read as labelled lines than as a wide row.
    if output_format == "table":
        pairs(_endpoint_row(row.as_dict()).items())
    else:
        show("endpoints", _ENDPOINT_COLUMNS, [_endpoint_row(row.as_dict())], output_format)


@endpoint.command("edit")
@click.argument("target")
@click.option("--port", type=click.IntRange(1, 65535), help="New port.")
@click.option(
    "--protocol",
    # No click.Choice, because it would refuse other names of a protocol, such as imaps.
    callback=lambda _context, _option, text: parse_protocol(text) if text else None,
    help=f"New protocol: {', '.join(PROTOCOLS)}.",
)
@address_option
@click.option(
    "--by-dns", is_flag=True, help="Resolve the host by DNS again; removes fixed addresses."
)
@tag_option
@untag_option
@pass_app
def endpoint_edit(
    app: CommandContext,
    /,
    target: str,
    port: int | None,
    protocol: str | None,
    addresses: tuple[str, ...],
    by_dns: bool,
    tags: tuple[str, ...],
    untags: tuple[str, ...],
) -> None:
    """Change an endpoint."""

    parsed = parse(target)
    if addresses and by_dns:
        raise UsageError(
            "--address and --by-dns exclude each other",
            "fixed addresses are probed instead of those of the DNS",
            "Give one of them.",
        )
    # None leaves the addresses unchanged; an empty list removes them.
    fixed_addresses = list(addresses) if addresses else ([] if by_dns else None)
    with app.open().write(app.now()) as tx:
        row_id = endpoints.find(tx.conn, parsed).id
        # Printed after the commit: a wrong tag undoes the whole change.
        message = changed(
            f"Endpoint {parsed}",
            endpoints.edit(
                tx, parsed, given(port=port, protocol=protocol, addresses=fixed_addresses)
            ),
        )
        message += change_tags(tx, "endpoint", row_id, tags, untags)
    click.echo(message)


@endpoint.command("retire")
@click.argument("target")
@pass_app
def endpoint_retire(app: CommandContext, target: str) -> None:
    """Retire an endpoint."""

    with app.open().write(app.now()) as tx:
        endpoints.retire(tx, parse(target))
    click.echo(f"Endpoint {target} retired.")
