"""Pages of ``certmgr case``: the work list, one case with its history, and the statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from zoneinfo import ZoneInfo

import click

from certmgr.cases.states import (
    allowed_actions,
    escalations,
    is_overdue,
    next_reminder,
    waits_for,
)
from certmgr.cases.statistics import monthly_statistics
from certmgr.cli.cases.case_rows import (
    CaseCertificateRow,
    CasePage,
    CaseRow,
    EscalationRow,
    EventRow,
    MessageRow,
    case_row,
    certificate_row,
)
from certmgr.cli.output import (
    cell,
    echo_json,
    epoch_text,
    instant,
    local_day,
    local_time,
    pairs,
    show,
    table,
)
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from inventory.records import CaseRecord
from inventory.store import cases, clients, contacts, incidents, issuances, notices, purchases
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
_KEYS = tuple(f.name for f in fields(CaseRow))


@click.command("list")
@client_filter
# The user of the machine is not known as a contact, so --mine needs a name.
@click.option("--mine", metavar="CONTACT", help="Only cases assigned to this administrator.")
@click.option(
    "--waiting",
    type=click.Choice(["client", "provider"]),
    help="Only cases that wait for this side.",
)
@click.option("--overdue", is_flag=True, help="Only cases whose due date has passed.")
@click.option("--incident", metavar="REF", help="Only cases of this incident.")
@click.option(
    "--state",
    type=click.Choice([str(s) for s in CaseState]),
    metavar="STATE",
    help=f"Only cases in this state: {', '.join(CaseState)}.",
)
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
    incident: str | None,
    state: str | None,
    windows: bool,
    everything: bool,
    output_format: str,
) -> None:
    """List cases, the next due first."""

    now = app.now()
    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        # A misspelt filter is an error: an empty list would be read as "nothing to do".
        staff_id = contacts.find(conn, mine).id if mine else None
        incident_id = incidents.find(conn, incident).id if incident else None
        # A state that ends a case is shown without --all, since it was asked for.
        states = [state] if state else None if everything else cases.OPEN
        rows = cases.listing(conn, client_id=client_id, states=states, incident_id=incident_id)
    # Who is waited for, and what is overdue, follow from the state and the time. They are not
    # stored, so no query selects them.
    shown = [
        case_row(r, now)
        for r in rows
        if (staff_id is None or r.staff_id == staff_id)
        and (waiting is None or waits_for(r) == waiting)
        and (not overdue or is_overdue(r, now))
        and (not windows or _has_window_within_a_week(r, now))
    ]
    if output_format != "table":
        show("cases", _COLUMNS, [asdict(r) for r in shown], output_format, keys=_KEYS)
    elif not shown:
        click.echo("There are no such cases.")
    else:
        # The table shows what fits a terminal: the date without the time, at most three names.
        lines = [
            [
                r.reference,
                r.client,
                r.state,
                r.waits_for,
                f"{local_day(r.due)}{' overdue' if r.overdue else ''}",
                # An empty cell is easily missed, and a case needs an assignee.
                r.staff or "unassigned",
                " ".join(r.names[:3]),
            ]
            for r in shown
        ]
        table(["CASE", "CLIENT", "STATE", "WAITS FOR", "DUE", "ASSIGNEE", "NAMES"], lines)


def _has_window_within_a_week(row: CaseRecord, now: datetime) -> bool:
    """Return whether a window is agreed that is open now or begins within seven days."""
    return (
        row.window_state is WindowState.AGREED
        and row.window_start is not None
        # A window that is over needs a verification, and not an appointment.
        and now.timestamp() <= (row.window_end or 0)
        and row.window_start < now.timestamp() + 7 * 86_400
    )


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
        # The query is limited to the client in addition to the case, so that no message to another
        # client can be shown.
        messages = notices.about_topic(conn, cases.ticket_key(row.id, row.client_id), row.client_id)
    reminds = next_reminder(row, now)
    page = CasePage(
        case=case_row(row, now),
        can=[str(action) for action in allowed_actions(row.state)],
        reminds=instant(reminds),
        climbs=[
            EscalationRow(who=c.who, at=epoch_text(int(c.at.timestamp())))
            for c in escalations(row, app.settings.notify.escalate_after_days, now.tzinfo)
        ],
        certificates=[certificate_row(i) for i in issued],
        messages=[
            MessageRow(
                at=epoch_text(m.sent_at or m.created_at),
                contact=m.contact,
                state=m.state,
                subject=m.subject,
            )
            for m in messages
        ],
        events=[
            EventRow(
                at=epoch_text(e.at),
                by=e.by,
                action=e.action,
                before=e.before,
                after=e.after,
                text=e.text,
            )
            for e in events
        ],
    )
    match output_format:
        case "json":
            echo_json({"schema": "certmgr.case/1", **asdict(page)})
        case "csv":
            # A CSV file has one kind of row, so it holds the history only.
            columns = tuple(f.name for f in fields(EventRow))
            show("events", columns, [asdict(e) for e in page.events], output_format)
        case _:
            _show_page(page, row)


def _show_page(page: CasePage, row: CaseRecord) -> None:
    """Print one case for a terminal."""
    _show_facts(page, row)
    # What follows if no side acts: the reminder to the client, then each escalation.
    if page.reminds:
        click.echo(f"  next reminder to the client: {local_day(page.reminds)}")
    for escalation in page.climbs:
        click.echo(f"  escalates to {escalation.who}, {local_time(escalation.at)}")
    for certificate in page.certificates:
        click.echo(f"  {_certificate_line(certificate)}")
    if page.messages:
        click.echo("\nMessages to the client, newest first")
    for message in page.messages:
        click.echo(
            f"  {local_time(message.at)} {message.state} to {cell(message.contact)}:"
            f" {cell(message.subject)}"
        )
    click.echo("\nHistory")
    for event in page.events:
        text = f": {cell(event.text, 2000)}" if event.text else ""
        # A note or a failed verification leaves the state as it was.
        transition = (
            f" ({event.before} -> {event.after})"
            if event.before and event.before != event.after
            else ""
        )
        click.echo(f"  {local_time(event.at)} {cell(event.by)}: {event.action}{transition}{text}")


def _show_facts(page: CasePage, row: CaseRecord) -> None:
    """Print the values of a case, one per line."""
    case = page.case
    amounts = ", ".join(
        f"{what} {amount} {row.currency}"
        for what, amount in (("price", row.price), ("fee", row.fee))
        if amount
    )
    approved = (
        f"{row.approved_by} by {row.approved_how}, {local_time(row.approved_at)}"
        if row.approved_at
        # Stated even if it is missing, because it is what a checked case waits for.
        else "not yet"
    )
    reason = f": {case.reason}" if case.reason else ""
    due = f"{local_time(case.due)}{', overdue' if case.overdue else ''}" if case.due else None
    pairs(
        [
            # The version is the value for --if-version.
            ("Case", f"{case.reference} ({case.kind}), version {case.version}"),
            ("Client", f"{row.client} {row.client_name}"),
            ("Names", case.names),
            ("State", f"{case.state} since {local_time(case.since)}{reason}"),
            ("Waits for", case.waits_for),
            ("Due", due),
            ("To do", case.todo),
            ("Assignee", row.staff or "none; to assign one: certmgr case assign"),
            ("Contact", row.contact),
            ("Purchase", purchases.reference(row.order_id) if row.order_id else None),
            ("Amounts", amounts),
            ("Approved", approved),
            ("Window", case.window),
            ("Replaces", row.replaces),
            ("Old expiry", local_time(row.ends_at)),
            ("Possible now", page.can),
        ]
    )


def _certificate_line(certificate: CaseCertificateRow) -> str:
    """Return one certificate of a case as a line."""
    until = local_day(certificate.not_after) or "?"
    # Empty until a verification succeeded.
    live = f"; seen live {local_time(certificate.seen_live)}" if certificate.seen_live else ""
    state = (
        f"serial {certificate.serial}, until {until}, SHA-256 {certificate.sha256}"
        if certificate.sha256
        else "not received yet"
    )
    return f"certificate ({certificate.key_type}): {state}; key {certificate.key}{live}"


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
        # Both in one transaction, so that cases and their events fit together.
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
            "reopened": m.reopened,
            "resolve_hours": m.resolve,
            "overdue": _listed(m.overdue) if flat else m.overdue,
            "state_hours": _listed(m.states) if flat else m.states,
        }
        for m in monthly
    ]
    columns = (
        *("month", "opened", "closed", "ended", "reopened"),
        *("resolve_hours", "overdue", "state_hours"),
    )
    show("measures", columns, shown, output_format, "There are no cases yet.")


def _listed(values: Mapping[str, float]) -> str:
    """Return a mapping as text for one cell."""
    return ", ".join(f"{k} {v}" for k, v in values.items())
