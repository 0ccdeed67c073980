"""``certmgr purchase``: purchases for a term."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cases.intake import attach as link
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
from certmgr.purchases import compare as side
from certmgr.purchases.billing import billing as entries_of
from certmgr.purchases.billing import month_span, totals
from certmgr.purchases.coverage import unused_days
from certmgr.purchases.load import leads_of, load, look_through
from certmgr.purchases.planning import lifetime_days, prices_of
from certmgr.purchases.terms import best_day, plan, purchase_deadlines, term_of
from inventory.dates import parse_start
from inventory.errors import UsageError
from inventory.importers import purchases_format as orders_format
from inventory.names import display
from inventory.store import cases, clients
from inventory.store import purchases as orders
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
_CLOCKS = {
    "order": "order ends",
    "certificate": "reissue",
    "dcv": "domain validation",
    "organisation": "organisation validation",
}


@click.group()
def purchase() -> None:
    """Purchases of one to three years: what they cover, when they are reissued, and when they must
    be bought again.
    """


def _options(command: Any) -> Any:
    for option in (
        click.option("--note", metavar="TEXT"),
        click.option(
            "--document",
            "documents",
            multiple=True,
            metavar="PATH",
            help="Where a document of it lies; may be repeated.",
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
            "--auto-renew/--no-auto-renew", default=None, help="The vendor renews it by itself."
        ),
        click.option(
            "--contact", metavar="CONTACT", help="Whom to ask about it: a contact of the client."
        ),
        click.option(
            "--bought-by",
            type=click.Choice(["client", "us"]),
            help="Who buys: the client, or we as a service.",
        ),
        click.option("--warranty", metavar="AMOUNT"),
        click.option("--fee", metavar="AMOUNT", help="What one installation costs the client."),
        click.option("--currency", metavar="CODE", help="Of the amounts, such as EUR."),
        click.option("--price", metavar="AMOUNT", help="Of the whole term."),
        click.option("--end", metavar="DATE", help="The last day; else from --start and --years."),
        click.option("--start", metavar="DATE", help="The first day; today."),
        click.option("--years", type=click.IntRange(1, 5), help="The term; 1."),
        click.option(
            "--kind",
            type=click.Choice(["single", "multi", "wildcard"]),
            help="Of the product; else as the names say.",
        ),
        click.option(
            "--validation", type=click.Choice(["dv", "ov", "ev"], case_sensitive=False), help="dv."
        ),
        click.option("--number", metavar="TEXT", help="The vendor's order number."),
        click.option("--vendor", metavar="NAME"),
        click.option(
            "--name",
            "names",
            multiple=True,
            metavar="NAME",
            help="A name that it covers; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def _given(app: CommandContext, values: dict[str, Any]) -> dict[str, Any]:
    zone = app.settings.provider.time_zone
    made = given(**values)
    for option, column in (
        ("start", "starts_at"),
        ("domain_validated", "dcv_at"),
        ("organisation_validated", "organisation_at"),
    ):
        if option in made:
            made[column] = parse_start(made.pop(option), zone)
    if "end" in made:
        made["ends_at"] = app.moment(made.pop("end"))
    if not made.get("documents"):
        made.pop("documents", None)
    return made


@purchase.command("add")
@click.argument("client")
@_options
@pass_app
def add(app: CommandContext, /, client: str, names: tuple[str, ...], **values: Any) -> None:
    """Add an order of CLIENT. A name of another client is refused."""

    with app.open().write(app.now()) as tx:
        row_id, strange = orders.add(tx, client, _given(app, values), names)
        row = orders.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Order #{row_id} added: {cell(row['vendor'])}, {row['years']} year(s),"
        f" {epoch_text(row['starts_at'])} to {epoch_text(row['ends_at'])}."
    )
    for name in strange:
        click.echo(
            f"Note: {display(name)} is not in the inventory. To watch it: certmgr domain add"
            f" {display(name.removeprefix('*.'))} --client {client}",
            err=True,
        )


@purchase.command("list")
@client_filter
@click.option(
    "--due",
    type=click.IntRange(0, 3650),
    metavar="DAYS",
    help="Only those of which something is due within so many days.",
)
@click.option(
    "--check",
    is_flag=True,
    help=(
        "In place of orders: paid and unused days, overlaps, names without an order, certificates"
        " of none."
    ),
)
@click.option("--all", "everything", is_flag=True, help="Also those that ended or were cancelled.")
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    due: int | None,
    check: bool,
    everything: bool,
    form: str,
) -> None:
    """Show orders, the next end first, with what is due next."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        if check:
            rows = [
                {
                    "kind": r.kind,
                    "client": r.client,
                    "what": r.what,
                    "days": r.days or None,
                    "detail": r.text,
                }
                for r in look_through(conn, app.now(), client_id)
            ]
            show(
                "remarks",
                ("kind", "client", "what", "days", "detail"),
                rows,
                form,
                "Nothing to remark.",
            )
            return
        known = load(conn, client_id)
        extra = {r["id"]: r for r in _rows(conn, client_id)}
    moment = app.now()
    shown = []
    for one in known:
        if not everything and (one.state != "active" or one.ends < moment):
            continue
        row = order_row(app, one, extra[one.id])
        if due is None or (
            row["due"] is not None and row["_due"] <= moment.timestamp() + due * 86_400
        ):
            shown.append(row)
    if form == "table":
        _brief(shown, app.settings.provider.time_zone)
    else:
        show("orders", _COLUMNS, shown, form, keys=_KEYS)


