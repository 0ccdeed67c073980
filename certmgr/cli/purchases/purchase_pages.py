"""Pages of ``certmgr purchase``: the list, and one purchase with its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

import click

from certmgr.cli.output import csv_text, day_in, echo_json, pairs, paragraph, show, table
from certmgr.cli.purchases.purchase_rows import (
    DEADLINE_TEXTS,
    DeadlineRow,
    PlannedRow,
    PurchasePage,
    PurchaseRow,
    is_due,
    page_document,
    page_of,
    purchase_row,
)
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.purchases.load import coverage_remarks, lead_times, load
from certmgr.purchases.planning import lifetime_days
from certmgr.purchases.terms import (
    BestDay,
)
from inventory.errors import UsageError
from inventory.records import PurchaseRecord
from inventory.store import clients, purchases

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
_REMARK_COLUMNS = ("kind", "client", "what", "days", "detail")


# JSON has every field of a purchase. The table and the CSV show only those of _COLUMNS.
_KEYS = tuple(f.name for f in fields(PurchaseRow))


@click.command("list")
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
    # The remarks are about all purchases, also about names that have none.
    if check and (due is not None or everything):
        option = "--all" if everything else "--due"
        raise UsageError(
            f"--check and {option} exclude each other",
            "the remarks are about all purchases",
            f"Leave out {option}, or --check.",
        )
    now, leads = app.now(), lead_times(app.settings)
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        if check:
            remarks = [
                (r.kind, r.client, r.label, r.days or None, r.text)
                for r in coverage_remarks(conn, now, client_id)
            ]
        else:
            known = load(conn, client_id)
            # The stored rows are read in the same transaction, so each loaded purchase has its row.
            stored = {r.id: r for r in purchases.listing(conn, client_id=client_id)}
    if check:
        rows = [dict(zip(_REMARK_COLUMNS, remark, strict=True)) for remark in remarks]
        show("remarks", _REMARK_COLUMNS, rows, output_format, "There are no remarks.")
        return
    shown = [
        purchase_row(bought, stored[bought.id], leads, now)
        for bought in known
        # Ended and cancelled purchases need no action and would hide the others.
        if (everything or (bought.state == "active" and bought.ends >= now))
        and (due is None or is_due(bought, leads, now, due))
    ]
    if output_format == "table":
        _purchase_table(shown, app.settings.provider.time_zone)
    else:
        rows = [asdict(r) for r in shown]
        # JSON keeps the key of its schema; what a person reads can be pasted into a shell.
        if output_format == "csv":
            rows = [asdict(r) | {"order": purchases.reference(r.id)} for r in shown]
        show("orders", _COLUMNS, rows, output_format, keys=_KEYS)


def _purchase_table(rows: Sequence[PurchaseRow], zone: str) -> None:
    if not rows:
        paragraph(
            "There are no purchases. Add one: certmgr purchase add CLIENT --vendor NAME --name"
            " shop.example.com."
        )
        return
    # A table has no room for 250 names; the first ones identify the purchase.
    cells = [
        [
            purchases.reference(r.id),
            r.client,
            r.vendor,
            day_in(r.ends, zone),
            # A purchase may have no certificate yet, and an empty cell would leave that open.
            day_in(r.certificate_until, zone) or "none",
            f"{r.next or 'nothing'}{' by ' + day_in(r.due, zone) if r.due else ''}",
            " ".join(r.names[:4]),
        ]
        for r in rows
    ]
    table(["PURCHASE", "CLIENT", "VENDOR", "ENDS", "CERTIFICATE UNTIL", "NEXT", "NAMES"], cells)


@click.command("show")
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
        # A single purchase is loaded like a listing, so that both calculate the same dates.
        bought = load(conn, ids=[row.id])[0]
    page = page_of(bought, row, lead_times(app.settings), app.now(), days)
    match output_format:
        case "json":
            echo_json(page_document(page))
        case "csv":
            # A CSV has one kind of row. The planned certificates are the ones that a spreadsheet
            # adds up.
            columns = tuple(f.name for f in fields(PlannedRow))
            click.echo(csv_text(columns, [asdict(p) for p in page.planned]), nl=False)
        case _:
            _show_page(page, app.settings.provider.time_zone)


def _show_page(page: PurchasePage, zone: str) -> None:
    """Print one purchase for a terminal."""
    _show_facts(page.purchase, page.row, zone)
    for clock in page.purchase.clocks:
        paragraph(_deadline_line(clock, zone), "    ", "  ")
    click.echo("\nCertificates")
    for issued in page.issued:
        paragraph(
            f"{day_in(issued.not_before, zone)} to {day_in(issued.not_after, zone)}"
            f"  serial {issued.serial}{', live' if issued.live else ''}"
            f"{', recognised by names and vendor' if issued.linked == 'recognised' else ''}",
            "    ",
            "  ",
        )
    if not page.issued:
        click.echo("  none yet")
    # A reissue restarts the lifetime, so the latest day usually needs the fewest certificates.
    if page.planned:
        click.echo("Planned, each as late as the lead time allows")
    for planned in page.planned:
        paragraph(_planned_line(planned, zone), "    ", "  ")
    _show_advice(page.best, zone)


def _show_facts(purchase: PurchaseRow, row: PurchaseRecord, zone: str) -> None:
    """Print the values of a purchase, one per line."""
    amounts = [
        f"{what} {amount} {purchase.currency}"
        for what, amount in (("price", purchase.price), ("fee", purchase.fee))
        # An unknown amount is left out, because 0 would be a price.
        if amount
    ]
    renewed = ", renewed automatically by the vendor" if purchase.auto_renew else ""
    pairs(
        [
            (
                "Purchase",
                f"{purchases.reference(purchase.id)} {purchase.vendor} {purchase.number or ''}",
            ),
            ("Client", purchase.client),
            ("State", f"{purchase.state}: {row.reason}" if row.reason else purchase.state),
            (
                "Product",
                f"{purchase.validation.upper()}, {purchase.kind}, {purchase.years} year(s),"
                f" bought by {purchase.bought_by}{renewed}",
            ),
            ("Names", purchase.names),
            ("Term", f"{day_in(purchase.starts, zone)} to {day_in(purchase.ends, zone)}"),
            ("Amounts", ", ".join(amounts)),
            ("Warranty", purchase.warranty),
            ("Documents", list(row.documents)),
            # Zero unused days are the normal case and need no line.
            ("Unused days", purchase.unused_days or None),
            ("Renewed by", purchases.reference(purchase.successor) if purchase.successor else None),
            ("Note", row.note),
        ]
    )


def _deadline_line(clock: DeadlineRow, zone: str) -> str:
    """Return one deadline with what has to be done by when."""
    # A validation stays valid until its end, and is repeated only for the reissue that needs it.
    validation = clock.what in ("dcv", "organisation")
    verb = "repeat by" if validation else "begin by"
    due = (
        f"{verb} {day_in(clock.due, zone)} ({clock.actor})"
        if clock.due
        else "no action needed before"
    )
    prefix = "valid until " if validation else ""
    return f"{DEADLINE_TEXTS[clock.what]}: {prefix}{day_in(clock.at, zone)}, {due}"


def _planned_line(planned: PlannedRow, zone: str) -> str:
    """Return one certificate that is still to be issued, with the validations that it needs."""
    validations = [
        label
        for label, needed in (
            ("domain validation", planned.domain_validation),
            ("organisation validation", planned.organisation_validation),
        )
        if needed
    ]
    extra = f"; with {' and '.join(validations)}" if validations else ""
    # The short last certificate explains why a term needs one more than its length suggests.
    tail = "; covers a short rest of the term after an earlier reissue" if planned.tail else ""
    return (
        f"{day_in(planned.issue, zone)} certificate {planned.number},"
        f" until {day_in(planned.not_after, zone)} ({planned.days} days){extra}{tail}"
    )


def _show_advice(best: BestDay | None, zone: str) -> None:
    """Print when to reissue, if the day makes a difference."""
    if best is None:
        return
    # A reissue restarts the lifetime of the certificate, so its day decides how many are needed.
    if best.saves > 0:
        paragraph(
            f"If you reissue on {day_in(best.day.isoformat(), zone)} instead, {best.saves} fewer"
            " certificate(s) are needed until the term ends."
        )
    # An early reissue may cost one more certificate, so the first day without that is named.
    elif best.earliest is not None:
        paragraph(
            f"Do not reissue before {day_in(best.earliest.isoformat(), zone)}: after an earlier"
            " reissue, the term needs one more certificate."
        )
