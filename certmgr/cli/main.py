"""``certmgr``: the group, its global options, and the exit code."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import click

from certmgr import __version__
from certmgr.cli.lazy import LazyCommand, LazyGroup
from certmgr.cli.logs import FORMATS, LogFormat, configure
from certmgr.cli.shared import Caller, CommandContext, colour_choice, guard, width_option
from certmgr.operations.stopping import INTERRUPTED, TERMINATED, stoppable
from inventory.clock import Clock, system_clock


class CertmgrGroup(LazyGroup):
    """The commands. A new command needs a line here and a module."""

    commands_by_name: ClassVar[Mapping[str, LazyCommand]] = {
        name: LazyCommand(f"certmgr.{path}", summary)
        for name, path, summary in (
            ("account", "cli.accounts:account", "Manage ACME accounts."),
            ("audit", "cli.operations:audit", "List and verify the audit log."),
            ("calendar", "cli.planning:calendar", "Write dates ahead as an iCalendar file."),
            ("case", "cli.cases:case", "Coordinate installations with clients."),
            ("check", "cli.operations:check", "Run as a monitoring plug-in (Nagios, Icinga)."),
            ("client", "cli.clients:client", "Manage clients, who own domains."),
            ("compliance", "cli.compliance:compliance", "Check domains against dated rules."),
            ("contact", "cli.contacts:contact", "Manage people and mailboxes."),
            ("dashboard", "cli.dashboard:dashboard", "Show the whole inventory on one page."),
            ("database", "cli.database:database", "Migrate, back up, restore, check."),
            ("deadline", "cli.deadlines:deadline", "Manage dated rules."),
            ("demo", "demo.command:demo", "Show the main job on local TLS sites."),
            ("diagnose", "cli.diagnose:diagnose", "Explain what a visitor sees at a URL."),
            ("doctor", "cli.operations:doctor", "Check the set-up of certmgr."),
            ("domain", "cli.domains:domain", "Manage domains and who does what for them."),
            ("endpoint", "cli.endpoints:endpoint", "Manage the servers that a scan visits."),
            ("export", "cli.exchange:export", "Write all records as JSON or CSV."),
            ("finding", "cli.findings:finding", "List, accept and assign findings."),
            ("forecast", "cli.planning:forecast", "Show purchases and installations ahead."),
            ("import", "cli.imports:import_", "Import records from a file or directory."),
            ("incident", "cli.incidents:incident", "Replace many certificates by a time."),
            ("issue", "cli.issue:issue", "Issue a certificate by ACME and deploy it."),
            ("lineage", "cli.lineages:lineage", "Manage automatically renewed certificates."),
            ("metrics", "cli.operations:metrics", "Write metrics for Prometheus."),
            ("notice", "cli.notices:notice", "Manage queued notices and replies."),
            ("notify", "cli.notify:notify", "Compose and send the notices that are due."),
            ("purchase", "cli.purchases:purchase", "Manage certificates bought for years."),
            ("renew", "cli.renew:renew", "Renew the ACME certificates that are due."),
            ("report", "cli.report:report", "Write reports for clients."),
            ("revocation", "cli.revocation:revocation", "Check revocation, CAA and DANE."),
            ("revoke", "cli.renew:revoke", "Revoke a certificate at its CA."),
            ("run", "cli.operations:run", "Do all scheduled work; the line for cron."),
            ("scan", "cli.scan:scan", "Inspect the certificates that are served."),
            ("server", "cli.servers:server", "Manage our machines and load balancers."),
            ("solver", "cli.solvers:solver", "Show how domain control is validated."),
            ("status", "cli.status:status", "Show what needs attention, soonest first."),
            ("trust", "cli.trust:trust", "Show and update the rules of browsers about CAs."),
        )
    }


@click.group(
    cls=CertmgrGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="certmgr")
@click.option(
    "--config",
    metavar="FILE",
    help="Configuration file (TOML). Default: CERTMGR_CONFIG, then the user's certmgr.toml.",
)
@click.option(
    "--database",
    "database_url",
    metavar="URL",
    help="SQLite file or URL, or postgresql://... Default: the configured database.",
)
@click.option("-v", "--verbose", count=True, help="Log more to standard error (-vv: debug).")
@click.option(
    "--log-format",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="Format of the log.",
)
@click.option(
    "--color",
    "--colour",
    "color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour the output; always suits 'watch -c'. NO_COLOR and FORCE_COLOR are honoured.",
)
@width_option
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(
    context: click.Context,
    config: str | None,
    database_url: str | None,
    verbose: int,
    log_format: LogFormat,
    color: str,
    debug: bool,
) -> None:
    """Manage certificates for the domains of many clients.

    \b
    certmgr scan shop.example.com        inspect a server; nothing is stored
    certmgr domain add shop.example.com --client 1001
    certmgr scan                         inspect the whole inventory
    certmgr status --causes              what needs attention, and how to fix it
    """
    configure(verbose, log_format)
    context.color = colour_choice(color)
    caller = context.obj or Caller()
    app = context.obj = CommandContext(config, database_url, debug, caller.clock, caller.stop)
    context.call_on_close(app.close)


def run() -> None:
    """Run the console script."""
    code = main(sys.argv[1:])
    if code in (INTERRUPTED, TERMINATED):
        # The interpreter would wait for threads whose work has begun, such as a CA's answer. What
        # they do is durable at every step, so the process may end now.
        for child in multiprocessing.active_children():
            child.terminate()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(arguments: Sequence[str], clock: Clock = system_clock) -> int:
    """Run one command and return its exit code. Every error becomes one line on stderr."""
    debug = "--debug" in arguments
    with stoppable() as stop:
        caller = Caller(clock, stop)
        return guard(lambda: _invoke(list(arguments), caller), lambda: debug, stop)


def _invoke(arguments: list[str], caller: Caller) -> object:
    """Invoke the group as ``cli.main(standalone_mode=False)`` does.

    A closed pipe keeps its exception, because click turns it into exit code 1, which means
    findings.
    """
    with cli.make_context("certmgr", arguments, obj=caller) as context:
        result = cli.invoke(context)
        sys.stdout.flush()
        return result
