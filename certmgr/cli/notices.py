"""``certmgr notice``: the queue, acknowledgements, snoozes, releases, calls, answers, bulletins."""

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
from inventory.store import clients, domains, inbox, outbox, recipients, records, servers
from inventory.store import tickets as matters
from notifiers.channels import OutgoingMessage, preview
from notifiers.inbox import MAX_MAIL, read, take
from notifiers.pipeline.compose import Message
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
    """The queue of notices, and what came back."""


def _client_id(conn: Any, key: str | None) -> int | None:
    return clients.find(conn, key)["id"] if key else None


@notice.command("list")
@client_filter
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only these; may be repeated.",
)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=200, show_default=True, metavar="N"
)
@format_option
@pass_app
def notice_list(
    app: CommandContext, client: str | None, states: tuple[str, ...], limit: int, form: str
) -> None:
    """Show notices, newest first."""

    with app.open().read() as conn:
        rows = outbox.listing(conn, states=states, client_id=_client_id(conn, client), limit=limit)
        numbers = {i: c["number"] for i, c in recipients.clients(conn).items()}
    shown = [
        dict(r)
        | {
            "client": numbers.get(r["client_id"] or 0),
            "created": epoch_text(r["created_at"]),
            "sent": epoch_text(r["sent_at"]),
        }
        for r in rows
    ]
    show("notices", COLUMNS, shown, form, "There are no notices.")


def _one(conn: Any, notice_id: int) -> Any:
    rows = outbox.listing(conn, ids=[notice_id])
    if not rows:
        raise NotFound(f"There is no notice {notice_id}", "", "See certmgr notice list.")
    return rows[0]


@notice.command("show")
@click.argument("notice_id", type=click.IntRange(1, 2**62), metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
@pass_app
def notice_show(app: CommandContext, notice_id: int, form: str) -> None:
    """Show one notice: what it said, about what, what became of it, and what came back."""

    with app.open().read() as conn:
        row = _one(conn, notice_id)
        items = outbox.items_of(conn, notice_id)
        about = matters.of_notice(conn, notice_id)
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
        k.removesuffix("_at"): epoch_text(row[k])
        for k in ("created_at", "next_at", "expires_at", "sent_at", "acked_at", "resolved_at")
    }
    if form != "table":
        item_keys = ("subject", "step", "threshold", "round")
        echo_json(
            {
                "schema": "certmgr.notice/1",
                **{k: row[k] for k in keys},
                **times,
                "text": row["text"],
                "items": [{k: i[k] for k in item_keys} for i in items],
                "matters": [{k: m[k] for k in ("reference", "key")} for m in about],
                "answers": [
                    {"kind": a["kind"], "at": epoch_text(a["at"]), "text": a["text"]}
                    for a in answers
                ],
            }
        )
        return
    pairs(
        [(k.replace("_", " "), row[k]) for k in keys]
        + list(times.items())
        + [("contact", row["contact"]), ("sent to", row["sent_to"])]
    )
    for item in items:
        click.echo(
            f"says  {cell(item['subject'])} at {cell(item['threshold'])} ({cell(item['step'])})"
        )
    for answer in answers:
        click.echo(
            f"{cell(answer['kind'])} of {epoch_text(answer['at'])}: {cell(answer['text'], 400)}"
        )
    click.echo()
    click.echo("\n".join(cell(line, 2000) for line in row["text"].strip().splitlines()))


@notice.command("preview")
@click.option(
    "--output",
    required=True,
    metavar="FOLDER",
    help="Where the .eml files go; it is made where it is missing.",
)
@pass_app
def notice_preview(app: CommandContext, output: str) -> None:
    """Write what notify would send now as .eml files. Nothing is queued or sent."""

    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CertmgrError(
            f"The folder {folder} cannot be made", error.strerror or str(error), "Name another one."
        ) from None
    settings = app.settings
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
        kind, to = draft.person.way or ("email", "")
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
    """Queue a notice again that failed, or of which nobody knows whether it arrived.

    It may then arrive twice: that is your decision.
    """

    with app.open().write(app.now()) as tx:
        row = _one(tx.conn, notice_id)
        if not outbox.retry(tx, notice_id):
            raise UsageError(
                f"The notice {notice_id} is {row['state']}",
                "only one that failed or is unknown can be sent again",
                "",
            )
    click.echo(f"The notice {notice_id} is queued again.")


@notice.command("ack")
@click.argument("reference")
@click.option("--by", required=True, metavar="NAME", help="Who said that they know.")
@pass_app
def notice_ack(app: CommandContext, reference: str, by: str) -> None:
    """Enter an acknowledgement: the client knows.

    What is not mended by then climbs again after some days ([notify] ack_days).
    """

    with app.open().write(app.now()) as tx:
        row = matters.find(tx.conn, reference)
        matters.acknowledge(tx, [row["id"]], records.required(by, "name"))
    click.echo(f"{row['reference']} is acknowledged.")


