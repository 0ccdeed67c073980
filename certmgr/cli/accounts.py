"""``certmgr account``: ACME accounts."""

from __future__ import annotations

import click

from certmgr.acme import accounts as acme_accounts
from certmgr.acme import accounts as work
from certmgr.acme import cas
from certmgr.acme.accounts import AccountRequest
from certmgr.acme.accounts import add as register
from certmgr.cli import output
from certmgr.cli.shared import CommandContext, format_option, pass_app
from inventory.db.database import default_actor
from inventory.errors import UsageError
from inventory.store import accounts, acme_orders

KEY_TYPES = ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"]


@click.group()
def account() -> None:
    """ACME accounts: at which CA certificates are ordered, with which key, under which terms.

    \b
    certmgr account cas                                             the CAs that are known
    certmgr account add letsencrypt --contact you@example.com --agree
    certmgr account add zerossl --eab-kid ID --eab-key env:ZEROSSL_HMAC --agree
    """


@account.command("cas")
@format_option
@pass_app
def cas_(app: CommandContext, form: str) -> None:
    """The CAs that are known by name, and those of the configuration."""

    rows = [
        {
            "name": c.name,
            "title": c.title,
            "directory": c.directory,
            "needs": "external account binding" if c.eab else "",
            "caa": list(c.caa),
            "limits": "; ".join(
                f"{v} {w}"
                for v, w in ((c.limits.domain, "a domain"), (c.limits.account, "an account"))
                if v is not None
            ),
            "where": c.eab_where,
            "source": c.source,
            "confirmed": c.confirmed,
        }
        for c in cas.every(app.settings.acme).values()
    ]
    columns = (
        ["name", "title", "needs", "directory"]
        if form == "table"
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
    output.show("cas", columns, rows, form)


@account.command("add")
@click.argument("ca")
@click.option("--name", help="Of the account here; the CA's name where it is not given.")
@click.option(
    "--directory",
    default="",
    metavar="URL",
    help="Of a CA that is not known, or another one than is known.",
)
@click.option(
    "--contact",
    "contacts",
    multiple=True,
    metavar="MAIL",
    help="A mail address for the CA; may be repeated.",
)
@click.option("--eab-kid", default="", metavar="ID", help="External account binding: its key id.")
@click.option(
    "--eab-key", default="", metavar="SECRET", help="Its HMAC key: env:NAME or file:PATH."
)
@click.option(
    "--agree", is_flag=True, help="I have read the CA's terms of service and agree to them."
)
@click.option(
    "--fallback",
    default="",
    metavar="ACCOUNT",
    help="The account that stands in while this CA fails.",
)
@click.option(
    "--key",
    "key_type",
    type=click.Choice(KEY_TYPES),
    default="ec-p256",
    show_default=True,
    help="Kind of the account key.",
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
    """Registers an account at CA: a name of `account cas`, or any name with --directory."""

    if eab_key and not eab_key.startswith(("env:", "file:")):
        raise UsageError(
            "--eab-key shows a secret to everybody who lists processes",
            "",
            "Give env:NAME or file:PATH.",
        )
    wanted = AccountRequest(
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
    row = register(app.open(), app.settings, wanted)
    click.echo(f"The account '{row['name']}' is registered: {row['url']}")
    click.echo(
        f"Its key is {row['key_reference'].partition(':')[2]}. Back it up: it can revoke what it"
        " ordered."
    )


@account.command("list")
@click.option("--retired", is_flag=True, help="Also those that were deactivated.")
@format_option
@pass_app
def list_(app: CommandContext, retired: bool, form: str) -> None:
    """All accounts."""

    with app.open().read() as conn:
        rows = [
            dict(r) | {"directory": r["directory"]} for r in accounts.listing(conn, retired=retired)
        ]
    columns = ["name", "ca", "state", "lineages", "directory"]
    output.show(
        "accounts",
        columns,
        rows,
        form,
        "There are no ACME accounts: certmgr account add.",
        [*columns, "url", "contacts"],
    )


@account.command("show")
@click.argument("name")
@click.option("--ask", is_flag=True, help="Ask the CA too.")
@pass_app
def show(app: CommandContext, name: str, ask: bool) -> None:
    """One account; with --ask what the CA says of it, its profiles and its limits."""

    database = app.open()
    with database.read() as conn:
        row = accounts.find(conn, name)
        stands_in = accounts.fallback(conn, row)
        orders = accounts.open_orders(conn, row["id"])
        waits = acme_orders.backoffs(conn, row["directory"])
    ca = cas.find(app.settings.acme, row["ca"], row["directory"])
    output.pairs(
        [
            ("Account", row["name"]),
            ("CA", ca.title),
            ("Directory", row["directory"]),
            ("State", row["state"]),
            ("URL", row["url"]),
            ("Key", row["key_reference"]),
            ("Contacts", row["contacts"]),
            ("Terms", row["terms"]),
            (
                "Agreed",
                (
                    f"{output.epoch_text(row['agreed_at'])} by {row['agreed_by']}"
                    if row["agreed_at"]
                    else None
                ),
            ),
            ("EAB key id", row["eab_kid"]),
            ("Fallback", stands_in["name"] if stands_in else None),
            ("Open orders", orders or None),
            ("Limits", "; ".join(f"{v} {w}" for v, w in _limits(ca)) or "none are published"),
        ]
    )
    for wait in waits:
        click.echo(
            f"Left alone until {output.epoch_text(wait['until'])}:"
            f" {wait['scope'] or 'the whole CA'}: {output.cell(wait['reason'], 400)}"
        )
    if ask:
        said = work.look_up(app.settings, row)
        session = work.open_session(app.settings, row)
        output.pairs(
            [
                ("The CA says", said["status"]),
                ("Contacts there", ", ".join(said["contact"])),
                ("In CAA records", ", ".join(session.caa)),
            ]
        )
        for profile, what in session.profiles.items():
            click.echo(f"Profile {profile}: {what}")


def _limits(ca: object) -> list[tuple[object, str]]:
    limits = ca.limits  # type: ignore[attr-defined]
    named = (
        (limits.account, "orders of the account"),
        (limits.domain, "certificates of a registered domain"),
        (limits.exact, "of the same names"),
        (limits.failure, "failures of a name"),
    )
    return [(v, w) for v, w in named if v is not None]


@account.command("agree")
@click.argument("name")
@pass_app
def agree(app: CommandContext, name: str) -> None:
    """Agrees to the terms of service that the CA has now."""
    terms = acme_accounts.agree(app.open(), app.settings, name, default_actor())
    click.echo(f"'{name}' agrees to {terms or 'the terms; the CA names none'}.")


@account.command("rollover")
@click.argument("name")
@click.option(
    "--key",
    "key_type",
    type=click.Choice(KEY_TYPES),
    default="ec-p256",
    show_default=True,
    help="Kind of the new key.",
)
@pass_app
def rollover(app: CommandContext, name: str, key_type: str) -> None:
    """Gives the account a new key.

    The old key file stays where it is, and can do nothing any more.
    """
    row = acme_accounts.rollover(app.open(), app.settings, name, key_type)
    click.echo(f"'{name}' has a new key: {row['key_reference'].partition(':')[2]}. Back it up.")


@account.command("edit")
@click.argument("name")
@click.option(
    "--fallback",
    metavar="ACCOUNT",
    help="The account that stands in while this CA fails; empty: none.",
)
@pass_app
def edit(app: CommandContext, name: str, fallback: str | None) -> None:
    """Changes what is kept here of an account."""

    if fallback == name:
        raise UsageError("An account cannot stand in for itself")
    with app.open().write() as tx:
        row = accounts.find(tx.conn, name)
        if fallback is not None:
            accounts.edit(
                tx,
                row["id"],
                fallback_id=accounts.find(tx.conn, fallback)["id"] if fallback else None,
            )
    click.echo(
        f"'{name}': fallback {fallback or 'none'}."
        if fallback is not None
        else "Nothing to change."
    )


@account.command("deactivate")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_app
def deactivate(app: CommandContext, name: str, yes: bool) -> None:
    """Ends an account at its CA, for good."""
    if not yes:
        click.confirm(
            f"Deactivate '{name}' at its CA? It can never order or revoke again", abort=True
        )
    acme_accounts.deactivate(app.open(), app.settings, name)
    click.echo(f"'{name}' is deactivated.")
