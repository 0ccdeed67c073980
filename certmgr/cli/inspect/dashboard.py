"""``certmgr dashboard``: the whole inventory on one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from certmgr.cli.output import cell, paragraph
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app, was_given
from certmgr.dashboard import html
from certmgr.dashboard.load import load_dashboard_input
from certmgr.dashboard.server import DashboardServer, require_loopback
from certmgr.dashboard.view import build, summary_of
from certmgr.files import write_whole
from certmgr.inspection.status import counts
from inventory.errors import UsageError
from notifiers.wording.catalogue import language, require

if TYPE_CHECKING:
    from datetime import datetime

    from certmgr.config.context import Context


@click.command()
@click.option("--output", metavar="FILE", help="Output file. Default: standard output.")
@click.option(
    "--as-of", metavar="DATE", help="Show what was known on this day, or is expected then."
)
@click.option(
    "--language",
    "language_code",
    metavar="CODE",
    help="Language, such as en or de. Default: the language of the provider.",
)
@click.option("--serve", is_flag=True, help="Serve the page on this machine until interrupted.")
@click.option(
    "--address",
    metavar="IP",
    default="127.0.0.1",
    show_default=True,
    help="With --serve: address to listen on.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8480,
    show_default=True,
    metavar="N",
    help="With --serve: port; 0 takes a free one.",
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="With --serve: accept an address that other machines reach. The page has no password.",
)
@pass_app
def dashboard(
    app: CommandContext,
    output: str | None,
    as_of: str | None,
    language_code: str | None,
    serve: bool,
    address: str,
    port: int,
    allow_remote: bool,
) -> None:
    """Write one page about the whole inventory, for administrators.

    It shows faults with their causes, certificates that end, deadlines, cases, automation, the
    trend of the last scans, and clients by urgency. It needs no script and no network.

    \b
    certmgr dashboard --output dashboard.html
    certmgr dashboard --serve
    """
    if serve and output is not None:
        raise UsageError(
            "--serve and --output exclude each other",
            "a served page is not written to a file",
            "Give one of them.",
        )
    # Without --serve they would have no effect, and the administrator would wait for a server.
    if not serve and (names := [n for n in ("address", "port", "allow_remote") if was_given(n)]):
        options = ", ".join(f"--{n.replace('_', '-')}" for n in names)
        raise UsageError(
            f"{options} without --serve",
            "the page is written, and no server is started",
            f"Give --serve, or remove {options}.",
        )
    # Hundreds of lines of HTML on a terminal help no one, and hide what was typed before.
    if not serve and output is None and sys.stdout.isatty():
        raise UsageError(
            "The page is HTML, and standard output is a terminal",
            "",
            "Give --output dashboard.html and open it in a browser, or give --serve.",
        )
    # A misspelt language is refused before the whole inventory is read.
    code = None if language_code is None else require(language_code)
    at = app.moment(as_of)
    if serve:
        # The address is checked before the database is opened.
        _serve(app, require_loopback(address, allow_remote=allow_remote), port, at, code)
        return
    with ProgressLine().waiting("dashboard"):
        page, summary = _page(app.context(), at, code)
    if output is None:
        # stdout is the page, so the summary is left out.
        click.echo(page, nl=False)
    else:
        # The page names all clients, so only its owner may read the file. A web server or browser
        # never reads half of it.
        write_whole(Path(output), page.encode())
        paragraph(f"{cell(output, 300)}: {summary}")


def _page(context: Context, at: datetime | None, code: str | None) -> tuple[str, str]:
    """Return the page, and its summary in English."""
    facts = load_dashboard_input(context, as_of=at, language_code=code)
    built = build(facts)
    # The page may be in another language than the terminal.
    summary, _ = summary_of(language("en"), counts(s.verdict for s in facts.statuses))
    return html.render(built, facts.language), summary


def _serve(
    app: CommandContext, address: str, port: int, at: datetime | None, code: str | None
) -> None:
    """Serve the page until the command is interrupted."""
    context = app.context()
    with DashboardServer(address, port, lambda: _page(context, at, code)[0]) as server:
        # Printed after the port is bound, since port 0 is only then a number.
        click.echo(f"Serving the dashboard on {server.url} (Ctrl-C ends it).")
        server.serve_forever()