@notice.command("snooze")
@click.argument("reference", required=False)
@click.option("--domain", metavar="NAME", help="Everything about this domain.")
@click.option("--server", metavar="NAME", help="Everything on this server: a maintenance window.")
@click.option("--client", metavar="NUMBER", help="Everything of this client.")
@click.option("--everything", is_flag=True, help="All clients.")
@click.option("--from", "start", metavar="DATE", help="From then on; else from now on.")
@click.option(
    "--until",
    required=True,
    metavar="DATE",
    help="Until then clients hear nothing of it; staff still see it.",
)
@click.option("--reason", required=True, metavar="TEXT")
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
    """Be silent towards clients about one matter, or about a domain, server or client, until a
    date.
    """

    given = [v for v in (reference, domain, server, client, everything) if v]
    if len(given) != 1:
        raise UsageError(
            "A snooze is about one thing",
            "",
            "Give a REFERENCE, --domain, --server, --client or --everything.",
        )
    moment = app.now()
    begins, ends = app.moment(start) or moment, app.moment(until)
    assert ends is not None
    if ends <= moment or ends <= begins:
        raise UsageError(
            f"A snooze until {ends:%Y-%m-%d %H:%M} UTC would never hold",
            "it ends in the future, and after it begins",
        )
    with app.open().write(moment) as tx:
        if reference:
            scope, row_id = "matter", matters.find(tx.conn, reference)["id"]
        elif domain:
            scope, row_id = "domain", domains.find(tx.conn, domain)["id"]
        elif server:
            scope, row_id = "server", servers.find(tx.conn, server)["id"]
        elif client:
            scope, row_id = "client", clients.find(tx.conn, client)["id"]
        else:
            scope, row_id = "all", 0
        number = matters.add_snooze(
            tx,
            scope,
            row_id,
            to_epoch(begins),
            to_epoch(ends),
            records.required(reason, "reason", 300),
            tx.actor,
        )
    click.echo(
        f"Snooze {number}: silent until {ends:%Y-%m-%d %H:%M} UTC. To end it before: certmgr notice"
        f" wake {number}"
    )


@notice.command("wake")
@click.argument("number", type=click.IntRange(1, 2**62))
@pass_app
def notice_wake(app: CommandContext, number: int) -> None:
    """End a snooze before its date."""

    with app.open().write(app.now()) as tx:
        if not matters.end_snooze(tx, number):
            raise NotFound(f"There is no snooze {number}", "", "See certmgr notice snoozes.")
    click.echo(f"Snooze {number} has ended.")


@notice.command("snoozes")
@format_option
@pass_app
def notice_snoozes(app: CommandContext, form: str) -> None:
    """Show snoozes that are in force or to come."""

    with app.open().read() as conn:
        rows = [r for r in matters.snoozes(conn) if r["until"] > to_epoch(app.now())]
        names = matters.snoozed(conn)
    shown = [
        dict(r)
        | {
            "about": names.get((r["scope"], r["scope_id"]), ""),
            "from": epoch_text(r["starts_at"]),
            "until": epoch_text(r["until"]),
        }
        for r in rows
    ]
    show(
        "snoozes",
        ("id", "scope", "about", "from", "until", "by", "reason"),
        shown,
        form,
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
    help="To so many clients a day.",
)
@format_option
@pass_app
def notice_release(app: CommandContext, cause: str | None, per_day: int, form: str) -> None:
    """Show what is held (after a first scan, or a run that changed too much), or let one CAUSE go,
    to some clients a day.

    '* CODE' is every cause with that finding.
    """

    database = app.open()
    with database.read() as conn:
        held = matters.listing(conn, held=True)
        running = {r["cause"]: r["per_day"] for r in matters.releases(conn)}
    groups: dict[str, dict[str, Any]] = {}
    for row in held:
        group = groups.setdefault(row["cause"], _group(row["cause"], row, running))
        _count(group, row)
    several = {
        row["code"]
        for row in held
        if row["code"] and sum(g.endswith(f" {row['code']}") for g in groups) > 1
    }
    for row in held:
        if row["code"] in several:  # many causes with one finding can be let go together
            every = f"* {row['code']}"
            _count(groups.setdefault(every, _group(every, row, running)), row)
    if cause is None:
        shown = sorted(
            ({**g, "clients": len(g["clients"])} for g in groups.values()),
            key=lambda g: -g["matters"],
        )
        show(
            "held",
            ("matters", "clients", "why", "per_day", "cause"),
            shown,
            form,
            "Nothing is held.",
        )
        return
    codes = {row["code"] for row in held if row["code"]}
    if cause.startswith("* ") and cause[2:] in codes and cause not in groups:
        cause = next(
            c for c in groups if c.endswith(f" {cause[2:]}")
        )  # there is one cause with that finding
    found = [c for c in groups if c == cause] or [
        c for c in groups if len(cause) >= 8 and c.startswith(cause)
    ]
    if len(found) != 1:
        reason = (
            f"{len(found)} causes begin like that" if found else "nothing of that cause is held"
        )
        raise NotFound(
            f"'{cell(cause, 80)}' cannot be released", reason, "See certmgr notice release."
        )
    with database.write(app.now()) as tx:
        matters.release(tx, found[0], per_day, records.required(tx.actor, "name"))
    count = len(groups[found[0]]["clients"])
    click.echo(
        f"{cell(found[0])}: {groups[found[0]]['matters']} matter(s) of {count} client(s) go out,"
        f" {min(per_day, count)} client(s) a day."
    )


