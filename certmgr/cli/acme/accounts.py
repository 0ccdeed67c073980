"""``certmgr account``: ACME accounts (RFC 8555, section 7.3)."""

from __future__ import annotations

import click

from certmgr.acme import cas
from certmgr.acme.accounts import accounts as acme_accounts
from certmgr.acme.accounts import accounts as work
from certmgr.acme.accounts.account_move import move
from certmgr.acme.accounts.accounts import AccountRequest
from certmgr.acme.accounts.accounts import add as register
from certmgr.acme.accounts.key_rollover import rollover as replace_key
from certmgr.acme.protocol.session import open_session
from certmgr.cli import output
from certmgr.cli.progress import ProgressLine
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.db.database import default_actor
from inventory.errors import UsageError
from inventory.records import AccountRecord
from inventory.store import accounts, acme_orders

KEY_TYPES = ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"]


@click.group()
def account() -> None:
    """Manage ACME accounts: the CA, the account key, and the accepted terms of service.

    \b
    certmgr account cas    list the known CAs
    certmgr account add letsencrypt --contact you@example.com --agree
    certmgr account add zerossl --eab-kid ID --eab-key env:ZEROSSL_HMAC --agree
    """


@account.command("cas")
@format_option
@pass_app
def cas_(app: CommandContext, output_format: str) -> None:
    """List the known CAs.

    They are those that ship with certmgr, and those of the configuration.
    """

    rows = [
        {
            "name": c.name,
            "title": c.title,
            "directory": c.directory,
            "needs": "external account binding" if c.eab else "",
            # A domain with CAA records must name one of these, or this CA refuses to issue for it.
            "caa": list(c.caa),
            "limits": "; ".join(
                f"{v} {w}"
                for v, w in ((c.limits.domain, "per domain"), (c.limits.account, "per account"))
                if v is not None
            ),
            "where": c.eab_where,
            "source": c.source,
            "confirmed": c.confirmed,
        }
        for c in cas.all_cas(app.settings.acme).values()
    ]
    # A table row has to fit a terminal; JSON and CSV carry every column.
    columns = (
        ["name", "title", "needs", "directory"]
        if output_format == "table"
        else [
            "name",
            "title",
            "directory",
            "needs",
            "where",
            "caa",
            "limits",
            "source",
            "confirmed",
        ]
    )
    output.show("cas", columns, rows, output_format)


@account.command("add")
@click.argument("ca")
@click.option("--name", help="Name of the account in certmgr. Default: the name of the CA.")
@click.option(
    "--directory",
    default="",
    metavar="URL",
    help="ACME directory of a CA that certmgr does not know, or a directory to use instead.",
)
@click.option(
    "--contact",
    "contacts",
    multiple=True,
    metavar="MAIL",
    help="E-mail address for the CA; may be repeated.",
)
@click.option("--eab-kid", default="", metavar="ID", help="Key id of the external account binding.")
@click.option(
    "--eab-key",
    default="",
    metavar="SECRET",
    help="HMAC key of the external account binding: env:NAME or file:PATH.",
)
@click.option(
    "--agree", is_flag=True, help="Agree to the CA's terms of service, which you have read."
)
@click.option(
    "--fallback",
    default="",
    metavar="ACCOUNT",
    help="Account to order from while this CA fails.",
)
@click.option(
    "--key",
    "key_type",
    type=click.Choice(KEY_TYPES),
    default="ec-p256",
    show_default=True,
    help="Type of the account key.",
)
@pass_app
def add(
    app: CommandContext,
    ca: str,
    name: str | None,
    directory: str,
    contacts: tuple[str, ...],
    eab_kid: str,
    eab_key: str,
    agree: bool,
    fallback: str,
    key_type: str,
) -> None:
    """Register an account at CA.

    CA is a name that `account cas` lists, or any name with --directory.
    """

    # Every user of the machine can read the arguments of a running process.
    if eab_key and not eab_key.startswith(("env:", "file:")):
        raise UsageError(
            "--eab-key does not accept the secret itself",
            "other users of this machine could read it in the process list",
            "Give env:NAME or file:PATH.",
        )
    request = AccountRequest(
        ca=ca,
        name=name or ca,
        directory=directory,
        contacts=contacts,
        eab_kid=eab_kid,
        eab_key=eab_key,
        agree=agree,
        fallback=fallback,
        key_type=key_type,
        by=default_actor(),
    )
    # A retry after a failure continues the pending account with the same key.
    # An account may be the first record of a new inventory, so the database file is created.
    with ProgressLine().waiting("account add: waiting for the CA"):
        row = register(app.context(create=True), request)
    click.echo(f"The account '{row.name}' is registered: {row.url}")
    # The account key can revoke every certificate of the account (RFC 8555, section 7.6).
    click.echo(
        f"Its key is {row.key_reference.partition(':')[2]}. Back it up: it can revoke the"
        " certificates of this account."
    )


