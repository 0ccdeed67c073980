"""``certmgr notice broadcast``: an announcement to many clients."""

from __future__ import annotations

import click

from certmgr.cli.output import cell
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.notices.broadcast import broadcast


@click.command("broadcast")
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

    \b
    certmgr notice broadcast --deadline https-2027 --dry-run
    """

    with ProgressLine().waiting("notice broadcast: the status of each client"):
        announced = broadcast(
            app.context(),
            template=template,
            name=deadline,
            tag=tag,
            text=text,
            per_day=per_day,
            dry_run=dry_run,
        )
    # Without --dry-run, the messages are queued and can be read with notice show.
    for person, message in announced.messages if dry_run else ():
        # The address and the subject come from stored data, so they are made printable.
        click.echo(
            f"To: {cell(person.name)} <{cell((person.contact_method or ('', ''))[1])}>\nSubject:"
            f" {cell(message.subject)}\n"
        )
        click.echo("\n".join(cell(line, 2000) for line in message.text.strip().splitlines()))
        # The line separates the messages, whose texts have blank lines.
        click.echo("-" * 78)
    verb = "would receive" if dry_run else "will receive"
    # The last day may have fewer clients than the limit, and a short list needs no limit.
    click.echo(
        f"{len(announced.messages)} client(s) {verb} it,"
        f" {min(per_day, len(announced.messages))} per day; {announced.before} received it before,"
        f" {announced.unreachable} have no contact to notify."
    )