def _group(cause: str, row: Any, running: dict[str, int]) -> dict[str, Any]:
    return {
        "cause": cause,
        "why": row["hold"].split()[0],
        "matters": 0,
        "clients": set(),
        "per_day": running.get(cause),
    }


def _count(group: dict[str, Any], row: Any) -> None:
    group["matters"] += 1
    group["clients"].add(row["client_id"])


@notice.command("calls")
@format_option
@pass_app
def notice_calls(app: CommandContext, form: str) -> None:
    """Who has to be telephoned: clients who did not answer, or cannot be written to; by account
    manager.
    """

    rules = rules_of(app.settings)
    with app.open().read() as conn:
        world = Snapshot(app.now(), rules.policy, rules.recipients(conn))
        found = calls(matters.listing(conn), outbox.said(conn), world, rules.policy)
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
        for c in found
    ]
    show("calls", columns, shown, form, "Nobody has to be called.")


@notice.command("inbox")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what each mail is; nothing is recorded and no mail is marked as read.",
)
@pass_app
def notice_inbox(app: CommandContext, dry_run: bool) -> int:
    """Read the mailbox that answers come to ([notify] inbox): replies acknowledge, bounces start
    the fallback, automatic replies do neither.
    """

    url = app.settings.notify.inbox
    if not url:
        raise ConfigError(
            "There is no mailbox to read",
            "[notify] inbox is empty",
            'Write inbox = "env:CERTMGR_INBOX" with an imaps:// URL.',
        )
    counts = read(app.open(), secret(url), app.now(), dry_run=dry_run)
    if counts or sys.stdout.isatty():
        click.echo(", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "No new mail.")
    return 0


@notice.command("bounce")
@pass_app
def notice_bounce(app: CommandContext) -> int:
    """Take one delivery report (RFC 3464) from standard input, as a mail server's pipe gives it.

    Exit 0 also where it is none of ours.
    """

    raw = sys.stdin.buffer.read(MAX_MAIL + 1)
    kind = take(app.open(), raw[:MAX_MAIL], app.now())
    click.echo(_TAKEN.get(kind, f"Not a bounce of ours: {kind}."))
    return 0


_TAKEN = {
    "bounce": "The address is marked as bad; the fallback hears of it.",
    "known": "It was taken before.",
    "reply": "It is a reply; it acknowledges.",
    "automatic": "It is an automatic reply; nothing changes.",
    "delay": "It is late, and not lost; nothing changes.",
}


@notice.command("broadcast")
@click.option(
    "--template",
    default="bulletin",
    show_default=True,
    metavar="NAME",
    help="bulletin, or a template of your own directory.",
)
@click.option(
    "--deadline",
    required=True,
    metavar="NAME",
    help="The dated rule that it is about: certmgr deadline list.",
)
@click.option(
    "--tag", metavar="TAG", help="Only clients that have this tag, or whose domains have it."
)
@click.option("--text", metavar="TEXT", help="Words of yours, in the place of the deadline's own.")
@click.option(
    "--per-day",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    metavar="N",
    help="To so many clients a day.",
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
    """Queue a bulletin about a coming deadline for every client, each with its own sites and how
    they stand.

    It goes out with the next runs of notify, to so many clients a day. The same bulletin about the
    same deadline reaches nobody twice.
    """

    made = broadcast(
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
    for person, message in made.messages if dry_run else ():
        click.echo(
            f"To: {cell(person.name)} <{cell((person.way or ('', ''))[1])}>\nSubject:"
            f" {cell(message.subject)}\n"
        )
        click.echo("\n".join(cell(line, 2000) for line in message.text.strip().splitlines()))
        click.echo("-" * 78)
    verb = "would get" if dry_run else "get"
    click.echo(
        f"{len(made.messages)} client(s) {verb} it, {min(per_day, len(made.messages))} a day;"
        f" {made.before} had it before, {made.nobody} cannot be written to."
    )
