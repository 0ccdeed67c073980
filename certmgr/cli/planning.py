"""``certmgr forecast`` and ``certmgr calendar``."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases.calendars import entries
from certmgr.cli.output import cell, csv_text, echo_json, instant, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.files import write_whole
from certmgr.purchases.planning import lifetime_days, prices_of, read
from notifiers.calendar import publish

if TYPE_CHECKING:
    from certmgr.purchases.forecast import ForecastTotals

WIDTH = 40


@click.command()
@click.option("--until", required=True, metavar="DATE", help="How far to look ahead.")
@click.option(
    "--lifetime", metavar="DAYS", help="Suppose that no certificate lives longer, such as 45d."
)
@click.option(
    "--as-of", metavar="DATE", help="Begin at that day in place of today, with today's knowledge."
)
@click.option(
    "--by",
    "by",
    type=click.Choice(["month", "client"]),
    default="month",
    show_default=True,
    help="Rows of the table and the CSV.",
)
@click.option("--chart", is_flag=True, help="Draw installations a month as bars.")
@client_filter
@format_option
@pass_app
def forecast(
    app: CommandContext,
    until: str,
    lifetime: str | None,
    as_of: str | None,
    by: str,
    chart: bool,
    client: str | None,
    form: str,
) -> None:
    """Installations, reissues and purchases ahead, a month and a client, under the known steps of
    lifetimes; what they cost, and what ACME would save.
    """

    moment, end = app.moment(as_of) or app.now(), app.moment(until)
    assert end is not None
    made = read(
        app.open(),
        app.settings,
        moment,
        end,
        client=client,
        lifetime=lifetime_days(lifetime),
        today=app.now(),
    )
    rate = prices_of(app.settings).rate
    months = [{"month": k, **line_row(v, rate)} for k, v in made.months.items()]
    clients = [
        {
            "client": k,
            **line_row(v, rate),
            "acme_saves": line_row(made.acme_saves[k], rate)["cost"],
            "acme_saves_hours": str(made.acme_saves[k].hours),
        }
        for k, v in sorted(made.clients.items())
    ]
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.forecast/1",
                "as_of": instant(moment),
                "until": instant(end),
                "lifetime_days": lifetime_days(lifetime),
                "months": months,
                "clients": clients,
                "total": line_row(made.total, rate),
            }
        )
        return
    rows = months if by == "month" else clients
    columns = (
        by,
        "orders",
        "reissues",
        "installations",
        "hours",
        "purchases",
        "fees",
        "cost",
        *(("acme_saves", "acme_saves_hours") if by == "client" else ()),
    )
    if form == "csv":
        click.echo(csv_text(columns, rows), nl=False)
        return
    if chart:
        bars({str(r["month"]): int(r["installations"]) for r in months})
        return
    if not rows:
        click.echo("Nothing is ahead: there are no orders, and no certificates that people renew.")
        return
    table([c.replace("_", " ").upper() for c in columns], [[r[c] for c in columns] for r in rows])
    total = line_row(made.total, rate)
    click.echo(
        f"Until {end:%Y-%m-%d}: {total['installations']} installation(s), {total['reissues']}"
        f" reissue(s), {total['orders']} purchase(s), {total['hours']} hours;"
        f" {total['cost'] or 'no prices known'}."
    )


def money(sums: dict[str, Decimal]) -> str:
    return ", ".join(f"{v:.2f} {k}" for k, v in sorted(sums.items()))


def line_row(line: ForecastTotals, rate: Decimal) -> dict[str, Any]:
    """``cost``: purchases, fees and (where a rate is set) work, by currency."""
    both = dict(line.spend)
    for currency, value in line.fees.items():
        both[currency] = both.get(currency, Decimal(0)) + value
    return {
        "orders": line.orders,
        "reissues": line.reissues,
        "installations": line.installations,
        "hours": str(line.hours),
        "purchases": money(line.spend),
        "fees": money(line.fees),
        "cost": money(both),
        "work": f"{line.hours * rate:.2f}" if rate else None,
    }


def bars(values: dict[str, int]) -> None:
    """One line a month, its number beside the bar."""
    most = max(values.values(), default=0)
    wide = len(str(most))
    for name, value in values.items():
        length = round(WIDTH * value / most) if most else 0
        click.echo(f"{name}  {str(value).rjust(wide)}  {'█' * max(length, int(value > 0))}")


@click.command()
@client_filter
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Else standard output."
)
@pass_app
def calendar(app: CommandContext, client: str | None, output: Path | None) -> None:
    """Write windows, ends of certificates, order dates and your deadlines as an iCalendar file, of
    one client or of all.
    """

    moment = app.now()
    found = entries(app.open(), app.settings, moment, client)
    name = f"certmgr {client}" if client else "certmgr"
    text = publish(found, name, moment)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())
        click.echo(f"{len(found)} date(s) written to {cell(output)}.", err=True)
