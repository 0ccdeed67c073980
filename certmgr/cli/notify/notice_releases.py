"""``certmgr notice release``: the notices that wait for staff."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import click

from certmgr.cli.output import cell, show
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.errors import NotFound
from inventory.names import display
from inventory.records import ListedTicket
from inventory.store import editing, releases, tickets


@click.command("release")
@click.argument("cause", metavar="[CAUSE|SITE]", required=False)
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
    """List held notices, or release the notices of one CAUSE, or of the cause of a SITE.

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
                "finding": g.code,
                "sites": g.sites(),
                "release": g.argument(groups),
            }
            # The largest cause comes first: it decides most about the load on the support team.
            for g in sorted(groups.values(), key=lambda g: -g.tickets)
        ]
        # A person recognises a site, and not the hash in the name of a cause.
        table = ("tickets", "clients", "finding", "sites", "why", "per_day", "release")
        document = ("tickets", "clients", "why", "per_day", "cause")
        columns = table if output_format == "table" else document
        show("held", columns, shown, output_format, "Nothing is held.")
        if shown and output_format == "table":
            click.echo(
                f"To release: certmgr notice release {shlex.quote(str(shown[0]['release']))}"
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
        code: The finding code; empty if it is about no finding.
        hosts: The names that the tickets are about.
    """

    cause: str
    why: str
    code: str = ""
    tickets: int = 0
    clients: set[int | None] = field(default_factory=set)
    hosts: list[str] = field(default_factory=list)

    def argument(self, groups: Mapping[str, HeldCause]) -> str:
        """Return the shortest argument that releases it: a site that no other cause has."""
        if self.is_code:
            return self.cause
        taken = {h for g in groups.values() if g is not self and not g.is_code for h in g.hosts}
        return next((h for h in self.hosts if h not in taken), self.cause)

    def concerns(self, site: str) -> bool:
        """Return whether a ticket is about a site, given in ASCII or as people know it."""
        return any(site in (host, display(host)) for host in self.hosts)

    def sites(self) -> str:
        """Return the first site, and how many more there are."""
        names = list(dict.fromkeys(map(display, self.hosts)))
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        return names[0] + more if names else ""

    @property
    def is_code(self) -> bool:
        """Whether it stands for all causes with a finding code."""
        return self.cause.startswith("* ")

    def add(self, ticket: ListedTicket) -> None:
        """Count a ticket."""
        self.tickets += 1
        self.clients.add(ticket.client_id)
        if name := ticket.host or ticket.domain:
            self.hosts.append(name)


def held_causes(held: Sequence[ListedTicket]) -> dict[str, HeldCause]:
    """Return the held tickets by cause. Pure.

    Codes with more than one held cause get the additional group ``* CODE``, since one fix of the
    provider often ends all of them.
    """
    groups: dict[str, HeldCause] = {}
    for row in held:
        groups.setdefault(row.cause, HeldCause(row.cause, _why(row), row.code or "")).add(row)
    # A release by code needs at least two causes; for one, both would be the same.
    several = {
        row.code for row in held if row.code and sum(g.endswith(f" {row.code}") for g in groups) > 1
    }
    for row in held:
        if row.code in several:
            name = f"* {row.code}"
            groups.setdefault(name, HeldCause(name, _why(row), row.code)).add(row)
    return groups


def _why(row: ListedTicket) -> str:
    return (row.hold or "").partition(" ")[0]


def _chosen(cause: str, groups: Mapping[str, HeldCause], codes: set[str]) -> HeldCause:
    """Return the group that the caller named.

    Args:
        codes: The finding codes of all held tickets.

    Raises:
        NotFound: No cause, or more than one, begins with the text or concerns the site.
    """
    # '* CODE' of a code with only one cause has no group, so it stands for that cause.
    if cause.startswith("* ") and cause[2:] in codes and cause not in groups:
        cause = next(c for c in groups if c.endswith(f" {cause[2:]}"))
    # A prefix must have 8 characters: a shorter one would match by accident.
    matching = [c for c in groups if c == cause] or [
        c for c in groups if len(cause) >= 8 and c.startswith(cause)
    ]
    matching = matching or [
        c for c, g in groups.items() if not g.is_code and g.concerns(cause.lower())
    ]
    if len(matching) != 1:
        reason = f"{len(matching)} causes match" if matching else "no notice of it is held"
        raise NotFound(
            f"The cause '{cell(cause, 80)}' cannot be released",
            reason,
            "See certmgr notice release.",
        )
    return groups[matching[0]]
