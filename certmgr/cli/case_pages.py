"""What one reads of cases: the work list, one case with its story, and the measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from certmgr.cases.states import (
    ENDED,
    TODO,
    CaseState,
    allowed,
    escalations,
    next_reminder,
    overdue,
    waits_for,
)
from certmgr.cases.states import overdue as is_late
from certmgr.cases.statistics import measures as of
from certmgr.cases.window import InstallationWindow
from certmgr.cli.output import cell, echo_json, epoch_text, instant, pairs, show, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from inventory.db.database import from_epoch
from inventory.store import cases, clients, contacts, outbox

if TYPE_CHECKING:
    from inventory.store.records import Row

_COLUMNS = (
    "reference",
    "client",
    "state",
    "waits_for",
    "due",
    "overdue",
    "names",
    "kind",
    "staff",
    "window",
    "todo",
)
_KEYS = (
    *_COLUMNS,
    "id",
    "version",
    "since",
    "opened",
    "closed",
    "order_id",
    "contact",
    "approved_by",
    "price",
    "fee",
    "currency",
    "reason",
)


@click.command("list")
@client_filter
@click.option("--mine", metavar="CONTACT", help="Only those that this administrator leads.")
@click.option(
    "--waiting",
    type=click.Choice(["client", "provider"]),
    help="Only those that wait for this side.",
)
@click.option("--overdue", is_flag=True, help="Only those whose due date has passed.")
@click.option("--windows", is_flag=True, help="Only those with a window within seven days.")
@click.option("--all", "everything", is_flag=True, help="Also those that ended.")
@format_option
@pass_app
def list_(
    app: CommandContext,
    client: str | None,
    mine: str | None,
    waiting: str | None,
    overdue: bool,
    windows: bool,
    everything: bool,
    form: str,
) -> None:
    """The work list: the next due first."""

    moment = app.now()
    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        staff_id = contacts.find(conn, mine)["id"] if mine else None
        rows = cases.listing(conn, client_id=client_id, states=None if everything else cases.OPEN)
    week = moment.timestamp() + 7 * 86_400
    rows = [
        r
        for r in rows
        if (staff_id is None or r["staff_id"] == staff_id)
        and (waiting is None or waits_for(r) == waiting)
        and (not overdue or is_late(r, moment))
        and (
            not windows
            or (
                r["window_state"] == "agreed"
                and r["window_start"] is not None
                and moment.timestamp() <= r["window_end"]
                and r["window_start"] < week
            )
        )
    ]
    shown = [case_row(r, moment) for r in rows]
    if form == "table":
        lines = [
            [
                r["reference"],
                r["client"],
                r["state"],
                r["waits_for"],
                f"{(r['due'] or '')[:10]}{' overdue' if r['overdue'] else ''}",
                r["staff"] or "nobody",
                " ".join(r["names"][:3]),
            ]
            for r in shown
        ]
        if not lines:
            click.echo("There are no such cases.")
        else:
            table(["CASE", "CLIENT", "STATE", "WAITS FOR", "DUE", "LED BY", "NAMES"], lines)
    else:
        show("cases", _COLUMNS, shown, form, keys=_KEYS)


def case_row(row: Row, moment: Any) -> dict[str, Any]:
    """One case of ``certmgr.cases/1``."""

    start, end = from_epoch(row["window_start"]), from_epoch(row["window_end"])
    window = (
        InstallationWindow(start, end, row["window_zone"]).text
        if start and end and row["window_state"] == "agreed"
        else None
    )
    state = CaseState(row["state"])
    return {
        **{
            k: row[k]
            for k in (
                "id",
                "reference",
                "client",
                "version",
                "kind",
                "order_id",
                "staff",
                "contact",
                "approved_by",
                "price",
                "fee",
                "currency",
                "reason",
                "names",
            )
        },
        "state": str(state),
        "waits_for": waits_for(row),
        "due": epoch_text(row["due_at"]),
        "overdue": state not in ENDED and overdue(row, moment),
        "window": window,
        "since": epoch_text(row["since"]),
        "opened": epoch_text(row["opened_at"]),
        "closed": epoch_text(row["closed_at"]),
        "todo": TODO.get(state, "").replace("REF", row["reference"]) or None,
    }


@click.command("show")
@click.argument("reference")
@format_option
@pass_app
def show_(app: CommandContext, reference: str, form: str) -> None:
    """Tell the whole story of a case: where it stands, whom it climbs to, certificates, messages,
    and everything that was done and said.
    """

    moment = app.now()
    with app.open().read() as conn:
        row = cases.find(conn, reference)
        events = cases.events(conn, row["id"])
        issued = cases.issuances(conn, [row["id"]]).get(row["id"], [])
        messages = outbox.about(
            conn, cases.matter_key(row["id"], row["client_id"]), row["client_id"]
        )
    page = case_row(row, moment)
    reminds = next_reminder(row, moment)
    climbing = [
        {"who": c.who, "at": epoch_text(int(c.at.timestamp()))}
        for c in escalations(row, app.settings.notify.climb_days, moment.tzinfo)
    ]
    certificates = [
        {
            "key_type": i["key_type"],
            "key": i["key_reference"] or "with the client",
            "sha256": i["sha256"],
            "serial": i["serial"],
            "not_after": epoch_text(i["not_after"]),
            "received": epoch_text(i["received_at"]),
            "seen_live": epoch_text(i["live_at"]),
        }
        for i in issued
    ]
    story = [
        {
            "at": epoch_text(e["at"]),
            "by": e["by"],
            "action": e["action"],
            "before": e["before"],
            "after": e["after"],
            "text": e["text"],
        }
        for e in events
    ]
    told = [
        {
            "at": epoch_text(m["sent_at"] or m["created_at"]),
            "contact": m["contact"],
            "state": m["state"],
            "subject": m["subject"],
        }
        for m in messages
    ]
    document = {
        "schema": "certmgr.case/1",
        "case": page,
        "can": list(allowed(row["state"])),
        "reminds": instant(reminds),
        "climbs": climbing,
        "certificates": certificates,
        "messages": told,
        "events": story,
    }
    if form == "json":
        echo_json(document)
    elif form == "csv":
        show("events", ("at", "by", "action", "before", "after", "text"), story, form)
    else:
        _page(page, row, document)


def _page(page: dict[str, Any], row: Row, document: dict[str, Any]) -> None:
    amounts = ", ".join(f"{k} {row[k]} {row['currency']}" for k in ("price", "fee") if row[k])
    approved = (
        f"{row['approved_by']} by {row['approved_how']}, {epoch_text(row['approved_at'])}"
        if row["approved_at"]
        else "not yet"
    )
    pairs(
        [
            ("Case", f"{page['reference']} ({page['kind']}), version {page['version']}"),
            ("Client", f"{row['client']} {row['client_name']}"),
            ("Names", page["names"]),
            (
                "State",
                (
                    f"{page['state']} since"
                    f" {page['since']}{': ' + page['reason'] if page['reason'] else ''}"
                ),
            ),
            ("Waits for", page["waits_for"]),
            (
                "Due",
                f"{page['due']}{', overdue' if page['overdue'] else ''}" if page["due"] else None,
            ),
            ("To do", page["todo"]),
            ("Led by", row["staff"] or "nobody: certmgr case take"),
            ("Contact", row["contact"]),
            ("Order", f"#{row['order_id']}" if row["order_id"] else None),
            ("Amounts", amounts),
            ("Agreed", approved),
            ("Window", page["window"]),
            ("Replaces", row["replaces"]),
            ("Which ends", epoch_text(row["ends_at"])),
            ("Possible now", document["can"]),
        ]
    )
    if document["reminds"]:
        click.echo(f"  the client is reminded next: {document['reminds'][:10]}")
    for climb in document["climbs"]:
        click.echo(f"  if nothing moves: {climb['who']}, {climb['at']}")
    for one in document["certificates"]:
        state = (
            f"serial {one['serial']}, until {one['not_after'][:10] if one['not_after'] else '?'},"
            f" SHA-256 {one['sha256']}"
            if one["sha256"]
            else "not there yet"
        )
        click.echo(
            f"  certificate ({one['key_type']}): {state}; key"
            f" {one['key']}{'; seen live ' + one['seen_live'] if one['seen_live'] else ''}"
        )
    if document["messages"]:
        click.echo("\nMessages to the client, newest first")
        for one in document["messages"]:
            click.echo(
                f"  {one['at']} {one['state']} to {cell(one['contact'])}: {cell(one['subject'])}"
            )
    click.echo("\nStory")
    for one in document["events"]:
        moved = (
            f" ({one['before']} -> {one['after']})"
            if one["before"] and one["before"] != one["after"]
            else ""
        )
        click.echo(
            f"  {one['at']} {cell(one['by'])}:"
            f" {one['action']}{moved}{': ' + cell(one['text'], 2000) if one['text'] else ''}"
        )


@click.command("measures")
@client_filter
@format_option
@pass_app
def measures(app: CommandContext, client: str | None, form: str) -> None:
    """Time per state, time to resolve, and what is overdue by whom, a month."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client)["id"] if client else None
        rows, events = cases.listing(conn, client_id=client_id), cases.events_of(conn, client_id)
    found = of(rows, events, app.now(), ZoneInfo(app.settings.provider.time_zone))
    flat = form != "json"
    shown = [
        {
            "month": m.month,
            "opened": m.opened,
            "closed": m.closed,
            "ended": m.ended,
            "resolve_hours": m.resolve,
            "overdue": _listed(m.overdue) if flat else m.overdue,
            "state_hours": _listed(m.states) if flat else m.states,
        }
        for m in found
    ]
    columns = ("month", "opened", "closed", "ended", "resolve_hours", "overdue", "state_hours")
    show("measures", columns, shown, form, "There were no cases yet.")


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{k} {v}" for k, v in values.items())
