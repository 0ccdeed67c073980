"""Costs of purchases: what to invoice for a month, and which term is the cheapest."""

from __future__ import annotations

from decimal import Decimal
from zoneinfo import ZoneInfo

import click

from certmgr.cli.output import echo_json, paragraph, show
from certmgr.cli.shared import (
    CommandContext,
    client_filter,
    format_option,
    pass_app,
)
from certmgr.purchases import compare as comparison
from certmgr.purchases.billing import invoice_lines, month_span, totals
from certmgr.purchases.load import lead_times
from certmgr.purchases.planning import lifetime_days, prices_of
from inventory.names import certificate_name
from inventory.store import cases, clients, purchases
from inventory.vocabulary import Party


@click.command("billing")
@click.option("--month", required=True, metavar="YYYY-MM", help="Month of the invoice.")
@client_filter
@format_option
@pass_app
def billing(app: CommandContext, month: str, client: str | None, output_format: str) -> None:
    """List what to invoice for a month: installations with fees, and purchases for clients."""

    # A month begins at midnight of the provider, because invoices are local documents.
    zone = ZoneInfo(app.settings.provider.time_zone)
    start, end = (int(m.timestamp()) for m in month_span(month, zone))
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        closed = cases.closed_between(conn, start, end, client_id)
        bought = [
            p
            for p in purchases.listing(conn, client_id=client_id)
            # The client pays the vendor for a purchase of the client. A cancelled one is not
            # invoiced here.
            if p.bought_by == Party.US and start <= p.starts_at < end and p.state == "active"
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
    # Currencies are added separately: an exchange rate is not known.
    sums = {k: str(v) for k, v in totals(lines).items()}
    columns = ("client", "client_name", "day", "kind", "what", "amount", "currency", "approved_by")
    if output_format == "json":
        echo_json({"schema": "certmgr.billing/1", "month": month, "entries": rows, "totals": sums})
        return
    show("entries", columns, rows, output_format, f"There is nothing to invoice for {month}.")
    # The CSV has no totals: a program that adds up the rows would count them twice.
    if output_format == "table" and rows:
        click.echo("Total: " + ", ".join(f"{v} {k}" for k, v in sums.items()))


@click.command("compare")
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

    shown = [certificate_name(n) for n in names]
    # One certificate can cover all names, so their number is not the number of certificates.
    count, days = certificates or 1, lifetime_days(lifetime)
    prices, leads, moment = prices_of(app.settings), lead_times(app.settings), app.now()
    options = comparison.compare(count, moment, leads, prices, days)
    rows = [
        {
            "choice": c.name,
            "purchases": c.purchases,
            "prepaid_years": c.prepaid,
            "installations": c.installations,
            # Amounts are text, because a float in JSON would round them.
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
    # Assumptions are sentences and no rows, so the CSV leaves them out.
    if output_format == "table":
        click.echo("\nAssumptions")
        for line in assumptions:
            paragraph(line, "  ", "- ")
        # Without prices, all totals would be fees and work only.
        if not any(prices.by_years):
            paragraph("No prices are configured. Set [forecast] price_1, price_2 and price_3.")