@account.command("list")
@click.option("--retired", is_flag=True, help="Include deactivated accounts.")
@format_option
@pass_app
def list_(app: CommandContext, retired: bool, output_format: str) -> None:
    """List ACME accounts."""

    with app.open().read() as conn:
        rows = accounts.listing(conn, retired=retired)
    columns = ["name", "ca", "state", "lineages", "directory"]
    output.show(
        "accounts",
        columns,
        # The JSON schema has the contacts as text.
        [r.as_dict() | {"contacts": " ".join(r.contacts)} for r in rows],
        output_format,
        "There are no ACME accounts. Add one: certmgr account add.",
        [*columns, "url", "contacts"],
    )


@account.command("show")
@click.argument("name")
@click.option("--ask", is_flag=True, help="Query the CA too.")
@pass_app
def show(app: CommandContext, name: str, ask: bool) -> None:
    """Show one account.

    With --ask the output includes its status, profiles and CAA names at the CA.
    """

    database = app.open()
    with database.read() as conn:
        row = accounts.find(conn, name)
        fallback_account = accounts.fallback(conn, row)
        orders = accounts.open_orders(conn, row.id)
        # By directory: a limit of a domain, or a failure of the whole CA, concerns each account.
        # The limit of another account does not.
        backoffs = [
            b
            for b in acme_orders.backoffs(conn, row.directory)
            if not b.scope.startswith("account:") or b.scope == f"account:{row.name}"
        ]
    ca = cas.find(app.settings.acme, row.ca, row.directory)
    output.pairs(
        [
            ("Account", row.name),
            ("CA", ca.title),
            ("Directory", row.directory),
            ("State", row.state),
            ("URL", row.url),
            ("Key", row.key_reference),
            ("Contacts", row.contacts),
            ("Terms", row.terms),
            (
                "Agreed",
                (
                    f"{output.local_time(row.agreed_at)} by {row.agreed_by}"
                    if row.agreed_at
                    else None
                ),
            ),
            ("EAB key id", row.eab_kid),
            ("Fallback", fallback_account.name if fallback_account else None),
            ("Open orders", orders or None),
            # An empty line could be read as "no limit".
            ("Limits", "; ".join(f"{v} {w}" for v, w in _limits(ca)) or "not published"),
        ]
    )
    # Until then certmgr sends no order in this scope.
    for backoff in backoffs:
        click.echo(
            f"Postponed until {output.local_time(backoff.until)}:"
            f" {backoff.scope or 'the whole CA'}: {output.cell(backoff.reason, 400)}"
        )
    # Without --ask the command works offline.
    if ask:
        _show_at_ca(app, row)


