"""What ``certmgr status`` shows of the work ahead: dates of purchases, and open cases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from certmgr.cases.states import is_overdue
from certmgr.cli.output import cell, day_in, instant, paragraph
from certmgr.cli.shared import CommandContext
from certmgr.purchases import load as purchases
from certmgr.purchases.terms import due_soon
from inventory.store import cases, clients
from inventory.store import purchases as stored_purchases

if TYPE_CHECKING:
    from inventory.db.database import Database

# The hint at the end of show_ahead() names the same number of days.
AHEAD = timedelta(days=60)


def work_ahead(
    app: CommandContext, database: Database, moment: datetime, client: str | None
) -> dict[str, Any]:
    """Return the due dates of purchases within 60 days, soonest first, and counts of open cases."""
    with database.read() as conn:
        client_id = clients.find(conn, client).id if client else None
        soon = due_soon(
            # An ended purchase cannot be reissued, so it has no date to act on.
            purchases.load(conn, client_id, ended=False),
            purchases.lead_times(app.settings),
            moment,
            AHEAD,
        )
        rows = cases.listing(conn, client_id=client_id, states=cases.OPEN)
    return {
        "orders": [
            # The keys are older than the word purchase, and programs read them.
            {
                "order": f"#{o.id}",
                "reference": stored_purchases.reference(o.id),
                "client": o.client,
                "vendor": o.vendor,
                "number": o.number or None,
                "what": c.kind,
                "at": instant(c.at),
                "due": instant(c.due),
                "actor": c.actor,
                "names": list(o.names),
            }
            for o, c in soon
        ],
        "cases": {"open": len(rows), "overdue": sum(is_overdue(r, moment) for r in rows)},
    }


_DEADLINES = {
    "order": "buy again, the purchase ends",
    "certificate": "reissue and install, the certificate ends",
    "dcv": "validate the domains again, good until",
    "organisation": "validate the organisation again, good until",
}


def show_ahead(ahead: dict[str, Any], zone: str) -> None:
    if ahead["orders"]:
        click.echo(f"Purchases: {len(ahead['orders'])} date(s) to act on within {AHEAD.days} days.")
    # The most urgent 20 fit the screen, and the next command lists all.
    for deadline in ahead["orders"][:20]:
        what = f"{_DEADLINES[deadline['what']]} {day_in(deadline['at'], zone)}"
        paragraph(
            f"by {day_in(deadline['due'], zone)}  {cell(deadline['client'])},"
            f" {cell(deadline['vendor'])} {cell(deadline['number'] or deadline['reference'])}"
            f" ({deadline['actor']}): {what}",
            "    ",
            "  ",
        )
    if len(ahead["orders"]) > 20:
        click.echo("  ... and more: certmgr purchase list --due 60")
    # Cases are counted only: certmgr case list has their next steps.
    if ahead["cases"]["open"]:
        click.echo(
            f"Cases: {ahead['cases']['open']} open, {ahead['cases']['overdue']} overdue (certmgr"
            " case list)."
        )
