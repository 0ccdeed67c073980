"""Confirmations of mass mail given ahead: ``notify --allow-clients``, ``notice disallow``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from certmgr.cli.output import cell, local_time
from certmgr.cli.shared import CommandContext, needs, pass_app
from inventory.db.database import from_epoch, to_epoch
from inventory.errors import NotFound, UsageError
from inventory.store import allowances, editing

if TYPE_CHECKING:
    from inventory.records import AllowanceRecord

# A confirmation is for one event. One that stays for weeks would let the next fault through.
LONGEST = timedelta(days=7)


def allow(app: CommandContext, clients: int, until: str | None, reason: str | None) -> None:
    """Record that runs until a time may notify this number of clients, together."""
    now, usual = app.now(), app.settings.notify.confirm_above
    end = app.ahead(needs(until, "--until"))
    # A past time is a typing error: the confirmation would never be used.
    if end <= now:
        raise UsageError(
            f"The time {local_time(end)} has passed",
            "a confirmation holds until a time ahead",
            "Give a later --until.",
        )
    if end > now + LONGEST:
        raise UsageError(
            f"The time {local_time(end)} is more than {LONGEST.days} days ahead",
            "a confirmation is for one event, and must not let a later fault through",
            "Give an earlier --until.",
        )
    if clients <= usual:
        # It would seem to change something, but a run to that number of clients is never held.
        raise UsageError(
            f"{clients} clients need no confirmation",
            f"[notify] confirm_above is {usual}",
            "Run certmgr notify.",
        )
    # The reason is for the staff who find the confirmation in force later.
    why = editing.required(needs(reason, "--reason"), "reason", 300)
    with app.open().write(now) as tx:
        number = allowances.add(tx, clients, to_epoch(end), why, tx.actor)
    click.echo(
        f"Confirmation {number}: until {local_time(end)}, runs may notify {clients} clients at"
        f" once. More are held as before. To end it earlier: certmgr notice disallow {number}"
    )


@click.command("disallow")
@click.argument("number", type=click.IntRange(1, 2**62))
@pass_app
def notice_disallow(app: CommandContext, number: int) -> None:
    """End a confirmation of notify --allow-clients before its time."""

    with app.open().write(app.now()) as tx:
        # A second withdrawal is an error, so that a wrong number is noticed.
        if not allowances.withdraw(tx, number):
            raise NotFound(
                f"There is no confirmation {number} in force",
                "it ended, was withdrawn, or never existed",
                "certmgr notice list shows those in force.",
            )
    click.echo(f"Confirmation {number} has ended.")


def show_active(known: list[AllowanceRecord]) -> None:
    """Print the confirmations in force, to stderr: they are not rows of a listing."""
    for one in known:
        click.echo(
            f"Confirmation {one.id} by {cell(one.by)}: until {local_time(from_epoch(one.until))},"
            f" {one.clients} clients may be notified at once, {len(one.sent_to)} were so far:"
            f" {cell(one.reason, 300)}. To end it: certmgr notice disallow {one.id}",
            err=True,
        )