def _rows(conn: Any, client_id: int | None) -> Any:
    return orders.listing(conn, client_id=client_id)


def _brief(rows: list[dict[str, Any]], zone: str) -> None:
    if not rows:
        click.echo(
            "There are no orders. Add one: certmgr purchase add CLIENT --vendor NAME --name"
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
    table(["ORDER", "CLIENT", "VENDOR", "ENDS", "CERTIFICATE UNTIL", "NEXT", "NAMES"], cells)


def order_row(app: CommandContext, one: Purchase, row: Any) -> dict[str, Any]:
    """One order of ``certmgr.orders/1``."""

    moment = app.now()
    running = (
        purchase_deadlines(one, leads_of(app.settings), moment) if one.state == "active" else ()
    )
    first = next((c for c in running if c.due is not None), None)
    current = one.current
    return {
        "id": one.id,
        "order": f"#{one.id}",
        "client": one.client,
        "vendor": one.vendor,
        "number": one.number or None,
        "names": list(one.names),
        "validation": one.validation,
        "kind": one.kind,
        "years": one.years,
        "starts": instant(one.starts),
        "ends": instant(one.ends),
        "certificate_until": instant(current.not_after) if current else None,
        "next": _CLOCKS[first.what] if first else None,
        "due": instant(first.due) if first else None,
        "_due": first.due.timestamp() if first and first.due else 0,
        "state": one.state,
        "price": str(one.price) if one.price is not None else None,
        "fee": str(one.fee) if one.fee is not None else None,
        "currency": one.currency or None,
        "warranty": row["warranty"],
        "bought_by": one.bought_by,
        "auto_renew": one.auto_renew,
        "successor": row["successor_id"],
        "clocks": [
            {"what": c.what, "at": instant(c.at), "due": instant(c.due), "actor": c.actor}
            for c in running
        ],
        "unused_days": unused_days(one, moment),
    }


@purchase.command("show")
@click.argument("order_key", metavar="ORDER")
@click.option(
    "--lifetime", metavar="DAYS", help="Suppose that no certificate lives longer, such as 45d."
)
@format_option
@pass_app
def show_(app: CommandContext, order_key: str, lifetime: str | None, form: str) -> None:
    """Show an order (its id, or the vendor's number): certificates so far and ahead, its four
    clocks, the best day to reissue.
    """

    days = lifetime_days(lifetime)
    with app.open().read() as conn:
        row = orders.find(conn, order_key)
        one = load(conn, ids=[row["id"]])[0]
    moment, leads = app.now(), leads_of(app.settings)
    steps = (
        plan(term_of(one), moment, leads.reissue, lifetime=days) if one.state == "active" else ()
    )
    best = best_day(term_of(one), moment, leads.reissue, lifetime=days) if steps else None
    page = order_row(app, one, row)
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
        for i in one.issued
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
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.order/1",
                "order": page,
                "note": row["note"],
                "reason": row["reason"],
                "documents": row["documents"],
                "issued": issued,
                "ahead": ahead,
                "best": advice,
            }
        )
        return
    if form == "csv":
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
    _page(page, row, issued, ahead, best, app.settings.provider.time_zone)


