"""``certmgr lineage`` and ``certmgr solver``: renewed certificates, and domain validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from certmgr.acme import adopt as adoption
from certmgr.acme import arrange, deployment
from certmgr.acme.accounts import base_directory
from certmgr.acme.challenges.build import challenge_of, find
from certmgr.acme.challenges.build import snippet as server_snippet
from certmgr.acme.context import IssuanceContext
from certmgr.acme.planning import plan_one
from certmgr.acme.renewal import error_sentence
from certmgr.cli import output
from certmgr.cli.issue_states import SYMBOLS, WORDS
from certmgr.cli.shared import CommandContext, client_filter, format_option, given, pass_app
from certmgr.deploy.lineage import Lineage
from inventory.errors import Conflict, UsageError
from inventory.names import display
from inventory.records import LineageRecord
from inventory.store import accounts, acme_orders, certificates, clients, lineages, purchases

# The keys are part of the JSON output; the values are what a table shows.
_STATES = {
    "live": "✓ live",
    "placed": "· deployed",
    "waiting": "… not deployed yet",
    "none": "✗ no certificate yet",
    "taken-back": "✗ rolled back",
    "paused": "· paused",
    "unproved": "? not verified live",
    "held": "! waits for your approval",
    "condemned": "✗ must be replaced",
    "retired": "· retired",
}


def rows_of(conn: Any, client_id: int | None, states: Sequence[str]) -> list[dict[str, Any]]:
    """Return lineages as rows of ``certmgr.lineages/1``.

    Args:
        conn: A read connection.
        client_id: Only lineages of this client; None for all clients.
        states: Only lineages in these states: active, paused, retired.
    """

    rows = []
    must_replace = lineages.must_replace(conn)
    for row in lineages.listing(conn, client_id=client_id, states=states):
        names = [n.name for n in row.names]
        quarantined = [n.name for n in row.names if n.state == "quarantined"]
        rows.append(
            {
                "lineage": row.name,
                "client": row.client,
                "state": _state(row, quarantined, must_replace),
                "ends": output.epoch_text(row.not_after),
                "names": names,
                "quarantined": quarantined,
                "account": row.account,
                "solver": row.solver,
                "targets": row.targets.split(),
                "key": row.key_type,
                "sha256": row.sha256,
                "proof": row.proof,
                "error": error_sentence(row.error),
                "next_at": output.epoch_text(row.next_at),
                "renew_at": output.epoch_text(row.ari_at),
                "explanation": row.ari_url,
                "failures": row.failures,
            }
        )
    return rows


def _state(row: LineageRecord, quarantined: list[str], must_replace: Mapping[str, str]) -> str:
    """Return the most urgent state of a lineage; the order of the tests is the priority."""
    if row.state != "active":
        return str(row.state)
    # A revoked or distrusted certificate needs action even if it is deployed and live.
    if row.sha256 in must_replace:
        return "condemned"
    # The rollback restored the certificate before, so the newest one is not in use.
    if row.sha256 is not None and row.rolled_back == row.sha256:
        return "taken-back"
    # Quarantined names hold the next order unless an administrator allowed to leave them out.
    if quarantined and not (row.shrink == "auto" or set(quarantined) <= set(row.shrink_ok.split())):
        return "held"
    if row.sha256 is None:
        return "none"
    # The newest certificate is stored, but its deployment is pending or failed.
    if row.deployed != row.sha256:
        return "waiting"
    if row.proven_at is not None:
        return "live"
    # "no place": no endpoint of the inventory serves these names, so a scan cannot verify them.
    return "unproved" if row.proof and not str(row.proof).startswith("no place") else "placed"


@click.group()
def lineage() -> None:
    """Manage certificates that are renewed automatically."""


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
    if not rows:
        click.echo("There are no lineages. To issue a certificate: certmgr issue NAME")
        return
    shown = [
        [
            _STATES.get(r["state"], r["state"]),
            r["lineage"],
            r["client"],
            (r["ends"] or "")[:10],
            len(r["names"]),
            r["error"] or r["proof"] or "",
        ]
        for r in rows
    ]
    output.table(["STATE", "LINEAGE", "CLIENT", "ENDS", "NAMES", "LAST RESULT"], shown)


@lineage.command("show")
@click.argument("name")
@format_option
@pass_app
def show(app: CommandContext, name: str, output_format: str) -> None:
    """Show one lineage: certificate, names, targets, and when and why it is renewed."""

    with app.open().read() as conn:
        row = lineages.with_names(conn, lineages.find(conn, name).id)
        view = next(
            r for r in rows_of(conn, row.client_id, (row.state,)) if r["lineage"] == row.name
        )
        orders = acme_orders.last_of(conn, row.id, 10)
        deliveries = lineages.deliveries(conn, lineage_id=row.id, states=("pending", "done"))
        served = certificates.names_of(conn, [row.sha256]) if row.sha256 else {}
        replace_reason = lineages.must_replace(conn).get(row.sha256 or "", "")

    due = plan_one(row, app.now(), replace_reason, served.get(row.sha256 or "")).due
    folder = Lineage(base_directory(app.settings), row.name)
    if output_format != "table":
        output.echo_json(
            {
                "schema": "certmgr.lineage/1",
                **view,
                "renew_from": output.instant(due.at),
                "renew_because": due.reason,
                "folder": str(folder.live),
            }
        )
        return
    output.pairs(
        [
            ("Lineage", row.name),
            ("Must be replaced", replace_reason or None),
            ("Client", row.client),
            ("State", _STATES.get(view["state"], view["state"])),
            ("Certificate", row.sha256),
            ("Ends", view["ends"]),
            (
                "Renewal due",
                f"{output.instant(due.at)}: {due.reason}" if row.sha256 else due.reason,
            ),
            ("Explanation of the CA", row.ari_url),
            ("Next attempt not before", view["next_at"]),
            ("Account", row.account),
            ("Solver", row.solver),
            ("Targets", row.targets),
            ("Key", row.key_type),
            ("Profile", row.profile),
            ("Chain", row.preferred_chain),
            ("On failed name", row.shrink),
            ("Folder", folder.live),
            ("Verification", row.proof),
            ("Last error", view["error"]),
        ]
    )
    for name_row in row.names:
        symbol = "✓" if name_row.state == "active" else "!"
        reason = (
            f": quarantined since {output.epoch_text(name_row.since)}:"
            f" {output.cell(name_row.reason, 400)}"
            if name_row.state != "active"
            else ""
        )
        click.echo(f"{symbol} {output.cell(name_row.name)}{reason}")
    for delivery in deliveries:
        # Deliveries of earlier certificates are history; only the current one matters here.
        if delivery.sha256 == row.sha256:
            click.echo(
                f"{'✓' if delivery.state == 'done' else '✗'} target {delivery.target}:"
                f" {output.cell(delivery.error or delivery.state, 400)}"
            )
    for order in orders:
        created, sha256 = (
            output.epoch_text(order.created_at),
            (f" {order.sha256[:16]}" if order.sha256 else ""),
        )
        click.echo(
            f"order {order.id} of {created}: {order.state}{sha256}"
            f" ({output.cell(order.reason, 100)})"
        )


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
    if names is not None and not names.strip():
        raise UsageError(
            "A lineage needs at least one name", "", f"To end it: certmgr lineage retire {name}"
        )
    with app.open().write() as tx:
        row = lineages.find(tx.conn, name)
        _not_retired(row)
        current_names = [n.name for n in lineages.names_of(tx.conn, [row.id]).get(row.id, [])]
        values = given(
            solver=solver,
            shrink=on_failed_name,
            reuse_key=None if reuse_key is None else int(reuse_key),
        )
        # An empty text clears these two columns; an option that is not given keeps them.
        values |= {k: v or None for k, v in given(profile=profile, preferred_chain=chain).items()}
        if names is not None:
            client = clients.find(tx.conn, row.client)
            new_names, _ = purchases.names_of(tx.conn, client.id, [names], lineages.MAX_NAMES)
            # A certificate never covers names of two clients: its key would serve both.
            lineages.require_owned(tx.conn, client, new_names)
            lineages.set_names(tx, row.id, new_names)
            current_names = new_names
        arrange.check_solver(app.settings, solver or row.solver, current_names)
        if targets:
            target_names = [t for t in targets if t]
            # With a client's CSR there is no private key here, and some targets need one.
            arrange.check_targets(app.settings, target_names, own_key=row.csr is None)
            values["targets"] = " ".join(target_names)
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
            for n in lineages.names_of(tx.conn, [row.id]).get(row.id, [])
            if n.state == "quarantined"
        ]
        if not quarantined:
            raise Conflict(
                f"No name of '{name}' is quarantined", "", f"See certmgr lineage show {name}."
            )
        # Exactly these names are approved: a name quarantined later needs a new approval.
        lineages.edit(tx, row.id, shrink_ok=" ".join(quarantined))
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

    database = app.open()
    with database.read() as conn:
        row = lineages.find(conn, name)
    _not_retired(row)
    result = deployment.deploy(IssuanceContext(database, app.settings), row.id, again=True)
    symbol = SYMBOLS.get(result.state, "✓" if result.ok else "✗")
    click.echo(
        f"{symbol} {result.lineage}: {WORDS.get(result.state, result.state)}:"
        f" {output.cell(result.message, 1500)}"
    )
    return 0 if result.ok else 3


@lineage.command("adopt")
@click.argument("names", nargs=-1, metavar="[CERTBOT-LINEAGE]...")
@click.option(
    "--from",
    "path",
    type=click.Path(path_type=Path),
    default=Path("/etc/letsencrypt"),
    show_default=True,
    metavar="DIR",
    help="Directory of certbot.",
)
@click.option(
    "--solver",
    "solver_name",
    default="",
    metavar="NAME",
    help="Solver for renewals. Default: [acme] default_solver.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Deployment target of renewals; may be repeated.",
)
@click.option("--undo", is_flag=True, help="Give the named lineages back to certbot.")
@click.option("--dry-run", is_flag=True, help="Only show what would be taken over.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@pass_app
def adopt(
    app: CommandContext,
    names: tuple[str, ...],
    path: Path,
    solver_name: str,
    targets: tuple[str, ...],
    undo: bool,
    dry_run: bool,
    yes: bool,
) -> int:
    """Take over accounts, keys and certificates that certbot renews on this machine.

    certbot's timer is disabled first. live/NAME keeps its path, so no server configuration changes.
    """

    database = app.open()
    if undo:
        if not names:
            raise UsageError("No lineage was given", "--undo needs names", "Name the lineages.")
        for name in names:
            adoption.give_back(database, app.settings, name)
            click.echo(
                f"'{name}' belongs to certbot again. Enable certbot's timer, unless other lineages"
                " are still taken over."
            )
        return 0
    wanted = adoption.AdoptionRequest(path, names, solver_name, targets)
    planned = adoption.plan(database, app.settings, wanted)
    for adopted in planned.chosen:
        click.echo(
            f"{'→' if dry_run else '·'} {adopted.name}: {len(adopted.names)} name(s),"
            f" {adopted.key_type}, {adopted.authenticator},"
            f" until {adopted.bundle.leaf.not_after:%Y-%m-%d}"
        )
        # Hooks of certbot are shell text, which certmgr does not run.
        for hook in adopted.hooks:
            click.echo(
                f"  its {hook} is not taken over: configure it as reload of an [acme.target.NAME]"
            )
    for name, reason in planned.unmanaged:
        click.echo(f"✗ {output.cell(name)} stays with certbot: {reason}")
    for problem in planned.installation.problems:
        click.echo(f"✗ {output.cell(str(problem.path))}: {output.cell(problem.reason, 300)}")
    for schedule in planned.schedules:
        click.echo(
            f"! {schedule.source} runs certbot:"
            f" {'it is disabled first' if schedule.disable else schedule.todo}"
        )
    if dry_run or not planned.chosen:
        click.echo("Nothing was changed.")
        return 0 if dry_run or not (planned.unmanaged or planned.installation.problems) else 3
    # A takeover disables the timer of another program, so it needs a confirmation.
    if not yes:
        click.confirm(f"Take over {len(planned.chosen)} lineage(s)?", abort=True)
    adopted_names = adoption.take_over(database, app.settings, wanted, planned)
    click.echo(
        f"✓ certmgr renews {len(adopted_names)} lineage(s) from now on. Run certmgr renew --due"
        " twice a day, or certmgr run, which includes it."
    )
    return 0


@click.group()
def solver() -> None:
    """Show the solvers for domain control validation: [acme.solver.NAME]."""


@solver.command("list")
@format_option
@pass_app
def solvers(app: CommandContext, output_format: str) -> None:
    """List the configured solvers."""

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
