"""``certmgr notice snooze``, ``unsnooze`` and ``snoozes``: times without notices to clients."""

from __future__ import annotations

import click
from sqlalchemy import Connection

from certmgr.cli.output import epoch_text, local_time, show
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.db.database import to_epoch
from inventory.errors import NotFound, UsageError
from inventory.store import clients, domains, editing, servers, snoozes, tickets
from inventory.vocabulary import SnoozeScope


@click.command("snooze")
@click.argument("reference", required=False)
@click.option("--domain", metavar="NAME", help="All tickets about this domain.")
@click.option(
    "--server", metavar="NAME", help="All tickets about this server: a maintenance window."
)
@click.option("--client", metavar="NUMBER", help="All tickets of this client.")
@click.option("--everything", is_flag=True, help="All clients.")
@click.option("--from", "start", metavar="TIME", help="Start of the snooze. Default: now.")
@click.option(
    "--until",
    required=True,
    metavar="TIME",
    help="End of the snooze, such as 2026-12-01, or 09:30. Until then clients are not notified;"
    " staff still are.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Reason of the snooze.")
@pass_app
def notice_snooze(
    app: CommandContext,
    reference: str | None,
    domain: str | None,
    server: str | None,
    client: str | None,
    everything: bool,
    start: str | None,
    until: str,
    reason: str,
) -> None:
    """Stop notices to clients about a ticket, domain, server or client until a date.

    \b
    certmgr notice snooze --client 1001 --until 2026-12-01 --reason 'moves'
    """

    # Several scopes could mean their union or their intersection. A wrong guess would silence
    # notices that clients need.
    given = [v for v in (reference, domain, server, client, everything) if v]
    if len(given) != 1:
        raise UsageError(
            "A snooze has exactly one scope",
            "",
            "Give a REFERENCE, --domain, --server, --client or --everything.",
        )
    moment = app.now()
    begins = app.ahead(start) if start else moment
    # The times of a night, --from 22:00 --until 06:00, end on the day after they begin.
    ends = app.ahead(until, max(begins, moment))
    # Such a snooze has no effect, so it is a typing error in a date.
    if ends <= moment or ends <= begins:
        raise UsageError(
            f"A snooze until {local_time(ends)} would never apply",
            "it must end in the future and after its start",
        )
    with app.open().write(moment) as tx:
        scope, row_id = _scope(tx.conn, reference, domain, server, client)
        number = snoozes.add(
            tx,
            scope,
            row_id,
            to_epoch(begins),
            to_epoch(ends),
            editing.required(reason, "reason", 300),
            tx.actor,
        )
    click.echo(
        f"Snooze {number}: no notices to clients until {local_time(ends)}. To end it"
        f" earlier: certmgr notice unsnooze {number}"
    )


def _scope(
    conn: Connection,
    reference: str | None,
    domain: str | None,
    server: str | None,
    client: str | None,
) -> tuple[SnoozeScope, int]:
    """Return the scope and its id, which is stored so that a renamed server keeps its snooze."""
    if reference:
        return SnoozeScope.TICKET, tickets.find(conn, reference).id
    if domain:
        return SnoozeScope.DOMAIN, domains.find(conn, domain).id
    if server:
        return SnoozeScope.SERVER, servers.find(conn, server).id
    if client:
        return SnoozeScope.CLIENT, clients.find(conn, client).id
    return SnoozeScope.ALL, 0


@click.command("unsnooze")
@click.argument("number", type=click.IntRange(1, 2**62))
@pass_app
def notice_unsnooze(app: CommandContext, number: int) -> None:
    """End a snooze before its date."""

    with app.open().write(app.now()) as tx:
        # A number that is unknown or was ended before is an error, so that a typing error is
        # noticed.
        if not snoozes.end(tx, number):
            raise NotFound(f"There is no snooze {number}", "", "See certmgr notice snoozes.")
    click.echo(f"Snooze {number} has ended.")


@click.command("snoozes")
@format_option
@pass_app
def notice_snoozes(app: CommandContext, output_format: str) -> None:
    """List current and future snoozes."""

    with app.open().read() as conn:
        # Snoozes that ended by their date stay in the database, but hold nothing back.
        rows = [r for r in snoozes.listing(conn) if r.until > to_epoch(app.now())]
        names = snoozes.scope_names(conn)
    shown = [
        r.as_dict()
        | {
            "about": names.get((r.scope, r.scope_id), ""),
            "from": epoch_text(r.starts_at),
            "until": epoch_text(r.until),
        }
        for r in rows
    ]
    show(
        "snoozes",
        ("id", "scope", "about", "from", "until", "by", "reason"),
        shown,
        output_format,
        "Nothing is snoozed.",
    )