def _show_at_ca(app: CommandContext, row: AccountRecord) -> None:
    """Query the CA, and print what it states about an account.

    The stored values are printed before: if the CA does not answer, they are still shown.
    """
    with ProgressLine().waiting("account show: waiting for the CA"):
        status_at_ca = work.fetch_account(app.settings, row)
        session = open_session(app.settings, row)
    output.pairs(
        [
            ("Status at the CA", status_at_ca["status"]),
            ("Contacts at the CA", ", ".join(status_at_ca["contact"])),
            ("CAA names", ", ".join(session.caa)),
        ]
    )
    for profile, description in session.profiles.items():
        click.echo(f"Profile {profile}: {description}")


def _limits(ca: object) -> list[tuple[object, str]]:
    """Return the rate limits that the CA publishes, each with its scope."""
    limits = ca.limits  # type: ignore[attr-defined]
    named = (
        (limits.account, "orders per account"),
        (limits.domain, "certificates per registered domain"),
        (limits.exact, "certificates per set of names"),
        (limits.failure, "failed authorizations per name"),
    )
    # None means that the CA does not publish this limit.
    return [(limit, scope) for limit, scope in named if limit is not None]


@account.command("agree")
@click.argument("name")
@pass_app
def agree(app: CommandContext, name: str) -> None:
    """Agree to the CA's current terms of service."""
    terms = acme_accounts.agree(app.context(), name, default_actor())
    click.echo(f"'{name}' agrees to {terms or 'the terms of service; the CA publishes none'}.")


@account.command("rollover")
@click.argument("name")
@click.option(
    "--key",
    "key_type",
    type=click.Choice(KEY_TYPES),
    default="ec-p256",
    show_default=True,
    help="Type of the new key.",
)
@pass_app
def rollover(app: CommandContext, name: str, key_type: str) -> None:
    """Replace the account key (RFC 8555, section 7.3.5).

    The old key file is kept; the CA no longer accepts that key.
    """
    with ProgressLine().waiting("account rollover: waiting for the CA"):
        row = replace_key(app.context(), name, key_type)
    # An earlier backup has the old key alone, which the CA refuses from now on.
    click.echo(f"'{name}' has a new key: {row.key_reference.partition(':')[2]}. Back it up.")


@account.command("edit")
@click.argument("name")
@click.option(
    "--fallback",
    metavar="ACCOUNT",
    help="Account to order from while this CA fails. Empty: none.",
)
@click.option(
    "--directory",
    metavar="URL",
    help="The URL to which the CA moved its ACME directory. The CA there must know the account.",
)
@pass_app
def edit(app: CommandContext, name: str, fallback: str | None, directory: str | None) -> None:
    """Change the settings of an account."""

    if fallback is None and directory is None:
        click.echo("Nothing to change.")
        return
    if fallback == name:
        raise UsageError(
            "An account cannot be its own fallback",
            "the fallback is used while this account's CA fails",
            "Name another account.",
        )
    if directory is not None:
        with ProgressLine().waiting("account edit: waiting for the CA"):
            moved = move(app.context(), name, directory)
        click.echo(f"'{name}' is at {moved.directory} now: {moved.url}")
    if fallback is not None:
        with app.open().write() as tx:
            row = accounts.find(tx.conn, name)
            # A misspelt fallback fails here, and not at the renewal that needs it.
            other = accounts.find(tx.conn, fallback).id if fallback else None
            accounts.edit(tx, row.id, fallback_id=other)
        click.echo(f"'{name}': fallback {fallback or 'none'}.")


@account.command("deactivate")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def deactivate(app: CommandContext, name: str, yes: bool) -> None:
    """Deactivate an account permanently (RFC 8555, section 7.3.6)."""
    # ACME has no way to reactivate an account (RFC 8555, section 7.3.6).
    if not yes:
        # Without input, as in cron, the question ends the command, so that a job needs --yes.
        click.confirm(
            f"Deactivate '{name}' at its CA? It can never order or revoke certificates again",
            abort=True,
        )
    acme_accounts.deactivate(app.context(), name)
    click.echo(f"'{name}' is deactivated.")
