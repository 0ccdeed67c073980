"""``certmgr renew`` and ``certmgr revoke``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from certmgr.acme.context import IssuanceContext
from certmgr.acme.renewal_run import RenewalRunner
from certmgr.acme.revoke import revoke as work
from certmgr.acme.simulate import simulate
from certmgr.acme.simulation_input import fleet_of
from certmgr.cli import output
from certmgr.cli.issue import told
from certmgr.cli.issue_states import SYMBOLS, WORDS
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import UsageError
from inventory.store import lineages

REASONS = [
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
]


@click.command("renew")
@click.argument("names", nargs=-1, metavar="[LINEAGE]...")
@click.option(
    "--due",
    is_flag=True,
    help="Whatever is due, what was begun, and what could not be brought to its target: for cron.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be renewed, when and why.")
@click.option(
    "--simulate",
    is_flag=True,
    help=(
        "Only work out how many orders a day the fleet makes, and where limits would be in the way."
    ),
)
@click.option(
    "--lifetime",
    default="45d",
    show_default=True,
    metavar="DAYS",
    help="With --simulate: how long certificates will live.",
)
@click.option("--until", metavar="DATE", help="With --simulate: up to when; else a year.")
@format_option
@pass_app
def renew(
    app: CommandContext,
    names: tuple[str, ...],
    due: bool,
    dry_run: bool,
    simulate: bool,
    lifetime: str,
    until: str | None,
    form: str,
) -> int:
    """Renews LINEAGEs now, or with --due whatever is due.

    Exit 0: done, or it waits for a pending retry; 3: something failed.

    \b
    certmgr renew --due              the line for cron, twice a day (certmgr run does it too)
    certmgr renew --due --dry-run    what is due, and why
    certmgr renew --simulate --lifetime 45d --until 2028-12-31
    """

    if simulate:
        return _simulate(app, lifetime, until, form)
    if not (names or due):
        raise UsageError("What is to be renewed?", "", "Name lineages, or give --due.")
    if names and due:
        raise UsageError("--due chooses by itself", "", "Leave the names out, or --due.")

    database = app.open()
    fleet = RenewalRunner(IssuanceContext(database, app.settings), _progress())
    if dry_run:
        return _dry(fleet, names, form)
    if names:
        return told(database, list(names), fleet.named(names), form)
    summary = fleet.due()
    if form == "csv":
        rows = [{"lineage": n, "state": s, "said": t} for n, s, t in summary.troubles]
        output.show("renewals", ("lineage", "state", "said"), rows, "csv")
    elif form == "json":
        troubles = [{"lineage": n, "state": s, "said": t} for n, s, t in summary.troubles]
        output.echo_json(
            {
                "schema": "certmgr.renew/1",
                "planned": summary.planned,
                "counts": dict(summary.counts),
                "troubles": troubles,
                "returned": summary.returned,
            }
        )
    else:
        _said(summary)
    return 3 if summary.failed else 0


def _progress() -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        click.echo(f"\r{done} of {total}", nl=done == total, err=True)

    return show


def _said(summary: Any) -> None:
    """Silent for cron when there is nothing to say."""

    for name, state, said in summary.troubles:
        click.echo(
            f"{SYMBOLS.get(state, '✗')} {name}: {WORDS.get(state, state)}:"
            f" {output.cell(said, 1500)}"
        )
    if summary.planned or summary.returned or summary.troubles:
        click.echo(
            f"{summary.planned} due, {summary.renewed}"
            f" renewed{f', {summary.returned} name(s) returned' if summary.returned else ''}"
        )


def _dry(fleet: Any, names: tuple[str, ...], form: str) -> int:
    moment = fleet.office.now()
    planned = sorted(fleet.plan(names), key=lambda p: (p.due.at, p.name))
    rows = [
        {
            "lineage": p.name,
            "client": p.client,
            "from": output.instant(p.due.at),
            "due": p.due.at <= moment,
            "why": p.due.reason,
            "waits": output.epoch_text(p.waits),
        }
        for p in planned
    ]
    if form != "table":
        output.show("renewals", ("lineage", "client", "from", "due", "why", "waits"), rows, form)
        return 0
    shown = [[_when(r, moment), r["lineage"], r["client"], r["why"]] for r in rows]
    if shown:
        output.table(["WHEN", "LINEAGE", "CLIENT", "WHY"], shown)
    click.echo(
        f"{sum(r['due'] and not r['waits'] for r in rows)} of {len(rows)} would be renewed now."
        " Nothing was ordered."
    )
    return 0


def _when(row: dict[str, Any], moment: Any) -> str:
    if row["waits"]:
        return f"… not before {row['waits']}"
    return "→ now" if row["due"] else str(row["from"])


def _days(text: str) -> timedelta:
    bare = text.strip().lower().removesuffix("d")
    if not (bare.isascii() and bare.isdigit() and 1 <= int(bare) <= 398):
        raise UsageError(
            f"'{output.cell(text, 20)}' is no lifetime", "it is 1 to 398 days", "Write 45d."
        )
    return timedelta(days=int(bare))


def _simulate(app: CommandContext, lifetime: str, until: str | None, form: str) -> int:
    moment, life = app.now(), _days(lifetime)
    end = app.moment(until) or moment + timedelta(days=365)
    if not moment < end < moment + timedelta(days=3660):
        raise UsageError(
            "--until lies in the past, or over ten years ahead",
            "",
            "Give a date such as 2028-12-31.",
        )
    items, cas = fleet_of(app.open(), app.settings)
    found = simulate(items, cas, life, moment, end)
    days = [{"day": d.isoformat(), "orders": n} for d, n in sorted(found.days.items())]
    hits = [
        {
            "at": output.instant(h.at),
            "lineage": h.lineage,
            "until": output.instant(h.until),
            "reason": h.reason,
            "late": h.late,
        }
        for h in found.hits
    ]
    if form == "json":
        output.echo_json(
            {
                "schema": "certmgr.simulation/1",
                "lineages": len(items),
                "lifetime_days": life.days,
                "until": output.instant(end),
                "orders": found.orders,
                "postponed": found.postponed,
                "expired": sorted(found.expired),
                "days": days,
                "hits": hits,
            }
        )
        return 0
    if form == "csv":
        output.show("days", ("day", "orders"), days, "csv")
        return 0
    span = max((end - moment).days, 1)
    busiest = max(found.days.values(), default=0)
    click.echo(
        f"{len(items)} lineages with certificates of {life.days} days, until {end:%Y-%m-%d}:"
        f" {found.orders} orders, {found.orders / span:.1f} a day, at most {busiest} on one day."
    )
    months: dict[str, int] = {}
    for day, count in found.days.items():
        months[f"{day:%Y-%m}"] = months.get(f"{day:%Y-%m}", 0) + count
    if months:
        output.table(["MONTH", "ORDERS"], [[m, n] for m, n in sorted(months.items())])
    if not found.postponed:
        click.echo("✓ No limit of a CA is in the way.")
        return 0
    click.echo(
        f"! Limits would put {found.postponed} order(s) off; {len(found.expired)} certificate(s)"
        " would end before. The first:"
    )
    output.table(
        ["WHEN", "LINEAGE", "UNTIL", "WHY"],
        [[h["at"], h["lineage"], h["until"], h["reason"]] for h in hits[:20]],
    )
    return 0


@click.command("revoke")
@click.argument("name", metavar="LINEAGE")
@click.option(
    "--reason",
    type=click.Choice(REASONS),
    required=True,
    help="Why (RFC 5280); keyCompromise if somebody else may have the key.",
)
@click.option(
    "--by",
    type=click.Choice(["account", "key"]),
    default="account",
    show_default=True,
    help="Who asks: the account, or the certificate's own key.",
)
@click.option(
    "--certificate",
    "sha256",
    default="",
    metavar="SHA256",
    help="An earlier one of the lineage, or the beginning of its SHA-256.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def revoke(app: CommandContext, name: str, reason: str, by: str, sha256: str, yes: bool) -> int:
    """Revokes a certificate at its CA, for good.

    A site that still shows it stops working in browsers that look.
    """

    database = app.open()
    with database.read() as conn:
        row = lineages.find(conn, name)
    if not yes:
        in_use = row["sha256"] is not None and row["deployed"] == row["sha256"] and not sha256
        warning = (
            f" It is in use now: certmgr renew {name} first puts another one in its place."
            if in_use
            else ""
        )
        if not click.confirm(
            f"Revoke the certificate of '{name}' ({reason})?{warning} It cannot be undone."
        ):
            click.echo("Nothing was revoked.")
            return 3
    done = work(IssuanceContext(database, app.settings), name, reason, by=by, sha256=sha256)
    click.echo(
        f"{'It was revoked already' if done.already else 'Revoked'}: {done.sha256[:16]}, serial"
        f" {done.serial}."
    )
    if row["state"] == "active" and done.sha256 == row["sha256"]:
        click.echo(f"certmgr renew {name} replaces it; certmgr renew --due does so too.")
    return 0
