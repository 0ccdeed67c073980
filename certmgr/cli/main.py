"""``certmgr``: the group, its global options, and the exit code."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import click

from certmgr import __version__
from certmgr.cli.guidance.completing import COMPLETE_VARIABLE, answer_shell
from certmgr.cli.lazy import LazyCommand, LazyGroup
from certmgr.cli.logs import FORMATS, LogFormat, configure
from certmgr.cli.shared import Caller, CommandContext, colour_choice, guard, width_option
from certmgr.cli.tracebacks import install
from certmgr.operations.stopping import INTERRUPTED, TERMINATED, stoppable
from inventory.clock import Clock, system_clock

# Heading in --help -> its commands: name, import path (below certmgr.cli, or whole), summary. A new
# command needs a line here.
_COMMANDS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "Inspect": (
        ("scan", "inspect.scan:scan", "Inspect the certificates that are served."),
        ("status", "inspect.status:status", "Show what needs attention, worst first."),
        ("dashboard", "inspect.dashboard:dashboard", "Show the whole inventory on one page."),
        ("diagnose", "inspect.diagnose:diagnose", "Explain what a visitor sees at a URL."),
        ("finding", "inspect.findings:finding", "List, accept and assign findings."),
        ("revocation", "inspect.revocation:revocation", "Check revocation, CAA and DANE."),
        ("trust", "inspect.trust:trust", "Show and update the rules of browsers about CAs."),
    ),
    "Inventory": (
        ("client", "inventory.clients:client", "Manage clients, who own domains."),
        ("contact", "inventory.contacts:contact", "Manage people and mailboxes."),
        ("domain", "inventory.domains:domain", "Manage domains and who does what for them."),
        ("endpoint", "inventory.endpoints:endpoint", "Manage the servers that a scan visits."),
        ("server", "inventory.servers:server", "Manage our machines and load balancers."),
        ("import", "inventory.imports:import_", "Import records from a file or directory."),
        ("export", "inventory.exchange:export", "Write all records as JSON or CSV."),
    ),
    "Compliance": (
        (
            "compliance",
            "compliance.compliance:compliance",
            "Check domains against dated rules.",
        ),
        ("deadline", "compliance.deadlines:deadline", "Manage dated rules."),
        ("forecast", "compliance.planning:forecast", "Show purchases and installations ahead."),
        ("report", "compliance.report:report", "Write reports for clients."),
        ("calendar", "compliance.planning:calendar", "Write dates ahead as an iCalendar file."),
    ),
    "Notify": (
        ("notify", "notify.notify:notify", "Compose and send the notices that are due."),
        ("notice", "notify.notices:notice", "Manage queued notices and replies."),
    ),
    "Purchases and cases": (
        ("purchase", "purchases.purchases:purchase", "Manage certificates bought for years."),
        ("case", "cases.cases:case", "Coordinate installations with clients."),
        ("incident", "cases.incidents:incident", "Replace many certificates by a time."),
    ),
    "ACME": (
        ("account", "acme.accounts:account", "Manage ACME accounts."),
        ("issue", "acme.issue:issue", "Issue a certificate by ACME and deploy it."),
        ("renew", "acme.renew:renew", "Renew the ACME certificates that are due."),
        ("lineage", "acme.lineages:lineage", "Manage automatically renewed certificates."),
        ("revoke", "acme.renew:revoke", "Revoke a certificate at its CA."),
        ("solver", "acme.solvers:solver", "Show how domain control is validated."),
    ),
    "Operate": (
        ("init", "operate.init:init", "Write a configuration, and take the first steps."),
        ("config", "operate.configuration:config", "Show and check the configuration."),
        ("run", "operate.operations:run", "Do all scheduled work; the line for cron."),
        ("worker", "operate.worker:worker", "Take over work that is spread over machines."),
        ("zone", "operate.zones:zone", "Manage vantage points, from which workers scan."),
        ("check", "operate.operations:check", "Run as a monitoring plug-in (Nagios, Icinga)."),
        ("metrics", "operate.operations:metrics", "Write metrics for Prometheus."),
        ("doctor", "operate.operations:doctor", "Check the set-up of certmgr."),
        ("database", "operate.database:database", "Migrate, back up, restore, check."),
        ("audit", "operate.audit:audit", "List, export and verify the audit log."),
        (
            "completion",
            "guidance.completion:completion",
            "Print the completion script of a shell.",
        ),
        ("help", "guidance.help:help_", "Read the documentation of a topic."),
        ("explain", "guidance.help:explain", "Explain a finding code or a dated rule."),
        ("demo", "certmgr.demo.command:demo", "Show the main job on local TLS sites."),
    ),
}


def _import_path(path: str) -> str:
    return path if path.startswith("certmgr.") else f"certmgr.cli.{path}"


class CertmgrGroup(LazyGroup):
    """The commands."""

    commands_by_group: ClassVar[Mapping[str, Mapping[str, LazyCommand]]] = {
        heading: {name: LazyCommand(_import_path(path), text) for name, path, text in commands}
        for heading, commands in _COMMANDS.items()
    }


@click.group(
    cls=CertmgrGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
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
    # Logging comes first, so that warnings about the configuration are formatted too.
    configure(verbose, log_format)
    context.color = colour_choice(color)
    caller = context.obj or Caller()
    app = context.obj = CommandContext(config, database_url, debug, caller.clock, caller.stop)
    # The databases are closed also if the command fails or is interrupted.
    context.call_on_close(app.close)


def run() -> None:
    """Run the console script."""
    # The shell asks at each TAB, so no command is imported for its completion.
    if COMPLETE_VARIABLE in os.environ:
        sys.exit(answer_shell(os.environ))
    _write_no_core()
    install()
    # The defaults look for cycles after each 700 objects: a fifth of the CPU of a large status,
    # whose records have none. The processes of a scan use the same thresholds.
    gc.set_threshold(20_000, 20, 100)
    code = main(sys.argv[1:])
    # The interpreter would wait for threads whose work has begun: a CA that does not answer, or a
    # mail server that sends one byte at a time after the time limit of a message. What they do is
    # durable at every step, so the process may end now.
    if code in (INTERRUPTED, TERMINATED) or _threads_left():
        # Processes that parse or probe would outlive os._exit(), which runs no cleanup.
        # A command that began none has not imported the library, which costs a sixth of --help.
        if "multiprocessing" in sys.modules:
            import multiprocessing

            for child in multiprocessing.active_children():
                child.terminate()
        # os._exit() does not flush the buffers. A closed pipe is no error at this point.
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _write_no_core() -> None:
    """Let a crash write no core file, which would contain the private keys in memory.

    The hard limit stays, so that a program that is started may raise its own.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _threads_left() -> bool:
    return any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate())


def main(arguments: Sequence[str], clock: Clock = system_clock) -> int:
    """Run one command and return its exit code. Every error becomes one line on stderr."""
    # Errors may occur before click has parsed the options, so --debug is searched for here.
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
        # A closed pipe must raise here, inside guard(). At its exit, the interpreter would print a
        # message that no handler can catch.
        sys.stdout.flush()
        return result
