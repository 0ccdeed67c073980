"""``certmgr solver``: the solvers for domain control validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import click

from certmgr.acme.challenges.build import find, new_dns_client
from certmgr.acme.challenges.kinds import challenge_of
from certmgr.acme.challenges.kinds import snippet as server_snippet
from certmgr.acme.challenges.persist import PersistRecord
from certmgr.acme.challenges.persist import letter as persist_letter
from certmgr.acme.challenges.persisted import check
from certmgr.acme.context import IssuanceContext
from certmgr.acme.orders.persist_records import records_of
from certmgr.cli import output
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.db.database import to_epoch
from inventory.errors import UsageError
from inventory.names import certificate_name
from inventory.records import ListedContact
from inventory.store import accounts, contacts, domain_owners
from inventory.vocabulary import Role
from notifiers.wording.catalogue import language
from notifiers.wording.catalogue import require as require_language


@click.group()
def solver() -> None:
    """Show the solvers for domain control validation: [acme.solver.NAME]."""


@solver.command("list")
@format_option
@pass_app
def solvers(app: CommandContext, output_format: str) -> None:
    """List the configured solvers."""

    # Only the place of a solver is shown: its other settings refer to keys and tokens.
    rows = [
        {
            "name": n,
            "kind": s.kind,
            "challenge": challenge_of(s),
            "where": (
                s.path
                or s.server
                or s.provider
                or " ".join(s.command)
                or (f"port {s.port}" if s.port else "")
            ),
        }
        for n, s in sorted(app.settings.acme.solvers.items())
    ]
    output.show(
        "solvers",
        ["name", "kind", "challenge", "where"],
        rows,
        output_format,
        "There are no solvers. Configure one as [acme.solver.web].",
    )


@solver.command("snippet")
@click.argument("name")
@click.option(
    "--server",
    type=click.Choice(["nginx", "apache"]),
    default="nginx",
    show_default=True,
    help="Web server.",
)
@pass_app
def snippet(app: CommandContext, name: str, server: str) -> None:
    """Print the web server configuration that serves the challenge answers of a solver."""

    click.echo(server_snippet(find(app.settings, name), server), nl=False)


def _language_of(people: Sequence[ListedContact]) -> str:
    """Return the language of the contact who reads about DNS: technical, else any other."""
    technical = [p for p in people if p.role == Role.TECHNICAL]
    # An empty text lets the caller take the language of the provider.
    return next((p.language for p in [*technical, *people] if p.language), "")


@solver.command("record")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--account",
    default="",
    metavar="NAME",
    help="ACME account that the record permits. Default: [acme] default_account.",
)
@click.option(
    "--until", metavar="DATE", help="End of the permission (persistUntil). Default: no end."
)
@click.option(
    "--letter", is_flag=True, help="Print a letter to the administrator of the client's DNS."
)
@click.option(
    "--language",
    "language_code",
    metavar="CODE",
    help="Language of the letter. Default: the language of the client's technical contact.",
)
@format_option
@pass_app
def record(
    app: CommandContext,
    names: tuple[str, ...],
    account: str,
    until: str | None,
    letter: bool,
    language_code: str | None,
    output_format: str,
) -> int:
    """Print and check the DNS records of dns-persist-01 for NAMEs of one client.

    The client adds a record once, and renewals need no further change. It is checked at the name
    servers of the zone and at each resolver. Exit code 1: a record is missing or would be refused.

    \b
    certmgr solver record shop.example.com '*.shop.example.com' --letter
    """
    # An unknown language is refused first, before a CA is contacted.
    code = require_language(language_code) if language_code is not None else None
    context = IssuanceContext.of(app.context())
    # Invalid names are refused before the inventory is read.
    wanted = [certificate_name(n) for n in names]
    with context.read() as conn:
        owners = {
            # A wildcard belongs to the client who owns the domain below the asterisk.
            o.client_id if (o := domain_owners.owner_of(conn, n.removeprefix("*."))) else None
            for n in wanted
        }
        row = accounts.find(conn, account or app.settings.acme.default_account)
    # A record permits an account to issue. Names of two clients in one letter would show one client
    # the names of the other.
    if None in owners or len(owners) != 1:
        raise UsageError(
            "The names do not belong to one client of the inventory",
            "a letter goes to one client",
            "Name the domains of one client (certmgr domain list).",
        )
    end = app.ahead(until) if until is not None else None
    # A record that has ended already would permit nothing, so the date is a typing error.
    if end is not None and end <= app.now():
        raise UsageError("--until is in the past", "", "Give a later date.")
    session = context.session(row.id)
    records = records_of(session, wanted, to_epoch(end) if end is not None else None)
    # A letter asks for records that do not exist yet, so it is written without a check.
    if letter:
        with context.read() as conn:
            people = contacts.listing(conn, client_id=next(iter(owners)))
        reader = language(code or _language_of(people) or app.settings.provider.language)
        provider = app.settings.provider.name
        click.echo(persist_letter(records, session.ca.title, provider, reader), nl=False)
        return 0
    return _show_checks(app, records, context.now, output_format)


def _show_checks(
    app: CommandContext,
    records: Sequence[PersistRecord],
    now: Callable[[], datetime],
    output_format: str,
) -> int:
    """Check records in the DNS, print the results, and return the exit code."""
    dns_client = new_dns_client(app.settings)
    rows = []
    # All records are checked although one failed: the client should fix all of them at once.
    failed = False
    for each in records:
        verdict = check(dns_client, each, now)
        failed |= not verdict.accepted
        rows.append(
            {
                "name": each.name,
                "state": str(verdict.state),
                "reason": verdict.reason,
                "record": each.zone_line,
            }
        )
    output.show("records", ["name", "state", "reason", "record"], rows, output_format)
    # Exit code 1 is for a result that needs action; 3 would mean that the check failed.
    return 1 if failed else 0
