"""``certmgr zone``: vantage points of scans, and what is visited from each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from certmgr.cli.output import show
from certmgr.cli.shared import CommandContext, format_option, pass_app, retired_option
from inventory.db.database import display_url
from inventory.errors import UsageError
from inventory.records import ZoneScopeRecord
from inventory.store import work_queues, zone_workers, zones
from inventory.store.zones import ScopeValue
from inventory.vocabulary import ZoneScopeKind
from inventory.zone_names import DEFAULT_ZONE

_COLUMNS = ("name", "visits", "workers", "note", "state")


@click.group()
def zone() -> None:
    """Manage vantage points, from which workers scan.

    An endpoint is visited from the zones of its client, server or tag, else from the default one.
    What a zone may reach stands in [zones.NAME] on its machines. See certmgr help scale.
    """


def _require_several_machines(app: CommandContext, *, create: bool = False) -> Any:
    """Return the database.

    Raises:
        UsageError: It is SQLite, which one machine uses, so that there is one vantage point.
    """
    database = app.open(create=create)
    if database.path is not None:
        raise UsageError(
            "Zones need an inventory in PostgreSQL",
            f"{display_url(database.engine.url)} is an SQLite file, which one machine uses, and a"
            " zone is a vantage point of another one",
            "Without zones, everything is visited from this machine. See certmgr help scale.",
        )
    return database


def _scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for kind, metavar, text in (
        (ZoneScopeKind.INTERNAL, "NAME", "A name, and all below it, that no other zone reaches."),
        (ZoneScopeKind.TAG, "TAG", "Endpoints with this tag."),
        (ZoneScopeKind.SERVER, "NAME", "Endpoints of domains on this server."),
        (ZoneScopeKind.CLIENT, "CLIENT", "Endpoints of this client."),
    ):
        command = click.option(f"--{kind}", str(kind), multiple=True, metavar=metavar, help=text)(
            command
        )
    return command


def _scopes(given: dict[str, tuple[str, ...]]) -> list[ScopeValue]:
    found = [ScopeValue(kind, text) for kind in ZoneScopeKind for text in given.get(str(kind), ())]
    # Without a scope, the command would change nothing and seem to have worked.
    if not found:
        raise UsageError(
            "No client, server, tag or internal name is given",
            "",
            "Write --client, --server, --tag or --internal.",
        )
    return found


@zone.command("add")
@click.argument("name")
@click.option("--note", metavar="TEXT", help="Free text, such as the data centre.")
@pass_app
def zone_add(app: CommandContext, name: str, note: str | None) -> None:
    """Add a vantage point.

    Its workers run on machines with a section [zones.NAME]: certmgr worker --zone NAME.
    """
    with _require_several_machines(app, create=True).write(app.now()) as tx:
        zones.add(tx, name, note)
    click.echo(f"Zone {name} added. Start its workers: certmgr worker --zone {name}")


@zone.command("list")
@retired_option
@format_option
@pass_app
def zone_list(app: CommandContext, retired: bool, output_format: str) -> None:
    """List zones, with what is visited from each and its workers."""
    silent = app.settings.workers.silent_seconds
    with app.open().read() as conn:
        rows = zones.listing(conn, retired=retired)
        scopes = zones.scopes(conn)
        workers = zone_workers.live(conn, "scan", silent) if work_queues.installed(conn) else {}
    shown: list[dict[str, Any]] = [
        {"name": DEFAULT_ZONE, "note": None, "state": "active"},
        *[{"name": z.name, "note": z.note, "state": str(z.state)} for z in rows],
    ]
    for row in shown:
        visits = [_scope_text(s) for s in scopes if s.zone == row["name"]]
        if row["name"] == DEFAULT_ZONE:
            visits.append("all others")
        row |= {"visits": ", ".join(visits), "workers": workers.get(row["name"], 0)}
    show("zones", _COLUMNS, shown, output_format)


def _scope_text(scope: ZoneScopeRecord) -> str:
    return f"{scope.kind} {scope.label}"


@zone.command("assign")
@click.argument("name")
@_scope_options
@pass_app
def zone_assign(app: CommandContext, /, name: str, **given: tuple[str, ...]) -> None:
    """Visit endpoints from a zone.

    With several zones, the one that was assigned first gives the state of an endpoint; what only
    some of them see becomes a finding for staff.
    """
    scopes = _scopes(given)
    with _require_several_machines(app).write(app.now()) as tx:
        # One transaction: an unknown client leaves nothing assigned.
        for scope in scopes:
            zones.assign(tx, name, scope)
    click.echo(f"Zone {name}: {len(scopes)} assigned.")


@zone.command("unassign")
@click.argument("name")
@_scope_options
@pass_app
def zone_unassign(app: CommandContext, /, name: str, **given: tuple[str, ...]) -> None:
    """Visit endpoints no longer from a zone."""
    scopes = _scopes(given)
    with _require_several_machines(app).write(app.now()) as tx:
        for scope in scopes:
            zones.unassign(tx, name, scope)
    click.echo(f"Zone {name}: {len(scopes)} no longer assigned.")


@zone.command("retire")
@click.argument("name")
@pass_app
def zone_retire(app: CommandContext, name: str) -> None:
    """Retire a zone; what was visited from it alone is visited from the default one again."""
    with _require_several_machines(app).write(app.now()) as tx:
        zones.retire(tx, name)
    click.echo(f"Zone {name} retired.")
