"""``certmgr import``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
from sqlalchemy.exc import IntegrityError

from certmgr.cli.inventory.import_report import (
    show_lines,
    show_names,
    show_problems,
    show_sensitive,
    show_totals,
)
from certmgr.cli.inventory.import_sources import FORMATS, ImportRequest, known_server, read_into
from certmgr.cli.output import cell
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.net.addresses import networks, refusal
from certmgr.operations.zone_import import AXFR
from inventory.db.violations import Violation, violation
from inventory.errors import CertmgrError, UsageError
from inventory.files import refuse_special
from inventory.importers import csv_format, plan_guard, plan_store
from inventory.importers.format import formats
from inventory.importers.guess import guess_format
from inventory.importers.ownership import NameSummary
from inventory.importers.plan import ImportPlan
from inventory.store import clients


@click.command("import")
@click.argument("source", required=False)
@click.option(
    "--from", "kind", type=click.Choice(FORMATS), help="Format of SOURCE. Default: by its content."
)
@click.option(
    "--client",
    metavar="NUMBER",
    help="Client of the names. With csv and json, rows of other clients are refused.",
)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="COLUMN=HEADER",
    help="Column of a CSV file, such as client=Kundennummer; may be repeated.",
)
@click.option(
    "--encoding",
    default="",
    metavar="NAME",
    help="Encoding of a CSV file, such as windows-1250. Default: by its content.",
)
@click.option("--server", metavar="NAME", help="Server of names without one.")
@click.option(
    "--accept-proposed",
    is_flag=True,
    help="Give a new name to the client who owns the domain above it.",
)
@click.option(
    "--change-contacts",
    is_flag=True,
    help="Also change existing contacts, addresses and paths.",
)
@click.option("--internal-addresses", is_flag=True, help="Accept internal addresses in SOURCE.")
@click.option("--example", type=click.Choice(["csv"]), help="Print an example file.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option(
    "--here", is_flag=True, help="Transfer a zone in this process, even if there are workers."
)
@pass_app
def import_(
    app: CommandContext,
    source: str | None,
    kind: str | None,
    client: str | None,
    mapped: tuple[str, ...],
    encoding: str,
    server: str | None,
    accept_proposed: bool,
    change_contacts: bool,
    internal_addresses: bool,
    example: str | None,
    dry_run: bool,
    here: bool,
) -> int:
    """Import records from SOURCE.

    SOURCE is a file, certbot's folder, or axfr:ZONE@SERVER, where SERVER is an
    [acme.solver.NAME] of the kind rfc2136. A bad row is reported with its line, and the other
    rows are imported. A second import of the same file changes nothing.

    \b
    certmgr import customers.csv --dry-run
    certmgr import customers.csv --map client=Kundennummer
    certmgr import /etc/nginx/nginx.conf --client 1001
    """
    if example is not None:
        click.echo(csv_format.EXAMPLE, nl=False)
        return 0
    if source is None:
        raise UsageError("No SOURCE was given", "", "Name a file: certmgr import FILE --dry-run.")
    source_kind = _kind_of(source, kind)
    planned, number = _snapshot(app, source_kind, client)
    if kind is None and source_kind != "axfr":
        _state_guess(source, source_kind)
    if server:
        server = known_server(planned, server)
    _refuse_options(source_kind, {"--map": mapped, "--encoding": encoding})
    request = ImportRequest(
        source=source,
        kind=source_kind,
        client=number,
        mapped=mapped,
        encoding=encoding,
        server=server,
        accept_proposed=accept_proposed,
        here=here,
    )
    summary = read_into(app, planned, request)
    if not internal_addresses:
        _refuse_internal(app, planned)
    return _carry_out(
        app,
        planned,
        summary,
        accept_proposed=accept_proposed,
        change_contacts=change_contacts,
        dry_run=dry_run,
    )


def _state_guess(source: str, kind: str) -> None:
    """State how the source is read: a wrong guess would import wrong records.

    The message goes to stderr, since a pipe receives the changes only.
    """
    click.echo(f"{cell(str(Path(source)))} is read as {kind}.", err=True)


def _refuse_internal(app: CommandContext, planned: ImportPlan) -> None:
    """Refuse internal addresses of servers and endpoints, to which a scan would connect.

    A list from outside must not make it probe the network of the provider.
    """
    allowed = networks(app.settings.network.allow, "[network] allow")
    plan_guard.refuse_internal(planned, lambda address: refusal(address, allowed))


def _carry_out(
    app: CommandContext,
    planned: ImportPlan,
    summary: NameSummary,
    *,
    accept_proposed: bool,
    change_contacts: bool,
    dry_run: bool,
) -> int:
    """Show what an import changes, store it unless it is a dry run, and return the exit code."""
    sensitive = plan_guard.sensitive(planned)
    # A changed address redirects notices, so it is left out until an administrator has read the
    # change.
    if sensitive and not change_contacts:
        plan_guard.withhold(planned)
    # The problems come first, and before anything is stored: an interrupted import has shown them.
    show_problems(planned)
    if dry_run:
        show_lines(planned.lines())
    show_names(summary, accepted=accept_proposed)
    show_sensitive(sensitive, changed=change_contacts)
    if not dry_run:
        _store(app, planned)
    show_totals(planned, dry_run=dry_run)
    # A scheduled import must fail visibly if a row was skipped.
    left = summary.unassigned or (summary.proposed and not accept_proposed)
    return 3 if planned.problems or left or (sensitive and not change_contacts) else 0


def _kind_of(source: str, kind: str | None) -> str:
    """Return the format of the source: the one of --from, or else by its content."""
    if source.startswith(AXFR):
        return "axfr"
    path = Path(source)
    # Opening a named pipe waits for a writer, so it is refused before the file is read.
    refuse_special(path)
    return guess_format(path) if kind is None else kind


def _snapshot(app: CommandContext, kind: str, client: str | None) -> tuple[ImportPlan, str]:
    """Return a plan with the inventory as it is, and the number of --client; empty without it."""
    with app.open(create=True).read() as conn:
        planned = plan_store.snapshot(conn)
        # A file that names clients may contain this one, so its number need not be known yet. The
        # other formats have no clients, so a wrong number must be refused here.
        named = kind in formats() and formats()[kind].names_clients
        if client and (not named or (client,) in planned.items["client"]):
            client = str(clients.find(conn, client).number)
    return planned, client or ""


def _refuse_options(kind: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        having = [f.name for f in formats().values() if option in f.options]
        if value and kind not in having:
            raise UsageError(
                f"{option} needs a source of the format {' or '.join(having)}",
                f"the format is {kind}",
                f"Leave out {option}.",
            )


def _store(app: CommandContext, planned: ImportPlan) -> None:
    count = sum(len(items) for items in planned.items.values())
    try:
        # The terminal shows that it writes: an interruption here undoes the whole import.
        with (
            ProgressLine().waiting(f"import: writing, {count:,} records"),
            app.open().write(app.now()) as tx,
        ):
            plan_store.apply(tx, planned)
    except IntegrityError as error:
        # The database enforces what the plan could not foresee, such as a concurrent change.
        match violation(error):
            case Violation.DUPLICATE:
                raise CertmgrError(
                    "Nothing was imported",
                    "a record was added meanwhile, or two records of the file have the same unique"
                    " value",
                    "Import again with --dry-run to see what differs.",
                ) from None
            case Violation.REFERENCE:
                raise CertmgrError(
                    "Nothing was imported",
                    "a record that the file refers to was deleted meanwhile",
                    "Import again.",
                ) from None
            case Violation.VALUE:
                raise
