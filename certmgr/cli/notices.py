"""``certmgr notice``: the queue of notices, snoozes, releases, phone calls and replies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from certmgr.cli.output import cell, echo_json, epoch_text, pairs, show
from certmgr.cli.shared import CommandContext, client_filter, format_option, pass_app
from certmgr.config.settings import secret
from certmgr.files import write_whole
from certmgr.notices.broadcast import broadcast
from certmgr.notices.run import run_of
from certmgr.notices.setup import channels_of, rules_of
from inventory.db.database import to_epoch
from inventory.errors import CertmgrError, ConfigError, NotFound, UsageError
from inventory.records import CompleteNotice, ListedTicket
from inventory.store import clients, domains, editing, inbox, outbox, recipients, servers, tickets
from notifiers.channels import OutgoingMessage, preview
from notifiers.inbox import MAX_MAIL, read, record_mail
from notifiers.pipeline.message import Message
from notifiers.pipeline.plan import Snapshot
from notifiers.pipeline.staff import calls

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
        rows = outbox.listing(conn, states=states, client_id=_client_id(conn, client), limit=limit)
        numbers = {i: c.number for i, c in recipients.clients(conn).items()}
    shown = [
        r.as_dict()
        | {
            "client": numbers.get(r.client_id or 0),
            "created": epoch_text(r.created_at),
            "sent": epoch_text(r.sent_at),
        }
        for r in rows
    ]
    show("notices", COLUMNS, shown, output_format, "There are no notices.")


def _find_notice(conn: Any, notice_id: int) -> CompleteNotice:
    rows = outbox.with_texts(conn, [notice_id])
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
        items = outbox.items_of(conn, notice_id)
        notice_tickets = tickets.of_notice(conn, notice_id)
        answers = inbox.of_notice(conn, notice_id)
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
                "matters": [
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
    for item in items:
        click.echo(f"about  {cell(item.subject)} at {cell(item.threshold)} ({cell(item.step)})")
    for answer in answers:
        click.echo(f"{cell(answer.kind)} of {epoch_text(answer.at)}: {cell(answer.text, 400)}")
    click.echo()
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
    try:
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
    outcome = run_of(app.open(), settings, app.now()).decide(dry_run=True)

    def write(name: str, message: Message, to: str) -> None:
        write_whole(
            folder / name,
            preview(
                OutgoingMessage(to, message.subject, message.text, message.html, "preview"), sender
            ),
        )

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

    If the problem is not fixed after [notify] ack_days, reminders and escalation start again.
    """

    with app.open().write(app.now()) as tx:
        row = tickets.find(tx.conn, reference)
        tickets.acknowledge(tx, [row.id], editing.required(by, "name"))
    click.echo(f"{row.reference} is acknowledged.")


@notice.command("snooze")
@click.argument("reference", required=False)
@click.option("--domain", metavar="NAME", help="All tickets about this domain.")
@click.option(
    "--server", metavar="NAME", help="All tickets about this server: a maintenance window."
)
@click.option("--client", metavar="NUMBER", help="All tickets of this client.")
@click.option("--everything", is_flag=True, help="All clients.")
@click.option("--from", "start", metavar="DATE", help="Start of the snooze. Default: now.")
@click.option(
    "--until",
    required=True,
    metavar="DATE",
    help="End of the snooze. Until then clients are not notified; staff still are.",
)
@click.option("--reason", required=True, metavar="TEXT", help="Reason of the snooze.")
@pass_app
def notice_snooze(
    app: CommandContext,
    reference: str | None,
    domain: str | None,
    server: str | None,
    client: str | None,
    everything: bool,
    start: str | None,
    until: str,
    reason: str,
) -> None:
    """Stop notices to clients about a ticket, domain, server or client until a date."""

    given = [v for v in (reference, domain, server, client, everything) if v]
    if len(given) != 1:
        raise UsageError(
            "A snooze has exactly one scope",
            "",
            "Give a REFERENCE, --domain, --server, --client or --everything.",
        )
    moment = app.now()
    begins, ends = app.moment(start) or moment, app.moment(until)
    assert ends is not None
    # Such a snooze has no effect, so it is a typing error in a date.
    if ends <= moment or ends <= begins:
        raise UsageError(
            f"A snooze until {ends:%Y-%m-%d %H:%M} UTC would never apply",
            "it must end in the future and after its start",
        )
    with app.open().write(moment) as tx:
        # Scope names are stored in the inventory; a ticket has the scope "matter" there.
        if reference:
            scope, row_id = "matter", tickets.find(tx.conn, reference).id
        elif domain:
            scope, row_id = "domain", domains.find(tx.conn, domain).id
        elif server:
            scope, row_id = "server", servers.find(tx.conn, server).id
        elif client:
            scope, row_id = "client", clients.find(tx.conn, client).id
        else:
            scope, row_id = "all", 0
        number = tickets.add_snooze(
            tx,
            scope,
            row_id,
            to_epoch(begins),
            to_epoch(ends),
            editing.required(reason, "reason", 300),
            tx.actor,
        )
    click.echo(
        f"Snooze {number}: no notices to clients until {ends:%Y-%m-%d %H:%M} UTC. To end it"
        f" earlier: certmgr notice unsnooze {number}"
    )


