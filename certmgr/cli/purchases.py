"""``certmgr purchase``: certificates bought from a vendor for a term of years."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cases.intake import attach_certificate
from certmgr.cli.exchange import write_whole
from certmgr.cli.output import (
    cell,
    csv_text,
    day_in,
    echo_json,
    epoch_text,
    instant,
    pairs,
    show,
    table,
)
from certmgr.cli.shared import (
    CommandContext,
    changed,
    client_filter,
    format_option,
    given,
    pass_app,
)
from certmgr.purchases import compare as comparison
from certmgr.purchases.billing import invoice_lines, month_span, totals
from certmgr.purchases.coverage import unused_days
from certmgr.purchases.load import coverage_remarks, lead_times, load
from certmgr.purchases.planning import lifetime_days, prices_of
from certmgr.purchases.terms import best_day, plan, purchase_deadlines, term_of
from inventory.dates import parse_start
from inventory.errors import UsageError
from inventory.importers import purchases_format
from inventory.names import display
from inventory.records import ListedPurchase, PurchaseRecord
from inventory.store import cases, clients, purchases
from inventory.store.purchases import pattern

if TYPE_CHECKING:
    from certmgr.purchases.model import Purchase

_COLUMNS = (
    "order",
    "client",
    "vendor",
    "number",
    "names",
    "validation",
    "kind",
    "years",
    "starts",
    "ends",
    "certificate_until",
    "next",
    "due",
    "state",
)
_KEYS = (
    "id",
    *_COLUMNS,
    "price",
    "fee",
    "currency",
    "warranty",
    "bought_by",
    "auto_renew",
    "successor",
    "clocks",
    "unused_days",
)
_DEADLINES = {
    "order": "purchase ends",
    "certificate": "reissue",
    "dcv": "domain validation",
    "organisation": "organisation validation",
}


@click.group()
def purchase() -> None:
    """Manage certificates that are bought for one to three years."""


def _options(command: Any) -> Any:
    for option in (
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
        click.option(
            "--contact", metavar="CONTACT", help="Contact of the client for this purchase."
        ),
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
    ):
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
        if option in changes:
            changes[column] = parse_start(changes.pop(option), zone)
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
    """Add a purchase of CLIENT. A name of another client is refused."""

    with app.open().write(app.now()) as tx:
        row_id, unmanaged = purchases.add(tx, client, _given(app, values), names)
        row = purchases.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Purchase #{row_id} added: {cell(row.vendor)}, {row.years} year(s),"
        f" {epoch_text(row.starts_at)} to {epoch_text(row.ends_at)}."
    )
    # A certificate may cover names that no domain record has. They are accepted, but not scanned.
    for name in unmanaged:
        click.echo(
            f"Note: {display(name)} is not in the inventory. To scan it: certmgr domain add"
            f" {display(name.removeprefix('*.'))} --client {client}",
            err=True,
        )


@purchase.command("list")
@client_filter
@click.option(
    "--due",
    type=click.IntRange(0, 3650),
    metavar="DAYS",
    help="Only purchases with a due date within this number of days.",
)
@click.option(
    "--check",
    is_flag=True,
    help=(
        "List remarks instead of purchases: unused paid days, overlaps, names without a purchase,"
        " certificates without a purchase."
    ),
)
@click.option("--all", "everything", is_flag=True, help="Include ended and cancelled purchases.")
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    due: int | None,
    check: bool,
    everything: bool,
    output_format: str,
) -> None:
    """List purchases, the next end first, with their next due date."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        if check:
            rows = [
                {
                    "kind": r.kind,
                    "client": r.client,
                    "what": r.label,
                    "days": r.days or None,
                    "detail": r.text,
                }
                for r in coverage_remarks(conn, app.now(), client_id)
            ]
            show(
                "remarks",
                ("kind", "client", "what", "days", "detail"),
                rows,
                output_format,
                "There are no remarks.",
            )
            return
        known = load(conn, client_id)
        extra = {r.id: r for r in _rows(conn, client_id)}
    moment = app.now()
    shown = []
    for bought in known:
        # Ended and cancelled purchases need no action and would hide the others.
        if not everything and (bought.state != "active" or bought.ends < moment):
            continue
        row = purchase_row(app, bought, extra[bought.id])
        if due is None or (
            row["due"] is not None and row["_due"] <= moment.timestamp() + due * 86_400
        ):
            shown.append(row)
    if output_format == "table":
        _purchase_table(shown, app.settings.provider.time_zone)
    else:
        show("orders", _COLUMNS, shown, output_format, keys=_KEYS)


