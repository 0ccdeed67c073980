"""``certmgr check`` and ``certmgr metrics``."""

from __future__ import annotations

import click

from certmgr.cli.output import cell
from certmgr.cli.shared import App, client_filter, now, pass_app, tag_filter


@click.command()
@client_filter
@tag_filter
@click.option(
    "--warning",
    type=click.IntRange(0, 3650),
    default=14,
    show_default=True,
    metavar="DAYS",
    help="Warn when a certificate ends sooner.",
)
@click.option(
    "--critical",
    type=click.IntRange(0, 3650),
    default=5,
    show_default=True,
    metavar="DAYS",
    help="Critical when one ends sooner.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0.1, 8760),
    default=26.0,
    show_default=True,
    metavar="HOURS",
    help="Unknown when the last complete scan is older.",
)
@pass_app
def check(app: App, client: str | None, tag: str | None, warning: int, critical: int, max_age: float) -> int:
    """A monitoring plug-in (Nagios, Icinga, Checkmk): one line with performance data from what scans have stored.

    Exit codes are those of plug-ins: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; also 3 where it cannot be done.
    """
    from certmgr.operations.health import UNKNOWN, Thresholds, judge, read
    from inventory.errors import CertmgrError

    try:
        moment = now()
        code, line = judge(read(app.open(), moment, client=client, tag=tag), Thresholds(warning, critical, max_age), moment)
    except CertmgrError as error:
        code, line = UNKNOWN, f"CERTMGR UNKNOWN - {error}"
    click.echo(cell(line, 2000))
    return code


@click.command()
@click.option("--output", metavar="FILE", help="The file for the textfile collector, ending in .prom; else standard output.")
@pass_app
def metrics(app: App, output: str | None) -> None:
    """Write numbers for Prometheus: verdicts, findings by code, the end of each certificate, the last good scan."""
    from pathlib import Path

    from certmgr.files import write_whole
    from certmgr.operations import metrics as numbers
    from certmgr.operations.health import read

    database, moment = app.open(), now()
    content = numbers.text(database, read(database, moment), moment)
    if output is None:
        click.echo(content, nl=False)
    else:
        write_whole(Path(output), content.encode(), 0o644)  # another user's exporter reads it
