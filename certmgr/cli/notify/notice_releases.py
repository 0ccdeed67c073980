"""``certmgr notice release``: the notices that wait for staff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from certmgr.cli.output import cell, show
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import NotFound
from inventory.records import ListedTicket
from inventory.store import editing, releases, tickets


@click.command("release")
@click.argument("cause", required=False)
@click.option(
    "--per-day",
    type=click.IntRange(1, 1_000_000),
    default=20,
    show_default=True,
    metavar="N",
    help="Notify at most N clients per day.",
)
@format_option
@pass_app
def notice_release(
    app: CommandContext, cause: str | None, per_day: int, output_format: str
) -> None:
    """List held notices, or release the notices of one CAUSE.

    Notices are held after a first scan, and after a run that changed too much. '* CODE' stands for
    all causes with that finding code. Released notices go to a limited number of clients per day.
    """

    database = app.open()
    with database.read() as conn:
        held = tickets.listing(conn, held=True)
        # A cause that is being released is listed with its rate, because some of its tickets are
        # still held.
        running = {r.cause: r.per_day for r in releases.in_force(conn)}
    groups = held_causes(held)
    if cause is None:
        shown = [
            {
                "tickets": g.tickets,
                "clients": len(g.clients),
                "why": g.why,
                "per_day": running.get(g.cause),
                "cause": g.cause,
            }
            # The largest cause comes first: it decides most about the load on the support team.
            for g in sorted(groups.values(), key=lambda g: -g.tickets)
        ]
        show(
            "held",
            ("tickets", "clients", "why", "per_day", "cause"),
            shown,
            output_format,
            "Nothing is held.",
        )
        return
    group = _chosen(cause, groups, {row.code for row in held if row.code})
    with database.write(app.now()) as tx:
        # Messages to clients follow from a release, so it needs the name of a person.
        releases.add(tx, group.cause, per_day, editing.required(tx.actor, "name"))
    count = len(group.clients)
    # A group with fewer clients than the limit is sent in one day.
    click.echo(
        f"{cell(group.cause)}: {group.tickets} ticket(s) of {count} client(s) are"
        f" released, {min(per_day, count)} client(s) per day."
    )


@dataclass(slots=True)
class HeldCause:
    """The held tickets of one cause.

    Attributes:
        cause: The cause, or ``* CODE`` for all causes with this finding code.
        why: baseline or mass.
        tickets: The number of tickets.
        clients: The ids of their clients.
    """

    cause: str
    why: str
    tickets: int = 0
    clients: set[int | None] = field(default_factory=set)

    def add(self, ticket: ListedTicket) -> None:
        """Count a ticket."""
        self.tickets += 1
        self.clients.add(ticket.client_id)


def held_causes(held: Sequence[ListedTicket]) -> dict[str, HeldCause]:
    """Return the held tickets by cause. Pure.

    Codes with more than one held cause get the additional group ``* CODE``, since one fix of the
    provider often ends all of them.
    """
    groups: dict[str, HeldCause] = {}
    for row in held:
        groups.setdefault(row.cause, HeldCause(row.cause, _why(row))).add(row)
    # A release by code needs at least two causes; for one, both would be the same.
    several = {
        row.code for row in held if row.code and sum(g.endswith(f" {row.code}") for g in groups) > 1
    }
    for row in held:
        if row.code in several:
            name = f"* {row.code}"
            groups.setdefault(name, HeldCause(name, _why(row))).add(row)
    return groups


def _why(row: ListedTicket) -> str:
    return (row.hold or "").partition(" ")[0]


def _chosen(cause: str, groups: Mapping[str, HeldCause], codes: set[str]) -> HeldCause:
    """Return the group that the caller named.

    Args:
        codes: The finding codes of all held tickets.

    Raises:
        NotFound: No cause, or more than one, begins with the text.
    """
    # '* CODE' of a code with only one cause has no group, so it stands for that cause.
    if cause.startswith("* ") and cause[2:] in codes and cause not in groups:
        cause = next(c for c in groups if c.endswith(f" {cause[2:]}"))
    # A prefix must have 8 characters: a shorter one would match by accident.
    matching = [c for c in groups if c == cause] or [
        c for c in groups if len(cause) >= 8 and c.startswith(cause)
    ]
    if len(matching) != 1:
        reason = f"{len(matching)} causes begin with it" if matching else "no notice of it is held"
        raise NotFound(
            f"The cause '{cell(cause, 80)}' cannot be released",
            reason,
            "See certmgr notice release.",
        )
    return groups[matching[0]]
