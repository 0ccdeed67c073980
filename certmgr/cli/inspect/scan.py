"""``certmgr scan``: inspect served certificates, of the inventory or of given targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sqlalchemy.exc import SQLAlchemyError

from certmgr.cli.inspect.scan_document import ScannedEndpoint, csv_row, document_parts
from certmgr.cli.inspect.scan_inventory import scan_inventory
from certmgr.cli.inspect.scan_report import CSV_COLUMNS, exit_code, note_families, scan_table
from certmgr.cli.inspect.scan_spool import ScanSpool
from certmgr.cli.known_words import require_known
from certmgr.cli.output import cell, csv_text
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app, tag_filter
from certmgr.inspection.scan_options import ScanOptions
from certmgr.inspection.target_scan import scan_each
from inventory.db.database import HEAD, make_engine, version
from inventory.errors import CertmgrError, InvalidName, UsageError
from inventory.names import as_ip, normalise
from inventory.store import certificates
from inventory.targets import PROTOCOLS, parse, parse_port

if TYPE_CHECKING:
    from certmgr.inspection.report import EndpointReport
    from certmgr.inspection.scan_options import ScanOptions
    from inventory.targets import Target


class _Seconds(click.FloatRange):
    """A number of seconds. NaN is refused, because it passes every comparison of a range."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


# The upper limit keeps one silent server from holding a place for an hour.
SECONDS = _Seconds(min=0.1, max=600)


def overrides_of(texts: tuple[str, ...]) -> dict[tuple[str, int], tuple[str, ...]]:
    """Parse values of ``--resolve``.

    The format is that of curl, ``HOST:PORT:ADDRESS[,ADDRESS]``. IPv6 addresses may have brackets.

    Returns:
        The addresses by (host, port).

    Raises:
        InvalidName: A value has no valid host, port or address.
    """

    overrides: dict[tuple[str, int], tuple[str, ...]] = {}
    for text in texts:
        host, _, rest = text.partition(":")
        port, _, addresses = rest.partition(":")
        parsed = [as_ip(a.strip()) for a in addresses.split(",")] if addresses else [None]
        # A host name instead of an address would need the DNS, which --resolve exists to avoid.
        if not all(parsed):
            raise InvalidName(
                f"'{cell(text, 80)}' is not valid for --resolve", "", "Write HOST:PORT:ADDRESS."
            )
        # A repeated address would be probed twice.
        overrides[(normalise(host), parse_port(port))] = tuple(
            dict.fromkeys(str(a) for a in parsed)
        )
    return overrides


def _zone_names(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.strip() for n in value.split(",") if n.strip()))


_HELP = f"""\
Inspect served certificates: the whole inventory, or each TARGET without storing results.

TARGET is host[:port][/protocol]; protocols are {", ".join(PROTOCOLS)}. Exit codes: 0 no problem,
1 findings of severity high or critical, 2 usage error, 3 the scan failed or more than 20% of the
endpoints are undetermined.

\b
certmgr scan                          the whole inventory
certmgr scan shop.example.com mail.example.com:25
certmgr scan shop.example.com --resolve shop.example.com:443:192.0.2.1
"""