def _rows(conn: Any, client_id: int | None) -> list[ListedPurchase]:
    return purchases.listing(conn, client_id=client_id)


def _purchase_table(rows: list[dict[str, Any]], zone: str) -> None:
    if not rows:
        click.echo(
            "There are no purchases. Add one: certmgr purchase add CLIENT --vendor NAME --name"
            " shop.example.com."
        )
        return
    cells = [
        [
            r["order"],
            r["client"],
            r["vendor"],
            day_in(r["ends"], zone),
            day_in(r["certificate_until"], zone) or "none",
            f"{r['next'] or 'nothing'}{' by ' + day_in(r['due'], zone) if r['due'] else ''}",
            " ".join(r["names"][:4]),
        ]
        for r in rows
    ]
    table(["PURCHASE", "CLIENT", "VENDOR", "ENDS", "CERTIFICATE UNTIL", "NEXT", "NAMES"], cells)


def purchase_row(app: CommandContext, bought: Purchase, row: PurchaseRecord) -> dict[str, Any]:
    """Return one purchase as a row of ``certmgr.orders/1``.

    Args:
        app: The context of the command.
        bought: The purchase.
        row: The same purchase as a row of the database, with the columns that it does not have.
    """

    moment = app.now()
    deadlines = (
        purchase_deadlines(bought, lead_times(app.settings), moment)
        if bought.state == "active"
        else ()
    )
    # A deadline without a due date needs no action before its end.
    first = next((c for c in deadlines if c.due is not None), None)
    current = bought.current
    return {
        "id": bought.id,
        "order": f"#{bought.id}",
        "client": bought.client,
        "vendor": bought.vendor,
        "number": bought.number or None,
        "names": list(bought.names),
        "validation": bought.validation,
        "kind": bought.kind,
        "years": bought.years,
        "starts": instant(bought.starts),
        "ends": instant(bought.ends),
        "certificate_until": instant(current.not_after) if current else None,
        "next": _DEADLINES[first.kind] if first else None,
        "due": instant(first.due) if first else None,
        "_due": first.due.timestamp() if first and first.due else 0,
        "state": bought.state,
        "price": str(bought.price) if bought.price is not None else None,
        "fee": str(bought.fee) if bought.fee is not None else None,
        "currency": bought.currency or None,
        "warranty": row.warranty,
        "bought_by": bought.bought_by,
        "auto_renew": bought.auto_renew,
        "successor": row.successor_id,
        "clocks": [
            {"what": c.kind, "at": instant(c.at), "due": instant(c.due), "actor": c.actor}
            for c in deadlines
        ],
        "unused_days": unused_days(bought, moment),
    }


