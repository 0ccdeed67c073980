"""Pages of ``certmgr case``: the work list, one case with its history, and the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import click

from certmgr.cases.states import (
    ENDED,
    NEXT_STEPS,
    allowed_actions,
    escalations,
    is_overdue,
    next_reminder,
    waits_for,
)
from certmgr.cases.statistics import monthly_statistics
from certmgr.cases.window import InstallationWindow
from certmgr.cli.output import cell, echo_json, epoch_text, instant, pairs, show, table
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from inventory.db.database import from_epoch
from inventory.records import CaseRecord
from inventory.store import cases, clients, contacts, issuances, outbox
from inventory.vocabulary import CaseState, WindowState

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
# Keys of certmgr.cases/1: the columns of the CSV, and what only a program needs.
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
@click.option("--mine", metavar="CONTACT", help="Only cases assigned to this administrator.")
@click.option(
    "--waiting",
    type=click.Choice(["client", "provider"]),
    help="Only cases that wait for this side.",
)
@click.option("--overdue", is_flag=True, help="Only cases whose due date has passed.")
@click.option("--windows", is_flag=True, help="Only cases with a window within seven days.")
@click.option("--all", "everything", is_flag=True, help="Include cases that ended.")
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
    output_format: str,
) -> None:
    """List cases, the next due first."""

    now = app.now()
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        staff_id = contacts.find(conn, mine).id if mine else None
        rows = cases.listing(conn, client_id=client_id, states=None if everything else cases.OPEN)
    # --windows shows the windows that are open now or begin within a week.
    week = now.timestamp() + 7 * 86_400
    rows = [
        r
        for r in rows
        if (staff_id is None or r.staff_id == staff_id)
        and (waiting is None or waits_for(r) == waiting)
        and (not overdue or is_overdue(r, now))
        and (
            not windows
            or (
                r.window_state == WindowState.AGREED
                and r.window_start is not None
                and now.timestamp() <= (r.window_end or 0)
                and r.window_start < week
            )
        )
    ]
    shown = [case_row(r, now) for r in rows]
    # The table shows what fits a terminal: the date without the time, and at most three names.
    if output_format == "table":
        lines = [
            [
                r["reference"],
                r["client"],
                r["state"],
                r["waits_for"],
                f"{(r['due'] or '')[:10]}{' overdue' if r['overdue'] else ''}",
                r["staff"] or "unassigned",
                " ".join(r["names"][:3]),
            ]
            for r in shown
        ]
        if not lines:
            click.echo("There are no such cases.")
        else:
            table(["CASE", "CLIENT", "STATE", "WAITS FOR", "DUE", "ASSIGNEE", "NAMES"], lines)
    else:
        show("cases", _COLUMNS, shown, output_format, keys=_KEYS)


def case_row(row: CaseRecord, now: Any) -> dict[str, Any]:
    """Return one case of ``certmgr.cases/1``."""

    start, end = from_epoch(row.window_start), from_epoch(row.window_end)
    # A cancelled window keeps its dates in the row, but must not be shown as agreed.
    window = (
        InstallationWindow(start, end, row.window_zone or "UTC").text
        if start and end and row.window_state == WindowState.AGREED
        else None
    )
    state = CaseState(row.state)
    # A case that ended has nothing due, so it is never overdue.
    return {
        **{
            k: getattr(row, k)
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
        "due": epoch_text(row.due_at),
        "overdue": state not in ENDED and is_overdue(row, now),
        "window": window,
        "since": epoch_text(row.since),
        "opened": epoch_text(row.opened_at),
        "closed": epoch_text(row.closed_at),
        "todo": NEXT_STEPS.get(state, "").replace("REF", row.reference) or None,
    }


@click.command("show")
@click.argument("reference")
@format_option
@pass_app
def show_(app: CommandContext, reference: str, output_format: str) -> None:
    """Show a case.

    The page has its state, escalation, certificates, messages and history.
    """

    now = app.now()
    with app.open().read() as conn:
        row = cases.find(conn, reference)
        events = cases.events(conn, row.id)
        issued = issuances.of_case(conn, row.id)
        messages = outbox.about(conn, cases.ticket_key(row.id, row.client_id), row.client_id)
    case = case_row(row, now)
    reminds = next_reminder(row, now)
    escalation_steps = [
        {"who": c.who, "at": epoch_text(int(c.at.timestamp()))}
        for c in escalations(row, app.settings.notify.escalate_after_days, now.tzinfo)
    ]
    certificates = [
        {
            "key_type": i.key_type,
            "key": i.key_reference or "with the client",  # the client's CSR
            "sha256": i.sha256,
            "serial": i.serial,
            "not_after": epoch_text(i.not_after),
            "received": epoch_text(i.received_at),
            "seen_live": epoch_text(i.live_at),
        }
        for i in issued
    ]
    history = [
        {
            "at": epoch_text(e.at),
            "by": e.by,
            "action": e.action,
            "before": e.before,
            "after": e.after,
            "text": e.text,
        }
        for e in events
    ]
    sent = [
        {
            "at": epoch_text(m.sent_at or m.created_at),
            "contact": m.contact,
            "state": m.state,
            "subject": m.subject,
        }
        for m in messages
    ]
    document = {
        "schema": "certmgr.case/1",
        "case": case,
        "can": list(allowed_actions(row.state)),
        "reminds": instant(reminds),
        "climbs": escalation_steps,
        "certificates": certificates,
        "messages": sent,
        "events": history,
    }
    if output_format == "json":
        echo_json(document)
    elif output_format == "csv":
        show("events", ("at", "by", "action", "before", "after", "text"), history, output_format)
    else:
        _page(case, row, document)


def _page(case: dict[str, Any], row: CaseRecord, document: dict[str, Any]) -> None:
    """Print one case for a terminal."""
    amounts = ", ".join(
        f"{what} {amount} {row.currency}"
        for what, amount in (("price", row.price), ("fee", row.fee))
        if amount
    )
    approved = (
        f"{row.approved_by} by {row.approved_how}, {epoch_text(row.approved_at)}"
        if row.approved_at
        else "not yet"
    )
    pairs(
        [
            ("Case", f"{case['reference']} ({case['kind']}), version {case['version']}"),
            ("Client", f"{row.client} {row.client_name}"),
            ("Names", case["names"]),
            (
                "State",
                (
                    f"{case['state']} since"
                    f" {case['since']}{': ' + case['reason'] if case['reason'] else ''}"
                ),
            ),
            ("Waits for", case["waits_for"]),
            (
                "Due",
                f"{case['due']}{', overdue' if case['overdue'] else ''}" if case["due"] else None,
            ),
            ("To do", case["todo"]),
            ("Assignee", row.staff or "none; to assign one: certmgr case assign"),
            ("Contact", row.contact),
            ("Purchase", f"#{row.order_id}" if row.order_id else None),
            ("Amounts", amounts),
            ("Approved", approved),
            ("Window", case["window"]),
            ("Replaces", row.replaces),
            ("Old expiry", epoch_text(row.ends_at)),
            ("Possible now", document["can"]),
        ]
    )
    # What follows if no side acts: the reminder to the client, then each escalation.
    if document["reminds"]:
        click.echo(f"  next reminder to the client: {document['reminds'][:10]}")
    for escalation in document["climbs"]:
        click.echo(f"  escalates to {escalation['who']}, {escalation['at']}")
    for certificate in document["certificates"]:
        until = certificate["not_after"][:10] if certificate["not_after"] else "?"
        # Empty until a verification succeeded.
        live = f"; seen live {certificate['seen_live']}" if certificate["seen_live"] else ""
        state = (
            f"serial {certificate['serial']}, until {until}, SHA-256 {certificate['sha256']}"
            if certificate["sha256"]
            else "not received yet"
        )
        click.echo(
            f"  certificate ({certificate['key_type']}): {state}; key {certificate['key']}{live}"
        )
    if document["messages"]:
        click.echo("\nMessages to the client, newest first")
        for message in document["messages"]:
            click.echo(
                f"  {message['at']} {message['state']} to {cell(message['contact'])}:"
                f" {cell(message['subject'])}"
            )
    click.echo("\nHistory")
    for event in document["events"]:
        text = f": {cell(event['text'], 2000)}" if event["text"] else ""
        # A note or a failed verification leaves the state as it was.
        transition = (
            f" ({event['before']} -> {event['after']})"
            if event["before"] and event["before"] != event["after"]
            else ""
        )
        click.echo(f"  {event['at']} {cell(event['by'])}: {event['action']}{transition}{text}")


@click.command("measures")
@client_filter
@format_option
@pass_app
def measures(app: CommandContext, client: str | None, output_format: str) -> None:
    """Show statistics per month.

    They are the time per state, the time to resolve, and the overdue cases of client and provider.
    """

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        rows, events = cases.listing(conn, client_id=client_id), cases.events_of(conn, client_id)
    monthly = monthly_statistics(rows, events, app.now(), ZoneInfo(app.settings.provider.time_zone))
    # A table cell or a CSV column holds text; JSON keeps the mappings.
    flat = output_format != "json"
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
        for m in monthly
    ]
    columns = ("month", "opened", "closed", "ended", "resolve_hours", "overdue", "state_hours")
    show("measures", columns, shown, output_format, "There are no cases yet.")


def _listed(values: Mapping[str, float]) -> str:
    """Return a mapping as text for one cell."""
    return ", ".join(f"{k} {v}" for k, v in values.items())
