"""``certmgr purchase``: certificates bought from a vendor for a term of years."""

from __future__ import annotations

import shlex
from typing import Any

import click

from certmgr.cases.intake import attach_certificate
from certmgr.cli.output import (
    cell,
    local_day,
    local_time,
)
from certmgr.cli.purchases.purchase_costs import billing, compare
from certmgr.cli.purchases.purchase_exchange import export, import_
from certmgr.cli.purchases.purchase_pages import list_, show_
from certmgr.cli.shared import (
    CommandContext,
    changed,
    given,
    pass_app,
)
from certmgr.cli.unmanaged_names import echo_unmanaged
from inventory.dates import parse_start
from inventory.errors import UsageError
from inventory.store import purchase_changes, purchases


@click.group()
def purchase() -> None:
    """Manage certificates that are bought for one to three years."""


for _command in (list_, show_, import_, export, billing, compare):
    purchase.add_command(_command)


# click shows options in the reverse order of their decorators, so the last one here comes first.
_OPTIONS = (
    click.option("--note", metavar="TEXT", help="Free text."),
    click.option(
        "--document",
        "documents",
        multiple=True,
        metavar="PATH",
        help="Path of a document about the purchase; may be repeated.",
    ),
    click.option(
        "--organisation-validated",
        metavar="DATE",
        help="When the organisation was last validated (OV, EV).",
    ),
    click.option(
        "--domain-validated",
        metavar="DATE",
        help="When control of the domains was last validated.",
    ),
    click.option(
        "--auto-renew/--no-auto-renew", default=None, help="The vendor renews automatically."
    ),
    click.option("--contact", metavar="CONTACT", help="Contact of the client for this purchase."),
    click.option(
        "--bought-by",
        type=click.Choice(["client", "us"]),
        help="Who buys: the client, or the provider (us).",
    ),
    click.option("--warranty", metavar="AMOUNT", help="Warranty of the vendor."),
    click.option("--fee", metavar="AMOUNT", help="Fee of the client for one installation."),
    click.option("--currency", metavar="CODE", help="Currency of the amounts, such as EUR."),
    click.option("--price", metavar="AMOUNT", help="Price of the whole term."),
    click.option("--end", metavar="DATE", help="Last day. Default: from --start and --years."),
    click.option("--start", metavar="DATE", help="First day. Default: today."),
    click.option("--years", type=click.IntRange(1, 5), help="Years of the term. Default: 1."),
    click.option(
        "--kind",
        type=click.Choice(["single", "multi", "wildcard"]),
        help="Kind of product. Default: according to the names.",
    ),
    click.option(
        "--validation",
        type=click.Choice(["dv", "ov", "ev"], case_sensitive=False),
        help="Level of validation. Default: dv.",
    ),
    click.option("--number", metavar="TEXT", help="Order number of the vendor."),
    click.option("--vendor", metavar="NAME", help="Vendor of the certificate."),
    click.option(
        "--name",
        "names",
        multiple=True,
        metavar="NAME",
        help="Name that the certificate covers; may be repeated.",
    ),
)


def _options(command: Any) -> Any:
    for option in _OPTIONS:
        command = option(command)
    return command


def _given(app: CommandContext, values: dict[str, Any]) -> dict[str, Any]:
    """Return the given options as values of columns."""
    zone = app.settings.provider.time_zone
    changes = given(**values)
    for option, column in (
        ("start", "starts_at"),
        ("domain_validated", "dcv_at"),
        ("organisation_validated", "organisation_at"),
    ):
        # A bare date here is the beginning of the day: a purchase is valid from its first second,
        # and a validation counts from the day on which it was done.
        if option in changes:
            changes[column] = parse_start(changes.pop(option), zone)
    # The last day of a purchase belongs to it, so a bare date is the end of that day.
    if "end" in changes:
        changes["ends_at"] = app.moment(changes.pop("end"))
    # An option that may be repeated is an empty tuple if it was not given.
    if not changes.get("documents"):
        changes.pop("documents", None)
    return changes


