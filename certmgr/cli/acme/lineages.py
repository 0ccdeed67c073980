"""``certmgr lineage``: certificates that are renewed automatically."""

from __future__ import annotations

import click

from certmgr.acme import arrange
from certmgr.acme.context import IssuanceContext
from certmgr.acme.deployment import deployment
from certmgr.cli import output
from certmgr.cli.acme.adoption import adopt
from certmgr.cli.acme.issue_states import SYMBOLS, WORDS
from certmgr.cli.acme.lineage_page import show
from certmgr.cli.acme.lineage_rows import STATES, rows_of
from certmgr.cli.shared import CommandContext, client_filter, format_option, given, pass_app
from inventory.db.database import Tx
from inventory.errors import Conflict, UsageError
from inventory.names import display
from inventory.records import LineageRecord
from inventory.store import accounts, clients, domain_owners, lineage_names, lineages


@click.group()
def lineage() -> None:
    """Manage certificates that are renewed automatically."""


lineage.add_command(show)
lineage.add_command(adopt)


@lineage.command("list")
@client_filter
@click.option("--retired", is_flag=True, help="Include retired lineages.")
@format_option
@pass_app
def list_(app: CommandContext, client: str | None, retired: bool, output_format: str) -> None:
    """List lineages."""

    with app.open().read() as conn:
        client_id = clients.find(conn, client).id if client else None
        rows = rows_of(
            conn, client_id, ("active", "paused", "retired") if retired else ("active", "paused")
        )
    keys = (
        "lineage",
        "client",
        "state",
        "ends",
        "names",
        "quarantined",
        "account",
        "solver",
        "targets",
        "key",
        "sha256",
        "proof",
        "error",
        "next_at",
        "renew_at",
        "explanation",
        "failures",
    )
    # The table shows only the columns that fit; JSON and CSV hold them all.
    if output_format != "table":
        output.show("lineages", keys, rows, output_format)
        return
    # A new user gets the next step. Programs get an empty list above, which is valid.
    if not rows:
        click.echo("There are no lineages. To issue a certificate: certmgr issue NAME")
        return
    shown = [
        [
            STATES.get(r["state"], r["state"]),
            r["lineage"],
            r["client"],
            (r["ends"] or "")[:10],
            len(r["names"]),
            r["error"] or r["proof"] or "",
        ]
        for r in rows
    ]
    output.table(["STATE", "LINEAGE", "CLIENT", "ENDS", "NAMES", "LAST RESULT"], shown)


@lineage.command("edit")
@click.argument("name")
@click.option("--account", metavar="NAME", help="Change the ACME account.")
@click.option("--solver", metavar="NAME", help="Change the solver for domain control validation.")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Replace the deployment targets; may be repeated. Empty: none.",
)
@click.option(
    "--names", metavar="NAMES", help="Replace the names of the certificate; separated by blanks."
)
@click.option("--profile", help="Certificate profile of the CA. Empty: none.")
@click.option("--chain", help="Topmost issuer of the chain. Empty: the CA's default chain.")
@click.option(
    "--on-failed-name",
    "on_failed_name",
    type=click.Choice(["ask", "auto"]),
    help="Leave out quarantined names only after approval (ask) or automatically (auto).",
)
@click.option(
    "--reuse-key/--new-key", default=None, help="Keep the key at renewals, or create a new key."
)
@pass_app
def edit(
    app: CommandContext,
    name: str,
    account: str | None,
    solver: str | None,
    targets: tuple[str, ...],
    names: str | None,
    profile: str | None,
    chain: str | None,
    on_failed_name: str | None,
    reuse_key: bool | None,
) -> None:
    """Change a lineage. The change takes effect with its next certificate."""

    if (
        all(
            value is None
            for value in (account, solver, names, profile, chain, on_failed_name, reuse_key)
        )
        and not targets
    ):
        raise UsageError(
            "There is nothing to change", "no option was given", "See certmgr lineage edit --help."
        )
    # An empty text is not "no change". It may be an unset variable of a script.
    if names is not None and not names.strip():
        raise UsageError(
            "A lineage needs at least one name", "", f"To end it: certmgr lineage retire {name}"
        )
    values = given(
        solver=solver,
        shrink=on_failed_name,
        reuse_key=None if reuse_key is None else int(reuse_key),
    )
    # An empty text clears these two columns; an option that is not given keeps them.
    values |= {k: v or None for k, v in given(profile=profile, preferred_chain=chain).items()}
    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        # A retired lineage has no next certificate, so the change would never take effect.
        _not_retired(row)
        new_names = _set_names(tx, row, names)
        # The solver is checked with the names as they will be: a wildcard needs a solver of the
        # DNS.
        arrange.check_solver(app.settings, solver or row.solver, new_names)
        if targets:
            target_names = [t for t in targets if t]
            # With a client's CSR there is no private key here, and some targets need one.
            arrange.check_targets(app.settings, target_names, own_key=row.csr is None)
            values["targets"] = tuple(target_names)
        # find() raises for an unknown account, so a typing error never clears the account.
        if account is not None:
            values["account_id"] = accounts.find(tx.conn, account).id
        lineages.edit(tx, row.id, **values)
        # The change may resolve the last failure, so the next attempt need not wait.
        lineages.note(tx, row.id, next_at=None)
    click.echo(
        f"'{name}' was changed. To apply the change now: certmgr renew {name}. Otherwise the next"
        " renewal applies it."
    )