@purchase.command("show")
@click.argument("purchase_key", metavar="PURCHASE")
@click.option(
    "--lifetime", metavar="DAYS", help="Assume this maximum lifetime of certificates, such as 45d."
)
@format_option
@pass_app
def show_(app: CommandContext, purchase_key: str, lifetime: str | None, output_format: str) -> None:
    """Show a purchase: its certificates, its deadlines, and the best day to reissue.

    PURCHASE is an id or the order number of the vendor.
    """

    days = lifetime_days(lifetime)
    with app.open().read() as conn:
        row = purchases.find(conn, purchase_key)
        bought = load(conn, ids=[row.id])[0]
    moment, leads = app.now(), lead_times(app.settings)
    steps = (
        plan(term_of(bought), moment, leads.reissue, lifetime=days)
        if bought.state == "active"
        else ()
    )
    best = best_day(term_of(bought), moment, leads.reissue, lifetime=days) if steps else None
    page = purchase_row(app, bought, row)
    # "_due" is only for --due of purchase list and is not part of the JSON output.
    page.pop("_due")
    issued = [
        {
            "serial": i.serial,
            "sha256": i.sha256,
            "not_before": instant(i.not_before),
            "not_after": instant(i.not_after),
            "live": i.live,
            "linked": "recorded" if i.recorded else "recognised",
        }
        for i in bought.issued
    ]
    ahead = [
        {
            "number": p.number,
            "issue": instant(p.issue),
            "not_after": instant(p.not_after),
            "days": (p.not_after - p.not_before).days + 1,
            "domain_validation": p.dcv,
            "organisation_validation": p.organisation,
            "tail": p.tail,
        }
        for p in steps
    ]
    advice = None
    if best is not None:
        advice = {
            "day": instant(best.day),
            "certificates": best.count,
            "saves": best.saves,
            "not_before": instant(best.earliest),
        }
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.order/1",
                "order": page,
                "note": row.note,
                "reason": row.reason,
                "documents": row.documents,
                "issued": issued,
                "ahead": ahead,
                "best": advice,
            }
        )
        return
    if output_format == "csv":
        columns = (
            "number",
            "issue",
            "not_after",
            "days",
            "domain_validation",
            "organisation_validation",
            "tail",
        )
        click.echo(csv_text(columns, ahead), nl=False)
        return
    _show_page(page, row, issued, ahead, best, app.settings.provider.time_zone)


def _show_page(
    page: dict[str, Any],
    row: PurchaseRecord,
    issued: list[dict[str, Any]],
    ahead: list[dict[str, Any]],
    best: Any,
    zone: str,
) -> None:
    amounts = [f"{what} {page[what]} {page['currency']}" for what in ("price", "fee") if page[what]]
    pairs(
        [
            ("Purchase", f"{page['order']} {page['vendor']} {page['number'] or ''}".strip()),
            ("Client", page["client"]),
            ("State", page["state"] if not row.reason else f"{page['state']}: {row.reason}"),
            (
                "Product",
                (
                    f"{page['validation'].upper()}, {page['kind']}, {page['years']} year(s), bought"
                    f" by {page['bought_by']}"
                    f"{', renewed automatically by the vendor' if page['auto_renew'] else ''}"
                ),
            ),
            ("Names", page["names"]),
            ("Term", f"{day_in(page['starts'], zone)} to {day_in(page['ends'], zone)}"),
            ("Amounts", ", ".join(amounts)),
            ("Warranty", page["warranty"]),
            ("Documents", json.loads(row.documents)),
            ("Unused days", page["unused_days"] or None),
            ("Renewed by", f"#{page['successor']}" if page["successor"] else None),
            ("Note", row.note),
        ]
    )
    for clock in page["clocks"]:
        validation = clock["what"] in ("dcv", "organisation")
        verb = "repeat by" if validation else "begin by"
        due = (
            f"{verb} {day_in(clock['due'], zone)} ({clock['actor']})"
            if clock["due"]
            else "no action needed before"
        )
        prefix = "valid until " if validation else ""
        click.echo(f"  {_DEADLINES[clock['what']]}: {prefix}{day_in(clock['at'], zone)}, {due}")
    click.echo("\nCertificates")
    for certificate in issued:
        click.echo(
            f"  {day_in(certificate['not_before'], zone)} to"
            f" {day_in(certificate['not_after'], zone)}"
            f"  serial {certificate['serial']}{', live' if certificate['live'] else ''}"
            f"{', recognised by names and vendor' if certificate['linked'] == 'recognised' else ''}"
        )
    if not issued:
        click.echo("  none yet")
    if ahead:
        click.echo("Planned, each as late as the lead time allows")
    for planned in ahead:
        extra = [
            label
            for label, needed in (
                ("domain validation", planned["domain_validation"]),
                ("organisation validation", planned["organisation_validation"]),
            )
            if needed
        ]
        tail = (
            "; covers a short rest of the term after an earlier reissue" if planned["tail"] else ""
        )
        click.echo(
            f"  {day_in(planned['issue'], zone)} certificate {planned['number']}, until"
            f" {day_in(certificate['not_after'], zone)} ({planned['days']}"
            f" days){'; with ' + ' and '.join(extra) if extra else ''}{tail}"
        )
    # A reissue restarts the lifetime of the certificate, so its day decides how many are needed.
    if best is not None and best.saves > 0:
        click.echo(
            f"If you reissue on {day_in(best.day.isoformat(), zone)} instead, {best.saves} fewer"
            " certificate(s) are needed until the term ends."
        )
    elif best is not None and best.earliest is not None:
        click.echo(
            f"Do not reissue before {day_in(best.earliest.isoformat(), zone)}: after an earlier"
            " reissue, the term needs one more certificate."
        )


