"""``certmgr notify``: the cron job that notifies clients and staff."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from certmgr.cli.notify.notice_allowances import allow
from certmgr.cli.output import cell, echo_json, epoch_text, show, table
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.cli.tables import MINOR, Column
from certmgr.cli.topic_words import topic_text
from certmgr.notices.run import run_of, worker_of
from inventory.errors import UsageError
from inventory.names import display
from inventory.store import contacts, decisions, endpoints, jobs, tickets
from inventory.store.suggestions import not_found
from inventory.targets import parse_backend
from notifiers.pipeline.record import JOB
from notifiers.pipeline.report import problems_of, summary

if TYPE_CHECKING:
    from certmgr.config.context import Context
    from notifiers.pipeline.run_outcome import RunOutcome


@click.command()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show each message as it would be sent; nothing is queued or sent.",
)
@click.option(
    "--explain",
    metavar="NAME",
    help="Explain why contacts were or were not notified about this name; nothing is decided.",
)
@click.option(
    "--clients",
    type=click.IntRange(1),
    metavar="N",
    help="Confirm that this run notifies exactly N clients, if N is unusually large.",
)
@click.option(
    "--allow-clients",
    type=click.IntRange(1),
    metavar="N",
    help="Confirm ahead that runs until --until notify N clients together; nothing is decided now.",
)
@click.option(
    "--until",
    metavar="TIME",
    help="With --allow-clients: its end within 7 days, such as 2026-12-01, or 09:30.",
)
@click.option("--reason", metavar="TEXT", help="With --allow-clients: its reason.")
@click.option(
    "--queue-only", is_flag=True, help="Decide and queue only; another run sends the messages."
)
@click.option("--send-only", is_flag=True, help="Send queued messages only; nothing is decided.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="Output format; csv only with --explain.",
)
@pass_app
def notify(
    app: CommandContext,
    dry_run: bool,
    explain: str | None,
    clients: int | None,
    allow_clients: int | None,
    until: str | None,
    reason: str | None,
    queue_only: bool,
    send_only: bool,
    output_format: str,
) -> int:
    """Decide which contacts to notify, recheck their endpoints, and queue and send the messages.

    Run it from cron once an hour. It prints nothing if all is well; otherwise one line, and exit
    code 3.

    \b
    certmgr notify --dry-run              what would be sent, to whom, and why
    """
    parts = (dry_run, explain is not None, queue_only, send_only)
    # Each of them selects another part of the work, so a combination has no meaning.
    if sum(parts) > 1:
        raise UsageError(
            "--dry-run, --explain, --queue-only and --send-only exclude each other",
            "",
            "Give one of them.",
        )
    # Without --allow-clients they would have no effect, and a mass mail would be held as before.
    if allow_clients is None and (until or reason):
        raise UsageError(
            "--until and --reason belong to --allow-clients", "", "Give --allow-clients N too."
        )
    if allow_clients is not None:
        # A confirmation ahead is stored and ends the command, so any option of a run would be
        # ignored.
        if clients is not None or any(parts):
            raise UsageError(
                "--allow-clients stands alone",
                "it confirms the number for later runs, and decides nothing now",
                "Give it without other options of a run.",
            )
        allow(app, allow_clients, until, reason)
        return 0
    if explain is not None:
        return _explain(app, explain, output_format)
    # The option is shared with --explain, whose decisions are rows.
    if output_format == "csv":
        raise UsageError(
            "A run has no CSV output", "messages are not rows of a table", "Choose table or json."
        )
    return _run(
        app.context(),
        output_format,
        clients=clients,
        dry_run=dry_run,
        queue_only=queue_only,
        send_only=send_only,
    )


def _run(
    context: Context,
    output_format: str,
    *,
    clients: int | None,
    dry_run: bool,
    queue_only: bool,
    send_only: bool,
) -> int:
    """Decide, queue and send, or a part of it; print what was done, and return the exit code."""
    outcome: RunOutcome | None = None
    if not send_only:
        run = run_of(context, expected=clients)
        with ProgressLine().waiting("notify: deciding, and rechecking what is due"):
            outcome = run.decide(dry_run=dry_run)
        # A dry run returns before the delivery worker, which would send older messages of the
        # queue.
        if dry_run:
            return _show_dry(context, outcome, output_format)
    # The delivery worker runs after the decisions are committed (notifiers/delivery.py).
    counts = None
    if not queue_only:
        with ProgressLine().waiting("notify: sending"):
            counts = worker_of(context).run()
    problems = problems_of(outcome, counts)
    _show_run(summary(outcome, counts), problems, output_format)
    # A problem of one message does not stop the others, so the run is incomplete and not failed.
    return 3 if problems else 0


def _show_run(counted: Mapping[str, Any], problems: Sequence[str], output_format: str) -> None:
    """Print what a run did, and its problems."""
    if output_format == "json":
        echo_json({"schema": "certmgr.notify/1", **counted, "problems": problems})
    elif problems:
        click.echo(f"certmgr notify: {cell('; '.join(problems), 1000)}", err=True)
    # Cron mails every line of output, so a good run is reported on a terminal only.
    elif _is_terminal():
        click.echo(
            ", ".join(f"{v} {k}" for k, v in counted.items() if isinstance(v, int) and v)
            or "Nothing was due."
        )


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _show_dry(context: Context, outcome: RunOutcome, output_format: str) -> int:
    if output_format == "json":
        echo_json(
            {
                "schema": "certmgr.notify/1",
                **summary(outcome, None),
                "dry_run": True,
                "messages": [
                    {
                        "contact": d.person.id,
                        "to": (d.person.contact_method or ("", ""))[1],
                        "outcome": m.outcome,
                        "subject": m.subject,
                        "text": m.text,
                        "topics": [i.topic.key for i in d.items],
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
            f"To: {cell(draft.person.name)} <{cell((draft.person.contact_method or ('', ''))[1])}>"
            f"\nSubject: {cell(message.subject)}\n"
        )
        click.echo(_lines(message.text))
        click.echo("-" * 78)
    with context.database.read() as conn:
        names = {p.id: p.name for p in contacts.listing(conn)}
    for contact_id, message in outcome.staff:
        click.echo(
            f"To: {cell(names.get(contact_id, 'staff'))} (staff)\nSubject:"
            f" {cell(message.subject)}\n\n{_lines(message.text)}"
        )
        click.echo("-" * 78)
    # Problems belong to the preview: they show who would not be notified.
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


def _explain(app: CommandContext, name: str, output_format: str) -> int:
    """Show all stored decisions about a name, newest first."""

    # A port may be pasted with the name. A decision is about a name or an endpoint of it. Any port
    # is accepted, since it is dropped; an IPv6 address has colons without one.
    host = parse_backend(name).host
    with app.open().read() as conn:
        pairs = endpoints.named(conn, host)
        if not pairs:
            raise not_found(conn, "domain", display(host), "certmgr domain list")
        subjects = decisions.keys_about(conn, {p[0] for p in pairs}, {p[1] for p in pairs})
        rows = decisions.listing(conn, subjects)
        # A decision may be about a contact who was retired later, and still needs a name.
        people = {p.id: p.name for p in contacts.listing(conn, retired=True)}
        references = {t.key: t.shown for t in tickets.listing(conn)}
        decided = jobs.state(conn, JOB).success_at is not None
    shown = [
        {
            "last": epoch_text(r.last_at),
            "since": epoch_text(r.first_at),
            "subject": r.subject,
            "threshold": r.threshold,
            "contact": r.contact_id or None,
            "action": r.action,
            "reason": r.reason,
        }
        for r in rows
    ]
    # A name without decisions is a result: no notice was due, and nothing was forgotten. Before the
    # first run nothing was decided at all.
    empty = (
        f"There is no decision about {display(host)}: no notice was due."
        if decided
        else f"There is no decision about {display(host)}: certmgr notify has not run yet. To see"
        " what it would decide: certmgr notify --dry-run"
    )
    if output_format == "table" and shown:
        table(
            [
                "LAST",
                Column("SINCE", MINOR),
                "ABOUT",
                Column("THRESHOLD", MINOR),
                "CONTACT",
                "ACTION",
                "REASON",
            ],
            [
                [
                    r["last"],
                    r["since"],
                    topic_text(str(r["subject"]), references),
                    r["threshold"],
                    people.get(int(r["contact"] or 0), ""),
                    r["action"],
                    r["reason"],
                ]
                for r in shown
            ],
        )
    else:
        show("decisions", _COLUMNS, shown, output_format, empty)
    return 0
