"""``certmgr import``."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy.exc import IntegrityError

from certmgr.acme.challenges.zones import tsig_key
from certmgr.cli.output import cell, paragraph
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.settings import resolver_parts
from certmgr.net.addresses import networks, refusal
from certmgr.net.zone_transfer import host_names
from inventory.db.violations import Violation, violation
from inventory.errors import CertmgrError, UsageError
from inventory.files import refuse_special
from inventory.importers import (
    apache,
    certbot,
    csv_format,
    json_format,
    names_format,
    nginx,
    plan_guard,
    plan_rows,
    plan_store,
    zone,
)
from inventory.importers.customer_lists import parse_map
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.guess import guess_format
from inventory.importers.ownership import NameSummary, assign
from inventory.importers.plan import ImportPlan
from inventory.names import normalise
from inventory.store import clients

MAX_SHOWN = 200  # a file may have any number of bad rows
FORMATS = ("csv", "json", "nginx", "apache", "certbot", "zone", "names", "axfr")
AXFR = "axfr:"
_READERS = {
    "nginx": nginx.read,
    "apache": apache.read,
    "certbot": certbot.read,
    "zone": zone.read,
    "names": names_format.read,
}


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
) -> int:
    """Import records from SOURCE.

    SOURCE is a file, certbot's folder, or axfr:ZONE@SERVER, where SERVER is an
    [acme.solver.NAME] of the kind rfc2136. A bad row is reported with its line, and the other
    rows are imported. A second import of the same file changes nothing.

    \b
    certmgr import customers.csv --dry-run
    certmgr import customers.csv --map client=Kundennummer
    certmgr import /etc/nginx --from nginx --client 1001
    """
    if example is not None:
        click.echo(csv_format.EXAMPLE, nl=False)
        return 0
    if source is None:
        raise UsageError("No SOURCE was given", "", "Name a file: certmgr import FILE --dry-run.")
    path = Path(source)
    if source.startswith(AXFR):
        kind = "axfr"
    else:
        # Opening a named pipe waits for a writer, so it is refused before the file is read.
        refuse_special(path)
    guessed = kind is None
    if kind is None:
        kind = guess_format(path)
    database = app.open(create=True)
    with database.read() as conn:
        planned = plan_store.snapshot(conn)
        # A CSV or JSON file may itself contain the client, so its number need not be known yet. The
        # other formats have no clients, so a wrong number must be refused here.
        if client and (kind not in ("csv", "json") or (client,) in planned.items["client"]):
            client = str(clients.find(conn, client).number)
    if guessed:
        # A wrong guess would import wrong records, so the user must see it. It goes to stderr, so
        # that a pipe receives the changes only.
        click.echo(f"{cell(str(path))} is read as {kind}.", err=True)
    if server:
        server = _known_server(planned, server)
    for option, value in (("--map", mapped), ("--encoding", encoding)):
        if value and kind != "csv":
            raise UsageError(
                f"{option} needs a CSV file", f"the format is {kind}", f"Leave out {option}."
            )
    request = _ImportRequest(
        source=source,
        kind=kind,
        client=client or "",
        mapped=mapped,
        encoding=encoding,
        server=server,
        accept_proposed=accept_proposed,
    )
    summary = _read_into(app, planned, request)
    # A scan connects to each stored address. A list from outside must not make it probe the network
    # of the provider.
    if not internal_addresses:
        allowed = networks(app.settings.network.allow, "[network] allow")
        plan_guard.refuse_internal(planned, lambda address: refusal(address, allowed))
    sensitive = plan_guard.sensitive(planned)
    # A changed address redirects notices, so it is left out until an administrator has read the
    # change.
    if sensitive and not change_contacts:
        plan_guard.withhold(planned)
    # The problems come first, and before anything is stored: an interrupted import has shown them.
    _show_problems(planned)
    if dry_run:
        _show(planned.lines())
    _show_names(summary, accepted=accept_proposed)
    _show_sensitive(sensitive, changed=change_contacts)
    if not dry_run:
        _store(app, planned)
    _show_totals(planned, dry_run=dry_run)
    # A scheduled import must fail visibly if a row was skipped.
    left = summary.unassigned or (summary.proposed and not accept_proposed)
    return 3 if planned.problems or left or (sensitive and not change_contacts) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportRequest:
    """What is imported, as the options state it.

    Attributes:
        client: The number of --client; empty without it.
        mapped: COLUMN=HEADER texts.
        encoding: The encoding of --encoding; empty without it.
        server: The server of rows without one.
        accept_proposed: Whether a new name is given to the client who owns the domain above it.
    """

    source: str
    kind: str
    client: str
    mapped: tuple[str, ...]
    encoding: str
    server: str | None
    accept_proposed: bool

    @property
    def path(self) -> Path:
        """The source as a path; a zone has none, and its text is shown only."""
        return Path(self.source)


def _read_into(app: CommandContext, planned: ImportPlan, request: _ImportRequest) -> NameSummary:
    """Add the rows of the source to the plan. Return who owns the names that have no client."""
    summary = NameSummary()
    if request.kind == "json":
        with _reading(request.path):
            json_format.read(request.path, planned)
        # Rows of a JSON file name their client. A list that one client sent must not change the
        # records of another client.
        if request.client:
            plan_guard.refuse_other_clients(planned, request.client)
        return summary
    if request.kind == "csv":
        rows = _list_rows(request)
    else:
        rows = assign(
            planned,
            _named_rows(app, planned, request.source, request.kind, request.client),
            request.client,
            accept=request.accept_proposed,
            summary=summary,
        )
    with _reading(request.path):
        plan_rows.add_rows(planned, _with_server(rows, request.server))
    return summary


def _list_rows(request: _ImportRequest) -> Iterable[ImportRow | ImportProblem]:
    """Return the rows of a customer list; show how its text and its columns are read."""
    mapped = parse_map(request.mapped, csv_format.COLUMNS)
    found = csv_format.open_list(request.path, mapped, request.client, request.encoding)
    # A wrong guess would put wrong letters into the names of clients, and so into notices.
    if remark := found.table.decoded.remark:
        paragraph(remark, err=True)
    if found.guessed or found.ignored:
        named = ", ".join(f"{ours}={theirs}" for ours, theirs in found.mapping.items())
        paragraph(f"Columns: {cell(named, 600)}. To change one: --map COLUMN=HEADER.", err=True)
    if found.ignored:
        paragraph(f"Not used: {cell(', '.join(found.ignored), 600)}.", err=True)
    for theirs, ours in found.similar.items():
        option = f"--map {shlex.quote(f'{ours}={theirs}')}"
        click.echo(f"If '{cell(theirs, 60)}' is {ours}, add: {cell(option, 100)}", err=True)
    return csv_format.rows_of(found, request.client)


def _named_rows(
    app: CommandContext, planned: ImportPlan, source: str, kind: str, client: str
) -> Iterable[ImportRow | ImportProblem]:
    """Return the rows of a format whose names have no client."""
    # Without a client and without domains, no name could be assigned: every row would fail.
    if not client and not planned.items["domain"]:
        raise UsageError(
            f"--from {kind} needs --client",
            "the names in this format have no client, and the inventory has no domains",
            "Give --client NUMBER.",
        )
    if kind == "axfr":
        return _transferred(app, source, client)
    return _READERS[kind](Path(source), client)


def _transferred(
    app: CommandContext, source: str, client: str
) -> Iterable[ImportRow | ImportProblem]:
    """Return the rows of a zone that a configured name server transfers."""
    zone_name, _, server = source.removeprefix(AXFR).rpartition("@")
    known = {n: s for n, s in app.settings.acme.solvers.items() if s.kind == "rfc2136"}
    # Only servers of the configuration are asked: an import must not name a target by itself.
    solver = known.get(server) or next((s for s in known.values() if s.server == server), None)
    if not zone_name or solver is None:
        raise UsageError(
            f"'{cell(source, 100)}' is not a zone of a configured name server",
            "it has the form axfr:ZONE@SERVER, and SERVER is an [acme.solver.NAME] of the kind"
            f" rfc2136; there is {', '.join(sorted(known)) or 'none'}",
            "See certmgr help import.",
        )
    host, port = resolver_parts(solver.server)
    zone_name = normalise(zone_name)
    names = host_names(zone_name, host, solver.port or int(port), tsig_key(solver), solver.timeout)
    return [
        zone.host_row(f"zone {zone_name}", name, client)
        for name in names
        if not zone.is_service(name)
    ]


def _known_server(planned: ImportPlan, name: str) -> str:
    """Return the name of --server as the inventory has it.

    Raises:
        UsageError: It resembles a known one, and is probably misspelt.
    """
    known = [key[0] for key in planned.items["server"]]
    if name in known:
        return name
    # web4 next to web1 is another machine, and no misspelling.
    letters = re.sub(r"\d+", "", name)
    others = [k for k in known if re.sub(r"\d+", "", k) != letters]
    near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    if near:
        raise UsageError(
            f"There is no server '{cell(name, 60)}'",
            "",
            f"Did you mean '{cell(near[0], 60)}'? If it is a new one, add it first: certmgr"
            f" server add {shlex.quote(name)}.",
        )
    click.echo(f"The server {cell(name, 60)} is new: it is added.", err=True)
    return name


def _with_server(
    rows: Iterable[ImportRow | ImportProblem], server: str | None
) -> Iterable[ImportRow | ImportProblem]:
    for row in rows:
        if server and isinstance(row, ImportRow) and row.domain and not row.server:
            row.server = server
        yield row


def _reading(path: Path) -> AbstractContextManager[None]:
    """Show that a file is read and compared with the inventory, which may take a minute."""
    return ProgressLine().waiting(f"import: reading {cell(path.name, 60)}")


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


def _show(lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        if number == MAX_SHOWN:
            click.echo("...")
            break
        click.echo(cell(line, 300))


def _show_problems(planned: ImportPlan) -> None:
    # What is left out is listed once, also if a snippet is included several times.
    problems = list(dict.fromkeys(planned.problems))
    for problem in problems[:MAX_SHOWN]:
        click.echo(f"{cell(problem.where, 300)}: skipped: {cell(problem.reason, 400)}", err=True)
    if len(problems) > MAX_SHOWN:
        click.echo(f"... and {len(problems) - MAX_SHOWN:,} more rows were skipped.", err=True)


def _show_names(summary: NameSummary, *, accepted: bool) -> None:
    """Show which names of a server configuration are known, and who could own the others."""
    if not summary.total:
        return
    others = summary.total - len(summary.known)
    if not others:
        click.echo(f"{summary.total:,} names, all known.")
        return
    click.echo(f"{summary.total:,} names: {len(summary.known):,} known, {others:,} new.")
    _show(f"  {host}" for host in sorted(summary.new))
    _show(
        f"  {host}: {'given' if accepted else 'proposed'} to the client {number}, below {parent}"
        for host, (number, parent) in sorted(summary.proposed.items())
    )
    _show(f"  {host}: no client ({where})" for host, where in sorted(summary.unassigned.items()))
    if summary.proposed and not accepted:
        click.echo("To accept the proposals: add --accept-proposed.")
    if summary.unassigned:
        click.echo("To give the names without a client to one: add --client NUMBER.")


def _show_sensitive(lines: list[str], *, changed: bool) -> None:
    if not lines:
        return
    click.echo("Changes to existing contacts, addresses and paths:")
    _show(lines)
    if not changed:
        click.echo("They are left out. Check them, and add --change-contacts to make them.")


def _show_totals(planned: ImportPlan, *, dry_run: bool) -> None:
    # A dry run counts what is planned; an import counts what was stored.
    counts = planned.counts() if dry_run else planned.applied
    totals = [f"{n['added']:,} {kind}(s) added" for kind, n in counts.items() if n["added"]]
    totals += [f"{n['changed']:,} {kind}(s) changed" for kind, n in counts.items() if n["changed"]]
    verb = "Would change" if dry_run else "Done"
    paragraph(
        f"{verb}: {planned.rows:,} row(s); {', '.join(totals) or 'nothing to change'};"
        f" {len(planned.problems):,} skipped."
    )