def _page(
    page: dict[str, Any],
    row: Any,
    issued: list[dict[str, Any]],
    ahead: list[dict[str, Any]],
    best: Any,
    zone: str,
) -> None:
    amounts = [f"{what} {page[what]} {page['currency']}" for what in ("price", "fee") if page[what]]
    pairs(
        [
            ("Order", f"{page['order']} {page['vendor']} {page['number'] or ''}".strip()),
            ("Client", page["client"]),
            ("State", page["state"] if not row["reason"] else f"{page['state']}: {row['reason']}"),
            (
                "Product",
                (
                    f"{page['validation'].upper()}, {page['kind']}, {page['years']} year(s), bought"
                    f" by {page['bought_by']}"
                    f"{', renews itself at the vendor' if page['auto_renew'] else ''}"
                ),
            ),
            ("Names", page["names"]),
            ("Term", f"{day_in(page['starts'], zone)} to {day_in(page['ends'], zone)}"),
            ("Amounts", ", ".join(amounts)),
            ("Warranty", page["warranty"]),
            ("Documents", json.loads(row["documents"])),
            ("Unused days", page["unused_days"] or None),
            ("Renewed by", f"#{page['successor']}" if page["successor"] else None),
            ("Note", row["note"]),
        ]
    )
    for clock in page["clocks"]:
        validation = clock["what"] in ("dcv", "organisation")
        verb = "to be done again by" if validation else "begin by"
        due = (
            f"{verb} {day_in(clock['due'], zone)} ({clock['actor']})"
            if clock["due"]
            else "nothing to do before it"
        )
        until = "good until " if validation else ""
        click.echo(f"  {_CLOCKS[clock['what']]}: {until}{day_in(clock['at'], zone)}, {due}")
    click.echo("\nCertificates")
    for one in issued:
        click.echo(
            f"  {day_in(one['not_before'], zone)} to {day_in(one['not_after'], zone)}  serial"
            f" {one['serial']}{', live' if one['live'] else ''}"
            f"{', recognised by its names and vendor' if one['linked'] == 'recognised' else ''}"
        )
    if not issued:
        click.echo("  none yet")
    if ahead:
        click.echo("Ahead, each as late as the lead time allows")
    for one in ahead:
        extra = [
            w
            for w, on in (
                ("domain validation", one["domain_validation"]),
                ("organisation validation", one["organisation_validation"]),
            )
            if on
        ]
        tail = "; a tail that an earlier reissue left" if one["tail"] else ""
        click.echo(
            f"  {day_in(one['issue'], zone)} certificate {one['number']}, until"
            f" {day_in(one['not_after'], zone)} ({one['days']}"
            f" days){'; with ' + ' and '.join(extra) if extra else ''}{tail}"
        )
    if best is not None and best.saves > 0:
        click.echo(
            f"Reissue on {day_in(best.day.isoformat(), zone)} in place of that, and {best.saves}"
            " certificate(s) fewer are needed until the term ends."
        )
    elif best is not None and best.earliest is not None:
        click.echo(
            f"Not before {day_in(best.earliest.isoformat(), zone)}: an earlier reissue leaves a"
            " tail that needs one certificate more."
        )


