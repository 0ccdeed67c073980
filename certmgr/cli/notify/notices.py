"""``certmgr notice``: the queue of notices, and the clients to telephone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from certmgr.cli.notify.notice_allowances import notice_disallow, show_active
from certmgr.cli.notify.notice_broadcast import notice_broadcast
from certmgr.cli.notify.notice_mail import notice_bounce, notice_inbox
from certmgr.cli.notify.notice_releases import notice_release
from certmgr.cli.notify.notice_snoozes import notice_snooze, notice_snoozes, notice_unsnooze
from certmgr.cli.output import (
    cell,
    echo_json,
    epoch_text,
    instant,
    local_time,
    pairs,
    paragraph,
    show,
)
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.cli.topic_words import topic_text
from certmgr.files import require_no_link, write_whole
from certmgr.notices.run import run_of
from certmgr.notices.setup import channels_of, rules_of
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError, NotFound, UsageError
from inventory.records import CompleteNotice
from inventory.store import (
    allowances,
    clients,
    editing,
    inbox,
    notices,
    outbox,
    recipients,
    tickets,
)
from inventory.vocabulary import NoticeKind, TicketKind
from notifiers.channels import OutgoingMessage, preview
from notifiers.pipeline.call_list import calls
from notifiers.pipeline.message import Message
from notifiers.pipeline.plan import Snapshot

COLUMNS = (
    "id",
    "reference",
    "kind",
    "client",
    "contact",
    "outcome",
    "channel",
    "state",
    "created",
    "sent",
    "attempts",
    "error",
    "subject",
)
_STATES = ("queued", "leased", "sending", "sent", "unknown", "failed", "dead")


@click.group()
def notice() -> None:
    """Manage queued notices and the replies to them."""


for _command in (
    notice_broadcast,
    notice_bounce,
    notice_disallow,
    notice_inbox,
    notice_release,
    notice_snooze,
    notice_snoozes,
    notice_unsnooze,
):
    notice.add_command(_command)


def _client_id(conn: Any, key: str | None) -> int | None:
    return clients.find(conn, key).id if key else None


@notice.command("list")
@client_filter
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only notices in this state; may be repeated.",
)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=200, show_default=True, metavar="N"
)
@format_option
@pass_app
def notice_list(
    app: CommandContext, client: str | None, states: tuple[str, ...], limit: int, output_format: str
) -> None:
    """List notices, newest first."""

    with app.open().read() as conn:
        rows = notices.listing(conn, states=states, client_id=_client_id(conn, client), limit=limit)
        numbers = {i: c.number for i, c in recipients.clients(conn).items()}
        confirmed = allowances.active(conn, to_epoch(app.now()))
    shown = [
        r.as_dict()
        | {
            "client": numbers.get(r.client_id or 0),
            "created": epoch_text(r.created_at),
            "sent": epoch_text(r.sent_at),
        }
        for r in rows
    ]
    if output_format == "table":
        # Stored data and JSON keep the old word for a task. What staff get has no ticket.
        for row in shown:
            row["reference"] = row["reference"] if row["client"] else ""
            row["kind"] = "task" if row["kind"] is NoticeKind.TASK else row["kind"]
    show("notices", COLUMNS, shown, output_format, "There are no notices.")
    # They come last, so that they are in view after a long listing.
    show_active(confirmed)


def _find_notice(conn: Any, notice_id: int) -> CompleteNotice:
    # The texts are loaded for this notice only: a listing of thousands would need much memory.
    rows = notices.with_texts(conn, [notice_id])
    if not rows:
        raise NotFound(f"There is no notice {notice_id}", "", "See certmgr notice list.")
    return rows[0]


@notice.command("show")
@click.argument("notice_id", type=click.IntRange(1, 2**62), metavar="ID")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@pass_app
def notice_show(app: CommandContext, notice_id: int, output_format: str) -> None:
    """Show one notice: text, tickets, delivery status, and replies."""

    with app.open().read() as conn:
        row = _find_notice(conn, notice_id)
        items = notices.items_of(conn, notice_id)
        notice_tickets = tickets.of_notice(conn, notice_id)
        answers = inbox.of_notice(conn, notice_id)
    # Programs read these keys, so they stay even if a person would use other words.
    keys = (
        "id",
        "reference",
        "kind",
        "outcome",
        "channel",
        "state",
        "attempts",
        "smtp_code",
        "error",
        "subject",
    )
    times = {
        k.removesuffix("_at"): epoch_text(getattr(row, k))
        for k in ("created_at", "next_at", "expires_at", "sent_at", "acked_at", "resolved_at")
    }
    if output_format != "table":
        item_keys = ("subject", "step", "threshold", "round")
        echo_json(
            {
                "schema": "certmgr.notice/1",
                **{k: getattr(row, k) for k in keys},
                **times,
                "text": row.text,
                "items": [{k: getattr(i, k) for k in item_keys} for i in items],
                "tickets": [
                    {k: getattr(m, k) for k in ("reference", "key")} for m in notice_tickets
                ],
                "answers": [
                    {"kind": a.kind, "at": epoch_text(a.at), "text": a.text} for a in answers
                ],
            }
        )
        return
    pairs(
        [(k.replace("_", " "), getattr(row, k)) for k in keys]
        + list(times.items())
        + [("contact", row.contact), ("sent to", row.sent_to)]
    )
    references = {t.key: t.shown for t in notice_tickets}
    for item in items:
        about = topic_text(item.subject, references)
        paragraph(f"{about}, threshold {item.threshold}, to: {item.step}", "       ", "about  ")
    for answer in answers:
        click.echo(f"{cell(answer.kind)} of {local_time(answer.at)}: {cell(answer.text, 400)}")
    click.echo()
    # Line by line: the text quotes names and errors from outside, and one control character would
    # change the screen.
    click.echo("\n".join(cell(line, 2000) for line in row.text.strip().splitlines()))


@notice.command("preview")
@click.option(
    "--output",
    required=True,
    metavar="FOLDER",
    help="Folder for the .eml files; created if it is missing.",
)
@pass_app
def notice_preview(app: CommandContext, output: str) -> None:
    """Write the messages that notify would send now as .eml files, without sending them."""

    folder = Path(output)
    # A link in a shared folder could make the messages appear in a place that others can read.
    require_no_link(folder)
    try:
        # Messages contain personal data, so only the owner may read the folder.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"The folder {folder} cannot be created",
            error.strerror or str(error),
            "Name another folder.",
        ) from None
    settings = app.settings
    # A preview also works before a mail channel is configured.
    mail = channels_of(settings.notify).get("mail")
    sender = mail.sender if mail is not None else "certmgr@example.invalid"
    outcome = run_of(app.context()).decide(dry_run=True)

    def write(name: str, message: Message, to: str) -> None:
        write_whole(
            folder / name,
            preview(
                OutgoingMessage(to, message.subject, message.text, message.html, "preview"), sender
            ),
        )

    # The number in the file name keeps the order, and two messages to one contact stay apart.
    count = 0
    for draft, message in outcome.drafts:
        count += 1
        # Other channels have no e-mail address, and an .eml file needs one.
        kind, to = draft.person.contact_method or ("email", "")
        write(
            f"{count:04d}-contact-{draft.person.id}.eml",
            message,
            to if kind == "email" else "channel@example.invalid",
        )
    for contact_id, message in outcome.staff:
        count += 1
        write(f"{count:04d}-staff-{contact_id}.eml", message, "staff@example.invalid")
    click.echo(f"{count} message(s) written to {folder}. Nothing was queued or sent.")


@notice.command("retry")
@click.argument("notice_id", type=click.IntRange(1, 2**62), metavar="ID")
@pass_app
def notice_retry(app: CommandContext, notice_id: int) -> None:
    """Queue a notice again that failed or whose delivery is unknown.

    If the first attempt was delivered, the contact receives the notice twice.
    """

    with app.open().write(app.now()) as tx:
        row = _find_notice(tx.conn, notice_id)
        # A notice that is queued or being sent must not be queued twice.
        if not outbox.retry(tx, notice_id):
            raise UsageError(
                f"The notice {notice_id} is {row.state}",
                "only a notice that failed, or whose delivery is unknown, can be sent again",
                "",
            )
    click.echo(f"The notice {notice_id} is queued again.")


@notice.command("ack")
@click.argument("reference")
@click.option("--by", required=True, metavar="NAME", help="Who acknowledged.")
@pass_app
def notice_ack(app: CommandContext, reference: str, by: str) -> None:
    """Record that a client acknowledged a ticket.

    A certificate with several names, or one fault of several sites, is acknowledged as a whole. If
    the problem is not fixed after [notify] ack_days, reminders and escalation start again.
    """

    with app.open().write(app.now()) as tx:
        row = tickets.find(tx.conn, reference)
        # The client answered one message, which was about all tickets of the reference.
        same = tickets.of_same_reference(tx.conn, row)
        tickets.acknowledge(tx, [t.id for t in same], editing.required(by, "name"))
    more = f", with all {len(same)} names that it is about" if len(same) > 1 else ""
    click.echo(f"{row.shown} is acknowledged{more}.")


@notice.command("close")
@click.argument("reference")
@pass_app
def notice_close(app: CommandContext, reference: str) -> None:
    """Close a ticket that the support desk passed to level 2 (diagnose --escalate)."""

    with app.open().write(app.now()) as tx:
        row = tickets.find(tx.conn, reference)
        # Other tickets follow what the scans find: a person must not end the reminders about a
        # fault that still exists.
        if row.kind is not TicketKind.DESK:
            raise UsageError(
                f"{row.shown} is not a ticket of the support desk",
                "other tickets close automatically when a recheck confirms that it is done",
                f"To record an answer of the client: certmgr notice ack {row.shown} --by NAME.",
            )
        tickets.close(tx, [row.id])
    click.echo(f"{row.reference} is closed.")


@notice.command("calls")
@format_option
@pass_app
def notice_calls(app: CommandContext, output_format: str) -> None:
    """List the clients to telephone, the most urgent first.

    They did not answer, or they have no working address. The names of one certificate are one row.
    """

    # The list follows the same rules as the notices, so that a call never contradicts one.
    rules = rules_of(app.settings)
    # Contacts and tickets are read in one transaction, so that no person is called about a ticket
    # that was just closed.
    with app.open().read() as conn:
        snapshot = Snapshot(app.now(), rules.policy, rules.recipients(conn))
        phone_calls = calls(tickets.listing(conn), notices.sent_about(conn), snapshot, rules.policy)
    columns = (
        "manager",
        "client",
        "name",
        "phones",
        "reference",
        "site",
        "ends",
        "urgency",
        "why",
        "since",
    )
    shown = [
        {
            "manager": c.manager,
            "client": c.client,
            "name": c.client_name,
            # One cell per client, so the numbers are joined with a sign that no number contains.
            "phones": "; ".join(c.phones),
            "reference": c.reference,
            "site": c.site,
            "ends": instant(c.ends),
            "urgency": c.urgency,
            "why": c.why,
            "since": epoch_text(c.since),
        }
        for c in phone_calls
    ]
    show("calls", columns, shown, output_format, "There are no clients to call.")
