"""``certmgr report``: reports for clients, and statistics for the support team."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import click

from certmgr.cli.output import cell, paragraph, show
from certmgr.cli.progress import ProgressLine, progress_line
from certmgr.cli.queues import queues_of
from certmgr.cli.shared import CommandContext, pass_app, was_given
from certmgr.files import write_whole
from certmgr.operations.client_reports import (
    ClientReports,
    LinkedReport,
    RenderedReport,
    ReportOptions,
)
from certmgr.operations.support_statistics import measure, read
from certmgr.report import badge
from certmgr.report.write import make_folder
from inventory.errors import UsageError
from inventory.files import read_regular
from inventory.store import clients
from notifiers.wording.catalogue import require

if TYPE_CHECKING:
    from certmgr.config.context import Context


@click.command()
@click.option("--client", metavar="NUMBER", help="Report for this client.")
@click.option(
    "--all",
    "all_clients",
    is_flag=True,
    help="Reports for all clients, and the dashboard as their index.",
)
@click.option(
    "--support",
    is_flag=True,
    help="Statistics for the support team: notices, acknowledgements and resolutions per day.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=30,
    show_default=True,
    metavar="N",
    help="With --support: number of days.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["html", "pdf", "table", "csv", "json", "badge"]),
    default=None,
    help="Output format. Default: html; with --support: table (or csv, json). badge: an SVG for the"
    " client's sites, only if all of them are in order.",
)
@click.option(
    "--output",
    metavar="PATH",
    help="Output file; with --all a folder. Default: standard output, except for pdf.",
)
@click.option(
    "--as-of", metavar="DATE", help="Report as of this day, from the observations until then."
)
@click.option(
    "--language",
    "language_code",
    metavar="CODE",
    help="Language, such as en or de. Default: the language of the client's contact.",
)
@click.option(
    "--here",
    is_flag=True,
    help="With --all: render in this process, even if there are workers.",
)
@pass_app
def report(
    app: CommandContext,
    client: str | None,
    all_clients: bool,
    support: bool,
    days: int,
    output_format: str | None,
    output: str | None,
    as_of: str | None,
    language_code: str | None,
    here: bool,
) -> None:
    """Write a report for a client: actions with due dates, deadlines, sites and evidence.

    \b
    certmgr report --client 1001 --output report.html
    certmgr report --all --output reports
    """

    # The statistics are about the team and not about a client, so they share no option with a
    # report.
    if support:
        _show_statistics(
            app,
            days,
            output_format or "table",
            client or all_clients or output or as_of or language_code,
        )
        return
    output_format = output_format or "html"
    _check_options(
        client, output_format, output, all_clients=all_clients, other_day=as_of is not None
    )
    at = app.moment(as_of)
    language_code = None if language_code is None else require(language_code)
    # All reports of a run have the same time.
    context = app.context().frozen()
    options = ReportOptions(output_format, at, language_code)
    if all_clients:
        _write_all(app, context, options, Path(str(output)), here=here)
        return
    reports = ClientReports(context, options)
    with ProgressLine().waiting(f"report: client {cell(client, 60)}"):
        client_report, language = reports.report(str(client))
    # A badge of yesterday must not stay after a fault. It is removed first, because the rendering
    # below refuses such a badge with an error.
    if output_format == "badge" and output is not None and badge.why_not(client_report):
        _remove_badge(Path(output))
    data = reports.content(client_report, language)
    # The page is text, and pdf was refused without --output above.
    if output is None:
        click.echo(data.decode(), nl=False)
    else:
        write_whole(Path(output), data)
        # The summary of the page is in the language of the client, and addresses the client.
        counts = client_report.counts
        paragraph(f"{cell(output, 300)}: {counts['sites']:,} site(s){_numbers(counts, ': ')}.")


def _check_options(
    client: str | None,
    output_format: str,
    output: str | None,
    *,
    all_clients: bool,
    other_day: bool,
) -> None:
    """Refuse options that contradict each other, and requests that name no client or no file.

    Raises:
        UsageError: With the option to give or to leave out.
    """
    # The list of --format is shared with --support, where a table makes sense.
    if output_format == "table":
        raise UsageError(
            "A client report has no table output", "", "Choose html, pdf, csv, json or badge."
        )
    # The number of days is that of the statistics, and would be ignored.
    if was_given("days"):
        raise UsageError(
            "--days belongs to --support",
            "a client report is about one day",
            "Give --support too, or --as-of DATE for a report of another day.",
        )
    if client is not None and all_clients:
        raise UsageError(
            "--client and --all exclude each other",
            "--all writes the reports of all clients",
            "Give one of them.",
        )
    # A missing client must not mean all of them, because a report may be forwarded at once.
    if client is None and not all_clients:
        raise UsageError(
            "The report has no client",
            "it needs one client, or all clients",
            "Give --client NUMBER or --all --output FOLDER.",
        )
    # Many files, or a binary file, cannot be written to a terminal.
    if output is None and (all_clients or output_format == "pdf"):
        raise UsageError(
            "--output is missing",
            "",
            "Give --output FOLDER." if all_clients else "Give --output FILE.",
        )
    if output_format == "badge" and other_day:
        raise UsageError(
            "A badge has no --as-of",
            "it states that the sites are in order now",
            "Remove --as-of.",
        )
    # Hundreds of lines of HTML on a terminal help no one, and hide what was typed before.
    if output is None and output_format in ("html", "badge") and sys.stdout.isatty():
        raise UsageError(
            f"The report is {'HTML' if output_format == 'html' else 'an SVG picture'}, and standard"
            " output is a terminal",
            "",
            "Give --output FILE, and open it in a browser.",
        )


_SUPPORT = (
    "day",
    "sent",
    "acknowledged",
    "opened",
    "resolved",
    "hours_to_acknowledge",
    "hours_to_resolve",
)


def _show_statistics(app: CommandContext, days: int, output_format: str, other: object) -> None:
    # A filter that has no effect would make the numbers seem to be those of one client.
    if other:
        raise UsageError(
            "--support is about all clients",
            "it is written to standard output",
            "Remove the other options.",
        )
    if output_format in ("html", "pdf", "badge"):
        raise UsageError(
            f"The statistics have no {output_format} output", "", "Choose table, csv or json."
        )
    last = app.now().astimezone(ZoneInfo(app.settings.provider.time_zone))
    # The first day begins at midnight in the zone of the provider, so that it is a complete day.
    first = (last - timedelta(days=days - 1)).replace(hour=0, minute=0, second=0, microsecond=0)
    with app.open().read() as conn:
        sent, notified = read(conn, first)
    rows = [
        {c: getattr(d, c) for c in _SUPPORT} | {"day": d.day.isoformat()}
        for d in measure(sent, notified, first, last)
    ]
    show("support", _SUPPORT, rows, output_format)


def _write_all(
    app: CommandContext, context: Context, options: ReportOptions, target: Path, *, here: bool
) -> None:
    """Write the reports of all clients and an index page.

    One client is loaded at a time, so that memory does not grow with the number of clients.
    """

    make_folder(target)
    with context.read() as conn:
        numbers = clients.with_domains(conn)
    links: list[LinkedReport] = []
    with _renderer(app, context, options, here=here) as reports:
        # Closed at an error too, so that workers do not go on for a command that has ended.
        with closing(reports.render(numbers)) as rendered:
            for number, report in _counted(rendered, numbers):
                path = target / options.file_name(number)
                # A badge of yesterday must not stay after a fault of today.
                if report.content is None:
                    _remove_badge(path)
                    continue
                write_whole(path, report.content)
                links.append(report.link)
        with ProgressLine().waiting("report: the page of all clients"):
            index = reports.index(links)
    # The index is written last, so that each report that it links exists.
    write_whole(target / "index.html", index)
    counts = {s: sum(x.state == s for x in links) for s in _COUNTED}
    summary = f"{len(links):,} client(s){_numbers(counts, ': ')}"
    paragraph(
        f"{target}: {summary if links else 'no client has a domain'}. Open {target / 'index.html'}."
    )


def _counted(
    rendered: Iterator[RenderedReport], numbers: Sequence[str]
) -> Iterator[tuple[str, RenderedReport]]:
    """Yield each client with the report, and draw how many are done."""
    with progress_line() as line:
        for done, number in enumerate(numbers):
            line.counted("reports", done, len(numbers), f"client {number}")
            yield number, next(rendered)


class _Renderer(Protocol):
    """Renders the reports of a command, in this process or by workers."""

    def render(self, numbers: Sequence[str]) -> Generator[RenderedReport]: ...

    def index(self, links: Sequence[LinkedReport]) -> bytes: ...


class _Here:
    """Renders in this process."""

    def __init__(self, reports: ClientReports) -> None:
        self._reports = reports

    def render(self, numbers: Sequence[str]) -> Generator[RenderedReport]:
        for number in numbers:
            yield self._reports.render(number)

    def index(self, links: Sequence[LinkedReport]) -> bytes:
        return self._reports.index(links)


@contextmanager
def _renderer(
    app: CommandContext, context: Context, options: ReportOptions, *, here: bool
) -> Iterator[_Renderer]:
    # With --here an administrator can work although no worker is alive.
    if here or not app.settings.workers.enabled:
        yield _Here(ClientReports(context, options))
        return
    with queues_of(app) as (_, queues):
        # The library of the queues is an extra, and is needed only here.
        from certmgr.workers.spread_reports import SpreadReports

        yield SpreadReports(context, queues, options, app.stop)


def _remove_badge(path: Path) -> None:
    """Remove a badge that is not true any more. Another file is left alone."""
    # The path comes from the user and may be another file by mistake. Only a file with the mark of
    # a badge is removed.
    if path.is_file() and not path.is_symlink() and badge.MARK in read_regular(path, 4096):
        path.unlink()
        click.echo(f"{path}: removed, because it is not true any more.", err=True)


def _numbers(counts: Mapping[str, int], before: str) -> str:
    """Return how many are in each state, after a text; empty if there are none."""
    numbers = ", ".join(f"{counts[s]:,} {words}" for s, words in _COUNTED.items() if counts[s])
    return numbers and before + numbers


# The state of a report in the summary. A fault may be ours, so it does not mean that the client
# has to act.
_COUNTED = {
    "fault": "with faults",
    "attention": "that need attention",
    "unknown": "undetermined",
    "ok": "in order",
}