@purchase.command("edit")
@click.argument("order_key", metavar="ORDER")
@_options
@pass_app
def edit(app: CommandContext, /, order_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Change an order. --name and --document replace what was there."""

    with app.open().write(app.now()) as tx:
        changes = orders.edit(tx, order_key, _given(app, values), names or None)
    for key in ("starts_at", "ends_at", "dcv_at", "organisation_at"):
        if key in changes:
            changes[key] = [epoch_text(v) for v in changes[key]]
    click.echo(changed(f"Order {order_key}", changes))


@purchase.command("renew")
@click.argument("order_key", metavar="ORDER")
@_options
@pass_app
def renew(app: CommandContext, /, order_key: str, names: tuple[str, ...], **values: Any) -> None:
    """Add the order that follows ORDER, with everything known filled in; it begins when that one
    ends.
    """

    if names:
        raise UsageError(
            "A renewal covers the names of its predecessor",
            "",
            "Change them afterwards: certmgr purchase edit.",
        )
    with app.open().write(app.now()) as tx:
        row_id = orders.renew(tx, order_key, _given(app, values))
        row = orders.find(tx.conn, f"#{row_id}")
    click.echo(
        f"Order #{row_id} follows {order_key}: {epoch_text(row['starts_at'])} to"
        f" {epoch_text(row['ends_at'])}."
    )


@purchase.command("cancel")
@click.argument("order_key", metavar="ORDER")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept.")
@pass_app
def cancel(app: CommandContext, order_key: str, reason: str) -> None:
    """Cancel an order; the record and its certificates stay."""

    with app.open().write(app.now()) as tx:
        row = orders.cancel(tx, order_key, reason)
    click.echo(
        f"Order #{row['id']} cancelled. Its certificates may be revoked by the vendor: certmgr"
        f" order list --check --client {row['client']}"
    )


@purchase.command("attach")
@click.argument("order_key", metavar="ORDER")
@click.argument("certificate")
@pass_app
def attach(app: CommandContext, order_key: str, certificate: str) -> None:
    """Link a CERTIFICATE (a file, a SHA-256 or a serial number) to an order."""

    sha256 = link(app.open(), app.now(), order_key, certificate)
    click.echo(f"Certificate {sha256} belongs to the order {order_key}.")


@purchase.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--from", "kind", type=click.Choice(["csv", "json"]), required=True, help="What SOURCE is."
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@pass_app
def import_(app: CommandContext, source: Path, kind: str, dry_run: bool) -> int:
    """Take orders from SOURCE (docs/orders.md).

    A bad row is reported with its line, the rest goes in; importing twice changes nothing.
    """

    read = orders_format.read_csv if kind == "csv" else orders_format.read_json
    done = orders_format.take(
        app.open(), read(source), app.settings.provider.time_zone, app.now(), dry_run=dry_run
    )
    for problem in done.problems[:200]:
        click.echo(f"{cell(problem.where, 300)}: left out: {cell(problem.reason, 400)}", err=True)
    for line in done.lines[:200] if dry_run else ():
        click.echo(cell(line, 300))
    click.echo(
        f"{'Would change' if dry_run else 'Done'}: {done.rows} row(s); {done.added} order(s) added,"
        f" {done.changed} changed; {len(done.problems)} left out."
    )
    return 3 if done.problems else 0


@purchase.command("export")
@client_filter
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Else standard output."
)
@pass_app
def export(app: CommandContext, client: str | None, form: str, output: Path | None) -> None:
    """Write orders so that order import reads them again."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        text = orders_format.write(orders.listing(conn, client_id=client_id), form)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
        click.echo(f"Written to {output}.", err=True)


@purchase.command("billing")
@click.option("--month", required=True, metavar="YYYY-MM")
@client_filter
@format_option
@pass_app
def billing(app: CommandContext, month: str, client: str | None, form: str) -> None:
    """List the closed installations of a month with their fees, and our purchases for clients."""

    zone = ZoneInfo(app.settings.provider.time_zone)
    start, end = (int(m.timestamp()) for m in month_span(month, zone))
    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        closed = cases.closed_between(conn, start, end, client_id)
        bought = [
            o
            for o in orders.listing(conn, client_id=client_id)
            if o["bought_by"] == "us" and start <= o["starts_at"] < end and o["state"] == "active"
        ]
    found = entries_of(
        closed, bought, Decimal(app.settings.forecast.fee), app.settings.forecast.currency, zone
    )
    rows = [
        {
            "client": e.client,
            "client_name": e.client_name,
            "day": f"{e.day:%Y-%m-%d}",
            "kind": e.kind,
            "what": e.what,
            "amount": None if e.amount is None else str(e.amount),
            "currency": e.currency,
            "approved_by": e.approved_by or None,
        }
        for e in found
    ]
    sums = {k: str(v) for k, v in totals(found).items()}
    columns = ("client", "client_name", "day", "kind", "what", "amount", "currency", "approved_by")
    if form == "json":
        echo_json({"schema": "certmgr.billing/1", "month": month, "entries": rows, "totals": sums})
        return
    show("entries", columns, rows, form, f"Nothing was closed or bought in {month}.")
    if form == "table" and rows:
        click.echo("Total: " + ", ".join(f"{v} {k}" for k, v in sums.items()))


@purchase.command("compare")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--certificates",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="How many are bought; 1 for all names together.",
)
@click.option(
    "--lifetime", metavar="DAYS", help="Suppose that no certificate lives longer, such as 45d."
)
@format_option
@pass_app
def compare(
    app: CommandContext,
    names: tuple[str, ...],
    certificates: int | None,
    lifetime: str | None,
    form: str,
) -> None:
    """Set 1, 2 and 3 years and ACME side by side for NAMES: purchases, installations, fees and work
    over three years.
    """

    shown = [pattern(n) for n in names]
    count, days = certificates or 1, lifetime_days(lifetime)
    prices, leads, moment = prices_of(app.settings), leads_of(app.settings), app.now()
    found = side.compare(count, moment, leads, prices, days)
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
        for c in found
    ]
    said = side.assumptions(moment, leads, prices, count, days)
    if form == "json":
        echo_json(
            {"schema": "certmgr.comparison/1", "names": shown, "choices": rows, "assumptions": said}
        )
        return
    show("choices", tuple(rows[0]), rows, form)
    if form == "table":
        click.echo("\nAssumptions")
        for line in said:
            click.echo(f"- {line}")
        if not any(prices.by_years):
            click.echo("No prices are known: set [forecast] price_1, price_2 and price_3.")
