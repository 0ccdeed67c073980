"""``certmgr notify``: the cron job that keeps everybody informed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from certmgr.cli.output import cell, echo_json, epoch_text, show, table
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.notices.run import run_of, worker_of
from inventory.errors import NotFound, UsageError
from inventory.names import normalise_host
from inventory.store import certificate_ends, tickets
from notifiers.pipeline.report import problems_of, summary

if TYPE_CHECKING:
    from notifiers.pipeline.record import RunOutcome


@click.command()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show each message as it would go out; nothing is queued or sent.",
)
@click.option(
    "--explain",
    metavar="NAME",
    help="Tell why contacts did or did not hear about this name; nothing is decided.",
)
@click.option(
    "--clients",
    type=click.IntRange(1),
    metavar="N",
    help="Write to exactly so many clients at once, where that is more than usual.",
)
@click.option(
    "--queue-only", is_flag=True, help="Decide and queue, and leave the sending to another run."
)
@click.option("--send-only", is_flag=True, help="Send what is queued, and decide nothing.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How to show it; csv with --explain.",
)
@pass_app
def notify(
    app: CommandContext,
    dry_run: bool,
    explain: str | None,
    clients: int | None,
    queue_only: bool,
    send_only: bool,
    form: str,
) -> int:
    """Decide who must hear what, look again at each endpoint that is concerned, queue the messages,
    and send them.

    For cron, once an hour: silent when all is well, one line and exit 3 when something was not
    done.
    """

    if sum((dry_run, explain is not None, queue_only, send_only)) > 1:
        raise UsageError(
            "--dry-run, --explain, --queue-only and --send-only exclude each other",
            "",
            "Give one of them.",
        )
    if explain is not None:
        return _explain(app, explain, form)
    if form == "csv":
        raise UsageError(
            "There is no csv of a run", "messages are no rows", "Choose table or json."
        )

    database = app.open()
    outcome: RunOutcome | None = None
    if not send_only:
        outcome = run_of(database, app.settings, app.now(), expected=clients).decide(
            dry_run=dry_run
        )
        if dry_run:
            return _show_dry(outcome, form)
    counts = None
    if not queue_only:
        counts = worker_of(database, app.settings).run()
    problems = problems_of(outcome, counts)
    if form == "json":
        echo_json({"schema": "certmgr.notify/1", **summary(outcome, counts), "problems": problems})
    elif problems:
        click.echo(f"certmgr notify: {cell('; '.join(problems), 1000)}", err=True)
    elif _is_terminal():
        click.echo(
            ", ".join(
                f"{v} {k}" for k, v in summary(outcome, counts).items() if isinstance(v, int) and v
            )
            or "Nothing was due."
        )
    return 3 if problems else 0


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _show_dry(outcome: RunOutcome, form: str) -> int:
    if form == "json":
        echo_json(
            {
                "schema": "certmgr.notify/1",
                **summary(outcome, None),
                "dry_run": True,
                "messages": [
                    {
                        "contact": d.person.id,
                        "to": (d.person.way or ("", ""))[1],
                        "outcome": m.outcome,
                        "subject": m.subject,
                        "text": m.text,
                        "matters": [i.subject.key for i in d.items],
                    }
                    for d, m in outcome.drafts
                ],
                "staff": [
                    {"contact": c, "subject": m.subject, "text": m.text} for c, m in outcome.staff
                ],
            }
        )
        return 0
    for draft, message in outcome.drafts:
        click.echo(
            f"To: {cell(draft.person.name)} <{cell((draft.person.way or ('', ''))[1])}>\nSubject:"
            f" {cell(message.subject)}\n"
        )
        click.echo(_lines(message.text))
        click.echo("-" * 78)
    for contact_id, message in outcome.staff:
        click.echo(
            f"To: contact {contact_id} (staff)\nSubject:"
            f" {cell(message.subject)}\n\n{_lines(message.text)}"
        )
        click.echo("-" * 78)
    for problem in problems_of(outcome, None):
        click.echo(f"! {problem}")
    total = (
        ", ".join(f"{n} {action}" for action, n in sorted(outcome.decisions.items()))
        or "nothing is due"
    )
    click.echo(
        f"{len(outcome.drafts)} message(s) to clients, {len(outcome.staff)} to staff; decisions:"
        f" {total}. Nothing was queued or sent."
    )
    return 0


def _lines(text: str) -> str:
    return "\n".join(cell(line, 2000) for line in text.strip().splitlines())


_COLUMNS = ("last", "since", "subject", "threshold", "contact", "action", "reason")


def _explain(app: CommandContext, name: str, form: str) -> int:
    """Every decision that is kept about this name, newest first."""

    host = normalise_host(name.partition(":")[0])
    with app.open().read() as conn:
        pairs = certificate_ends.named(conn, host)
        if not pairs:
            raise NotFound(
                f"There is no name '{host}' in the inventory", "", "See certmgr domain list."
            )
        subjects = tickets.keys_about(conn, {p[0] for p in pairs}, {p[1] for p in pairs})
        rows = tickets.decisions(conn, subjects)
    shown = [
        {
            "last": epoch_text(r["last_at"]),
            "since": epoch_text(r["first_at"]),
            "subject": r["subject"],
            "threshold": r["threshold"],
            "contact": r["contact_id"] or None,
            "action": r["action"],
            "reason": r["reason"],
        }
        for r in rows
    ]
    empty = f"Nothing about {host} was ever due: no decision is kept."
    if form == "table" and shown:
        table([c.upper() for c in _COLUMNS], [[r[c] for c in _COLUMNS] for r in shown])
    else:
        show("decisions", _COLUMNS, shown, form, empty)
    return 0