def _set_names(tx: Tx, row: LineageRecord, names: str | None) -> list[str]:
    """Replace the names of a lineage, unless ``names`` is None, and return its names."""
    if names is None:
        return [n.name for n in lineage_names.by_lineage(tx.conn, [row.id]).get(row.id, [])]
    client = clients.find(tx.conn, row.client)
    new_names, _ = domain_owners.names_of(tx.conn, client.id, [names], lineage_names.MAX_NAMES)
    # A certificate never covers names of two clients: its key would serve both.
    lineage_names.require_owned(tx.conn, client, new_names)
    lineages.set_names(tx, row.id, new_names)
    return new_names


@lineage.command("approve")
@click.argument("name")
@pass_app
def approve(app: CommandContext, name: str) -> None:
    """Approve that the next certificate leaves out the quarantined names.

    They return automatically as soon as the CA can validate them again.
    """

    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        quarantined = [
            n.name
            for n in lineage_names.by_lineage(tx.conn, [row.id]).get(row.id, [])
            if n.state == "quarantined"
        ]
        if not quarantined:
            raise Conflict(
                f"No name of '{name}' is quarantined", "", f"See certmgr lineage show {name}."
            )
        # Exactly these names are approved: a name quarantined later needs a new approval.
        lineages.edit(tx, row.id, shrink_ok=tuple(quarantined))
        # The approval takes effect now, so an attempt that was postponed need not wait.
        lineages.note(tx, row.id, next_at=None)
    click.echo(
        f"The next certificate of '{name}' leaves out {', '.join(display(n) for n in quarantined)}."
    )


def _not_retired(row: LineageRecord) -> None:
    if row.state == "retired":
        raise Conflict(
            f"'{row.name}' is retired",
            "",
            f"To renew it again: certmgr lineage resume {row.name}",
        )


def _set_state(app: CommandContext, name: str, state: str) -> None:
    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        # Only resume may change a retired lineage; a pause would silently undo its retirement.
        if state != "active":
            _not_retired(row)
        lineages.edit(tx, row.id, state=state, retired_at=tx.at if state == "retired" else None)


@lineage.command("pause")
@click.argument("name")
@pass_app
def pause(app: CommandContext, name: str) -> None:
    """Stop the renewal of a lineage until it is resumed."""
    _set_state(app, name, "paused")
    click.echo(f"'{name}' is paused. It is not renewed until you resume it.")


@lineage.command("resume")
@click.argument("name")
@pass_app
def resume(app: CommandContext, name: str) -> None:
    """Renew a paused or retired lineage again."""
    _set_state(app, name, "active")
    click.echo(f"'{name}' is renewed automatically again.")


@lineage.command("retire")
@click.argument("name")
@pass_app
def retire(app: CommandContext, name: str) -> None:
    """Retire a lineage: it is not renewed any more.

    Its files are kept, and its certificate stays valid until its end.
    """
    _set_state(app, name, "retired")
    click.echo(f"'{name}' is retired. It is not renewed any more. Its files are kept.")


@lineage.command("deploy")
@click.argument("name")
@pass_app
def deploy(app: CommandContext, name: str) -> int:
    """Deploy the newest certificate again and verify that it is live.

    This includes a certificate that was rolled back.
    """

    context = IssuanceContext.of(app.context())
    with context.read() as conn:
        row = lineages.find(conn, name)
    _not_retired(row)
    result = deployment.deploy(context, row.id, again=True)
    # Unlike after a renewal, a state without a symbol may be a success here.
    symbol = SYMBOLS.get(result.state, "✓" if result.ok else "✗")
    click.echo(
        f"{symbol} {result.lineage}: {WORDS.get(result.state, result.state)}:"
        f" {output.cell(result.message, 1500)}"
    )
    return 0 if result.ok else 3