@purchase.command("add")
@click.argument("client")
@_options
@pass_app
def add(app: CommandContext, /, client: str, names: tuple[str, ...], **values: Any) -> None:
    """Add a purchase of CLIENT. A name of another client is refused.

    \b
    certmgr purchase add 1001 --vendor DigiCert --name shop.example.com --years 3
    """

    with app.open().write(app.now()) as tx:
        row_id, _ = purchase_changes.add(tx, client, _given(app, values), names)
        # The row is read again in the transaction, because the missing values were calculated
        # there.
        row = purchases.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Purchase {purchases.reference(row_id)} added: {cell(row.vendor)}, {row.years} year(s),"
        f" {local_day(row.starts_at)} to {local_day(row.ends_at)}."
    )
    _echo_unmanaged(app, row_id)


@purchase.command("edit")
@click.argument("purchase_key", metavar="PURCHASE")
@_options
@pass_app
def edit(app: CommandContext, /, purchase_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Change a purchase. --name and --document replace all earlier values."""

    with app.open().write(app.now()) as tx:
        # An empty tuple means that --name was not given, and must not remove all names.
        changes = purchase_changes.edit(tx, purchase_key, _given(app, values), names or None)
        row = purchases.find(tx.conn, purchase_key)
    for key in ("starts_at", "ends_at", "dcv_at", "organisation_at"):
        # Times are stored as seconds, which a person cannot read.
        if key in changes:
            changes[key] = [local_time(v) for v in changes[key]]
    click.echo(changed(f"Purchase {cell(purchase_key)}", changes))
    if names:
        _echo_unmanaged(app, row.id)


def _echo_unmanaged(app: CommandContext, purchase_id: int) -> None:
    """Name the names of a stored purchase that no domain of the inventory covers."""
    with app.open().read() as conn:
        (row,) = purchases.listing(conn, ids=[purchase_id])
        echo_unmanaged(
            conn,
            row.client_id,
            row.names,
            f"To correct it: certmgr purchase edit {purchases.reference(purchase_id)} --name NAME.",
        )


@purchase.command("renew")
@click.argument("purchase_key", metavar="PURCHASE")
@_options
@pass_app
def renew(app: CommandContext, /, purchase_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Add the purchase that follows PURCHASE. It starts when PURCHASE ends.

    Values that are not given are copied from PURCHASE.
    """

    # A renewal continues the coverage of the purchase before it, so names are changed in a separate
    # step.
    if names:
        raise UsageError(
            "--name cannot be used with renew",
            "a renewal covers the names of the purchase before it",
            "Change the names afterwards with certmgr purchase edit.",
        )
    with app.open().write(app.now()) as tx:
        row_id = purchase_changes.renew(tx, purchase_key, _given(app, values))
        row = purchases.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Purchase {purchases.reference(row_id)} follows {cell(purchase_key)}:"
        f" {local_day(row.starts_at)} to {local_day(row.ends_at)}."
    )


@purchase.command("cancel")
@click.argument("purchase_key", metavar="PURCHASE")
@click.option("--reason", required=True, metavar="TEXT", help="Reason; it is stored.")
@pass_app
def cancel(app: CommandContext, purchase_key: str, reason: str) -> None:
    """Cancel a purchase. The record and its certificates are kept."""

    with app.open().write(app.now()) as tx:
        row = purchase_changes.cancel(tx, purchase_key, reason)
    click.echo(
        f"Purchase {purchases.reference(row.id)} cancelled. The vendor may revoke its"
        " certificates. To check:"
        # The number of a client may be any text, and the command is meant to be copied into a
        # shell.
        f" certmgr purchase list --check --client {shlex.quote(row.client)}"
    )


@purchase.command("attach")
@click.argument("purchase_key", metavar="PURCHASE")
@click.argument("certificate")
@pass_app
def attach(app: CommandContext, purchase_key: str, certificate: str) -> None:
    """Link a CERTIFICATE (a file, a SHA-256 or a serial number) to a purchase."""

    sha256 = attach_certificate(app.context(), purchase_key, certificate)
    click.echo(f"Certificate {sha256} belongs to purchase {cell(purchase_key)}.")