@purchase.command("edit")
@click.argument("purchase_key", metavar="PURCHASE")
@_options
@pass_app
def edit(app: CommandContext, /, purchase_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Change a purchase. --name and --document replace all earlier values."""

    with app.open().write(app.now()) as tx:
        changes = purchases.edit(tx, purchase_key, _given(app, values), names or None)
    for key in ("starts_at", "ends_at", "dcv_at", "organisation_at"):
        if key in changes:
            changes[key] = [epoch_text(v) for v in changes[key]]
    click.echo(changed(f"Purchase {purchase_key}", changes))


@purchase.command("renew")
@click.argument("purchase_key", metavar="PURCHASE")
@_options
@pass_app
def renew(app: CommandContext, /, purchase_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Add the purchase that follows PURCHASE. It starts when PURCHASE ends.

    Values that are not given are copied from PURCHASE.
    """

    if names:
        raise UsageError(
            "--name cannot be used with renew",
            "a renewal covers the names of the purchase before it",
            "Change the names afterwards with certmgr purchase edit.",
        )
    with app.open().write(app.now()) as tx:
        row_id = purchases.renew(tx, purchase_key, _given(app, values))
        row = purchases.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Purchase #{row_id} follows {purchase_key}: {epoch_text(row.starts_at)} to"
        f" {epoch_text(row.ends_at)}."
    )


@purchase.command("cancel")
@click.argument("purchase_key", metavar="PURCHASE")
@click.option("--reason", required=True, metavar="TEXT", help="Reason; it is stored.")
@pass_app
def cancel(app: CommandContext, purchase_key: str, reason: str) -> None:
    """Cancel a purchase. The record and its certificates are kept."""

    with app.open().write(app.now()) as tx:
        row = purchases.cancel(tx, purchase_key, reason)
    click.echo(
        f"Purchase #{row.id} cancelled. The vendor may revoke its certificates. To check:"
        f" certmgr purchase list --check --client {row.client}"
    )


@purchase.command("attach")
@click.argument("purchase_key", metavar="PURCHASE")
@click.argument("certificate")
@pass_app
def attach(app: CommandContext, purchase_key: str, certificate: str) -> None:
    """Link a CERTIFICATE (a file, a SHA-256 or a serial number) to a purchase."""

    sha256 = attach_certificate(app.open(), app.now(), purchase_key, certificate)
    click.echo(f"Certificate {sha256} belongs to purchase {purchase_key}.")


@purchase.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from", "kind", type=click.Choice(["csv", "json"]), required=True, help="Format of SOURCE."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@pass_app
def import_(app: CommandContext, source: Path, kind: str, dry_run: bool) -> int:
    """Import purchases from SOURCE (docs/purchases.md).

    An invalid row is reported with its line, and the other rows are imported. A second import of
    the same file changes nothing.
    """

    read = purchases_format.read_csv if kind == "csv" else purchases_format.read_json
    result = purchases_format.apply(
        app.open(), read(source), app.settings.provider.time_zone, app.now(), dry_run=dry_run
    )
    # A file may have a problem in each row, so the output is limited.
    for problem in result.problems[:200]:
        click.echo(
            f"{cell(problem.where, 300)}: not imported: {cell(problem.reason, 400)}", err=True
        )
    for line in result.lines[:200] if dry_run else ():
        click.echo(cell(line, 300))
    click.echo(
        f"{'Would change' if dry_run else 'Done'}: {result.rows} row(s); {result.added} purchase(s)"
        f" added, {result.changed} changed; {len(result.problems)} not imported."
    )
    return 3 if result.problems else 0


