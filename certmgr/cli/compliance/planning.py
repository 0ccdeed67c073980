"""``certmgr forecast`` and ``certmgr calendar``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases.calendars import calendar_entries
from certmgr.cli.inspect.trust import early_rows
from certmgr.cli.output import cell, csv_text, echo_json, instant, local_day, paragraph, table
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.files import write_whole
from certmgr.inspection.trust_ends import StoredTrust
from certmgr.purchases.planning import lifetime_days, load_forecast, prices_of
from inventory.store import clients as client_records
from notifiers.calendar import publish

if TYPE_CHECKING:
    from certmgr.purchases.forecast import ForecastTotals

WIDTH = 40


@click.command()
@click.option("--until", metavar="DATE", help="End of the forecast. Default: a year ahead.")
@click.option(
    "--lifetime", metavar="DAYS", help="Assume this maximum lifetime of certificates, such as 45d."
)
@click.option(
    "--as-of", metavar="DATE", help="Start on this day instead of today, with today's data."
)
@click.option(
    "--by",
    "by",
    type=click.Choice(["month", "client"]),
    default="month",
    show_default=True,
    help="Rows of the table and the CSV.",
)
@click.option("--chart", is_flag=True, help="Draw a bar chart of installations per month.")
@client_filter
@format_option
@pass_app
def forecast(
    app: CommandContext,
    until: str | None,
    lifetime: str | None,
    as_of: str | None,
    by: str,
    chart: bool,
    client: str | None,
    output_format: str,
) -> None:
    """Forecast installations, reissues, purchases and costs, per month and per client.

    The forecast follows the announced reductions of certificate lifetimes. It also shows what ACME
    would save.

    \b
    certmgr forecast --until 2029-12-31 --by client
    """

    moment = app.moment(as_of) or app.now()
    # A year has every purchase for one year and each season of the provider once.
    end = app.ahead(until) if until else moment + timedelta(days=365)
    with ProgressLine().waiting("forecast"):
        found = _load(app, moment, end, client, lifetime_days(lifetime))
    # JSON has both groupings. Table and CSV are one list of rows, so --by chooses.
    if output_format == "json":
        echo_json(_document(found, moment, end, lifetime_days(lifetime)))
    elif output_format == "csv":
        rows = found.months if by == "month" else found.clients
        click.echo(csv_text(_columns(by), rows), nl=False)
    elif chart:
        bars({str(r["month"]): int(r["installations"]) for r in found.months})
    else:
        _show_forecast(found, end, (end - app.now()).days, by)


@dataclass(frozen=True, slots=True)
class _ForecastRows:
    """A forecast as it is printed.

    Attributes:
        months: One row per month.
        clients: One row per client.
        total: The sum of all.
        trust_ends: Certificates that lose the trust of a browser before they expire.
        rules: The version of the rules about trust.
    """

    months: list[dict[str, Any]]
    clients: list[dict[str, Any]]
    total: dict[str, Any]
    trust_ends: list[dict[str, Any]]
    rules: str


def _load(
    app: CommandContext, moment: datetime, end: datetime, client: str | None, lifetime: int | None
) -> _ForecastRows:
    ahead = load_forecast(app.context(), moment, end, client=client, lifetime=lifetime)
    # The rate is the cost of one working hour; 0 means that work is not valued.
    rate = prices_of(app.settings).rate
    with app.open().read() as conn:
        client_id = client_records.find(conn, client).id if client else None
        stored = StoredTrust.of(conn, app.settings)
        # The trust ends are read at the present time: --as-of moves the plan, and not the
        # certificates.
        trust_ends = early_rows(stored, app.now(), end, client_id)
    return _ForecastRows(
        months=[{"month": k, **line_row(v, rate)} for k, v in ahead.months.items()],
        clients=[
            {
                "client": k,
                **line_row(v, rate),
                "acme_saves": line_row(ahead.acme_saves[k], rate)["cost"],
                "acme_saves_hours": str(ahead.acme_saves[k].hours),
            }
            for k, v in sorted(ahead.clients.items())
        ],
        total=line_row(ahead.total, rate),
        trust_ends=trust_ends,
        rules=stored.rules.version,
    )


def _document(
    found: _ForecastRows, moment: datetime, end: datetime, lifetime: int | None
) -> dict[str, Any]:
    """Return ``certmgr.forecast/1``."""
    return {
        "schema": "certmgr.forecast/1",
        "as_of": instant(moment),
        "until": instant(end),
        "lifetime_days": lifetime,
        "months": found.months,
        "clients": found.clients,
        "total": found.total,
        "trust_rules": found.rules,
        "trust_ends": found.trust_ends,
    }


def _columns(by: str) -> tuple[str, ...]:
    return (
        by,
        "orders",
        "reissues",
        "installations",
        "hours",
        "purchases",
        "fees",
        "cost",
        # What ACME saves is calculated per client, so the rows of a month do not have it.
        *(("acme_saves", "acme_saves_hours") if by == "client" else ()),
    )


# The keys of JSON and CSV are older than the word "purchase".
_TITLES = {"orders": "PURCHASES", "purchases": "SPENDING"}


def _show_forecast(found: _ForecastRows, end: datetime, days: int, by: str) -> None:
    # The first 20 give the kind of problem; the complete list is another command.
    for row in found.trust_ends[:20]:
        paragraph(
            f"{cell(row['target'])} ends {local_day(row['not_after'])}, trusted by"
            f" {cell(row['detail'])}"
        )
    if found.trust_ends:
        paragraph(
            # The number of days is counted from now, because trust ends has no --as-of.
            f"{len(found.trust_ends):,} certificate(s) lose the trust of a browser before they"
            f" expire: certmgr trust ends --within {days}"
        )
        click.echo()
    rows = found.months if by == "month" else found.clients
    # An empty table could also mean that the forecast failed.
    if not rows:
        paragraph(
            "Nothing to forecast: there are no purchases and no manually renewed certificates."
        )
        return
    columns = _columns(by)
    table(
        [_TITLES.get(c, c.replace("_", " ").upper()) for c in columns],
        [[r[c] for c in columns] for r in rows],
    )
    total = found.total
    paragraph(
        f"Until {end:%Y-%m-%d}: {total['installations']} installation(s), {total['reissues']}"
        f" reissue(s), {total['orders']} purchase(s), {total['hours']} hours;"
        f" {total['cost'] or 'no prices known'}."
    )


def money(sums: dict[str, Decimal]) -> str:
    """Return sums by currency as text. Amounts of different currencies are not added."""
    return ", ".join(f"{v:.2f} {k}" for k, v in sorted(sums.items()))


def line_row(line: ForecastTotals, rate: Decimal) -> dict[str, Any]:
    """Return one row of the forecast.

    ``cost`` is purchases and fees by currency. ``work`` is None if no hourly rate is configured.
    """
    # A copy, so that adding the fees does not change the purchases of the row.
    total = dict(line.spend)
    for currency, value in line.fees.items():
        total[currency] = total.get(currency, Decimal(0)) + value
    return {
        "orders": line.purchases,
        "reissues": line.reissues,
        "installations": line.installations,
        "hours": str(line.hours),
        "purchases": money(line.spend),
        "fees": money(line.fees),
        "cost": money(total),
        # Without an hourly rate, work of 0.00 would suggest that it is free.
        "work": f"{line.hours * rate:.2f}" if rate else None,
    }


def bars(values: dict[str, int]) -> None:
    """Print one bar per month, with its number in front."""
    highest = max(values.values(), default=0)
    width = len(str(highest))
    for name, value in values.items():
        length = round(WIDTH * value / highest) if highest else 0
        # A month with few installations still gets a visible bar.
        click.echo(f"{name}  {str(value).rjust(width)}  {'█' * max(length, int(value > 0))}")


@click.command()
@client_filter
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Output file. Default: standard output.",
)
@pass_app
def calendar(app: CommandContext, client: str | None, output: Path | None) -> None:
    """Write an iCalendar file of windows, certificate ends, purchase dates and your deadlines.

    \b
    certmgr calendar --output certificates.ics
    """

    context = app.context().frozen()
    dates = calendar_entries(context, client)
    name = f"certmgr {client}" if client else "certmgr"
    text = publish(dates, name, context.now())
    # Calendar programs may refuse a file with a line after its end.
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())
        click.echo(f"{len(dates)} date(s) written to {cell(output)}.", err=True)
