"""``certmgr notice inbox`` and ``bounce``: replies and delivery reports."""

from __future__ import annotations

import sys

import click

from certmgr.cases.inbound import CaseMail
from certmgr.cases.service import CaseService
from certmgr.cli.progress import progress_line
from certmgr.cli.shared import CommandContext, pass_app
from certmgr.config.secret_values import secret
from inventory.errors import CertmgrError, ConfigError
from notifiers.inbox.classify import MAX_MAIL
from notifiers.inbox.mailbox import BUDGET_SECONDS, read
from notifiers.inbox.process import MailParserProcess
from notifiers.inbox.record import record_mail


@click.command("inbox")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only classify each mail; nothing is recorded and no mail is marked as read.",
)
@pass_app
def notice_inbox(app: CommandContext, dry_run: bool) -> int:
    """Read the mailbox for replies and bounces ([notify] inbox).

    A reply acknowledges its ticket, a bounce notifies the fallback contact, and an automatic reply
    does neither. A declined invitation cancels its installation window. Mail that may be automatic
    acknowledges nothing, and staff see its text in the digest.
    """

    url = app.settings.notify.inbox
    if not url:
        raise ConfigError(
            "There is no mailbox to read",
            "[notify] inbox is empty",
            'Set inbox = "env:CERTMGR_INBOX" with an imaps:// URL.',
        )
    context = app.context().frozen()
    database, now = context.database, context.now()
    case_mail = CaseMail(CaseService(context))
    try:
        # The server may send one byte at a time, which never meets the time limit of an answer.
        with app.stop.budget(2 * BUDGET_SECONDS), progress_line() as line:
            line.text("notice inbox: reading the mailbox")
            counts = read(database, secret(url), now, dry_run=dry_run, on_mail=case_mail.record)
    except KeyboardInterrupt:
        if not app.stop.late or app.stop.terminated:
            # Only the time limit is an error of the server. Ctrl-C and SIGTERM keep their exit
            # codes.
            raise
        raise CertmgrError(
            "The mailbox was not read to its end",
            f"the server needs more than {2 * BUDGET_SECONDS:.0f} seconds",
            "Check [notify] inbox. What was read is recorded; the next run goes on.",
        ) from None
    # Cron mails every line of output, so an empty mailbox is reported on a terminal only.
    if counts or sys.stdout.isatty():
        click.echo(", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "No new mail.")
    return 0


@click.command("bounce")
@pass_app
def notice_bounce(app: CommandContext) -> int:
    """Read one delivery report (RFC 3464) from standard input, for a pipe of a mail server.

    Exits 0 even if the report does not belong to a notice of certmgr.
    """

    # The report of a stranger may have any size, so at most MAX_MAIL bytes are parsed.
    raw = sys.stdin.buffer.read(MAX_MAIL + 1)
    context = app.context().frozen()
    database, now = context.database, context.now()
    case_mail = CaseMail(CaseService(context))
    # The parser is a separate process, because the bytes are hostile.
    with MailParserProcess() as parser:
        mail = parser.parse(raw[:MAX_MAIL])
    kind = record_mail(database, mail, now, on_mail=case_mail.record)
    click.echo(_RESULTS.get(kind, f"It is not a bounce of our notices: {kind}."))
    # For another exit code of the pipe, a mail server would return or repeat the mail.
    return 0


_RESULTS = {
    "bounce": "The address is marked as bad. The fallback contact is notified.",
    "known": "It was recorded before. Nothing changes.",
    "reply": "It is a reply. The ticket is acknowledged.",
    "automatic": "It is an automatic reply. Nothing changes.",
    "delay": "The delivery is delayed, but has not failed. Nothing changes.",
    "receipt": "It is a receipt. Nothing changes.",
    "accepted": "The client accepts the installation window. The ticket is acknowledged.",
    "declined": "The client declines the installation window, which is cancelled.",
    "uncertain": "It may be an automatic mail. Staff see its text in the digest.",
}