@click.command(help=_HELP)
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@client_filter
@tag_filter
@click.option("--server", metavar="NAME", help="Only the names on this server.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the last run if it was interrupted less than an hour ago and checks the same;"
    " else begin a new one.",
)
@click.option(
    "--resolve",
    "resolves",
    multiple=True,
    metavar="HOST:PORT:ADDRESS",
    help="Connect to ADDRESS for HOST:PORT; may be repeated.",
)
@click.option(
    "--ca-file",
    "ca_files",
    multiple=True,
    metavar="FILE",
    help="Also trust the CA certificates in FILE (PEM, DER, PKCS#7); may be repeated.",
)
@click.option("--timeout", type=SECONDS, metavar="SECONDS", help="Time limit for one address.")
@click.option(
    "--connect-timeout", type=SECONDS, metavar="SECONDS", help="Time limit for one connection."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 20000), metavar="N", help="Concurrent connections."
)
@click.option(
    "--deep",
    is_flag=True,
    help="Also check the certificate of the other key type, TLS 1.0 and 1.1, and post-quantum"
    " key exchange.",
)
@click.option(
    "--no-cache",
    is_flag=True,
    help="Verify all chains again, and evaluate unchanged evidence again.",
)
@click.option(
    "--accept-suspect",
    is_flag=True,
    help="Accept the results even if many endpoints fail together, because the outage is real.",
)
@click.option("--no-http", is_flag=True, help="Do not check plain HTTP and pages.")
@click.option(
    "--http-port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of plain HTTP. Default: [http] port.",
)
@click.option(
    "--zones",
    default="",
    metavar="NAMES",
    callback=_zone_names,
    help="Also visit each endpoint from these vantage points, or from all: a second opinion.",
)
@click.option("--here", is_flag=True, help="Scan in this process, even if there are workers.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 even if there are findings.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also show evidence, and endpoints without findings."
)
@format_option
@pass_app
def scan(
    app: CommandContext,
    targets: tuple[str, ...],
    client: str | None,
    tag: str | None,
    server: str | None,
    resume: bool,
    resolves: tuple[str, ...],
    ca_files: tuple[str, ...],
    timeout: float | None,
    connect_timeout: float | None,
    concurrency: int | None,
    deep: bool,
    no_cache: bool,
    accept_suspect: bool,
    no_http: bool,
    http_port: int | None,
    zones: tuple[str, ...],
    here: bool,
    exit_zero: bool,
    verbose: bool,
    output_format: str,
) -> int:
    """Scan targets or the inventory, and return the exit code."""
    options = ScanOptions(
        client=client,
        tag=tag,
        server=server,
        resume=resume,
        deep=deep,
        # Complete reports need memory and time, so they are kept only if they are output.
        full=output_format != "table",
        overrides=overrides_of(resolves),
        ca_files=ca_files,
        timeout=timeout,
        connect_timeout=connect_timeout,
        concurrency=concurrency,
        cache=not no_cache,
        accept_suspect=accept_suspect,
        http=not no_http,
        http_port=http_port,
        zones=zones,
    )
    # Reports are output by the process that scans, so --format json and csv use no workers.
    if zones and (targets or here or options.full or not app.settings.workers.enabled):
        raise _without_workers()
    if targets:
        # They need not be in the inventory, so a client or a tag cannot select among them.
        if client or tag or server or resume:
            raise _with_targets()
        code = _scan_targets(app, targets, options, output_format, verbose)
    else:
        with app.open().read() as conn:
            # A misspelt tag or server would select nothing, and a scan of nothing has no findings.
            require_known(conn, tag=tag, server=server)
        code = scan_inventory(app, options, output_format, verbose, here=here)
    # Only the exit code of findings becomes 0. A failed scan must stay visible to a script.
    return 0 if exit_zero and code == 1 else code


def _waiting(targets: Sequence[Target]) -> AbstractContextManager[None]:
    what = str(targets[0]) if len(targets) == 1 else f"{len(targets)} targets"
    return ProgressLine().waiting(f"scan of {what}")


def _with_targets() -> UsageError:
    return UsageError(
        "--client, --tag, --server and --resume are about the inventory",
        "targets were given too",
        "Give only one of them.",
    )


def _without_workers() -> UsageError:
    return UsageError(
        "--zones needs workers of other vantage points",
        "this process scans from one vantage point",
        "Set [workers] enabled, start certmgr worker --zone NAME on a machine of each zone, and"
        " scan the inventory without targets, --here and --format. See certmgr help scale.",
    )


def _scan_targets(
    app: CommandContext,
    texts: tuple[str, ...],
    options: ScanOptions,
    output_format: str,
    verbose: bool,
) -> int:
    # The same target given twice is probed once; the order of the arguments is kept.
    targets: list[Target] = list(dict.fromkeys(parse(t) for t in texts))
    started = app.now()
    verdicts: dict[int, str] = {}
    no_route: set[int] = set()
    with ScanSpool.opened() as spool:

        def keep(number: int, report: EndpointReport) -> None:
            endpoint = ScannedEndpoint.of(report)
            verdicts[number] = endpoint.verdict
            no_route.update(report.families_without_route())
            spool.add(number, endpoint)

        try:
            with _waiting(targets):
                issuers = _known_issuers(app)
                scan_each(app.settings, options, targets, keep, issuers, clock=app.clock)
        except KeyboardInterrupt:
            # Results of named targets are not stored, so an interrupted scan has nothing to resume.
            click.echo("certmgr: interrupted; targets that you name are not stored.", err=True)
            return app.stop.exit_code
        if output_format == "json":
            for part in document_parts(started, app.now(), spool):
                click.echo(part, nl=False)
            click.echo()
        elif output_format == "csv":
            click.echo(csv_text(CSV_COLUMNS, map(csv_row, spool)), nl=False)
        else:
            scan_table(spool, verbose)
            note_families(no_route)
    return exit_code(list(verdicts.values()))


def _known_issuers(app: CommandContext) -> tuple[bytes, ...]:
    """Return the intermediates of the inventory, or nothing if it cannot be read.

    They help to build chains. A scan of targets does not create or migrate a database, so an
    inventory of another version is ignored.
    """

    url = app.url
    # Connecting would create an empty SQLite file for a path with a typing error.
    if "://" not in url and not Path(url).is_file():
        return ()
    try:
        engine = make_engine(url)
        if engine.dialect.name == "sqlite" and not Path(str(engine.url.database)).is_file():
            return ()
        if version(engine) != HEAD:
            return ()
        with engine.connect() as conn:
            return tuple(certificates.issuers(conn))
    # Intermediates only help. A database that is down must not prevent a scan of a target.
    except (CertmgrError, SQLAlchemyError):
        return ()
