"""``certmgr renew`` and ``certmgr revoke``."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import click

from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.revoke import revoke as revoke_certificate
from certmgr.acme.renewal.renewal_run import RenewalRunner, RenewalSummary
from certmgr.acme.renewal.simulate import Simulation, simulate
from certmgr.acme.renewal.simulation_input import lineages_to_simulate
from certmgr.cli import output
from certmgr.cli.acme.issue import show_lineages
from certmgr.cli.acme.issue_states import SYMBOLS, WORDS
from certmgr.cli.progress import ProgressLine, progress_line
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import UsageError
from inventory.store import lineages

WAITS_FOR_CA = "waits for the CA and the checks after deployment"
# The reasons that a subscriber may give. The others of RFC 5280 are for the CA itself.
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
    help="Renew what is due, continue open orders and retry failed deployments; for cron.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be renewed, when and why.")
@click.option(
    "--simulate",
    is_flag=True,
    help=(
        "Only simulate the orders per day of all lineages, and show which rate limits would"
        " postpone orders."
    ),
)
@click.option(
    "--lifetime",
    default="45d",
    show_default=True,
    metavar="DAYS",
    help="With --simulate: lifetime of the certificates.",
)
@click.option(
    "--until", metavar="DATE", help="With --simulate: end of the simulation. Default: in one year."
)
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
    output_format: str,
) -> int:
    """Renew LINEAGEs now, or all that are due with --due.

    Exit codes: 0 done, or a retry is scheduled; 3 a renewal failed.

    \b
    certmgr renew --due              for cron (certmgr run includes it)
    certmgr renew --due --dry-run    show what is due, and why
    certmgr renew --simulate --lifetime 45d --until 2028-12-31
    """

    if simulate:
        return _simulate(app, lifetime, until, output_format)
    # Without arguments nothing is ordered: an empty variable in a script must not renew everything.
    if not (names or due):
        raise UsageError(
            "There is nothing to renew", "no lineage was given", "Name lineages or give --due."
        )
    if names and due:
        raise UsageError(
            "--due and lineages exclude each other",
            "--due selects the lineages",
            "Give one of them.",
        )

    context = IssuanceContext.of(app.context())
    with progress_line() as line:
        runner = RenewalRunner(context, partial(line.counted, "renew", waits_for=WAITS_FOR_CA))
        # A dry run only plans, and must return before an order is placed.
        if dry_run:
            return _dry_run(runner, names, output_format)
        line.text(f"renew ... {WAITS_FOR_CA}")
        # Named lineages are renewed at once, even if they are not due.
        summary = runner.run_named(names) if names else runner.run_due()
    # Named lineages were requested by a person, who gets the result of each one.
    if names:
        return show_lineages(context.database, list(names), summary, output_format)
    _show_run(summary, output_format)
    # A postponed renewal is not a failure: the next run goes on with it.
    return 3 if summary.failed else 0


def _show_run(summary: RenewalSummary, output_format: str) -> None:
    """Print the result of a run of all that was due."""
    # CSV and JSON list the problems only: a good run needs no row per lineage.
    problems = [{"lineage": n, "state": s, "said": m} for n, s, m in summary.problems]
    if output_format == "csv":
        output.show("renewals", ("lineage", "state", "said"), problems, "csv")
    elif output_format == "json":
        output.echo_json(
            {
                "schema": "certmgr.renew/1",
                "planned": summary.planned,
                "issued": summary.issued,
                "deployed": summary.renewed,
                "counts": dict(summary.counts),
                "troubles": problems,
                "returned": summary.returned,
            }
        )
    else:
        _show_summary(summary)


def _show_summary(summary: RenewalSummary) -> None:
    """Print the result of a run. A run without work prints nothing, because cron mails output."""

    for name, state, message in summary.problems:
        click.echo(
            f"{SYMBOLS.get(state, '✗')} {name}: {WORDS.get(state, state)}:"
            f" {output.cell(message, 1500)}"
        )
    if summary.planned or summary.returned or summary.problems:
        click.echo(summary.sentence)


def _dry_run(runner: Any, names: tuple[str, ...], output_format: str) -> int:
    """Show which lineages are due, and when and why the others will be."""
    moment = runner.context.now()
    # The earliest due date comes first; the name makes the order the same in each run.
    planned = sorted(runner.plan(names), key=lambda p: (p.due.at, p.name))
    rows = [
        {
            "lineage": p.name,
            "client": p.client,
            "from": output.instant(p.due.at),
            "due": p.due.at <= moment,
            "why": p.due.reason,
            "waits": output.epoch_text(p.deferred_until),
            "remark": p.remark,
        }
        for p in planned
    ]
    if output_format != "table":
        output.show(
            "renewals",
            ("lineage", "client", "from", "due", "why", "waits", "remark"),
            rows,
            output_format,
        )
        return 0
    shown = [
        [
            _when(r, moment),
            r["lineage"],
            r["client"],
            "; ".join(t for t in (str(r["why"]), r["remark"] and f"names are {r['remark']}") if t),
        ]
        for r in rows
    ]
    if shown:
        output.table(["WHEN", "LINEAGE", "CLIENT", "WHY"], shown)
    # A lineage that is due but waits after a failure would not be renewed now.
    click.echo(
        f"{sum(r['due'] and not r['waits'] for r in rows)} of {len(rows)} would be renewed now."
        " No order was placed."
    )
    return 0


def _when(row: dict[str, Any], moment: Any) -> str:
    # A wait after a failure is stronger than the due date.
    if row["waits"]:
        return f"… not before {row['waits']}"
    return "→ now" if row["due"] else str(row["from"])


def _days(text: str) -> timedelta:
    number = text.strip().lower().removesuffix("d")
    # isdigit() alone accepts digits that int() refuses. 398 days is the longest lifetime that
    # browsers accepted until 2026.
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= 398):
        raise UsageError(
            f"'{output.cell(text, 20)}' is not a lifetime",
            "it must be 1 to 398 days",
            "Write 45d, for example.",
        )
    return timedelta(days=int(number))


def _simulate(app: CommandContext, lifetime: str, until: str | None, output_format: str) -> int:
    moment, life = app.now(), _days(lifetime)
    end = app.ahead(until) if until else moment + timedelta(days=365)
    # Rate limits change, so a simulation of many more years would be long and of no use.
    if not moment < end < moment + timedelta(days=3660):
        raise UsageError(
            "--until is in the past, or more than ten years ahead",
            "",
            "Give a date such as 2028-12-31.",
        )
    items, cas = lineages_to_simulate(app.context())
    simulation = simulate(items, cas, life, moment, end)
    if output_format == "table":
        click.echo(
            f"{len(items)} lineages with certificates of {life.days} days, until {end:%Y-%m-%d}:"
            f" {_order_counts(simulation, max((end - moment).days, 1))}"
        )
        _show_simulation(simulation)
        return 0
    days = [{"day": d.isoformat(), "orders": n} for d, n in sorted(simulation.days.items())]
    if output_format == "csv":
        # The CSV has one kind of row. The rate limits are in JSON and in the table.
        output.show("days", ("day", "orders"), days, "csv")
        return 0
    output.echo_json(
        {
            "schema": "certmgr.simulation/1",
            "lineages": len(items),
            "lifetime_days": life.days,
            "until": output.instant(end),
            "orders": simulation.orders,
            "postponed": simulation.postponed,
            "expired": sorted(simulation.expired),
            "days": days,
            "hits": [
                {
                    "at": output.instant(h.at),
                    "lineage": h.lineage,
                    "until": output.instant(h.until),
                    "reason": h.reason,
                    "late": h.late,
                }
                for h in simulation.hits
            ],
        }
    )
    return 0


def _order_counts(simulation: Simulation, span: int) -> str:
    busiest = max(simulation.days.values(), default=0)
    return (
        f"{simulation.orders} orders, {simulation.orders / span:.1f} per day, at most {busiest} on"
        " one day."
    )


def _show_simulation(simulation: Simulation) -> None:
    """Print the orders per month, and what rate limits would postpone."""
    months: dict[str, int] = {}
    # Days are added up to months, so that the table fits the screen.
    for day, count in simulation.days.items():
        months[f"{day:%Y-%m}"] = months.get(f"{day:%Y-%m}", 0) + count
    if months:
        output.table(["MONTH", "ORDERS"], [[m, n] for m, n in sorted(months.items())])
    if not simulation.postponed:
        click.echo("✓ No rate limit of a CA postpones an order.")
        return
    click.echo(
        f"! Rate limits would postpone {simulation.postponed} order(s), and"
        f" {len(simulation.expired)} certificate(s) would expire before their renewal. The first:"
    )
    # The first 20 show which rate limit is the problem; all of them are in JSON.
    output.table(
        ["WHEN", "LINEAGE", "UNTIL", "WHY"],
        [
            [output.instant(h.at), h.lineage, output.instant(h.until), h.reason]
            for h in simulation.hits[:20]
        ],
    )


@click.command("revoke")
@click.argument("name", metavar="LINEAGE")
@click.option(
    "--reason",
    type=click.Choice(REASONS),
    required=True,
    metavar="REASON",
    help="Reason (RFC 5280): keyCompromise if a third party may have the key, unspecified,"
    " affiliationChanged, superseded or cessationOfOperation.",
)
@click.option(
    "--by",
    type=click.Choice(["account", "key"]),
    default="account",
    show_default=True,
    help="Key that signs the request: of the account, or of the certificate.",
)
@click.option(
    "--certificate",
    "sha256",
    default="",
    metavar="SHA256",
    help="Earlier certificate of the lineage: its SHA-256, or the first digits of it.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def revoke(app: CommandContext, name: str, reason: str, by: str, sha256: str, yes: bool) -> int:
    """Revoke a certificate at its CA permanently.

    A site that still serves it stops working in browsers that check revocation.
    """

    context = IssuanceContext.of(app.context())
    with context.read() as conn:
        row = lineages.find(conn, name)
    # RFC 8555 has no way to undo a revocation, so it needs a confirmation.
    if not yes:
        # With --certificate an earlier one is revoked, which is not the one in use as a rule.
        in_use = row.sha256 is not None and row.deployed == row.sha256 and not sha256
        warning = f" It is in use now. To replace it first: certmgr renew {name}." if in_use else ""
        if not click.confirm(
            f"Revoke the certificate of '{name}' ({reason})?{warning} It cannot be undone."
        ):
            click.echo("Nothing was revoked.")
            # Another exit code than 0, so that a script does not take a refusal for a revocation.
            return 3
    with ProgressLine().waiting("revoke: waiting for the CA"):
        result = revoke_certificate(context, name, reason, by=by, sha256=sha256)
    click.echo(
        f"{'It was revoked already' if result.already else 'Revoked'}: {result.sha256[:16]}, serial"
        f" {result.serial}."
    )
    # Only the current certificate is replaced by a renewal; earlier ones are not in use.
    if row.state == "active" and result.sha256 == row.sha256:
        click.echo(f"certmgr renew {name} replaces it; certmgr renew --due does so too.")
    return 0