@purchase.command("export")
@client_filter
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output file. Default: standard output.",
)
@pass_app
def export(
    app: CommandContext, client: str | None, output_format: str, output: Path | None
) -> None:
    """Write purchases in the format of purchase import."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        text = purchases_format.write(purchases.listing(conn, client_id=client_id), output_format)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
        click.echo(f"Written to {output}.", err=True)


@purchase.command("billing")
@click.option("--month", required=True, metavar="YYYY-MM", help="Month of the invoice.")
@client_filter
@format_option
@pass_app
def billing(app: CommandContext, month: str, client: str | None, output_format: str) -> None:
    """List what to invoice for a month: installations with fees, and purchases for clients."""

    zone = ZoneInfo(app.settings.provider.time_zone)
    start, end = (int(m.timestamp()) for m in month_span(month, zone))
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        closed = cases.closed_between(conn, start, end, client_id)
        bought = [
            p
            for p in purchases.listing(conn, client_id=client_id)
            if p.bought_by == "us" and start <= p.starts_at < end and p.state == "active"
        ]
    lines = invoice_lines(
        closed, bought, Decimal(app.settings.forecast.fee), app.settings.forecast.currency, zone
    )
    rows = [
        {
            "client": e.client,
            "client_name": e.client_name,
            "day": f"{e.day:%Y-%m-%d}",
            "kind": e.kind,
            "what": e.description,
            "amount": None if e.amount is None else str(e.amount),
            "currency": e.currency,
            "approved_by": e.approved_by or None,
        }
        for e in lines
    ]
    sums = {k: str(v) for k, v in totals(lines).items()}
    columns = ("client", "client_name", "day", "kind", "what", "amount", "currency", "approved_by")
    if output_format == "json":
        echo_json({"schema": "certmgr.billing/1", "month": month, "entries": rows, "totals": sums})
        return
    show("entries", columns, rows, output_format, f"There is nothing to invoice for {month}.")
    if output_format == "table" and rows:
        click.echo("Total: " + ", ".join(f"{v} {k}" for k, v in sums.items()))


@purchase.command("compare")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--certificates",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="Number of certificates. Default: 1 for all names together.",
)
@click.option(
    "--lifetime", metavar="DAYS", help="Assume this maximum lifetime of certificates, such as 45d."
)
@format_option
@pass_app
def compare(
    app: CommandContext,
    names: tuple[str, ...],
    certificates: int | None,
    lifetime: str | None,
    output_format: str,
) -> None:
    """Compare terms of 1, 2 and 3 years with ACME for NAMES, over three years.

    The comparison shows purchases, installations, fees and work.
    """

    shown = [pattern(n) for n in names]
    count, days = certificates or 1, lifetime_days(lifetime)
    prices, leads, moment = prices_of(app.settings), lead_times(app.settings), app.now()
    options = comparison.compare(count, moment, leads, prices, days)
    rows = [
        {
            "choice": c.name,
            "purchases": c.purchases,
            "prepaid_years": c.prepaid,
            "installations": c.installations,
            "price": f"{c.price:.2f}",
            "fees": f"{c.fees:.2f}",
            "hours": str(c.hours),
            "work": f"{c.work:.2f}",
            "total": f"{c.cost:.2f}",
            "currency": prices.currency,
        }
        for c in options
    ]
    assumptions = comparison.assumptions(moment, leads, prices, count, days)
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.comparison/1",
                "names": shown,
                "choices": rows,
                "assumptions": assumptions,
            }
        )
        return
    show("choices", tuple(rows[0]), rows, output_format)
    if output_format == "table":
        click.echo("\nAssumptions")
        for line in assumptions:
            click.echo(f"- {line}")
        # Without prices, all totals would be fees and work only.
        if not any(prices.by_years):
            click.echo("No prices are configured. Set [forecast] price_1, price_2 and price_3.")