@notice.command("unsnooze")
@click.argument("number", type=click.IntRange(1, 2**62))
@pass_app
def notice_unsnooze(app: CommandContext, number: int) -> None:
    """End a snooze before its date."""

    with app.open().write(app.now()) as tx:
        if not tickets.end_snooze(tx, number):
            raise NotFound(f"There is no snooze {number}", "", "See certmgr notice snoozes.")
    click.echo(f"Snooze {number} has ended.")


@notice.command("snoozes")
@format_option
@pass_app
def notice_snoozes(app: CommandContext, output_format: str) -> None:
    """List current and future snoozes."""

    with app.open().read() as conn:
        rows = [r for r in tickets.snoozes(conn) if r.until > to_epoch(app.now())]
        names = tickets.snoozed(conn)
    shown = [
        r.as_dict()
        | {
            "about": names.get((r.scope, r.scope_id), ""),
            "from": epoch_text(r.starts_at),
            "until": epoch_text(r.until),
        }
        for r in rows
    ]
    show(
        "snoozes",
        ("id", "scope", "about", "from", "until", "by", "reason"),
        shown,
        output_format,
        "Nothing is snoozed.",
    )


@notice.command("release")
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
        running = {r.cause: r.per_day for r in tickets.releases(conn)}
    groups: dict[str, dict[str, Any]] = {}
    for row in held:
        group = groups.setdefault(row.cause, _group(row.cause, row, running))
        _count(group, row)
    # Codes with more than one held cause get the additional group "* CODE".
    several = {
        row.code for row in held if row.code and sum(g.endswith(f" {row.code}") for g in groups) > 1
    }
    for row in held:
        # Many causes with one finding code can be released together.
        if row.code in several:
            all_causes = f"* {row.code}"
            _count(groups.setdefault(all_causes, _group(all_causes, row, running)), row)
    if cause is None:
        shown = sorted(
            ({**g, "clients": len(g["clients"])} for g in groups.values()),
            key=lambda g: -g["matters"],
        )
        show(
            "held",
            ("matters", "clients", "why", "per_day", "cause"),
            shown,
            output_format,
            "Nothing is held.",
        )
        return
    codes = {row.code for row in held if row.code}
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
    with database.write(app.now()) as tx:
        tickets.release(tx, matching[0], per_day, editing.required(tx.actor, "name"))
    count = len(groups[matching[0]]["clients"])
    click.echo(
        f"{cell(matching[0])}: {groups[matching[0]]['matters']} ticket(s) of {count} client(s) are"
        f" released, {min(per_day, count)} client(s) per day."
    )


def _group(cause: str, row: ListedTicket, running: dict[str, int]) -> dict[str, Any]:
    return {
        "cause": cause,
        "why": (row.hold or "").partition(" ")[0],
        "matters": 0,
        "clients": set(),
        "per_day": running.get(cause),
    }


def _count(group: dict[str, Any], row: ListedTicket) -> None:
    group["matters"] += 1
    group["clients"].add(row.client_id)


