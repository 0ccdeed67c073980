"""Reads the source of an import into a plan: a file of any format, or a transferred zone."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click

from certmgr.cli.output import cell, paragraph
from certmgr.cli.progress import ProgressLine
from certmgr.cli.queues import queues_of
from certmgr.cli.shared import CommandContext
from certmgr.operations.zone_import import AXFR, transferred_names
from inventory.errors import UsageError
from inventory.importers import (
    apache,
    certbot,
    csv_format,
    json_format,
    names_format,
    nginx,
    plan_guard,
    plan_rows,
    zone,
)
from inventory.importers.customer_lists import parse_map
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.ownership import NameSummary, assign
from inventory.importers.plan import ImportPlan
from inventory.names import normalise

FORMATS = ("csv", "json", "nginx", "apache", "certbot", "zone", "names", "axfr")
_READERS = {
    "nginx": nginx.read,
    "apache": apache.read,
    "certbot": certbot.read,
    "zone": zone.read,
    "names": names_format.read,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What is imported, as the options state it.

    Attributes:
        client: The number of --client; empty without it.
        mapped: COLUMN=HEADER texts.
        encoding: The encoding of --encoding; empty without it.
        server: The server of rows without one.
        accept_proposed: Whether a new name is given to the client who owns the domain above it.
        here: Whether this process transfers a zone, although there are workers.
    """

    source: str
    kind: str
    client: str
    mapped: tuple[str, ...]
    encoding: str
    server: str | None
    accept_proposed: bool
    here: bool = False

    @property
    def path(self) -> Path:
        """The source as a path; a zone has none, and its text is shown only."""
        return Path(self.source)


def read_into(app: CommandContext, planned: ImportPlan, request: ImportRequest) -> NameSummary:
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
            _named_rows(app, planned, request),
            request.client,
            accept=request.accept_proposed,
            summary=summary,
        )
    with _reading(request.path):
        plan_rows.add_rows(planned, _with_server(rows, request.server))
    return summary


def _list_rows(request: ImportRequest) -> Iterable[ImportRow | ImportProblem]:
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
    app: CommandContext, planned: ImportPlan, request: ImportRequest
) -> Iterable[ImportRow | ImportProblem]:
    """Return the rows of a format whose names have no client."""
    # Without a client and without domains, no name could be assigned: every row would fail.
    if not request.client and not planned.items["domain"]:
        raise UsageError(
            f"--from {request.kind} needs --client",
            "the names in this format have no client, and the inventory has no domains",
            "Give --client NUMBER.",
        )
    if request.kind == "axfr":
        return _transferred(app, request)
    return _READERS[request.kind](request.path, request.client)


def _transferred(app: CommandContext, request: ImportRequest) -> list[ImportRow | ImportProblem]:
    """Return the rows of a zone that a configured name server transfers."""
    zone_name = normalise(request.source.removeprefix(AXFR).rpartition("@")[0])
    return [
        zone.host_row(f"zone {zone_name}", name, request.client)
        for name in _names_of_zone(app, request)
        if not zone.is_service(name)
    ]


def _names_of_zone(app: CommandContext, request: ImportRequest) -> list[str]:
    # With --here an administrator can import although no worker is alive.
    if request.here or not app.settings.workers.enabled:
        return transferred_names(app.settings, request.source)
    with queues_of(app) as (context, queues):
        # The library of the queues is an extra, and is needed only here.
        from certmgr.workers.spread_import import transferred_by_worker

        return transferred_by_worker(context, queues, request.source, app.stop)


def known_server(planned: ImportPlan, name: str) -> str:
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
