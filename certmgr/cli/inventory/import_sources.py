"""Reads the source of an import into a plan: a file of any format, or a transferred zone."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from certmgr.cli.output import cell, paragraph
from certmgr.cli.progress import ProgressLine
from certmgr.cli.queues import queues_of
from certmgr.cli.shared import CommandContext
from certmgr.operations.zone_import import AXFR, transferred_names
from inventory.errors import UsageError
from inventory.importers import plan_rows, zone
from inventory.importers.entry import ImportProblem, ImportRow
from inventory.importers.format import ImportFormat, ImportSource, Rows, formats
from inventory.importers.ownership import NameSummary, assign
from inventory.importers.plan import ImportPlan
from inventory.names import normalise

FORMATS = (*formats(), "axfr")


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
    found = formats().get(request.kind)
    rows = _rows(app, planned, request, found)
    if found is None or not found.names_clients:
        accept = request.accept_proposed
        rows = assign(planned, rows, request.client, accept=accept, summary=summary)
    # Most formats are read here, row by row.
    with _reading(request.path):
        plan_rows.add_rows(planned, _with_server(rows, request.server))
    return summary


def _rows(
    app: CommandContext, planned: ImportPlan, request: ImportRequest, found: ImportFormat | None
) -> Rows:
    """Return the rows of a source. A transferred zone has no format."""
    # Without a client and without domains, no name could be assigned: every row would fail.
    if (
        (found is None or not found.names_clients)
        and not request.client
        and not planned.items["domain"]
    ):
        raise UsageError(
            f"--from {request.kind} needs --client",
            "the names in this format have no client, and the inventory has no domains",
            "Give --client NUMBER.",
        )
    if found is None:
        return _transferred(app, request)
    source = ImportSource(
        path=request.path,
        client=request.client,
        mapped=request.mapped,
        encoding=request.encoding,
        remark=partial(paragraph, err=True),
        hint=partial(click.echo, err=True),
    )
    return found.read(planned, source)


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