@notice.command("calls")
@format_option
@pass_app
def notice_calls(app: CommandContext, output_format: str) -> None:
    """List the clients to telephone, by account manager.

    They did not answer, or they have no working address.
    """

    rules = rules_of(app.settings)
    with app.open().read() as conn:
        snapshot = Snapshot(app.now(), rules.policy, rules.recipients(conn))
        phone_calls = calls(tickets.listing(conn), outbox.said(conn), snapshot, rules.policy)
    columns = ("manager", "client", "name", "phones", "reference", "site", "why", "since")
    shown = [
        {
            "manager": c.manager,
            "client": c.client,
            "name": c.client_name,
            "phones": "; ".join(c.phones),
            "reference": c.reference,
            "site": c.site,
            "why": c.why,
            "since": epoch_text(c.since),
        }
        for c in phone_calls
    ]
    show("calls", columns, shown, output_format, "There are no clients to call.")


@notice.command("inbox")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only classify each mail; nothing is recorded and no mail is marked as read.",
)
@pass_app
def notice_inbox(app: CommandContext, dry_run: bool) -> int:
    """Read the mailbox for replies and bounces ([notify] inbox).

    A reply acknowledges its ticket, a bounce notifies the fallback contact, and an automatic reply
    does neither.
    """

    url = app.settings.notify.inbox
    if not url:
        raise ConfigError(
            "There is no mailbox to read",
            "[notify] inbox is empty",
            'Set inbox = "env:CERTMGR_INBOX" with an imaps:// URL.',
        )
    counts = read(app.open(), secret(url), app.now(), dry_run=dry_run)
    # Cron mails every line of output, so an empty mailbox is reported on a terminal only.
    if counts or sys.stdout.isatty():
        click.echo(", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "No new mail.")
    return 0


@notice.command("bounce")
@pass_app
def notice_bounce(app: CommandContext) -> int:
    """Read one delivery report (RFC 3464) from standard input, for a pipe of a mail server.

    Exits 0 even if the report does not belong to a notice of certmgr.
    """

    # The report of a stranger may have any size, so at most MAX_MAIL bytes are parsed.
    raw = sys.stdin.buffer.read(MAX_MAIL + 1)
    kind = record_mail(app.open(), raw[:MAX_MAIL], app.now())
    click.echo(_RESULTS.get(kind, f"It is not a bounce of our notices: {kind}."))
    return 0


_RESULTS = {
    "bounce": "The address is marked as bad. The fallback contact is notified.",
    "known": "It was recorded before. Nothing changes.",
    "reply": "It is a reply. The ticket is acknowledged.",
    "automatic": "It is an automatic reply. Nothing changes.",
    "delay": "The delivery is delayed, but has not failed. Nothing changes.",
}


@notice.command("broadcast")
@click.option(
    "--template",
    default="announcement",
    show_default=True,
    metavar="NAME",
    help="announcement, or a template from [notify] templates.",
)
@click.option(
    "--deadline",
    required=True,
    metavar="NAME",
    help="Deadline to announce, from certmgr deadline list.",
)
@click.option(
    "--tag", metavar="TAG", help="Only clients that have this tag, or whose domains have it."
)
@click.option("--text", metavar="TEXT", help="Your text, instead of the text of the deadline.")
@click.option(
    "--per-day",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    metavar="N",
    help="Notify at most N clients per day.",
)
@click.option("--dry-run", is_flag=True, help="Show the messages; nothing is queued.")
@pass_app
def notice_broadcast(
    app: CommandContext,
    template: str,
    deadline: str,
    tag: str | None,
    text: str | None,
    per_day: int,
    dry_run: bool,
) -> None:
    """Queue an announcement of a deadline for all clients, with the status of their sites.

    The next runs of notify send it, to a limited number of clients per day. A client receives the
    same announcement of the same deadline only once.
    """

    announced = broadcast(
        app.open(),
        app.settings,
        app.now(),
        template=template,
        name=deadline,
        tag=tag,
        text=text,
        per_day=per_day,
        dry_run=dry_run,
    )
    # Without --dry-run, the messages are queued and can be read with notice show.
    for person, message in announced.messages if dry_run else ():
        click.echo(
            f"To: {cell(person.name)} <{cell((person.contact_method or ('', ''))[1])}>\nSubject:"
            f" {cell(message.subject)}\n"
        )
        click.echo("\n".join(cell(line, 2000) for line in message.text.strip().splitlines()))
        click.echo("-" * 78)
    verb = "would receive" if dry_run else "will receive"
    click.echo(
        f"{len(announced.messages)} client(s) {verb} it,"
        f" {min(per_day, len(announced.messages))} per day; {announced.before} received it before,"
        f" {announced.unreachable} have no contact to notify."
    )
