"""``certmgr``: the group, its global options, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from certmgr import __version__
from certmgr.cli import (
    accounts,
    cases,
    clients,
    compliance,
    contacts,
    database,
    deadlines,
    demo,
    diagnose,
    domains,
    endpoints,
    exchange,
    findings,
    incidents,
    issue,
    lineages,
    notices,
    notify,
    operations,
    orders,
    planning,
    renew,
    report,
    revocation,
    scan,
    servers,
    status,
)
from certmgr.cli.shared import App, guard
from inventory.clock import Clock, system_clock


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="certmgr")
@click.option(
    "--config",
    metavar="FILE",
    help="Configuration (TOML). Else CERTMGR_CONFIG, else the user's own.",
)
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="SQLite file or URL, or postgresql://... Else the configuration's.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, config: str | None, database_url: str | None, debug: bool) -> None:
    """Certificates of other people's domains: inventory, inspection, and who has to do what.

    \b
    certmgr scan shop.example.com        look at a server; nothing is stored
    certmgr domain add shop.example.com --client 1001
    certmgr scan                         look at the whole inventory
    certmgr status --causes              what needs attention, and what would mend it
    """
    app = context.obj = App(config, database_url, debug, context.obj or system_clock)
    context.call_on_close(app.close)


for command in (
    scan.scan,
    status.status,
    clients.client,
    contacts.contact,
    servers.server,
    domains.domain,
    endpoints.endpoint,
    findings.finding,
    deadlines.deadline,
    compliance.compliance,
    report.report,
    diagnose.diagnose,
    notify.notify,
    notices.notice,
    orders.order,
    cases.case,
    incidents.incident,
    planning.forecast,
    revocation.revocation,
    accounts.account,
    issue.issue,
    renew.renew,
    renew.revoke,
    lineages.lineage,
    lineages.solver,
    planning.calendar,
    operations.run,
    operations.check,
    operations.metrics,
    operations.doctor,
    operations.audit,
    exchange.import_,
    exchange.export,
    database.database,
    demo.demo,
):
    cli.add_command(command)


def run() -> None:
    """Run the console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str], clock: Clock = system_clock) -> int:
    """Run one command and return its exit code. Every error becomes one line on stderr."""
    debug = "--debug" in arguments
    return guard(lambda: _invoke(list(arguments), clock), lambda: debug)


def _invoke(arguments: list[str], clock: Clock) -> object:
    """Invoke the group as ``cli.main(standalone_mode=False)`` does.

    A closed pipe keeps its exception, because click turns it into exit code 1, which means
    findings.
    """
    with cli.make_context("certmgr", arguments, obj=clock) as context:
        result = cli.invoke(context)
        sys.stdout.flush()
        return result
